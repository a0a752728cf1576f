"""A room over plain HTTP, where WebSocket is refused on the way: read as server-sent events or by long polls, written by requests.

Owns: making of what HTTP says the messages that a socket would have brought, so that nobody else need know the difference.
Must not know: what the messages lead to.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import threading
from typing import Any

from . import rest
from .address import Address
from .clock import Clock, within
from .errors import ContinuumError, NotOnline, Refused
from .transport import JOIN_S, Ended, Final, NoWebSocket, refusal
from .wire import Json, encode

_QUEUE = 512
_WAIT = "25s"
"""How long a poll waits for something to come."""
_POLL_S = 40.0
_LIMIT = 500
_OUTCOMES = {"confirmed": "update.confirmed", "conflict_resolved": "update.conflict_resolved"}


class HttpTransport:
    """What both ways have in common: how things are written, and a queue of messages to be received."""

    name = "poll"

    def __init__(self, address: Address, token: str | None, tls: ssl.SSLContext | None) -> None:
        self._address = address
        self._token = token
        self._tls = tls
        self._inbox: asyncio.Queue[str | Exception] = asyncio.Queue(_QUEUE)
        self._outbox: asyncio.Queue[dict[str, Json]] = asyncio.Queue(_QUEUE)
        self._tasks = [asyncio.create_task(self._write())]

    async def receive(self) -> str | bytes:
        """The next message."""
        item = await self._inbox.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def send(self, text: str) -> None:
        """Takes a message; they are sent one after the other, as over a socket."""
        await self._outbox.put(json.loads(text))

    async def close(self) -> None:
        """Ends all that it does."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _say(self, event_type: str, data: Json) -> None:
        await self._inbox.put(encode({"event_type": event_type, "data": data}))

    async def _write(self) -> None:
        try:
            while True:
                await self._one(await self._outbox.get())
        except (ContinuumError, KeyError, ValueError) as error:
            await self._inbox.put(Ended(str(error)))

    async def _one(self, message: dict[str, Json]) -> None:
        match message["event_type"]:
            case "sync_event":
                await self._operate(message["event_id"], message["data"]["event"])
            case "graph.sync":
                await self._state(message)
            case "auth":
                self._token = message["data"]["token"]
                await self._say("authenticated", {})
            case "ping":
                await self._ask("GET", self._address.node("/healthz"))
                await self._say("pong", {})
            case "heartbeat" | "ack":
                pass
            case _:
                await self._publish(message)

    async def _publish(self, message: dict[str, Json]) -> None:
        body = encode({**message, "instance_id": self._address.instance})
        answer = await self._ask("POST", self._address.room("/events"), body)
        try:
            said = answer.json()
        except Refused as refused:
            await self._refuse({"event_id": message.get("event_id")}, refused)
            return
        names = {"stored": "ack", "duplicate": "ack", "queued": "queued"}
        await self._say(names[said["status"]], said)

    async def _operate(self, name: str, operation: dict[str, Json]) -> None:
        who = {
            "instance_id": self._address.instance,
            "user_id": self._address.user,
            "user_name": self._address.user_name,
        }
        body = encode({**operation, **{key: value for key, value in who.items() if value is not None}})
        answer = await self._ask("POST", self._address.room("/operations"), body)
        with contextlib.suppress(ValueError):
            said = json.loads(answer.body)
            if said.get("outcome") in _OUTCOMES:
                await self._say(_OUTCOMES[said["outcome"]], said)
                return
            if said.get("code") == "conflict_pending":
                await self._say("update.conflict_pending", said)
                return
            if said.get("code") == "contended":
                await self._say("update.retry", {**said, "updateId": name})
                return
            if "updateId" in said and answer.status < 500:
                await self._say("update.rollback", {**said, "reason": said.get("reason") or said.get("detail")})
                return
        try:
            answer.json()
        except Refused as refused:
            await self._refuse({"id": name}, refused)

    async def _refuse(self, names: dict[str, Json], refused: Refused) -> None:
        said = {**names, "code": refused.code, "message": refused.message}
        if refused.retry_after_ms is not None:
            said["retry_after_ms"] = refused.retry_after_ms
        await self._say("error", said)

    async def _state(self, message: dict[str, Json]) -> None:
        types = message["data"].get("types")
        page: str | None = None
        while True:
            asked: dict[str, str | int | None] = {
                "limit": _LIMIT,
                "page": page,
                "types": None if types is None else ",".join(types),
            }
            answer = await self._ask("GET", self._address.room("/snapshot", asked))
            try:
                said = answer.json()
            except Refused as refused:
                await self._refuse({"id": message["event_id"]}, refused)
                return
            page = said["next"]
            told = {"id": message["event_id"], "entities": said["entities"], "deleted": said.get("deleted") or []}
            await self._say("graph.sync", {**told, "done": page is None, "as_of": said["position"]})
            if page is None:
                return

    async def _ask(self, method: str, url: str, body: str | None = None, timeout: float = 20.0) -> rest.Answer:
        answer = await rest.request(method, url, body, self._token, self._tls, timeout)
        if answer.status == 401:
            error = refusal(answer.status, answer.headers, answer.body)
            if isinstance(error, Final):
                await self._inbox.put(error)
        return answer


class PollTransport(HttpTransport):
    """Long polls: the way that passes everywhere."""

    def __init__(self, address: Address, since: str, token: str | None, tls: ssl.SSLContext | None) -> None:
        super().__init__(address, token, tls)
        self._since = since
        self._types = ",".join(address.types) if address.types else None
        self._tasks.append(asyncio.create_task(self._read()))

    async def _read(self) -> None:
        try:
            is_latest = self._since == "latest"
            since = (await self._ask("GET", self._address.room("/stats"))).json()["cursor"] if is_latest else self._since
            await self._follow(since, is_begun=is_latest)
        except (NotOnline, Refused) as error:
            hint = error.retry_after_ms
            passes = isinstance(error, NotOnline) or hint is not None or error.code in ("unavailable", "draining", "internal")
            await self._inbox.put(Ended(str(error), hint) if passes else Final(error.code, error.message))
        except (ContinuumError, KeyError, TypeError, ValueError) as error:
            await self._inbox.put(NoWebSocket(f"what answers is no node: {error}"))

    async def _follow(self, after: str, is_begun: bool) -> None:
        if is_begun:
            await self._begin(after, "honoured")
        is_caught_up = False
        while True:
            wait = _WAIT if is_begun and is_caught_up else None
            asked: dict[str, str | int | None] = {"after": after, "limit": _LIMIT, "wait": wait, "types": self._types}
            page = (await self._ask("GET", self._address.room("/events", asked), timeout=_POLL_S)).json()
            resync = page.get("resync")
            if not is_begun or resync is not None:
                begin = resync["cursor"] if resync else _before(page, after)
                await self._begin(begin, "resync" if resync else "honoured")
                if resync is not None:
                    await self._say("resync", resync)
                after, is_begun, is_caught_up = begin, True, False
            at = int(after.split(".")[1])
            for record in page["events"]:
                if self._types is not None and int(record["prev"]) > at:
                    # What lies between is of other types.
                    await self._say("advance", {"from": at, "to": int(record["prev"])})
                await self._inbox.put(encode(record))
                at = int(record["seq"])
            reached = int(page["cursor"].split(".")[1])
            if reached > at:
                await self._say("advance", {"from": at, "to": reached, "cursor": page["cursor"]})
            after = page["cursor"]
            if page["more"]:
                is_caught_up = False
            elif is_caught_up:
                await self._say("heartbeat", {"position": reached})
            else:
                is_caught_up = True
                await self._say("caught_up", {"position": reached, "cursor": after})

    async def _begin(self, cursor: str, outcome: str) -> None:
        epoch, position, *_ = cursor.split(".")
        resume = {"from": "cursor", "outcome": outcome, "after": int(position)}
        await self._say("session_ready", {"epoch": epoch, "position": int(position), "cursor": cursor, "resume": resume})


def _before(page: dict[str, Any], asked: str) -> str:
    """The cursor before a page's first record, in the page's log."""
    epoch, position, *_ = page["cursor"].split(".")
    if asked.startswith(epoch + "."):
        return asked
    return f"{epoch}.{page['events'][0]['prev'] if page['events'] else position}"


class SseTransport(HttpTransport):
    """Server-sent events, read by a thread."""

    name = "sse"

    def __init__(self, address: Address, token: str | None, tls: ssl.SSLContext | None) -> None:
        super().__init__(address, token, tls)
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._begun: asyncio.Future[None] = self._loop.create_future()
        self._hint: int | None = None
        self._is_closed = False

    @classmethod
    async def open(cls, address: Address, since: str, token: str | None, tls: ssl.SSLContext | None, clock: Clock) -> SseTransport:
        """Opens the stream and waits for its first word: something on the way may keep it all to itself."""
        transport = cls(address, token, tls)
        url = address.room("/stream", {"since": since, "types": ",".join(address.types) if address.types else None})
        threading.Thread(target=transport._read, args=(url,), name="continuum-stream", daemon=True).start()
        try:
            await within(clock, JOIN_S, asyncio.shield(transport._begun))
        except TimeoutError as error:
            await transport.close()
            raise NoWebSocket("the stream said nothing in time") from error
        except BaseException:
            await transport.close()
            raise
        return transport

    async def close(self) -> None:
        """Ends the stream."""
        self._is_closed = True
        rest.hang_up(self._socket)
        if not self._begun.done():
            self._begun.cancel()
        await super().close()

    def _read(self, url: str) -> None:
        """Runs in the thread, until the stream ends or its socket is closed."""
        connection = rest.connect(url, self._tls, timeout=JOIN_S)
        try:
            connection.connect()
            self._socket = connection.sock
            connection.request("GET", rest.target(url), headers=rest.headers(self._token))
            with connection.getresponse() as response:
                self._end(self._stream(response))
        except (OSError, http.client.HTTPException, ValueError, RuntimeError) as error:
            self._end(Ended(f"the stream broke: {error}"))
        finally:
            connection.close()

    def _stream(self, response: http.client.HTTPResponse) -> Exception:
        """Reads until the stream ends. Gives what that means."""
        if response.status != 200:
            return refusal(response.status, dict(response.getheaders()), response.read())
        if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
            return NoWebSocket("what answers is no stream", is_definite=True)
        if self._socket is not None:
            # The stream's signs of life are watched by whoever reads the messages.
            self._socket.settimeout(None)
        self._lines(response)
        return Ended("the stream ended", self._hint)

    def _lines(self, response: http.client.HTTPResponse) -> None:
        kind, data = "message", ""
        for raw in response:
            line = raw.decode().rstrip("\r\n")
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if line == "":
                if data:
                    self._event(kind, data)
                kind, data = "message", ""
            elif name == "event":
                kind = value
            elif name == "data":
                data = f"{data}\n{value}" if data else value
            elif name == "":
                self._put(encode({"event_type": "heartbeat", "data": {}}))

    def _event(self, kind: str, data: str) -> None:
        content = json.loads(data)
        if isinstance(content, dict) and "seq" in content and content.get("event_type") == kind:
            self._put(data)
            return
        if kind == "draining":
            self._hint = content.get("retry_after_ms")
        self._put(encode({"event_type": kind, "data": content}))
        if kind == "session_ready":
            self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        if not self._begun.done():
            self._begun.set_result(None)

    def _put(self, text: str) -> None:
        # Waits while nobody takes what came: then the node's log is the buffer.
        putting = asyncio.run_coroutine_threadsafe(self._inbox.put(text), self._loop)
        while not self._is_closed:
            with contextlib.suppress(TimeoutError):
                putting.result(timeout=1.0)
                return
        putting.cancel()
        raise OSError("the stream was closed")

    def _end(self, error: Exception) -> None:
        def end() -> None:
            if not self._begun.done():
                self._begun.set_exception(error)
            else:
                task = self._loop.create_task(self._inbox.put(error))
                self._tasks.append(task)

        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(end)
