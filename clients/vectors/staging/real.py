"""A real node behind a line for each client. Owns: what `cut`, `hold`, `drop`, `say` and the like do to a line and to the node."""

import asyncio
import json
import logging
from contextlib import suppress

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.http11 import Response

from .node import Node
from .recorder import Recorder
from .wire import for_client, query_of, text_of

# A connection that is cut is no error: it was asked for.
QUIET = logging.getLogger("stage")
QUIET.disabled = True
PLAIN = {"compression": None, "max_size": None, "ping_interval": None, "close_timeout": 2, "logger": QUIET}
# Of one connection, and not of what it carries.
HOPS = {"connection", "transfer-encoding", "content-length", "keep-alive", "upgrade", "host"}


class Line:
    """One client's way to the node."""

    def __init__(self, name, node, recorder):
        self.name, self.node, self.recorder = name, node, recorder
        self.is_cut, self.is_hushed, self.held, self.open = False, False, None, set()
        # What is done once to the next message of a type: `None` loses it, fields are put into it.
        self.meddling = []

    async def start(self):
        self.server = await serve(
            self.relay, "127.0.0.1", 0, process_request=self.request, select_subprotocol=subprotocol, **PLAIN
        )
        self.port = self.server.sockets[0].getsockname()[1]

    async def request(self, client, request):
        if self.is_cut:
            client.transport.abort()
            return gone()
        headers = [(name, value) for name, value in request.headers.raw_items() if name.lower() not in HOPS]
        if "upgrade" not in request.headers.get("Connection", "").lower():
            status, reason, said, body = await self.node.ask("GET", request.path, headers=dict(headers))
            kept = [(name, value) for name, value in said if name.lower() not in HOPS]
            return Response(status, reason, Headers([*kept, ("Content-Length", str(len(body)))]), body)
        client.query = query_of(request.path)
        # The recording has what any client may ask for.
        more = "&echo=1" if self.recorder and client.query.get("echo") != "1" else ""
        headers = [(name, value) for name, value in headers if not name.lower().startswith("sec-websocket")]
        spoken = request.headers.get("Sec-WebSocket-Protocol")
        try:
            client.upstream = await connect(
                f"ws://{self.node.address}{request.path}{more}",
                additional_headers=headers,
                subprotocols=[word.strip() for word in spoken.split(",")] if spoken else None,
                user_agent_header=None,
                proxy=None,
                **PLAIN,
            )
        except InvalidStatus as refused:
            return refused.response
        except (OSError, ConnectionClosed, EOFError):
            client.transport.abort()
            return gone()
        return None

    async def relay(self, client):
        tape = self.recorder.opened(self.name, client.query) if self.recorder else None
        self.open.add(client)
        ways = [asyncio.create_task(self.down(client, tape)), asyncio.create_task(self.up(client, tape))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.open.discard(client)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def down(self, client, tape):
        with suppress(ConnectionClosedError):
            async for text in client.upstream:
                message = json.loads(text)
                meddled = self.meddled(message)
                if meddled is not None and not self.is_hushed:
                    await self.say(client, meddled, text if meddled is message else text_of(meddled), tape)
        code, reason = client.upstream.close_code, client.upstream.close_reason
        if tape is not None and client.close_code is None:
            self.recorder.ended(tape, code, reason)
        await end(client, code, reason)

    def meddled(self, message):
        for found in self.meddling:
            kind, fields = found
            if kind == message.get("event_type"):
                self.meddling.remove(found)
                return None if fields is None else {**message, **fields}
        return message

    async def say(self, client, message, text, tape):
        if tape is not None:
            self.recorder.said(tape, message)
        shown = for_client(message, self.name, client.query) if self.recorder else message
        if shown is not None:
            await client.send(text if shown is message else text_of(shown))

    async def up(self, client, tape):
        with suppress(ConnectionClosedError):
            async for text in client:
                if tape is not None:
                    self.recorder.heard(tape, json.loads(text))
                if self.held is None:
                    await client.upstream.send(text)
                else:
                    self.held.append((client.upstream, text))
        await end(client.upstream, client.close_code, client.close_reason)

    def cut(self):
        self.is_cut, self.is_hushed, self.held = True, False, None
        for client in self.open:
            client.transport.abort()

    async def release(self):
        held, self.held = self.held or [], None
        for upstream, text in held:
            await upstream.send(text)


async def end(connection, code, reason):
    """Ends one side as the other one ended."""
    if code in (None, 1006):
        connection.transport.abort()
    else:
        await connection.close(1000 if code == 1005 else code, reason or "")


def subprotocol(client, offered):
    return client.upstream.subprotocol


def gone():
    return Response(502, "Bad Gateway", Headers([("Content-Length", "0")]), b"")


class Real:
    def __init__(self, vector, tenant, program, record, like):
        self.vector, self.tenant = vector, tenant
        self.node = Node(program, vector.get("node", {}))
        self.recorder = Recorder(self.node, tenant, record, like) if record or like else None
        self.lines = {name: Line(name, self.node, self.recorder) for name in vector["clients"]}

    async def start(self):
        await self.node.start()
        for line in self.lines.values():
            await line.start()

    async def stop(self):
        await self.node.end()

    async def begin(self, number, step):
        if self.recorder:
            await self.recorder.begin(number)
        line = self.lines.get(step.get("line"))
        match step["do"]:
            case "cut":
                line.cut()
            case "heal":
                line.is_cut = False
            case "hold":
                line.held = []
            case "release":
                await line.release()
            case "hush":
                line.is_hushed = True
            case "drop":
                line.meddling.append((step["type"], None))
            case "add":
                line.meddling.append((step["type"], step["fields"]))
            case "say":
                for client in list(line.open):
                    tape = self.recorder.latest(line.name) if self.recorder else None
                    await line.say(client, step["frame"], text_of(step["frame"]), tape)
            case "restart":
                await self.node.stop()
                await self.node.start()
            case "publish_over_http":
                await self.publish(step)
            case "trim":
                while (await self.node.json("GET", f"/v1/tenants/{self.tenant}/events?limit=1"))["events"]:
                    await asyncio.sleep(0.05)

    async def publish(self, step):
        contents = [step["data"]] if "count" not in step else [{"n": n} for n in range(step["count"])]
        events = [{"event_type": step["type"], "instance_id": step["from"], "data": data} for data in contents]
        answer = await self.node.json("POST", f"/v1/tenants/{self.tenant}/events", events)
        assert all(result["status"] == "stored" for result in answer["results"]), answer

    async def verdict(self):
        return await self.recorder.end(self.vector) if self.recorder else []
