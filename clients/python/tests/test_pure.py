"""The pure parts: edits of texts, patches, the overlay, the outbox, clocks."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from continuum import Refused, SystemClock, VirtualClock, overlay, patch
from continuum import text as texts
from continuum.address import Address
from continuum.backoff import LONGEST_HINT_MS, Backoff
from continuum.clock import within
from continuum.errors import TextFailed
from continuum.journal import Pending
from continuum.outbox import Outbox
from continuum.status import freshness
from continuum.tracker import Cursor
from continuum.wire import check, check_entity, check_event_type, matches

LETTERS = ["a", "b", "a", "b", "\n", "é", "e\u0301", "字", "👩🏽\u200d🔬", "\U0010fffd"]


def edit_of(chance: random.Random, text: str) -> texts.Ops:
    parts: list[texts.Part] = []
    left = len(text)
    while left > 0 and len(parts) < 8:
        match chance.randint(0, 2):
            case 0:
                parts.append("".join(chance.choices(LETTERS, k=2)))
            case kind:
                count = chance.randint(1, min(4, left))
                parts.append(count if kind == 1 else -count)
                left -= count
    return texts.read(parts)


@pytest.mark.parametrize("seed", range(300))
def test_two_edits_of_a_text_converge(seed: int) -> None:
    chance = random.Random(seed)
    text = "".join(chance.choices(LETTERS, k=chance.randint(0, 12)))
    earlier, later = edit_of(chance, text), edit_of(chance, text)
    earlier_after, later_after = texts.transform_pair(earlier, later)
    assert texts.apply(later_after, texts.apply(earlier, text)) == texts.apply(earlier_after, texts.apply(later, text))
    # What one edit did is undone, and what came behind it stays.
    after = texts.apply(earlier, text)
    assert texts.apply(texts.invert(earlier, text), after) == text
    behind = edit_of(chance, after)
    [alone] = texts.without(earlier, text, [behind])
    texts.apply(alone, text)
    other = "".join(chance.choices(LETTERS, k=12))
    assert texts.apply(texts.between(text, other), text) == other
    assert texts.read(list(earlier)) == earlier


def test_every_way_to_write_an_edit_is_read_as_one() -> None:
    assert texts.read([2, "", 1, -1, "a", -2, "b"]) == (3, "ab", -3)
    assert texts.read([7]) == texts.read([]) == ()
    wrongs: list[Any] = [[0], [1.5], [True], [None], [[1]], "abc", {}, [texts.MAX_REACH, 1], ["a"] * (texts.MAX_PARTS + 1)]
    for wrong in wrongs:
        with pytest.raises(TextFailed):
            texts.read(wrong)
    with pytest.raises(TextFailed, match="reaches 5 code points into the text, but the text has 3"):
        texts.apply((2, -3), "a👍c")


def test_at_one_place_the_earlier_in_the_log_stands_to_the_left() -> None:
    assert texts.transform_pair((1, "first"), (1, "second")) == ((1, "first"), (6, "second"))


def test_json_patches_are_those_of_rfc_6902() -> None:
    document = {"a": [1, 2], "b": {"c/d": "x", "~": 1}}
    operations = [
        {"op": "test", "path": "/b/c~1d", "value": "x"},
        {"op": "add", "path": "/a/-", "value": 3},
        {"op": "add", "path": "/a/0", "value": 0},
        {"op": "remove", "path": "/b/~0"},
        {"op": "move", "from": "/b/c~1d", "path": "/b/e"},
        {"op": "copy", "from": "/a", "path": "/b/f"},
        {"op": "replace", "path": "/a/1", "value": {"n": None}},
    ]
    assert patch.apply(document, operations) == {"a": [0, {"n": None}, 2, 3], "b": {"e": "x", "f": [0, 1, 2, 3]}}
    assert document == {"a": [1, 2], "b": {"c/d": "x", "~": 1}}, "what it was given stays as it was"
    for wrong in (
        {"op": "remove", "path": "/nowhere"},
        {"op": "add", "path": "/a/01", "value": 1},
        {"op": "add", "path": "/a/9", "value": 1},
        {"op": "test", "path": "/a/0", "value": True},
        {"op": "move", "from": "/b", "path": "/b/x"},
        {"op": "replace", "path": "x", "value": 1},
        {"op": "fly", "path": "/a"},
        {"path": "/a"},
    ):
        with pytest.raises(patch.PatchFailed):
            patch.apply(document, [wrong])


def test_what_is_pending_shows_as_the_node_will_do_it() -> None:
    def put(changes: Any) -> overlay.Fields:
        return {"action": "put", "patch": changes}

    assert overlay.lay(None, [put({"a": 1}), put({"b": 2, "a": None})]) == {"b": 2}
    assert overlay.lay({"a": 1, "c": 3}, [put({"a": 2})]) == {"a": 2, "c": 3}
    assert overlay.lay({"a": 1}, [{"action": "delete"}]) is None
    assert overlay.lay({"a": 1}, [{"action": "delete"}, {"action": "restore"}]) == {"a": 1}
    assert overlay.lay({"a": "ab"}, [{"action": "update", "text": {"path": "/a", "ops": [2, "c"]}}]) == {"a": "abc"}
    assert overlay.lay({"a": 1, "b": 2}, [{"action": "create", "data": {"a": None}}]) == {"a": None, "b": 2}
    # What cannot be done shows nothing and hides nothing.
    update = {"action": "update", "patch": {"a": 1}}
    assert overlay.lay(None, [update]) is None
    broken = {"action": "update", "ops": [{"op": "test", "path": "/a", "value": 9}]}
    assert overlay.lay({"a": 1}, [broken, {"action": "update", "patch": {"b": 2}}]) == {"a": 1, "b": 2}


def write(number: int, entity: str | None = None) -> Pending:
    return Pending(number, f"w{number}", "note", entity, None, {}, None, 0, False, None, None, 0)


def test_writes_to_one_entity_go_one_after_the_other() -> None:
    outbox = Outbox()
    waiting = [write(1, "a"), write(2, "a"), write(3, "b"), write(4), write(5)]
    chosen = outbox.choose(waiting, 0, is_complete=True)
    assert [one.number for one in chosen] == [1, 3]
    for one in chosen:
        outbox.sent(one)
    assert outbox.choose(waiting, 0, is_complete=True) == []
    outbox.answered("w1")
    assert [one.number for one in outbox.choose(waiting[1:], 0, is_complete=True)] == [2]


def test_events_go_behind_the_changes_before_them_and_once_all_is_here() -> None:
    outbox = Outbox()
    waiting = [write(1), write(2, "a"), write(3), write(4, "b"), write(5)]
    assert [one.number for one in outbox.choose(waiting, 0, is_complete=False)] == [2, 4]
    for one in outbox.choose(waiting, 0, is_complete=True):
        outbox.sent(one)
    assert [*outbox.flying] == ["w1", "w2", "w4"]
    outbox.answered("w2")
    # What was written behind it does not hold it up.
    assert [one.number for one in outbox.choose([waiting[0], *waiting[2:]], 0, is_complete=True)] == [3]


def test_after_a_refusal_that_passes_one_at_a_time_goes_and_pauses_grow_to_a_minute() -> None:
    outbox, now = Outbox(), 0.0
    for pause in (1, 2, 4, 8, 16, 32, 60, 60):
        outbox.sent(write(1))
        outbox.put_off("w1", None, now)
        assert outbox.choose([write(1), write(2)], now + pause - 0.01, is_complete=True) == []
        now += pause
        assert [one.number for one in outbox.choose([write(1), write(2)], now, is_complete=True)] == [1]
    outbox.sent(write(1))
    outbox.put_off("w1", 10 * LONGEST_HINT_MS, now)
    assert outbox.pause_ends(now) == now + 3600, "a hint is followed for an hour at most"


def test_pauses_between_connections_are_full_jitter_from_one_second_to_sixty() -> None:
    backoff = Backoff()
    assert [(backoff.bound_ms, backoff.failed(0.999))[0] for _ in range(8)] == [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]
    assert backoff.failed(0.0) == 0
    assert backoff.failed(0.5, 10 * LONGEST_HINT_MS) == LONGEST_HINT_MS


def test_how_fresh_it_is_has_the_seeds_thresholds() -> None:
    ages = (0, 59.9, 60, 299.9, 300, None)
    assert [freshness(age) for age in ages] == ["synced", "synced", "recent", "recent", "stale", "stale"]


def test_what_no_node_would_take_is_refused_at_once() -> None:
    for kind, code in (
        ("ping", "reserved_type"),
        ("node.create", "reserved_type"),
        ("typing", "reserved_type"),
        ("a b", "invalid_type"),
    ):
        with pytest.raises(Refused) as refused:
            check_event_type(kind)
        assert refused.value.code == code
    deep: Any = []
    for _ in range(70):
        deep = [deep]
    values = ((deep, "too_deep"), ("\ud800", "invalid_json"), (float("nan"), "invalid_json"), (object(), "invalid_json"))
    for value, code in (*values, ("x" * 2000, "too_large")):
        with pytest.raises(Refused) as refused:
            check({"data": value}, "it", 1000)
        assert refused.value.code == code
    for name in ("", "x" * 300, "a\nb", "\ud800"):
        with pytest.raises(Refused, match="invalid_entity"):
            check_entity("note", name)


def test_patterns_have_one_star() -> None:
    assert matches(["memory.*"], "memory.created")
    assert matches(["*_added"], "memory_added")
    assert matches(None, "anything")
    assert not matches(["memory"], "memory.created")
    assert not matches(["ab*ba"], "aba")


def test_cursors_are_read_and_written() -> None:
    for text in ("9f86.17", "9f86.17.0a1b2c3d"):
        assert str(Cursor.parse(text)) == text
    for wrong in ("17", "a.b", "a.1.b.c"):
        with pytest.raises(ValueError, match=r"."):
            Cursor.parse(wrong)


def test_addresses_are_made_of_the_nodes_own() -> None:
    address = Address("wss://host:1/base/", "acme", "a b", user="Ärger")
    assert address.socket("latest").startswith(
        "wss://host:1/base/ws/sync?tenant_id=acme&since=latest&echo=1&instance_id=a+b&user_id=%C3%84rger"
    )
    assert address.room("/events", {"after": "x", "wait": None}).startswith("https://host:1/base/v1/tenants/acme/events?")
    with pytest.raises(ValueError, match="no address of a node"):
        Address("host:1", "t", "i")


async def test_a_virtual_clock_wakes_in_order_and_only_when_it_is_moved() -> None:
    clock, woken = VirtualClock(), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (30, 10, 20)]
    await asyncio.sleep(0)
    assert clock.next_wake == 10
    clock.advance(25)
    await asyncio.gather(*tasks[1:])
    assert woken == [10, 20]
    clock.advance(3600)
    await tasks[0]
    pending = asyncio.ensure_future(within(clock, 5, asyncio.Event().wait()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    clock.advance(5)
    with pytest.raises(TimeoutError):
        await pending


async def test_the_clock_of_this_machine_goes_on_while_it_sleeps() -> None:
    clock = SystemClock()
    before = clock.now()
    await clock.sleep(0.01)
    assert clock.now() >= before + 0.01
    assert 0 <= clock.random() < 1
