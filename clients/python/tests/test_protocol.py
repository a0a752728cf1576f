"""Old clients with new nodes, and the other way round: against the protocol's own examples and a real node."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from typing import Any

import pytest

import continuum
from continuum import taking, told
from continuum.tracker import Cursor, Tracker
from continuum.wire import Malformed, Message

from .support import ROOT, Node, fated, joined

EXAMPLES = re.findall(r"```json server ([^\n]*)\n(.*?)```", (ROOT / "docs/protocol.md").read_text(), re.DOTALL)


def read(message: dict[str, Any], tracker: Tracker) -> None:
    """All that is done with a message before anything is written down."""
    parsed = Message.parse(json.dumps(message))
    if not parsed.is_record:
        tracker.see(parsed)
        taking.fate(parsed)
        if parsed.type == "graph.sync":
            told.page(parsed)
    else:
        taking.record(parsed)


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_every_message_of_the_protocol_is_read_also_with_more_in_it(name: str, text: str) -> None:
    message = json.loads(text)
    later = copy.deepcopy(message)
    later["of_a_later_version"] = {"x": [1]}
    if isinstance(later.get("data"), dict):
        later["data"]["of_a_later_version"] = True
    for one in (message, later):
        read(one, Tracker(echo=True, cursor=Cursor("e", 17)))


def test_types_and_codes_of_a_later_version_are_passed_on() -> None:
    tracker = Tracker(echo=True)
    for text in ('{"event_type":"brand_new","data":7}', '{"event_type":"region.brand_new","data":{"subscription":"x"}}'):
        read(json.loads(text), tracker)
    for wrong in ("[]", "7", '{"data":{}}', "{"):
        with pytest.raises(Malformed):
            Message.parse(wrong)


def test_a_record_of_a_form_that_is_not_known_is_an_event_and_no_end() -> None:
    parsed = Message.parse(
        '{"event_type":"node.create","seq":2,"prev":1,"event_id":"11111111-1111-4111-8111-111111111111","data":{"knot":{"id":"n"}}}'
    )
    assert taking.record(parsed).what is None


def test_a_first_message_of_an_older_node_with_little_in_it_is_enough() -> None:
    tracker = Tracker(echo=True)
    read({"event_type": "session_ready", "data": {"epoch": "e", "resume": {"after": 3}}}, tracker)
    assert str(tracker.cursor) == "e.3"


async def test_the_package_speaks_the_protocol_of_the_node_that_it_is_released_with(shared_node: Node, tenant: str) -> None:
    seen: list[Message] = []
    see = Tracker.see

    def watch(tracker: Tracker, message: Message) -> Any:
        seen.append(message)
        return see(tracker, message)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Tracker, "see", watch)
        async with joined(shared_node.url, "a", tenant=tenant) as client:
            await fated(await client.publish("note", {}))
    ready = next(message for message in seen if message.type == "session_ready")
    assert ready.fields["protocol"] == continuum.PROTOCOL
    crate = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    assert continuum.__version__.split(".")[:2] == crate.split(".")[:2]
