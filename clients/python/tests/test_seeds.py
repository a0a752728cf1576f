"""The Python examples that the seeds print run as they are printed, with the address of the test's node.

What the seeds take for given (a model, a handler) is given here; the class that PUO Memo prints in full comes from the package.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import time
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

import pytest

import continuum.realtime
from continuum.puo_memo import PuoMemoWebSocket

from .support import Node, eventually, joined, soon

SEEDS = Path(__file__).parent / "seeds"


def printed(name: str, node: Node) -> CodeType:
    """An example, asked of the test's node."""
    text = (SEEDS / f"{name}.py").read_text()
    for address in ("localhost:8420", "localhost:8000"):
        text = text.replace(address, node.url.removeprefix("ws://"))
    code: CodeType = compile(text, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return code


async def run(name: str, node: Node, **given: Any) -> dict[str, Any]:
    """Runs an example with what it takes for given. Gives what it defines."""
    names: dict[str, Any] = {"__name__": name, **given}
    result = eval(printed(name, node), names)
    if inspect.isawaitable(result):
        await result
    return names


@pytest.fixture
def manager(shared_node: Node, monkeypatch: pytest.MonkeyPatch) -> continuum.realtime.SyncManager:
    """The program's own, on the test's node."""
    monkeypatch.setenv("CONTINUUM_URL", shared_node.url)
    fresh = continuum.realtime.SyncManager()
    monkeypatch.setattr(continuum.realtime, "_manager", fresh)
    return fresh


async def test_the_printed_client_hears_events(shared_node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    names = await run("continuum_connect", shared_node)
    listening = asyncio.create_task(names["connect"]())
    async with joined(shared_node.url, "teller") as teller:
        await eventually(lambda: "claude-1" in teller.presence.others)
        await (await teller.publish("concept_learned", {"concept_name": "Jitter"})).settled(30)
        heard: list[str] = []

        def look() -> bool:
            heard.append(capsys.readouterr().out)
            return "Received: concept_learned" in "".join(heard)

        await eventually(look)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_the_printed_broadcast_reaches_the_others_and_the_printed_handler(
    shared_node: Node, manager: continuum.realtime.SyncManager, capsys: pytest.CaptureFixture[str]
) -> None:
    async with joined(shared_node.url, "listener") as other:
        events = other.subscribe()
        await run("continuum_subscribe", shared_node)
        await run("continuum_broadcast", shared_node)
        event = await soon(anext(events))
        assert (event.type, event.instance) == ("memory_added", "claude-123")
        assert event.data == {
            "user_message": "What is quantum physics?",
            "ai_response": "Quantum physics is...",
            "concepts_extracted": 5,
        }
        learned = await continuum.realtime.broadcast_concept_learned("default", "claude-123", "Entanglement", confidence=0.9)
        assert learned is not None
        assert learned.status == "stored"
        decided = await continuum.realtime.broadcast_decision_made("default", "claude-123", "Use jitter", rationale="crowds")
        assert decided is not None
        assert decided.status == "stored"
        heard: list[str] = []

        def look() -> bool:
            heard.append(capsys.readouterr().out)
            return "New concept learned: Entanglement" in "".join(heard)

        await eventually(look)
        here = await asyncio.to_thread(continuum.realtime.get_tenant_instances, "default")
        assert {"listener", "claude-123"} <= {one["instance_id"] for one in here}
        assert (await asyncio.to_thread(continuum.realtime.get_connection_stats))["total_connections"] >= 2
    await manager.close()


async def test_the_printed_use_of_the_manager_shows_figures(
    shared_node: Node, manager: continuum.realtime.SyncManager, capsys: pytest.CaptureFixture[str]
) -> None:
    names = await run("continuum_manager", shared_node)
    assert names["manager"] is manager
    assert "Connected instances: " in capsys.readouterr().out


async def test_the_printed_endpoint_broadcasts_what_it_stored(
    shared_node: Node, manager: continuum.realtime.SyncManager, tenant: str
) -> None:
    learned = SimpleNamespace(concepts_extracted=3)
    memory = SimpleNamespace(learn=lambda user, ai: learned)
    names = await run("continuum_router", shared_node, LearnRequest=dict[str, Any], memory=memory)
    async with joined(shared_node.url, "listener", tenant=tenant) as other:
        events = other.subscribe("memory_added")
        request = SimpleNamespace(user_message="hello", ai_response="hi")
        assert await names["learn"](request, tenant) is learned
        assert (await soon(anext(events))).data == {"user_message": "hello", "ai_response": "hi", "concepts_extracted": 3}
    await manager.close()


async def test_the_printed_reconnection_tries_again_until_it_may_not(shared_node: Node) -> None:
    import websockets

    tried = 0

    async def handle(ws: Any) -> None:
        nonlocal tried
        assert json.loads(await ws.recv())["event_type"] == "session_ready"
        tried += 1
        if tried < 2:
            raise OSError("lost")

    names = await run("continuum_retry", shared_node, websockets=websockets, handle_connection=handle)
    # The printed loop joins once more after a good end, too.
    await names["connect_with_retry"](f"{shared_node.url}/ws/sync?tenant_id=default&instance_id=retry", max_retries=2)
    assert tried == 2


async def test_the_printed_use_of_puo_memos_client_hears_memories(
    shared_node: Node, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONTINUUM_URL", shared_node.url)
    names = await run("puo_memo_usage", shared_node)
    listening = asyncio.create_task(names["main"]())
    heard: list[str] = []
    joined_as: list[str] = []

    def hears(words: str) -> bool:
        heard.append(capsys.readouterr().out)
        return words in "".join(heard)

    writer = PuoMemoWebSocket(token="your-auth-token")
    writer.on("tenant.user_joined", lambda data: joined_as.append(data["user_id"]))
    writing = asyncio.create_task(writer.connect())
    await eventually(lambda: writer._ws is not None)
    tick = 0

    async def is_heard() -> bool:
        nonlocal tick
        tick += 1
        memory = {"id": f"m{tick}", "title": "On tides", "content": "…"}
        await writer.send("memory.created", {"memory": memory})
        await writer.send("memory.updated", {"memory_id": f"m{tick}", "changes": {"content": "The moon"}})
        return hears("Memory updated: m")

    await eventually(is_heard)
    assert "New memory: On tides" in "".join(heard)
    await writer.disconnect()
    await soon(writing)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


def test_the_printed_load_goes_through(
    shared_node: Node, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = asyncio.sleep
    # Its pauses are no part of what is shown.
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: real(0))
    began = time.monotonic()
    exec(printed("puo_memo_load", shared_node), {"__name__": "load"})
    assert capsys.readouterr().out.count("completed") == 100
    assert time.monotonic() - began < 30
