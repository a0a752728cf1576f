"""Bad days, with real nodes: sleep, cuts, kills, proxies, slow readers, and ways on which WebSocket is refused."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

import continuum
from continuum import Client, VirtualClock
from continuum.clock import Clock

from .support import DEADLINE, Line, Node, QuickClock, eventually, fated, joined, soon

REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
ALL_PLANES = [chr(plane * 0x10000 + offset) for plane in range(17) for offset in (0x61, 0xE000 if plane == 0 else 0xFFFD)]


async def move(clock: VirtualClock, client: Client, state: str) -> None:
    """Lets time pass, to the next thing that waits for it, until the connection stands so."""

    def stands() -> bool:
        if client.status.connection.state == state:
            return True
        # What the network does takes none of this time.
        if client.status.connection.state == "waiting" and clock.next_wake is not None:
            clock.advance(clock.next_wake)
        return False

    await eventually(stands)


async def test_after_an_hour_asleep_all_that_was_missed_comes(shared_node: Node, tenant: str) -> None:
    clock = VirtualClock()
    async with (
        Line(shared_node.port) as line,
        joined(shared_node.url, "awake", tenant=tenant) as other,
        Client(line.url, tenant=tenant, instance="laptop", clock=clock) as laptop,
    ):
        await move(clock, laptop, "online")
        await laptop.online(DEADLINE)
        events = laptop.subscribe()
        assert laptop.status.sync.status == "synced"
        line.hold()
        for n in range(3):
            await fated(await other.publish("note", {"n": n}))
        clock.advance(3600)
        slept = laptop.status.sync
        assert slept.status == "stale"
        assert slept.age_s == pytest.approx(3600, abs=30)
        statuses = laptop.statuses()
        line.cut()
        await soon(anext(statuses))
        line.heal()
        await move(clock, laptop, "online")
        assert [(await soon(anext(events))).data["n"] for _ in range(3)] == [0, 1, 2]
        await laptop.online(DEADLINE)
        assert laptop.status.sync.status == "synced"
        assert laptop.status.connection.resumed == "complete"


async def test_a_connection_that_died_in_silence_is_noticed_without_waiting_for_the_system(shared_node: Node, tenant: str) -> None:
    clock = VirtualClock()
    async with Line(shared_node.port) as line, Client(line.url, tenant=tenant, instance="a", clock=clock) as client:
        await move(clock, client, "online")
        line.is_silent = True
        opened = line.opened
        silent_since = clock.now()

        def is_noticed() -> bool:
            if client.status.connection.state == "online":
                clock.advance(1)
            return client.status.connection.state != "online"

        # A word is asked for after 15 s; 10 s later it is given up, and tried again at once.
        await eventually(is_noticed)
        assert clock.now() - silent_since > 25
        line.cut()
        line.heal()
        await move(clock, client, "online")
        assert line.opened > opened


@pytest.mark.parametrize("quiet_s", [0.1, 60.0])
async def test_a_proxy_that_cuts_idle_sockets_costs_nothing(shared_node: Node, tenant: str, quiet_s: float) -> None:
    async with Line(shared_node.port) as line, joined(shared_node.url, "other", tenant=tenant) as other:
        line.idle_s = 0.5
        async with joined(line.url, "a", tenant=tenant, quiet_s=quiet_s, clock=QuickClock()) as client:
            events = client.subscribe()
            begun = line.opened
            if quiet_s < line.idle_s:
                # Asked for a word now and then, it never looks idle.
                loop = asyncio.get_running_loop()
                until = loop.time() + 4 * line.idle_s
                await eventually(lambda: loop.time() > until)
                assert line.opened == begun
            else:
                await eventually(lambda: line.opened > begun + 2)
            for n in range(20):
                await fated(await other.publish("note", {"n": n}))
            assert [(await soon(anext(events))).data["n"] for _ in range(20)] == list(range(20))


async def test_a_node_killed_under_many_clients_loses_and_doubles_nothing(node: Node) -> None:
    crowd = 200
    names = [f"c{n}" for n in range(crowd)]
    clients = [Client(node.url, instance=name, clock=QuickClock()) for name in names]
    try:
        await asyncio.gather(*(client.open() for client in clients))
        await asyncio.gather(*(client.online(DEADLINE) for client in clients))
        watching = clients[0].subscribe(own=True)
        ops = await asyncio.gather(*(client.publish("note", {"by": n, "part": 1}) for n, client in enumerate(clients)))
        # The kill meets them between write and answer.
        await asyncio.to_thread(node.kill)
        ops += await asyncio.gather(*(client.publish("note", {"by": n, "part": 2}) for n, client in enumerate(clients)))
        await asyncio.to_thread(node.start)
        settled = await asyncio.gather(*(fated(op) for op in ops))
        assert {one.status for one in settled} == {"stored"}
        stored = [event.event_id async for event in clients[0].replay()]
        assert sorted(stored) == sorted(op.id for op in ops)
        heard = [(await soon(anext(watching))).event_id for _ in stored]
        assert heard == stored
    finally:
        await asyncio.gather(*(client.close(0) for client in clients))


async def test_a_slow_reader_misses_nothing_and_keeps_no_more_than_its_queue(shared_node: Node, tenant: str) -> None:
    async with (
        joined(shared_node.url, "slow", tenant=tenant, queue=8) as slow,
        joined(shared_node.url, "fast", tenant=tenant) as fast,
    ):
        events = slow.subscribe("note")
        ops = [await fast.publish("note", {"n": n}) for n in range(100)]
        await asyncio.gather(*(fated(op) for op in ops))
        await eventually(lambda: slow._open.tracker.position >= 100)
        assert events.waiting == 8
        assert [(await soon(anext(events))).data["n"] for _ in range(100)] == list(range(100))
        await fated(await fast.publish("note", {"n": 100}))
        assert (await soon(anext(events))).data == {"n": 100}
        assert events.gaps == 0


async def test_a_slow_reader_goes_on_after_a_cut(shared_node: Node, tenant: str) -> None:
    async with (
        Line(shared_node.port) as line,
        joined(line.url, "slow", tenant=tenant, queue=2, clock=QuickClock()) as slow,
        joined(shared_node.url, "fast", tenant=tenant) as fast,
    ):
        events = slow.subscribe("note")
        ops = [await fast.publish("note", {"n": n}) for n in range(10)]
        await asyncio.gather(*(fated(op) for op in ops))
        await eventually(lambda: events._is_behind)
        line.cut()
        heard = [(await soon(anext(events))).data["n"] for _ in range(2)]
        reading = asyncio.ensure_future(anext(events))
        await eventually(lambda: events._backoff.failures > 1)
        line.heal()
        heard += [(await soon(reading)).data["n"]] + [(await soon(anext(events))).data["n"] for _ in range(7)]
        assert heard == list(range(10))


@pytest.mark.parametrize("seed", range(12))
async def test_texts_of_all_planes_edited_from_both_sides_come_out_equal(shared_node: Node, tenant: str, seed: int) -> None:
    chance = random.Random(seed)
    async with (
        Line(shared_node.port) as line,
        joined(shared_node.url, "right", tenant=tenant) as right,
        joined(line.url, "left", tenant=tenant, clock=QuickClock()) as left,
    ):
        await fated(await right.entity("note", "n").create({"body": "".join(ALL_PLANES)}))
        await eventually(left.entity("note", "n").data)
        texts = [await one.entity("note", "n").text("/body") for one in (left, right)]
        ops = []
        for _ in range(12):
            text = chance.choice(texts)
            await text.refresh()
            at = chance.randint(0, len(text.value))
            if chance.random() < 0.6 or at == len(text.value):
                ops.append(await text.insert(at, "".join(chance.choices(ALL_PLANES, k=chance.randint(1, 4)))))
            else:
                ops.append(await text.delete(at, chance.randint(1, min(5, len(text.value) - at))))
            match chance.random():
                case r if r < 0.08:
                    line.cut()
                case r if r < 0.3:
                    line.heal()
                case r if r < 0.35:
                    line.hold()
                case r if r < 0.6:
                    line.flow()
            await asyncio.sleep(0)
        line.heal()
        settled = [await fated(op) for op in ops]
        assert [one for one in settled if one.status not in ("confirmed", "resolved")] == []

        async def both() -> list[str]:
            return [await text.refresh() for text in texts]

        await eventually(both, lambda found: found[0] == found[1])
        seen = [await one.entity("note", "n").see() for one in (left, right)]
        assert seen[0].version == seen[1].version
        assert seen[0].data == seen[0].confirmed


@pytest.mark.parametrize("way", ["sse", "poll"])
async def test_over_http_too_only_the_types_that_were_asked_for_come(shared_node: Node, tenant: str, way: str) -> None:
    async with (
        joined(shared_node.url, "other", tenant=tenant) as other,
        joined(shared_node.url, "a", tenant=tenant, transports=[way], types=["note"]) as client,
    ):
        events = client.subscribe()
        for kind in ("word", "note", "word", "note"):
            await fated(await other.publish(kind, {}))
        assert [(await soon(anext(events))).type for _ in range(2)] == ["note", "note"]


@pytest.mark.parametrize(("refuses_streams", "way"), [(None, "sse"), (REFUSED, "poll")])
async def test_where_websocket_is_refused_the_room_is_had_over_http(
    shared_node: Node, tenant: str, refuses_streams: bytes | None, way: str
) -> None:
    async with Line(shared_node.port) as line, joined(shared_node.url, "other", tenant=tenant) as other:
        line.refuses_sockets, line.refuses_streams = REFUSED, refuses_streams
        await fated(await other.publish("note", {"n": 0}))
        async with joined(line.url, "a", tenant=tenant, since="earliest", clock=QuickClock()) as client:
            assert client.status.connection.transport == way
            events, theirs = client.subscribe("note"), other.subscribe("reply")
            assert (await fated(await client.publish("reply", {"to": 0}))).status == "stored"
            assert (await soon(anext(theirs))).data == {"to": 0}
            await fated(await other.publish("note", {"n": 1}))
            assert (await soon(anext(events))).data["n"] in (0, 1)
            note = client.entity("note", "n1")
            made = await note.create({"body": "one"})
            assert made.optimistic == {"body": "one"}
            assert (await fated(made)).status == "confirmed"
            await eventually(other.entity("note", "n1").data)
            await fated(await other.entity("note", "n1").update({"more": True}))
            await eventually(note.data, lambda data: data == {"body": "one", "more": True})
            text = await note.text("/body")
            edits = [await text.insert(3, "!"), await text.insert(0, "> ")]
            assert {(await fated(op)).status for op in edits} <= {"confirmed", "resolved"}
            await eventually(other.entity("note", "n1").data, lambda data: bool(data) and data["body"] == "> one!")
            refused = await client.entity("note", "gone").update({"x": 1})
            assert ((await fated(refused)).status, (await fated(refused)).code) == ("rolled_back", "not_found")
            with pytest.raises(continuum.NotOnline):
                client.signal("typing")
            # The way breaks, and what was missed comes all the same.
            line.cut()
            await fated(await other.publish("note", {"n": 2}))
            line.heal()
            while (await soon(anext(events))).data != {"n": 2}:
                pass


async def test_two_of_one_name_do_not_take_the_room_from_each_other_for_ever(shared_node: Node, tenant: str) -> None:
    async with joined(shared_node.url, "twin", tenant=tenant) as first:
        async with joined(shared_node.url, "twin", tenant=tenant):
            await eventually(lambda: first.status.connection.state == "blocked")
            assert first.status.connection.code == "replaced"
        first.connect_now()
        await first.online(DEADLINE)


async def test_a_node_that_asks_for_patience_gets_it(node: Node) -> None:
    class Watched(QuickClock):
        slept: list[float] = []  # noqa: RUF012

        async def sleep(self, seconds: float) -> None:
            self.slept.append(seconds)
            await super().sleep(seconds)

    clock: Clock = Watched()
    async with joined(node.url, "a", clock=clock) as client:
        await asyncio.to_thread(node.stop)
        await eventually(lambda: client.status.connection.state == "waiting")
        await asyncio.to_thread(node.start)
        await client.online(DEADLINE)
        counts = itertools.count()
        assert (await fated(await client.publish("note", {"n": next(counts)}))).status == "stored"
