"""What the node's messages say of entities. Pure.

Owns: reading records and pages of the state. Must not know: where what they say is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from . import text as texts
from .wire import Json, Malformed, Message


class Key(NamedTuple):
    """Which entity."""

    type: str
    id: str

    def __str__(self) -> str:
        return f"{self.type}/{self.id}"


@dataclass(frozen=True)
class Stands:
    """An entity stands so from a record on."""

    key: Key
    version: int
    data: dict[str, Json] | None
    """`None`: it is not there."""
    texts: list[tuple[str, texts.Ops]] = field(default_factory=list)
    """Edits of its texts that led here, in order."""
    authors: list[str] = field(default_factory=list)
    """The instances whose operations they were."""


@dataclass(frozen=True)
class Open:
    """A conflict or a variant was opened or settled; the entity's content is as it was."""

    key: Key
    version: int


@dataclass(frozen=True)
class Page:
    """A part of the room's state."""

    question: str
    entities: list[Stands]
    is_last: bool


def record(message: Message) -> Stands | Open | None:
    """What a record says of an entity; `None`: it is an event. Raises `Malformed`."""
    kind, _, action = message.type.partition(".")
    try:
        if kind in ("node", "edge") and action in ("create", "update", "delete"):
            return _named(message, kind)
        if kind == "memory" and action in ("created", "updated", "deleted"):
            return _named(message, kind)
        if kind == "conflict" and action in ("pending", "variant", "resolved"):
            data = message.fields
            return Open(Key(data["entity_type"], data["entity_id"]), int(message.seq or 0))
        if message.type == "context_changed":
            data = message.fields
            name = f"{data['level']}:{data['context_id']}" if data["level"] else data["context_id"]
            content = None if data["change_type"] == "delete" else data["context"]
            return _stands(message, Key("context", name), content)
        if message.type == "sync_event":
            event = message.fields["event"]
            content = None if event["action"] == "delete" else event["data"]
            return _stands(message, Key(event["entity_type"], event["entity_id"]), content)
    except (KeyError, TypeError, ValueError) as error:
        raise Malformed(f"{message.type}: {type(error).__name__} {error}") from error
    return None


def _named(message: Message, kind: str) -> Stands:
    data = message.fields
    content = data.get(kind)
    if content is None:
        return _stands(message, Key(kind, data[f"{kind}_id"]), None)
    rest = {name: value for name, value in content.items() if name != "id"}
    return _stands(message, Key(kind, content["id"]), rest)


def _stands(message: Message, key: Key, content: Json) -> Stands:
    if content is not None and not isinstance(content, dict):
        raise Malformed(f"{message.type}: its content is no object")
    data = message.fields
    edits = [(edit["path"], texts.read(edit["ops"])) for edit in data.get("text") or []]
    authors = [str(author) for author in data.get("changed_by_all") or [message.instance]]
    return Stands(key, int(message.seq or 0), content, edits, authors)


def page(message: Message) -> Page:
    """Reads a page of the state; raises `Malformed`."""
    data = message.fields
    try:
        entities = []
        for kind in ("node", "edge"):
            for one in data.get(f"{kind}s") or []:
                rest = {name: value for name, value in one.items() if name not in ("id", "version")}
                entities.append(Stands(Key(kind, one["id"]), int(one["version"]), rest))
        for one in [*(data.get("entities") or []), *(data.get("deleted") or [])]:
            entities.append(Stands(Key(one["entity_type"], one["entity_id"]), int(one["version"]), one.get("data")))
        return Page(str(data.get("id", "")), entities, bool(data["done"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Malformed(f"{message.type}: {type(error).__name__} {error}") from error
