"""A recording, played. Owns: that nothing is said before the client has said what led to it, and what of the client's words is wrong."""

import asyncio
import json
from http import HTTPStatus

from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.http11 import Response

from .books import Books
from .meaning import meanings
from .real import QUIET
from .wire import FREE, for_client, is_record, query_of, text_of

PLAIN = {"compression": None, "max_size": None, "ping_interval": None, "close_timeout": 2, "logger": QUIET}


class Demand:
    """What a client has to say, and whether it did."""

    def __init__(self, step, meaning):
        self.step, self.meaning, self.is_met = step, meaning, False
        # What the node refused a client may have refused by itself.
        self.is_free = False


class Line:
    """One client's way to the recording."""

    def __init__(self, name, player):
        self.name, self.player = name, player
        self.is_cut, self.open, self.reached = False, set(), 0
        self.made = [made for made in player.recording["connections"] if made["client"] == name]
        self.coming = iter(self.made)
        self.demands = []
        known = set()
        for made in self.made:
            for frame in made["frames"]:
                for meaning in meanings(frame["heard"]) if "heard" in frame else []:
                    name = meaning.names.get("id")
                    # Sent again on another connection, it is the same.
                    if name is None or name not in known:
                        known.add(name)
                        self.demands.append(Demand(frame["step"], meaning))
        refused = {name for made in self.made for frame in made["frames"] for name in refused_in(frame)}
        for demand in self.demands:
            demand.is_free = demand.meaning.names.get("id") in refused

    async def start(self):
        self.server = await serve(
            self.play, "127.0.0.1", 0, process_request=self.request, select_subprotocol=first_offered, **PLAIN
        )
        self.port = self.server.sockets[0].getsockname()[1]

    async def request(self, client, request):
        if self.is_cut:
            client.transport.abort()
            return Response(502, "Bad Gateway", Headers([("Content-Length", "0")]), b"")
        if "upgrade" not in request.headers.get("Connection", "").lower():
            answer = self.player.books.asked(request.path, self.player.step, self.player.is_told)
            if answer is None:
                self.player.wrong.append(f"{self.name} asked {request.path}, which is not recorded")
            status, content = answer or (404, {"status": 404, "code": "not_found", "detail": "it is not recorded"})
            body = text_of(self.player.own(content)).encode()
            headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
            headers.append(("Access-Control-Allow-Origin", "*"))
            return Response(status, HTTPStatus(status).phrase, Headers(headers), body)
        client.query = query_of(request.path)
        return None

    def cut(self):
        self.is_cut = True
        for client in self.open:
            client.transport.abort()

    async def play(self, client):
        made = next(self.coming, None)
        if made is None:
            self.player.wrong.append(f"{self.name} connected once more than was recorded, in step {self.player.step}")
            return
        after = self.start_of(made, client.query)
        self.open.add(client)
        ways = [asyncio.create_task(self.say(client, made, after)), asyncio.create_task(self.hear(client))]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if ways[0] in done and not ways[0].exception():
                # All was said; what the client says still counts.
                done, _ = await asyncio.wait(ways[1:])
        finally:
            self.open.discard(client)
            for way in ways:
                way.cancel()
            for failed in await asyncio.gather(*ways, return_exceptions=True):
                if isinstance(failed, Exception) and not is_end(failed):
                    self.player.wrong.append(f"{self.name}: {failed!r}")

    def start_of(self, made, query):
        """Behind which position it goes on; the cursor with which it returns may not pass what it was told."""
        for name in ("types", "capabilities"):
            if query.get(name) != made["query"].get(name):
                self.player.wrong.append(f"{self.name} connects with {name}={query.get(name)}, not {made['query'].get(name)}")
        ready = made["frames"][0]["said"]["data"]
        if ready["resume"]["outcome"] != "honoured":
            return ready["resume"]["after"]
        since, recorded = query.get("since", ""), made["query"].get("since", "")
        if "." not in recorded:
            if (since == "earliest") != (recorded == "earliest"):
                self.player.wrong.append(f"{self.name} connects with since={since}, not {recorded}")
            return ready["resume"]["after"]
        epoch, _, rest = since.partition(".")
        position = rest.split(".")[0]
        if epoch != recorded.split(".")[0] or not position.isdigit() or int(position) > self.reached:
            self.player.wrong.append(f"{self.name} returns with since={since}, and was told up to {self.reached}")
            return ready["resume"]["after"]
        return int(position)

    # --- What the client says ---

    async def hear(self, client):
        async for text in client:
            message = json.loads(text)
            if message.get("event_type") in FREE:
                answer = self.player.books.answered(message, self.reached)
                if answer:
                    await client.send(text_of(self.player.own(answer)))
                continue
            for meaning in meanings(message):
                self.take(meaning)
            self.player.moved()

    def take(self, meaning):
        name = meaning.names.get("id")
        if name is not None and name in self.player.names.values():
            return  # once more, as after a lost connection
        # A conflict is called by the name of the operation that it came of.
        recorded = {own: name for name, own in self.player.names.items()}
        meaning.says = renamed(meaning.says, recorded)
        open_ = [demand for demand in self.demands if not demand.is_met]
        if meaning.entity:
            # Operations on one entity come in their order.
            open_ = [demand for demand in open_ if demand.meaning.entity == meaning.entity][:1]
        found = next((demand for demand in open_ if same(demand.meaning.says, meaning.says)), None)
        if found is None:
            expected = "; ".join(text_of(demand.meaning.says) for demand in open_) or "nothing"
            self.player.wrong.append(f"{self.name} said {text_of(meaning.says)} in step {self.player.step}, expected: {expected}")
            return
        was, is_ = found.meaning.base, meaning.base
        # Left out, it means what it has to for these.
        is_told = meaning.says.get("action") in ("resolve", "restore") or (meaning.says.get("action") == "create" and not was)
        if was is not None and not (is_told and is_ is None) and not was <= (-1 if is_ is None else is_) <= max(was, self.reached):
            self.player.wrong.append(f"{self.name} wrote {meaning.entity} on version {is_}, not {was}")
        found.is_met = True
        for kind, recorded in found.meaning.names.items():
            if recorded is not None and meaning.names.get(kind) is not None:
                self.player.names[recorded] = meaning.names[kind]
            elif recorded is not None and kind == "id":
                self.player.names[recorded] = recorded

    # --- What is said to it ---

    async def say(self, client, made, after):
        frames = [frame for frame in made["frames"] if "heard" not in frame]
        stands = is_caught_up = False
        for frame in frames:
            await self.player.until(lambda: self.player.may_say(frame))
            if "closed" in frame:
                code, reason = frame["closed"]
                if code in (None, 1006):
                    client.transport.abort()
                else:
                    await client.close(1000 if code == 1005 else code, reason or "")
                return
            message = frame["said"]
            kind = message.get("event_type")
            if kind == "session_ready":
                message = self.ready(message, after)
            elif kind == "caught_up" and not is_caught_up:
                is_caught_up = True
                for missed in self.player.books.missed(after, message["data"]["position"], client.query.get("types")):
                    await self.send(client, missed)
            elif (is_record(message) or kind == "advance") and not is_caught_up:
                continue  # told from the books, from where this client stands
            await self.send(client, message)
            stands = True
        if not stands:
            self.player.wrong.append(f"nothing was recorded for a connection of {self.name}")

    def ready(self, message, after):
        data = message["data"]
        if "." not in data["cursor"] or data["resume"]["outcome"] != "honoured":
            return message
        missed = len(self.player.books.between(after, data["position"], None))
        return {**message, "data": {**data, "resume": {**data["resume"], "after": after, "missed": missed}}}

    async def send(self, client, message):
        message = for_client(message, self.name, client.query)
        if message is None:
            return
        self.reached = max(self.reached, position_of(message))
        await client.send(text_of(self.player.own(message)))


def first_offered(client, offered):
    return next((word for word in offered if not word.startswith("bearer.")), None)


def refused_in(frame):
    message = frame.get("said", {})
    if message.get("event_type") == "error":
        yield from (message["data"][name] for name in ("event_id", "id") if name in message["data"])


def is_end(failed):
    return type(failed).__module__.startswith("websockets") or isinstance(failed, ConnectionError)


def same(recorded, said):
    """Equal as JSON: 1 and 1.0 are, true and 1 are not."""
    if isinstance(recorded, bool) or isinstance(said, bool):
        return recorded is said
    if isinstance(recorded, dict) and isinstance(said, dict):
        return recorded.keys() == said.keys() and all(same(recorded[name], said[name]) for name in recorded)
    if isinstance(recorded, list) and isinstance(said, list):
        return len(recorded) == len(said) and all(map(same, recorded, said))
    return recorded == said


def position_of(message):
    """The last position that a message tells its reader."""
    data = message.get("data") if isinstance(message.get("data"), dict) else {}
    if is_record(message):
        return message["seq"]
    match message.get("event_type", "").partition(".")[0]:
        case "advance":
            return data["to"]
        case "caught_up":
            return data["position"]
        case "ack" | "stored":
            return data["seq"]
        case "update":
            return data.get("version", 0)
        case "region" | "ids" | "query":
            return data.get("position", 0)
    return 0


class Player:
    def __init__(self, vector, tenant, recording):
        self.vector, self.recording = vector, recording
        self.step, self.wrong, self.names = -1, [], {}
        self.has_moved = asyncio.Condition()
        self.books = Books(recording, tenant)
        self.lines = {name: Line(name, self) for name in vector["clients"]}
        demands = [demand for line in self.lines.values() for demand in line.demands]
        # Every name that a client gives, as it was in the recording.
        self.given = {demand.meaning.names["id"] for demand in demands if demand.meaning.names.get("id")}
        self.given |= {demand.meaning.names["subscription"] for demand in demands if "subscription" in demand.meaning.names}
        self.causes = self.books.causes(self.given)
        self.waking = set()

    async def start(self):
        for line in self.lines.values():
            await line.start()

    async def stop(self):
        for line in self.lines.values():
            line.cut()

    async def begin(self, number, step):
        self.step = number
        line = self.lines.get(step.get("line"))
        if step["do"] == "cut":
            line.cut()
        elif step["do"] == "heal":
            line.is_cut = False
        self.moved()

    def moved(self):
        async def wake():
            async with self.has_moved:
                self.has_moved.notify_all()

        task = asyncio.create_task(wake())
        self.waking.add(task)
        task.add_done_callback(self.waking.discard)

    async def until(self, is_so):
        async with self.has_moved:
            await self.has_moved.wait_for(is_so)

    def may_say(self, frame):
        """Its step has begun, and whatever led to it was said: what it names, and all up to the position that it tells."""
        if frame["step"] > self.step:
            return False
        if "closed" in frame:
            return True
        told = position_of(frame["said"])
        return self.is_told(told) and all(map(self.is_told, texts(frame["said"])))

    def is_told(self, what):
        """Whether whatever led to a position was said, or what is called so."""
        if isinstance(what, str):
            return what in self.names or what not in self.given
        return all(name in self.names for position, name in self.causes if position <= what)

    def own(self, value):
        """With the client's own names in place of the recorded ones."""
        own = renamed(value, self.names)
        data = own.get("data")
        if isinstance(data, dict) and isinstance(data.get("cursor"), str):
            # The rest of a cursor is of a record's id, which is the client's own now.
            data["cursor"] = ".".join(data["cursor"].split(".")[:2])
        return own

    async def verdict(self):
        for line in self.lines.values():
            for demand in line.demands:
                if not demand.is_met and not demand.is_free:
                    self.wrong.append(f"{line.name} did not say {text_of(demand.meaning.says)} (recorded in step {demand.step})")
        return self.wrong


def renamed(value, names):
    if isinstance(value, dict):
        return {name: renamed(part, names) for name, part in value.items()}
    if isinstance(value, list):
        return [renamed(part, names) for part in value]
    return names.get(value, value) if isinstance(value, str) else value


def texts(value):
    if isinstance(value, dict):
        for part in value.values():
            yield from texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts(part)
    elif isinstance(value, str):
        yield value
