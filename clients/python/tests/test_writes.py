"""What becomes of a write: its order, a lost answer, a call that was cancelled, another attempt, a choice."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

import continuum
from continuum import Client, journal
from continuum.told import Key
from continuum.transport import WebSocketTransport

from .support import DEADLINE, Line, Node, QuickClock, eventually, fated, joined

NOWHERE = "ws://127.0.0.1:9"
NOTE = Key("note", "n")
NO_SUCH = [{"op": "test", "path": "/n", "value": 99}, {"op": "replace", "path": "/title", "value": "b's"}]


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
