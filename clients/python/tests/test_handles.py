"""What programs hold: streams, texts, watches, presence, views, replays, and the README's first words."""

from __future__ import annotations

import ast
import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

import continuum
from continuum import Client, heal, journal, mirror
from continuum.journal import Settled
from continuum.store import Db, Store
from continuum.told import Key, Page, Stands

from .support import DEADLINE, Node, QuickClock, eventually, fated, joined, soon

NOTE = Key("note", "n")


async def test_who_comes_leaves_and_says_something_is_told(shared_node: Node, tenant: str) -> None:
    async with joined(shared_node.url, "a", tenant=tenant) as a:
        changes = a.presence.changes()
        async with joined(shared_node.url, "b", tenant=tenant, capabilities=["memory"], user="ann") as b:
            came = await soon(anext(changes))
            assert (came.kind, came.who.instance, came.who.capabilities, came.who.user) == ("joined", "b", ("memory",), "ann")
            assert a.presence.total == 2
            b.presence.say({"status": "busy"})
            said = await soon(anext(changes))
            assert (said.kind, said.who.data) == ("updated", {"status": "busy"})
            # Whoever comes later is told, too.
            async with joined(shared_node.url, "c", tenant=tenant) as c:
                await eventually(lambda: c.presence.others["b"].data == {"status": "busy"})
        kinds = [(await soon(anext(changes))) for _ in range(3)]
        assert {(change.kind, change.who.instance) for change in kinds} >= {("joined", "c"), ("left", "c"), ("left", "b")}


async def test_a_text_tells_what_others_did_to_it(shared_node: Node, tenant: str) -> None:
    async with joined(shared_node.url, "a", tenant=tenant) as a, joined(shared_node.url, "b", tenant=tenant) as b:
        await fated(await a.entity("note", "n").create({"body": "👩🏽‍🔬 works"}))
        await eventually(b.entity("note", "n").data)
        mine, theirs = await a.entity("note", "n").text("/body"), await b.entity("note", "n").text("/body")
        changes = mine.changes()
        waiting = asyncio.ensure_future(anext(changes))
        await theirs.replace("👩🏽‍🔬 worked")
        change = await soon(waiting)
        assert (change.value, change.ops) == ("👩🏽‍🔬 worked", (9, "ed", -1))
        await changes.aclose()
        with pytest.raises(continuum.TextFailed):
            await mine.insert(100, "x")
        with pytest.raises(continuum.TextFailed):
            await a.entity("note", "n").text("/nowhere")


async def test_a_journal_goes_on_where_it_was_left_and_hears_what_it_missed(shared_node: Node, tenant: str, tmp_path: Path) -> None:
    async with joined(shared_node.url, "other", tenant=tenant) as other:
        async with joined(shared_node.url, "a", tenant=tenant, journal=tmp_path) as client:
            await fated(await client.entity("note", "n").create({"x": 1}))
            events = client.subscribe("note")
            await fated(await other.publish("note", {"n": 0}))
            # What was told is written down.
            assert (await soon(anext(events))).data == {"n": 0}
        await fated(await other.publish("note", {"n": 1}))
        await fated(await other.entity("note", "n").update({"x": 2}))
        async with Client("ws://127.0.0.1:9", tenant=tenant, instance="a", journal=tmp_path) as offline:
            # What was here is there to be read without a node.
            assert await offline.entity("note", "n").data() == {"x": 1}
        client = Client(shared_node.url, tenant=tenant, instance="a", journal=tmp_path)
        await client.open()
        events = client.subscribe("note")
        assert (await soon(anext(events))).data == {"n": 1}
        await eventually(client.entity("note", "n").data, lambda data: data == {"x": 2})
        assert client.status.connection.resumed == "complete"
        await client.close()


async def test_a_view_follows_and_ends(shared_node: Node, tenant: str) -> None:
    async with joined(shared_node.url, "a", tenant=tenant) as a, joined(shared_node.url, "b", tenant=tenant) as b:
        await fated(await a.entity("task", "t1").create({"rank": 1}))
        async with b.follow_query("task", "rank < 3") as view:
            await soon(view.ready())
            assert view.entities == {Key("task", "t1"): {"rank": 1}}
            await fated(await a.entity("task", "t2").create({"rank": 2}))
            await fated(await a.entity("task", "t1").update({"rank": 5}))
            while set((await soon(anext(view))).entities) != {Key("task", "t2")}:
                pass
            # Entities are kept all the same.
            await eventually(b.entity("task", "t1").data, lambda data: data == {"rank": 5})
        with pytest.raises(continuum.Refused, match="invalid_query"):
            await soon(b.follow_query("task", "((").ready())


async def test_everything_that_waits_ends_when_the_client_is_closed(shared_node: Node, tenant: str) -> None:
    client = Client("ws://127.0.0.1:9", tenant=tenant, instance="a")
    await client.open()
    op = await client.publish("note", {})
    waiting: list[Any] = [
        op.settled(),
        anext(client.subscribe()),
        anext(client.signals()),
        client.follow_ids(("note", "n")).__anext__(),
    ]
    tasks = [asyncio.ensure_future(one) for one in waiting]
    await asyncio.sleep(0)
    assert await client.close() == 1
    ends = await soon(asyncio.gather(*tasks, return_exceptions=True))
    assert [type(end) for end in ends] == [continuum.Closed, *[StopAsyncIteration] * 3]
    with pytest.raises(continuum.Closed):
        await client.publish("note", {})


def readme(monkeypatch: pytest.MonkeyPatch, *options: Any, **more: Any) -> list[str]:
    """The README's snippets as they stand, which will have a node and a directory of the test's."""

    class Here(Client):
        def __init__(self, *_: Any, **asked: Any) -> None:
            super().__init__(*options, **asked | more)

    monkeypatch.setattr(continuum, "Client", Here)
    return re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text(), re.DOTALL)


async def test_the_readmes_first_words_work(
    shared_node: Node, tenant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    [first, _] = readme(monkeypatch, shared_node.url, tenant=tenant, journal=tmp_path)
    assert first.count("\n") <= 12
    main: list[Any] = []
    monkeypatch.setattr(asyncio, "run", main.append)
    exec(first, {})
    running = asyncio.create_task(main[0])
    said: list[str] = []

    def is_said() -> bool:
        said.append(capsys.readouterr().out)
        return re.search(r"status='stored'.*claude-1 \{'user_message': 'hello'\}", "".join(said), re.DOTALL) is not None

    await eventually(is_said)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_what_the_readme_does_can_be_done_in_a_new_room(
    shared_node: Node, tenant: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    [_, second] = readme(monkeypatch)
    async with joined(shared_node.url, "a", tenant=tenant) as client:
        names: dict[str, Any] = {"client": client}
        await soon(eval(compile(second, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names))
        assert names["settled"].status == "confirmed"
        assert names["body"].value == "Once upon a time"
        done = {"title": "two", "body": "Once upon a time"}
        said = capsys.readouterr().out
        assert f"{done} {done}\n" in said
        assert f"Key(type='note', id='n1'): {done}" in said


async def test_what_is_not_read_any_more_is_not_kept(shared_node: Node, tenant: str) -> None:
    async with joined(shared_node.url, "a", tenant=tenant) as client:
        for n in range(3):
            await client.publish("note", {"n": n})
            async for _ in client.subscribe(own=True):
                break
            async for _ in client.entity("note", f"n{n}").watch():
                break
            client.signals()
        room = client._open
        await eventually(
            lambda: [len(room.subscriptions), len(room.changed), len(room.signals._open)], lambda left: left == [0, 0, 0]
        )


async def test_a_client_that_was_closed_stays_so() -> None:
    client = Client("ws://127.0.0.1:9", instance="a")
    async with client:
        pass
    with pytest.raises(continuum.Closed):
        await client.open()


# --- The mirror, alone ---


async def kept() -> Store:
    """A journal in memory that has one note."""
    store = Store(None)
    await store.open()
    await store.run(lambda db: mirror.apply(db, Stands(NOTE, 3, {"t": "hello"}, [], ["b"]), "a"))
    return store


def edit(db: Db, name: str, ops: list[Any]) -> None:
    mirror.write(db, name, NOTE, None, {"action": "update", "text": {"path": "/t", "ops": ops}}, None, 0)


def shows(db: Db) -> Any:
    return (mirror.see(db, NOTE).data or {}).get("t")


async def test_what_was_typed_behind_an_edit_that_is_refused_stays_and_makes_way() -> None:
    store = await kept()

    def work(db: Db) -> None:
        edit(db, "first", [5, " there"])
        edit(db, "second", [11, "!"])
        edit(db, "third", ["Oh, "])
        assert shows(db) == "Oh, hello there!"
        mirror.take(db, [one for one in journal.of_entity(db, NOTE) if one.id == "first"])
        mirror.settle(db, "first", Settled("rolled_back", code="forbidden"), 0, lambda key: True)
        assert shows(db) == "Oh, hello!"
        ready = mirror.take(db, journal.of_entity(db, NOTE))
        assert [one.body["text"]["ops"] for one in ready] == [[5, "!"], ["Oh, "]]

    await store.run(work)
    await store.close()


async def test_our_own_record_is_shown_once_before_and_after_its_answer() -> None:
    store = await kept()

    def work(db: Db) -> None:
        edit(db, "first", [5, "!"])
        edit(db, "second", [6, "?"])
        mirror.take(db, [one for one in journal.of_entity(db, NOTE) if one.id == "first"])
        own = Stands(NOTE, 4, {"t": "hello!"}, [("/t", (5, "!"))], ["a"])
        assert mirror.apply(db, own, "a", "first")
        assert shows(db) == "hello!?"
        # Others go on before the answer comes.
        assert mirror.apply(db, Stands(NOTE, 5, {"t": "> hello!"}, [("/t", ("> ",))], ["b"]), "a", "x")
        assert shows(db) == "> hello!?"
        mirror.settle(db, "first", Settled("confirmed", version=4), 0, lambda key: True)
        assert shows(db) == "> hello!?"
        assert not mirror.apply(db, own, "a", "first"), "what was seen is no news"

    await store.run(work)
    await store.close()


async def test_edits_made_on_different_versions_go_out_in_a_form_that_nodes_can_follow() -> None:
    store = await kept()

    def others(db: Db, version: int, text: str) -> None:
        mirror.apply(db, Stands(NOTE, version, {"t": text}, [("/t", (">",))], ["b"]), "a", "x")

    def next_out(db: Db) -> journal.Pending:
        return mirror.take(db, journal.of_entity(db, NOTE)[:1])[0]

    def work(db: Db) -> None:
        edit(db, "first", [5, "1"])
        edit(db, "second", [6, "2"])
        others(db, 4, ">hello")
        edit(db, "third", [8, "3"])
        assert shows(db) == ">hello123"
        first = next_out(db)
        assert (first.base, first.body["text"]["ops"]) == (3, [5, "1"]), "as it was made, a node can follow it"
        edit(db, "fourth", [9, "4"])
        mirror.apply(db, Stands(NOTE, 5, {"t": ">hello1"}, [("/t", (6, "1"))], ["a"]), "a", "first")
        mirror.settle(db, "first", Settled("resolved", version=5), 0, lambda key: True)
        second = next_out(db)
        assert (second.base, second.body["text"]["ops"]) == (3, [6, "2"]), "made on the same version, it follows the first"
        mirror.apply(db, Stands(NOTE, 6, {"t": ">hello12"}, [("/t", (7, "2"))], ["a"]), "a", "second")
        mirror.settle(db, "second", Settled("resolved", version=6), 0, lambda key: True)
        forms: list[tuple[int, list[Any]]] = [(6, [8, "3"]), (7, [9, "4"])]
        for base, ops in forms:
            write = next_out(db)
            assert (write.base, write.body["text"]["ops"]) == (base, ops), "on what stands: it was made behind two versions"
            mirror.apply(db, Stands(NOTE, base + 1, {"t": ">hello1234"[: base + 3]}, [("/t", tuple(ops))], ["a"]), "a", write.id)
            mirror.settle(db, write.id, Settled("confirmed", version=base + 1), 0, lambda key: True)
        assert shows(db) == ">hello1234"

    await store.run(work)
    await store.close()


async def test_one_record_of_several_writers_is_told_apart() -> None:
    store = await kept()

    def work(db: Db) -> None:
        edit(db, "first", [5, "!"])
        edit(db, "second", [6, "?"])
        mirror.take(db, [one for one in journal.of_entity(db, NOTE) if one.id == "first"])
        edits: list[tuple[str, Any]] = [("/t", ("> ",)), ("/t", (7, "!")), ("/t", (1, "> "))]
        assert mirror.apply(db, Stands(NOTE, 6, {"t": ">>  hello!"}, edits, ["b", "a", "b"]), "a", "of the record")
        assert shows(db) == ">>  hello!?"

    await store.run(work)
    await store.close()


async def test_the_state_read_anew_drops_what_is_gone_and_keeps_what_is_pending() -> None:
    store = await kept()

    def work(db: Db) -> None:
        edit(db, "first", [5, "!"])
        mirror.apply(db, Stands(Key("note", "other"), 4, {"x": 1}, [], ["b"]), "a")
        mirror.begin_state(db, is_other_log=False)
        mirror.put_page(db, Page("q", [Stands(NOTE, 9, {"t": "well, hello"})], is_last=True))
        mirror.end_state(db, "epoch *")
        assert shows(db) == "well, hello!"
        assert mirror.see(db, Key("note", "other")).data is None
        # Of another log, versions mean nothing, and what is pending is sent as if nothing were known.
        edit(db, "second", ["?"])
        mirror.settle(db, "second", Settled("rolled_back", code="forbidden"), 0, lambda key: True)
        mirror.begin_state(db, is_other_log=True)
        assert (mirror.see(db, NOTE).version, journal.of_entity(db, NOTE)[0].base) == (0, 0)
        assert [letter.base for letter in journal.dead_letters(db)] == [0]

    await store.run(work)
    await store.close()


async def test_one_who_asks_late_for_a_fate_is_told(shared_node: Node, tenant: str, tmp_path: Path) -> None:
    async with joined(shared_node.url, "a", tenant=tenant, journal=tmp_path, clock=QuickClock()) as client:
        op = await client.publish("note", {})
        first, second = await asyncio.gather(op.settled(DEADLINE), op.settled(DEADLINE))
        assert first == second == await op.settled()
        with pytest.raises(continuum.Refused, match="not_found"):
            await client.settled("00000000-0000-4000-8000-000000000000", DEADLINE)


async def test_an_edit_that_was_made_while_the_disk_was_full_goes_out_as_it_was_made() -> None:
    store, other = await kept(), Store(None)
    await other.open()
    disk, memory = store._db, other._db
    assert disk is not None
    assert memory is not None
    left = heal.leave(disk, memory)
    edit(memory, "mine", [5, "!"])
    mirror.apply(disk, Stands(NOTE, 4, {"t": "oh, hello"}, [("/t", ("oh, ",))], ["b"]), "a", "x")
    heal.bring(memory, disk, left, is_leading=False)
    assert shows(disk) == "oh, hello"
    [write] = mirror.take(disk, journal.of_entity(disk, NOTE))
    assert (write.base, write.body["text"]["ops"]) == (3, [5, "!"])
    await store.close()
    await other.close()
