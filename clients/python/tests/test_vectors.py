"""Runs the vectors that all clients share: conversations against a real and a recorded node, and pure functions."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from continuum import Client, Event, Op, Refused, Signal, StorageFailed, Stream, Subscription, View, patch
from continuum import text as texts
from continuum.backoff import Backoff
from continuum.errors import TextFailed
from continuum.tracker import Cursor, Gap, Tracker
from continuum.wire import Message

from .support import PROGRAM, ROOT, QuickClock

VECTORS = ROOT / "clients/vectors"
PATIENCE_S = 20.0
CONVERSATIONS = sorted(path.stem for path in (VECTORS / "conversations").glob("*.json"))

Json = Any


def cases(name: str) -> list[Json]:
    path = VECTORS / f"{name}.json"
    return json.loads(path.read_text())["cases"] if path.exists() else []


# --- Pure functions ---


@pytest.mark.parametrize("case", cases("text"), ids=str)
def test_edits_of_texts_are_those_of_the_vectors(case: Json) -> None:
    if case["kind"] == "apply":
        if case.get("fails"):
            with pytest.raises(TextFailed):
                texts.apply(texts.read(case["ops"]), case["text"])
            return
        ops = texts.read(case["ops"])
        assert texts.apply(ops, case["text"]) == case["result"]
        if "canonical" in case:
            assert list(ops) == case["canonical"]
        return
    remote, pending = [texts.read(ops) for ops in case["remote"]], [texts.read(ops) for ops in case["pending"]]
    after, here = texts.carry_all(pending, remote)
    assert [list(ops) for ops in after] == case["pending_after"]
    assert [list(ops) for ops in here] == case["remote_here"]
    for chain in ([*remote, *after], [*pending, *here]):
        text = case["text"]
        for ops in chain:
            text = texts.apply(ops, text)
        assert text == case["result"]


@pytest.mark.parametrize("case", cases("backoff"), ids=str)
def test_pauses_are_those_of_the_vectors(case: Json) -> None:
    backoff = Backoff(case["failures"])
    if "lived_ms" in case:
        backoff.lived(case["lived_ms"])
        assert backoff.failures == case["after"]
    else:
        assert backoff.failed(case["random"], case.get("hint_ms")) == case["wait_ms"]


@pytest.mark.parametrize("case", cases("merge_patch"), ids=str)
def test_merge_patches_are_those_of_the_vectors(case: Json) -> None:
    assert patch.same(patch.merge(case["base"], case["patch"]), case["result"])


@pytest.mark.parametrize("case", cases("track"), ids=str)
def test_cursors_are_those_of_the_vectors(case: Json) -> None:
    cursor = case.get("cursor")
    tracker = Tracker(case["echo"], None if cursor is None else Cursor.parse(cursor))
    for one in case["messages"]:
        try:
            novelty = tracker.see(Message.parse(json.dumps(one["message"]))).value
        except Gap:
            novelty = "gap"
        assert (novelty, tracker.cursor and str(tracker.cursor)) == (one["is"], one["cursor"]), one


# --- Conversations ---


class Wrong(AssertionError):
    """A vector failed."""


class Member:
    """A client of a conversation, and what it was asked for so far."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.events: Subscription = client.subscribe()
        self.signals: Stream[Signal] = client.signals()
        self.heard: list[Signal] = []
        self.ops: dict[str, Op | Refused | StorageFailed] = {}
        self.views: dict[str, View] = {}
        self.page = "earliest"


class Runner:
    """Lets clients do what a conversation says."""

    def __init__(self, stage: Json, steps: list[Json]) -> None:
        keeping = ("change", "entity", "conflicts", "resolve")
        self.keepers = {step["client"] for step in steps if step["do"] in keeping}
        self.lines: dict[str, str] = stage["clients"]
        self.tenant: str = stage["tenant"]
        self.members: dict[str, Member] = {}
        self.names: dict[str, Json] = {}

    async def step(self, step: Json) -> None:
        if "client" not in step:
            return
        if step["do"] == "connect":
            await self._connect(step)
            return
        member = self.members[step["client"]]
        await getattr(self, f"_{step['do']}")(member, step)

    async def close(self) -> None:
        await asyncio.gather(*(member.client.close(0) for member in self.members.values()))

    def check_nothing_is_left(self) -> None:
        for name, member in self.members.items():
            if member.events.waiting or member.heard or member.signals.waiting:
                raise Wrong(f"{name} has something left that no step asked for: {member.events.waiting}, {member.heard}")

    async def _connect(self, step: Json) -> None:
        name = step["client"]
        client = Client(
            self.lines[name],
            tenant=self.tenant,
            instance=name,
            since=step.get("since", "latest"),
            types=step.get("types"),
            capabilities=step.get("capabilities", []),
            entities="all" if name in self.keepers else None,
            clock=QuickClock(),
        )
        await client.open()
        self.members[name] = Member(client)
        await client.online(PATIENCE_S)

    async def _close(self, member: Member, step: Json) -> None:
        assert await member.client.close(PATIENCE_S) == 0
        del self.members[step["client"]]

    async def _publish(self, member: Member, step: Json) -> None:
        await self._write(member, step, lambda: member.client.publish(step["type"], step.get("data")))

    async def _change(self, member: Member, step: Json) -> None:
        fields = {name: step[name] for name in ("strategy", "patch", "data", "text", "ops") if name in step}
        kind, _, name = step["entity"].partition("/")
        op = await self._write(member, step, lambda: member.client.change(kind, name, step["action"], **self.bound(fields)))
        if "shows" in step and op is not None:
            self.expect(op.optimistic, step["shows"], step)

    async def _resolve(self, member: Member, step: Json) -> None:
        kind, _, name = step["entity"].partition("/")
        entity, conflict = member.client.entity(kind, name), self.bound(step["conflict"])
        await self._write(member, step, lambda: entity.resolve(conflict, step["choice"], step.get("data")))

    async def _write(self, member: Member, step: Json, write: Callable[[], Any]) -> Op | None:
        try:
            op: Op = await write()
        except (Refused, StorageFailed) as refused:
            member.ops[step.get("as", "")] = refused
            return None
        member.ops[step.get("as", "")] = op
        return op

    async def _settled(self, member: Member, step: Json) -> None:
        op = member.ops[step["of"]]
        if not isinstance(op, Op):
            self.expect("refused", step["status"], step)
            self.expect(op.code, step.get("code", op.code), step)
            return
        settled = await op.settled(PATIENCE_S)
        self.expect(settled.status, step["status"], step, shown=settled)
        if "overwritten" in step:
            names = ("path", "value", "by")
            found = [{name: one.get(name) for name in names} for one in settled.overwritten]
            wanted = [{name: one.get(name) for name in names if name in one} for one in step["overwritten"]]
            trimmed = [{name: one[name] for name in like} for one, like in zip(found, wanted, strict=False)]
            self.expect((trimmed, len(found)), (wanted, len(wanted)), step)
        for name in ("code", "resolution", "duplicate"):
            if name in step:
                self.expect(getattr(settled, name), step[name], step)

    async def _event(self, member: Member, step: Json) -> None:
        event = await asyncio.wait_for(anext(member.events), PATIENCE_S)
        self.expect(told(event), {name: step[name] for name in ("type", "data", "from")}, step)

    async def _history(self, member: Member, step: Json) -> None:
        after = member.page if step.get("go_on") else "earliest"
        page = await member.client.history(after, step["limit"], step.get("types"))
        member.page = page.cursor
        self.expect([told(event) for event in page.events], step["events"], step)
        if "more" in step:
            self.expect(page.more, step["more"], step)

    async def _entity(self, member: Member, step: Json) -> None:
        kind, _, name = step["entity"].partition("/")
        entity = member.client.entity(kind, name)

        def fits(seen: Json) -> bool:
            stands = patch.same(seen.data, self.bound(step["data"])) and seen.pending == step.get("pending", 0)
            return stands and ("version" not in step or self.matches(seen.version, step["version"]))

        last = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                async for last in entity.watch():
                    if fits(last):
                        break
        except TimeoutError:
            raise Wrong(f"{step}: {last}") from None
        assert last is not None
        self.matches(last.version, step.get("version", last.version), bind=True)

    async def _conflicts(self, member: Member, step: Json) -> None:
        def fits() -> bool:
            found = list(member.client.open_conflicts)
            if len(found) != len(step["open"]):
                return False
            for wanted in step["open"]:
                match = next((one for one in found if self._is_conflict(one, wanted)), None)
                if match is None:
                    return False
                found.remove(match)
            return True

        await self.until(member, fits, step, lambda: member.client.open_conflicts)
        for wanted in step["open"]:
            match = next(one for one in member.client.open_conflicts if self._is_conflict(one, wanted))
            self.matches(match["conflict_id"], wanted["id"], bind=True)

    def _is_conflict(self, one: Json, wanted: Json) -> bool:
        shown = {**one, "id": one["conflict_id"], "entity": f"{one['entity_type']}/{one['entity_id']}"}
        return all(self.matches(shown.get(name), value) for name, value in wanted.items())

    async def _presence(self, member: Member, step: Json) -> None:
        def fits() -> bool:
            others = member.client.presence.others
            return others.keys() == step["others"].keys() and all(
                "capabilities" not in wanted or list(others[name].capabilities) == wanted["capabilities"]
                for name, wanted in step["others"].items()
            )

        await self.until(member, fits, step, lambda: member.client.presence.others)

    async def _signal(self, member: Member, step: Json) -> None:
        member.client.signal(step["type"], step.get("data"))

    async def _heard(self, member: Member, step: Json) -> None:
        while True:
            found = next((signal for signal in member.heard if signal.type == step["type"]), None)
            if found is not None:
                member.heard.remove(found)
                self.expect((found.data, found.instance), (step["data"], step["from"]), step)
                return
            member.heard.append(await asyncio.wait_for(anext(member.signals), PATIENCE_S))

    async def _subscribe(self, member: Member, step: Json) -> None:
        asked = {name: step[name] for name in ("region", "ids", "query") if name in step}
        member.views[step["as"]] = member.client.follow(asked)

    async def _result(self, member: Member, step: Json) -> None:
        view = member.views[step["of"]]

        def found() -> Json:
            return {str(key): data for key, data in view.entities.items()}

        try:
            async with asyncio.timeout(PATIENCE_S):
                await view.ready()
                while not (view.is_whole and patch.same(found(), step["entities"])):
                    await anext(view)
        except TimeoutError:
            raise Wrong(f"{step}: {found()}") from None

    async def _status(self, member: Member, step: Json) -> None:
        def shown() -> Json:
            status = member.client.status
            return {
                "connection": status.connection.state,
                "code": status.connection.code,
                "sync": status.sync.status,
                "pending": status.sync.pending,
                "conflicted": status.sync.conflicted,
                "refused": status.sync.refused,
                "resumed": status.connection.resumed,
            }

        wanted = {name: value for name, value in step.items() if name not in ("do", "client")}
        await self.until(member, lambda: all(shown()[name] == value for name, value in wanted.items()), step, shown)

    async def until(self, member: Member, fits: Callable[[], bool], step: Json, shown: Callable[[], Json]) -> None:
        assert member.client._room is not None
        if not await member.client._room.until(fits, PATIENCE_S):
            raise Wrong(f"{step}: there is {shown()}")

    # --- Names ---

    def bound(self, value: Json) -> Json:
        if isinstance(value, str) and value.startswith("$"):
            return self.names.get(value, value)
        if isinstance(value, dict):
            return {name: self.bound(one) for name, one in value.items()}
        return [self.bound(one) for one in value] if isinstance(value, list) else value

    def matches(self, found: Json, wanted: Json, bind: bool = False) -> bool:
        if isinstance(wanted, str) and wanted.startswith("$") and wanted not in self.names:
            if bind:
                self.names[wanted] = found
            return True
        return patch.same(found, self.bound(wanted))

    def expect(self, found: Json, wanted: Json, step: Json, shown: Json = None) -> None:
        if found != self.bound(wanted) and not patch.same(found, self.bound(wanted)):
            raise Wrong(f"{step}: there is {found!r} {shown or ''}")


def told(event: Event) -> Json:
    return {"type": event.type, "data": event.data, "from": event.instance}


@asynccontextmanager
async def staged(name: str, mode: str) -> AsyncIterator[Json]:
    path = VECTORS / "conversations" / f"{name}.json"
    command = [sys.executable, str(VECTORS / "stage"), "--vector", str(path), "--mode", mode, "--continuum", str(PROGRAM)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
        assert line, "the stage did not start"
        yield json.loads(line)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def control(stage: Json, method: str, path: str) -> Json:
    def ask() -> Json:
        request = urllib.request.Request(stage["control"] + path, b"" if method == "POST" else None, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            raise Wrong(refused.read().decode()) from refused

    return await asyncio.to_thread(ask)


async def perform(name: str, mode: str) -> None:
    conversation = json.loads(Path(VECTORS / "conversations" / f"{name}.json").read_text())
    async with staged(name, mode) as stage:
        runner = Runner(stage, conversation["steps"])
        try:
            for number, step in enumerate(conversation["steps"]):
                try:
                    await control(stage, "POST", f"/step/{number}")
                    await runner.step(step)
                except (AssertionError, TimeoutError) as wrong:
                    raise Wrong(f"{name}, step {number}: {step}: {wrong!r}") from wrong
            runner.check_nothing_is_left()
            verdict = await control(stage, "POST", "/end")
            assert verdict["ok"], verdict["wrong"]
        finally:
            await runner.close()


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_conversations_with_a_real_node_go_as_the_vectors_say(name: str) -> None:
    await perform(name, "real")


@pytest.mark.parametrize("name", [name for name in CONVERSATIONS if (VECTORS / "recorded" / f"{name}.json").exists()])
async def test_conversations_with_a_recorded_node_go_as_the_vectors_say(name: str) -> None:
    await perform(name, "recorded")
