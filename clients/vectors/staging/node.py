"""A real node process. Owns: its directory, its address after each start, and its end."""

import asyncio
import http.client
import json
import re
import shutil
import signal
import tempfile


# Nobody shall wait for a crowd that is not there.
QUICK = {"drain.spread": "300ms", "drain.timeout": "3s"}


class Node:
    def __init__(self, program, settings):
        self.program = program
        self.settings = [f"--set={key}={value}" for key, value in {**QUICK, **settings}.items()]
        self.dir = tempfile.mkdtemp(prefix="continuum-stage-")
        self.process = self.address = None

    async def start(self):
        command = [self.program, "serve", "--port", "0", "--data-dir", self.dir, *self.settings]
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
        said = []
        while line := await self.process.stdout.readline():
            said.append(re.sub(r"\x1b\[[0-9;]*m", "", line.decode(errors="replace")))
            if found := re.search(r" ready address=(\S+)", said[-1]):
                self.address = found[1]
                # What it says from here on must not fill the pipe.
                self.reading = asyncio.create_task(self.process.stdout.read())
                return
        raise RuntimeError(f"{self.program} does not start:\n{''.join(said)}")

    async def stop(self):
        if self.process and self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            await self.process.wait()

    async def end(self):
        if self.process and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    async def ask(self, method, path, body=None, headers=None):
        """Status, reason, headers and body of a request."""

        def asked():
            connection = http.client.HTTPConnection(self.address, timeout=20)
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.reason, answer.getheaders(), answer.read()

        return await asyncio.to_thread(asked)

    async def json(self, method, path, content=None):
        body = None if content is None else json.dumps(content)
        *_, answer = await self.ask(method, path, body, {"Content-Type": "application/json"})
        return json.loads(answer)
