"""What tests need: real nodes that can be killed, and a line that can be cut.

Nothing here sleeps for a time: everything waits for what it needs, and `DEADLINE` is when it gives up.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import continuum
from continuum import Client

T = TypeVar("T")

DEADLINE = 30.0
ROOT = Path(__file__).resolve().parents[3]
PROGRAM = Path(os.environ.get("CONTINUUM", ROOT / "target/debug/continuum"))


class Node:
    """A node process on an embedded log of its own."""

    def __init__(self, *settings: str) -> None:
        self.directory = tempfile.mkdtemp(prefix="continuum-")
        self._settings = settings
        self._port = 0
        self._process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        return self._port

    def start(self) -> None:
        """Starts it, again on the same port and log after an end."""
        command = [str(PROGRAM), "serve", "--host", "127.0.0.1", "--port", str(self._port), "--data-dir", f"{self.directory}/log"]
        for one in self._settings:
            command += ["--set", one]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CONTINUUM_")}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
        self._process = process
        said = []
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"ready address=127\.0\.0\.1:(\d+)", line):
                self._port = int(found[1])
                # Whatever it says from now on must not fill the pipe.
                self._reader = threading.Thread(target=process.stderr.read, daemon=True)
                self._reader.start()
                return
        raise AssertionError(f"the node did not start: {''.join(said)}")

    def kill(self) -> None:
        """Ends it without a word."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Tells it to end."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(DEADLINE)
            self._reader.join(DEADLINE)
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._process = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class Line:
    """A line between a client and a node that can be cut, silenced, and told what to answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_cut = False
        self.is_silent = False
        self.loses_answers = False
        """What the node says does not come through; what it is told does."""
        self.idle_s: float | None = None
        """What is idle for so long is cut."""
        self.refuses_sockets: bytes | None = None
        """What every attempt at a WebSocket is answered."""
        self.refuses_streams: bytes | None = None
        """What every attempt at a stream is answered."""
        self.opened = 0
        self._flow = asyncio.Event()
        self._flow.set()

    async def __aenter__(self) -> Line:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """All connections break, and none comes about."""
        self.is_cut = True
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()
        self.flow()

    def lead_to(self, port: int) -> None:
        """Connections lead to another node from now on."""
        self._port = port

    def heal(self) -> None:
        """Connections come about again."""
        self.is_cut = self.is_silent = self.loses_answers = False
        self.flow()

    def hold(self) -> None:
        """Nothing passes either way, and nothing breaks."""
        self._flow.clear()

    def flow(self) -> None:
        """What was held passes."""
        self._flow.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.opened += 1
        if self.is_cut:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return
        self._ends.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            head = await reader.readuntil(b"\r\n\r\n")
            answer = self._answer(head)
            if answer is not None:
                writer.write(answer)
                await writer.drain()
                writer.close()
                return
            node_reader, node_writer = await asyncio.open_connection("127.0.0.1", self._port)
            self._ends.add(node_writer)
            node_writer.write(head)
            try:
                ways = [self._pump(reader, node_writer), self._pump(node_reader, writer, is_answer=True)]
                pumps = [asyncio.create_task(way) for way in ways]
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in (writer, node_writer):
                    end.transport.abort()
                    self._ends.discard(end)
                    with contextlib.suppress(OSError):
                        await end.wait_closed()
                await asyncio.gather(*pumps, return_exceptions=True)

    def _answer(self, head: bytes) -> bytes | None:
        if self.refuses_sockets is not None and b"upgrade: websocket" in head.lower():
            return self.refuses_sockets
        if self.refuses_streams is not None and b"/stream?" in head:
            return self.refuses_streams
        return None

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_answer: bool = False) -> None:
        while True:
            data = await asyncio.wait_for(reader.read(65536), self.idle_s)
            await self._flow.wait()
            if not data:
                raise ConnectionResetError
            if not self.is_silent and not (is_answer and self.loses_answers):
                writer.write(data)
                await writer.drain()


async def eventually(look: Callable[[], object], holds: Callable[[Any], bool] = bool) -> Any:
    """Looks, or awaits a look, until it holds. Gives what was seen."""
    deadline = asyncio.get_running_loop().time() + DEADLINE
    while True:
        found: Any = look()
        if inspect.isawaitable(found):
            found = await found
        if holds(found):
            return found
        assert asyncio.get_running_loop().time() < deadline, f"gave up; the last was {found!r}"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def joined(url: str, instance: str, **options: Any) -> AsyncIterator[Client]:
    """A client that is online."""
    async with Client(url, instance=instance, **options) as client:
        await client.online(DEADLINE)
        yield client


async def soon(awaitable: Awaitable[T]) -> T:
    """Waits until the deadline at most."""
    return await asyncio.wait_for(awaitable, DEADLINE)


async def fated(op: continuum.Op) -> continuum.Settled:
    """What became of a write."""
    return await op.settled(DEADLINE)


class QuickClock(continuum.SystemClock):
    """The real clock, and a chance that always says: at once. So nothing waits long before it connects again."""

    def random(self) -> float:
        return 0.02
