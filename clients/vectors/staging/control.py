"""The control address: a few requests over HTTP, which pages may make too. Owns: nothing but that they are read and answered."""

import asyncio
import json
import traceback

ALLOWED = "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Headers: *\r\nAccess-Control-Allow-Methods: *\r\n"


class Failed(Exception):
    """The vector failed, and why."""


class Control:
    def __init__(self, vector, stage, over):
        self.vector, self.stage, self.over = vector, stage, over

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        host, port = self.server.sockets[0].getsockname()
        return f"{host}:{port}"

    async def serve(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path = head[0].split(" ")[:2]
            length = [line.split(":")[1] for line in head if line.lower().startswith("content-length:")]
            await reader.readexactly(int(length[0]) if length else 0)
            status, answer = await self.answer(method, path)
            body = json.dumps(answer, ensure_ascii=False).encode()
            top = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            writer.write(f"{top}{ALLOWED}Connection: close\r\n\r\n".encode() + body)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            if path == "/end" and method == "POST":
                self.over.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def answer(self, method, path):
        match method, path.strip("/").split("/"):
            case "OPTIONS", _:
                return "200 OK", {}
            case "GET", ["vector"]:
                return "200 OK", self.vector
            case "POST", ["step", number] if number.isdigit() and int(number) < len(self.vector["steps"]):
                return await self.step(int(number))
            case "POST", ["end"]:
                wrong = await self.stage.verdict()
                return "200 OK", {"ok": not wrong, "wrong": wrong}
        return "404 Not Found", {"wrong": [f"there is no {method} {path}"]}

    async def step(self, number):
        step = self.vector["steps"][number]
        try:
            async with asyncio.timeout(20):
                await self.stage.begin(number, step)
        except TimeoutError:
            return "500 Failed", {"wrong": [f"step {number}: {step['do']} did not come about"]}
        except Failed as failed:
            return "500 Failed", {"wrong": [f"step {number}: {failed}"]}
        except Exception:  # Whatever it was, the runner has to know.
            return "500 Failed", {"wrong": [f"step {number}: {traceback.format_exc()}"]}
        return "200 OK", {}
