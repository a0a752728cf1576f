"""What becomes of a write: its order, a lost answer, a call that was cancelled, another attempt, a choice."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

import continuum
from continuum import Client, VirtualClock, journal, lines, mirror
from continuum.journal import Settled
from continuum.room import Room
from continuum.store import Db, Store
from continuum.told import Key, Stands
from continuum.transport import WebSocketTransport

from .support import DEADLINE, Line, Node, QuickClock, eventually, fated, joined

NOWHERE = "ws://127.0.0.1:9"
NOTE = Key("note", "n")
NO_SUCH: list[dict[str, Any]] = [{"op": "test", "path": "/n", "value": 99}, {"op": "replace", "path": "/title", "value": "b's"}]


async def order(client: Client) -> list[str]:
    return [event.type async for event in client.replay()]


@pytest.mark.parametrize("is_online", [True, False])
async def test_an_event_comes_behind_the_changes_that_were_made_before_it(
    shared_node: Node, tenant: str, tmp_path: Path, is_online: bool
) -> None:
    async with Client(shared_node.url if is_online else NOWHERE, tenant=tenant, instance="a", journal=tmp_path) as client:
        if is_online:
            await client.online(DEADLINE)
        task = client.entity("task", "t")
        await task.put({"a": 1})
        await task.update({"a": 2})
        await task.update({"a": 3})
        await client.publish("done")
        await client.publish("told")
        if is_online:
            await client.flushed(DEADLINE)
    async with joined(shared_node.url, "a", tenant=tenant, journal=tmp_path) as client:
        assert await client.flushed(DEADLINE)
        assert await order(client) == ["sync_event"] * 3 + ["done", "told"]


async def test_an_event_whose_answer_was_lost_is_settled_by_its_record_and_not_sent_again(
    shared_node: Node, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    send = WebSocketTransport.send

    async def noted(transport: WebSocketTransport, text: str) -> None:
        sent.append(json.loads(text).get("event_id", ""))
        await send(transport, text)

    monkeypatch.setattr(WebSocketTransport, "send", noted)
    async with (
        joined(shared_node.url, "other", tenant=tenant) as other,
        Line(shared_node.port) as line,
        joined(line.url, "a", tenant=tenant, clock=QuickClock()) as client,
    ):
        line.loses_answers = True
        op = await client.publish("note", {})
        await eventually(lambda: order(other), lambda found: found == ["note"])
        line.cut()
        line.heal()
        # The log forgets ids after a while: what is sent before all that was missed is here may be there twice.
        assert (await fated(op)).status == "stored"
        assert sent.count(op.id) == 1


async def test_a_write_whose_call_was_cancelled_counts_if_it_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, append = threading.Event(), threading.Event(), journal.append

    def slow(*arguments: Any) -> int:
        begun.set()
        assert go_on.wait(DEADLINE)
        return append(*arguments)

    for place in (None, tmp_path):
        async with Client(NOWHERE, instance="a", journal=place) as client:
            monkeypatch.setattr(journal, "append", slow)
            writing = asyncio.create_task(client.publish("note", {}))
            await asyncio.to_thread(begun.wait, DEADLINE)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            go_on.set()
            assert await client.close() == 1
        begun.clear()
        go_on.clear()
    monkeypatch.setattr(journal, "append", append)
    async with Client(NOWHERE, instance="a", journal=tmp_path) as client:
        assert client.status.sync.pending == 1


async def test_the_same_id_twice_is_the_same_write() -> None:
    async with Client(NOWHERE, instance="a") as client:
        name = "11111111-1111-4111-8111-111111111111"
        first = await client.publish("note", {"n": 1}, name)
        second = await client.publish("note", {"n": 1}, name)
        assert (first.id, first.number) == (second.id, second.number)
        with pytest.raises(continuum.Refused, match="duplicate_id"):
            await client.publish("note", {"n": 2}, name)
        assert client.status.sync.pending == 1


async def test_another_attempt_that_cannot_be_kept_leaves_what_was_refused(
    shared_node: Node, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with joined(shared_node.url, "a", tenant=tenant) as client:
        refused = await client.entity("note", "gone").update({"x": 1})
        await fated(refused)

        def fails(*_: Any) -> int:
            raise sqlite3.OperationalError("disk I/O error")

        with monkeypatch.context() as patched:
            patched.setattr(journal, "append", fails)
            with pytest.raises(continuum.StorageFailed):
                await client.retry(refused.id)
        assert [letter.id for letter in await client.dead_letters()] == [refused.id]
        with pytest.raises(continuum.Refused, match="not_found"):
            await client.retry("11111111-1111-4111-8111-111111111111")


async def test_another_attempt_tells_what_it_writes_over(shared_node: Node, tenant: str) -> None:
    async with joined(shared_node.url, "a", tenant=tenant) as a, joined(shared_node.url, "b", tenant=tenant) as b:
        theirs, mine = a.entity("task", "t"), b.entity("task", "t")
        await fated(await theirs.put({"title": "one", "n": 1}))
        await eventually(mine.data)
        seen = await mine.see()
        refused = await mine.apply(NO_SUCH)
        assert (await fated(refused)).code == "test_failed"
        await fated(await theirs.update({"title": "a's, later", "n": 99}))
        await eventually(mine.data, lambda data: data == {"title": "a's, later", "n": 99})
        [letter] = await b.dead_letters()
        assert letter.base == seen.version
        again = await fated(await b.retry(refused.id))
        assert (again.status, [one["value"] for one in again.overwritten]) == ("resolved", ["a's, later"])


async def test_only_a_refusal_that_says_so_takes_a_new_base_and_a_text_never_does() -> None:
    store = Store(None)
    await store.open()
    forms: dict[str, dict[str, Any]] = {
        "patch": {"patch": {"x": 1}},
        "text": {"text": {"path": "/t", "ops": [5, "!"]}},
    }

    def work(db: Db, form: str, code: str) -> journal.Pending:
        stands = mirror.confirmed(db, NOTE)[0]
        mirror.apply(db, Stands(NOTE, stands + 1, {"t": "hello"}, [], ["b"]), "a")
        mirror.write(db, "first", NOTE, None, {"action": "update", **forms[form]}, None, 0)
        mirror.take(db, journal.of_entity(db, NOTE))
        mirror.settle(db, "first", Settled("rolled_back", code=code), 0, lambda key: True)
        mirror.apply(db, Stands(NOTE, stands + 2, {"t": "oh, hello"}, [], ["b"]), "a")
        mirror.retry(db, "first", "second", 1)
        [again] = mirror.take(db, journal.of_entity(db, NOTE))
        assert {name: again.body[name] for name in forms[form]} == forms[form]
        journal.remove(db, "second")
        assert (again.base or 0) - stands in (1, 2)
        return again

    bases = {}
    for form in forms:
        for code in ("forbidden", "edited"):
            stands = await store.run(lambda db: mirror.confirmed(db, NOTE)[0])
            again = await store.run(lambda db, form=form, code=code: work(db, form, code))  # type: ignore[misc]
            bases[form, code] = "seen" if again.base == stands + 1 else "present"
    assert bases == {
        ("patch", "forbidden"): "seen",
        ("patch", "edited"): "present",
        ("text", "forbidden"): "seen",
        ("text", "edited"): "seen",
    }
    await store.close()


async def test_a_choice_holds_for_what_its_chooser_was_shown(shared_node: Node, tenant: str) -> None:
    async with joined(shared_node.url, "a", tenant=tenant) as a, joined(shared_node.url, "b", tenant=tenant) as b:
        theirs, mine = a.entity("task", "t"), b.entity("task", "t")
        await fated(await theirs.put({"title": "one"}))
        await eventually(mine.data)
        first = (await mine.see()).version
        await fated(await theirs.update({"title": "two"}))
        assert (await fated(await mine.update({"title": "three"}, "manual", base=first))).status == "pending"
        [conflict] = await b.conflicts()
        await fated(await theirs.update({"title": "important"}))
        await eventually(mine.data, lambda data: data == {"title": "important"})
        assert (await fated(await mine.resolve(conflict, "proposed"))).status == "pending"
        assert await mine.data() == {"title": "important"}
        # Chosen by its id alone, it is chosen on what was handed out last under it.
        [conflict] = await b.conflicts()
        assert (await fated(await mine.resolve(conflict["conflict_id"], "proposed"))).status == "confirmed"
        await eventually(mine.data, lambda data: data == {"title": "three"})


async def test_what_lies_open_is_asked_for_again_only_if_the_list_is_behind(
    shared_node: Node, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, asked, ask = VirtualClock(), [0], lines.conflicts
    behind = 2

    async def late(room: Room) -> lines.Listing:
        asked[0] += 1
        listing = await ask(room)
        return listing if asked[0] > behind else lines.Listing([], 0)

    async with (
        joined(shared_node.url, "a", tenant=tenant) as other,
        Client(shared_node.url, tenant=tenant, instance="b", clock=clock, entities="all") as client,
    ):
        await client.online(DEADLINE)
        theirs = other.entity("task", "t")
        await fated(await theirs.put({"title": "one"}))
        first = (await theirs.see()).version
        await fated(await theirs.update({"title": "two"}))
        monkeypatch.setattr(lines, "conflicts", late)
        mine = await client.change("task", "t", "update", base=first, patch={"title": "three"}, strategy="manual")
        assert (await fated(mine)).status == "pending"

        def is_known() -> bool:
            clock.advance(0.1)
            return client.status.sync.conflicted == 1

        await eventually(is_known)
        assert asked[0] == behind + 1
        for _ in range(12):
            clock.advance(1)
            await fated(await client.publish("note"))
        assert asked[0] == behind + 1
