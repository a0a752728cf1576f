"""What becomes of a write: its order, a lost answer, a call that was cancelled, another attempt, a choice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from continuum import Client
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
