"""The journal: nothing is lost that was taken, nothing is done twice, whatever happens to the disk and the process."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import continuum
from continuum import Client
from continuum.store import Store

from .support import DEADLINE, Line, Node, QuickClock, eventually, fated, joined, soon

NOWHERE = "ws://127.0.0.1:9"

WRITER = """
import asyncio, json, sys
import continuum
sys.path.insert(0, {tests!r})
from tests.support import QuickClock

async def main():
    url, tenant, journal, first = sys.argv[1:5]
    async with continuum.Client(url, tenant=tenant, instance="writer", journal=journal, clock=QuickClock()) as client:
        counter = client.entity("tally", "t")
        n = int(first)
        while True:
            event = await client.publish("note", {{"n": n}})
            change = await counter.put({{}}) if n == 0 else await counter.update({{f"k{{n}}": n}})
            print(json.dumps([event.id, n]), flush=True)
            n += 1

asyncio.run(main())
"""


def writer(*arguments: str) -> subprocess.Popen[str]:
    program = WRITER.format(tests=str(Path(__file__).parents[1]))
    return subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("seed", range(4))
async def test_a_process_killed_at_any_moment_loses_and_doubles_nothing_that_it_was_told_is_kept(
    shared_node: Node, tenant: str, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    kept: dict[str, int] = {}
    for _ in range(4):
        first = max(kept.values(), default=-1) + 2
        process = writer(shared_node.url, tenant, str(tmp_path / "journal"), str(first if kept else 0))
        assert process.stdout is not None
        wanted = chance.randint(1, 25)
        for _ in range(wanted):
            line = await soon(asyncio.to_thread(process.stdout.readline))
            name, n = json.loads(line)
            kept[name] = n
        process.send_signal(signal.SIGKILL)
        # What it said before the kill reached it counts, too.
        rest, _ = await asyncio.to_thread(process.communicate)
        for line in rest.splitlines():
            if line.endswith("]"):
                name, n = json.loads(line)
                kept[name] = n
    async with joined(shared_node.url, "writer", tenant=tenant, journal=tmp_path / "journal") as client:
        assert await client.flushed(DEADLINE)
        assert client.status.sync.refused == 0
        stored = Counter([event.event_id async for event in client.replay(types=["note"])])
        assert max(stored.values()) == 1
        assert kept.keys() <= stored.keys()
        data = await client.entity("tally", "t").data() or {}
        assert {f"k{n}" for n in kept.values() if n} <= data.keys()


async def test_what_was_written_without_a_node_reaches_the_room_in_its_order_by_a_later_process(
    shared_node: Node, tenant: str, tmp_path: Path
) -> None:
    async with Client(NOWHERE, tenant=tenant, instance="a", journal=tmp_path) as offline:
        note = offline.entity("note", "n")
        await note.create({"body": "one"})
        op = await note.update({"more": 1})
        assert op.optimistic == {"body": "one", "more": 1}
        for n in range(50):
            await offline.publish("note", {"n": n})
        assert offline.status.sync.pending == 52
    async with joined(shared_node.url, "a", tenant=tenant, journal=tmp_path) as online:
        assert await online.flushed(DEADLINE)
        assert (await online.settled(op.id, DEADLINE)).status == "confirmed"
        events = [event async for event in online.replay(types=["note"])]
        assert [event.data["n"] for event in events] == list(range(50))
        assert (await online.entity("note", "n").see()).confirmed == {"body": "one", "more": 1}


async def test_two_processes_share_a_journal_and_one_takes_over_from_the_other(
    shared_node: Node, tenant: str, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    process = writer(shared_node.url, tenant, str(journal), "0")
    assert process.stdout is not None
    kept = [json.loads(await soon(asyncio.to_thread(process.stdout.readline)))[0] for _ in range(3)]
    async with Client(shared_node.url, tenant=tenant, instance="writer", journal=journal, clock=QuickClock()) as second:
        await second.online(DEADLINE)
        assert not second._open.is_leading
        # Written here, sent there.
        op = await second.publish("note", {"by": "second"})
        assert (await fated(op)).status == "stored"
        assert (await second.entity("tally", "t").data()) is not None
        events = second.subscribe(own=True)
        assert (await soon(anext(events))).type == "note"
        process.send_signal(signal.SIGKILL)
        rest, _ = await asyncio.to_thread(process.communicate)
        kept += [json.loads(line)[0] for line in rest.splitlines() if line.endswith("]")]
        await eventually(lambda: second._open.is_leading)
        await second.online(DEADLINE)
        assert await second.flushed(DEADLINE)
        stored = Counter([event.event_id async for event in second.replay(types=["note"])])
        assert {*kept, op.id} <= stored.keys()
        assert max(stored.values()) == 1


async def test_where_no_journal_can_be_it_goes_on_in_memory_and_says_why(shared_node: Node, tenant: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    async with joined(shared_node.url, "a", tenant=tenant, journal=tmp_path / "file" / "journal") as client:
        storage = client.status.storage
        assert storage.kind == "memory"
        assert storage.reason is not None
        assert "cannot be used" in storage.reason
        assert (await fated(await client.publish("note", {}))).status == "stored"


async def test_a_disk_that_fills_up_loses_nothing_and_is_used_again_when_it_has_space(
    shared_node: Node, tenant: str, tmp_path: Path
) -> None:
    async with Line(shared_node.port) as line:
        line.cut()
        async with Client(line.url, tenant=tenant, instance="a", journal=tmp_path, clock=QuickClock()) as client:
            before = await client.publish("note", {"n": "before"})
            store: Store = client._open.store
            pages = await store.run(lambda db: int(db.execute("PRAGMA page_count").fetchone()[0]))
            await store._in_thread(lambda: (store._db or _none()).execute(f"PRAGMA max_page_count = {pages}"))
            full = await client.publish("note", {"n": "full", "filler": "x" * 100_000})
            assert client.status.storage.kind == "memory"
            assert "full" in str(client.status.storage.reason)
            line.heal()
            assert {(await fated(op)).status for op in (before, full)} == {"stored"}
            line.cut()
            kept = await client.publish("note", {"n": "kept", "filler": "x" * 100_000})
            await store._in_thread(lambda: (store._disk or _none()).execute("PRAGMA max_page_count = 1000000"))
            await eventually(lambda: client.status.storage.kind == "disk")
        async with joined(shared_node.url, "a", tenant=tenant, journal=tmp_path) as later:
            assert (await later.settled(kept.id, DEADLINE)).status == "stored"
            stored = Counter([event.event_id async for event in later.replay()])
            assert stored == {op.id: 1 for op in (before, full, kept)}


async def full(client: Client) -> None:
    """The disk takes no more of what this client writes, until `space`."""
    store = client._open.store
    pages = await store.run(lambda db: int(db.execute("PRAGMA page_count").fetchone()[0]))
    await store._in_thread(lambda: (store._db or _none()).execute(f"PRAGMA max_page_count = {pages}"))
    await client.publish("note", {"filler": "x" * 100_000})
    assert client.status.storage.kind == "memory"


async def space(client: Client) -> None:
    store = client._open.store
    await store._in_thread(lambda: (store._disk or _none()).execute("PRAGMA max_page_count = 1000000"))
    await eventually(lambda: client.status.storage.kind == "disk")


async def put(client: Client, fields: dict[str, int]) -> continuum.Op:
    return await client.change("task", "t", "put", patch=fields)


@pytest.mark.parametrize("leads", [True, False])
async def test_what_another_process_wrote_while_the_disk_was_full_stays(
    shared_node: Node, tenant: str, tmp_path: Path, leads: bool
) -> None:
    async with Line(shared_node.port) as line:

        def member() -> Client:
            return Client(line.url, tenant=tenant, instance="a", journal=tmp_path, clock=QuickClock())

        async with member() as first, member() as second:
            await first.online(DEADLINE)
            await eventually(lambda: second.status.connection.state == "online")
            mine, theirs = (first, second) if leads else (second, first)
            line.cut()
            ops = [await mine.publish("note", {"n": "before"})]
            change = await put(mine, {"a": 1})
            await full(mine)
            ops += [await mine.publish("note", {"n": "in memory"}), await theirs.publish("note", {"n": "on disk"})]
            changes = [change, await put(theirs, {"b": 2}), await put(mine, {"c": 3})]
            if leads:
                # What is settled in memory is settled on the disk once it is back.
                line.heal()
                assert (await fated(ops[0])).status == "stored"
                assert (await fated(changes[2])).status == "confirmed"
            await space(mine)
            line.heal()
            assert {(await fated(op)).status for op in ops} == {"stored"}
            assert {(await fated(op)).status for op in changes} == {"confirmed"}
            assert len({op.number for op in ops + changes}) == 6
            for one in (first, second):
                await eventually(one.entity("task", "t").data, lambda data: data == {"a": 1, "b": 2, "c": 3})
                await eventually(lambda one=one: one.status.sync.pending == 0)  # type: ignore[misc]
            stored = [event.event_id async for event in first.replay(types=["note"])]
            assert len(stored) == len(set(stored)) == 4


async def test_who_takes_over_while_the_disk_is_full_goes_on_from_what_is_on_it(
    shared_node: Node, tenant: str, tmp_path: Path
) -> None:
    async with Line(shared_node.port) as line:

        def member() -> Client:
            return Client(line.url, tenant=tenant, instance="a", journal=tmp_path, clock=QuickClock())

        async with member() as first:
            await first.online(DEADLINE)
            async with member() as second:
                await second.online(DEADLINE)
                line.cut()
                op = await first.publish("note", {})
                await full(second)
                line.heal()
                assert (await fated(op)).status == "stored"
                await first.close()
                assert await second.flushed(DEADLINE)
                # It was not sent once more.
                assert not (await second.settled(op.id, DEADLINE)).duplicate
                assert second.status.storage.kind == "memory"
                await space(second)


async def test_a_journal_that_is_locked_for_long_ends_nothing(
    shared_node: Node, tenant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(continuum.store, "_PATIENCE_S", 0.1)

    def member() -> Client:
        return Client(shared_node.url, tenant=tenant, instance="a", journal=tmp_path, clock=QuickClock())

    async with joined(shared_node.url, "other", tenant=tenant) as other, member() as leads:
        await leads.online(DEADLINE)
        async with member() as follows:
            await follows.online(DEADLINE)
            hearing = [one.subscribe() for one in (leads, follows)]
            holder = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(continuum.StorageFailed):
                await member().open()
            await other.publish("note", {"n": 1})
            await eventually(lambda: leads.status.connection.state == "waiting")
            assert "locked" in str(leads.status.connection.reason)
            with pytest.raises(continuum.StorageFailed):
                await leads.publish("note", {})
            holder.execute("ROLLBACK")
            holder.close()
            for events in hearing:
                assert (await soon(anext(events))).data == {"n": 1}
            assert (await fated(await follows.publish("note", {}))).status == "stored"


def _none() -> continuum.store.Db:
    raise AssertionError("there is none")


async def test_a_journal_that_is_full_by_its_own_measure_says_so(tmp_path: Path) -> None:
    async with Client(NOWHERE, instance="a", journal=tmp_path, journal_bytes=1000) as client:
        await client.publish("note", {"filler": "x" * 1000})
        with pytest.raises(continuum.StorageFailed, match="journal_full"):
            await client.publish("note", {})


async def test_a_journal_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    async with Client(NOWHERE, instance="a", journal=tmp_path):
        pass
    with pytest.raises(continuum.StorageFailed, match="it is the journal of 'default a'"):
        await Client(NOWHERE, instance="b", journal=tmp_path).open()


async def test_a_damaged_journal_is_put_aside(shared_node: Node, tenant: str, tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"no database, " * 1000)
    async with joined(shared_node.url, "a", tenant=tenant, journal=tmp_path) as client:
        assert (await fated(await client.publish("note", {}))).status == "stored"
        assert client.status.storage.kind == "disk"
    assert [path.name for path in tmp_path.glob("journal.db.damaged-*")] != []


async def test_what_is_refused_for_good_waits_with_its_reason_and_holds_nothing_up(
    shared_node: Node, tenant: str, tmp_path: Path
) -> None:
    async with joined(shared_node.url, "a", tenant=tenant, journal=tmp_path) as client:
        refused = await client.entity("note", "gone").update({"x": 1})
        after = await client.publish("note", {})
        assert (await fated(refused)).status == "rolled_back"
        assert (await fated(after)).status == "stored"
        assert client.status.sync.refused == 1
    async with joined(shared_node.url, "a", tenant=tenant, journal=tmp_path) as client:
        [letter] = await client.dead_letters()
        assert (letter.id, letter.code, letter.kind, letter.entity) == (refused.id, "not_found", "note", "gone")
        await fated(await client.entity("note", "gone").create({}))
        again = await client.retry(letter.id)
        assert (await fated(again)).status == "confirmed"
        assert await client.dead_letters() == []
        await eventually(lambda: client.status.sync.refused == 0)


def test_the_journal_flushes_before_it_says_that_it_has_something(tmp_path: Path) -> None:
    """Power may fail at any moment after: the file system was told to write."""
    program = (
        "import asyncio, sys, continuum\n"
        "async def main():\n"
        f"    async with continuum.Client({NOWHERE!r}, instance='a', journal=sys.argv[1]) as client:\n"
        "        await client.publish('note', {})\n"
        "        for name in ('synchronous', 'journal_mode'):\n"
        "            look = lambda db: db.execute('PRAGMA ' + name).fetchone()[0]\n"
        "            print(await client._open.store.run(look, continuum.store.Care.SURE))\n"
        "asyncio.run(main())"
    )
    environment = dict(os.environ)
    answer = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, env=environment, check=True
    )
    assert answer.stdout.split() == ["2", "wal"]
