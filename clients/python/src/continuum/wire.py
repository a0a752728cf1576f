"""Messages as they are on the wire: read leniently, since later nodes say more, and written exactly.

Owns: reading an envelope, and what makes a text sendable. Must not know: what a message leads to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import Refused

Json = Any
"""What JSON can hold."""

MESSAGE_BYTES = 1 << 20
"""Longest message of which it is known that a node takes it, before one was asked."""
DEPTH = 64
"""Deepest nesting that nodes take."""

_TYPE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\Z")
_OPERATIONS = re.compile(r"(node|edge)\.(create|update|delete|restore)|memory\.(created|updated|deleted|restore)")
_RESERVED = frozenset(
    [
        "ping",
        "pong",
        "auth",
        "ack",
        "heartbeat",
        "sync_request",
        "sync_reconnect",
        "graph.sync",
        "subscribe",
        "unsubscribe",
        "gonzai.focus",
        "session_ready",
        "resync",
        "caught_up",
        "advance",
        "lagging",
        "draining",
        "queued",
        "stored",
        "error",
        "authenticated",
        "subscribed",
        "unsubscribed",
        "instance_joined",
        "instance_left",
        "presence_changed",
        "sync_response",
        "context_changed",
        "sync_event",
        "batch.update",
        "context.update",
        "context.delete",
        "context.restore",
        "conflict_resolution",
        "gonzai.discover",
        "tenant.user_joined",
        "tenant.user_left",
    ]
)
_NODES_OWN = ("system.", "update.", "conflict.", "region.", "ids.", "query.")
_SIGNALS = frozenset(["cursor.move", "selection.change", "user.presence", "typing", "gonzai.suggestion", "chaos.trigger"])


class Malformed(Exception):
    """The node said something that does not read as the protocol says."""


@dataclass(frozen=True)
class Message:
    """One message of the node."""

    type: str
    data: Json = None
    seq: int | None = None
    prev: int | None = None
    event_id: str | None = None
    instance: str = ""
    user: str | None = None
    timestamp: str = ""
    envelope: Mapping[str, Json] = field(default_factory=dict)
    text: str = ""
    """As it came."""

    @property
    def is_record(self) -> bool:
        """Whether the room's log holds it."""
        return self.seq is not None

    @property
    def fields(self) -> dict[str, Json]:
        """`data` of a session message, which is an object."""
        if not isinstance(self.data, dict):
            raise Malformed(f"'{self.type}' has no object as data")
        return self.data

    @classmethod
    def parse(cls, text: str | bytes) -> Message:
        """Reads one frame; raises `Malformed`. Unknown types and fields are kept."""
        try:
            envelope = json.loads(text)
            if not isinstance(envelope, dict):
                raise Malformed("a message is no object")
            seq, prev = envelope.get("seq"), envelope.get("prev")
            return cls(
                type=str(envelope["event_type"]),
                data=envelope.get("data", {}),
                seq=None if seq is None else int(seq),
                prev=None if prev is None else int(prev),
                event_id=envelope.get("event_id"),
                instance=str(envelope.get("instance_id") or ""),
                user=envelope.get("user_id"),
                timestamp=str(envelope.get("timestamp") or ""),
                envelope=envelope,
                text=text if isinstance(text, str) else text.decode(),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise Malformed(f"{type(error).__name__}: {error}") from error


def encode(value: Json) -> str:
    """JSON text; raises `Refused` for what no node reads."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()
    except RecursionError as error:
        raise Refused("too_deep", f"nested deeper than {DEPTH}") from error
    except (TypeError, ValueError) as error:
        raise Refused("invalid_json", str(error)) from error
    return text


def check(value: Json, what: str, most: int) -> str:
    """The text of a message that a node with this limit takes; raises `Refused` in the node's own codes."""
    text = encode(value)
    size = len(text.encode())
    if size > most:
        raise Refused("too_large", f"{what} has {size} bytes, of which a node takes {most}: write it in parts")
    if _depth(text) > DEPTH:
        raise Refused("too_deep", f"{what} is nested deeper than {DEPTH}")
    return text


def _depth(text: str) -> int:
    deepest = depth = 0
    for opening, closing in re.findall(r'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])', text):
        depth += bool(opening) - bool(closing)
        deepest = max(deepest, depth)
    return deepest


def is_signal(event_type: str) -> bool:
    """Whether a type is of the moment, and never stored."""
    return event_type in _SIGNALS or event_type.startswith("signal.")


def check_event_type(event_type: str) -> None:
    """Raises `Refused` where a type is no event's."""
    if len(event_type.encode()) > 128 or not _TYPE.match(event_type):
        raise Refused("invalid_type", f"'{event_type}' is not dot-separated words of letters, digits, '_' and '-'")
    if event_type in _RESERVED or is_signal(event_type) or event_type.startswith(_NODES_OWN) or _OPERATIONS.match(event_type):
        raise Refused("reserved_type", f"'{event_type}' means something else than an event; choose another type")


def check_entity(entity_type: str, entity_id: str) -> None:
    """Raises `Refused` where no entity can be called so."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", entity_type):
        raise Refused("invalid_entity", f"'{entity_type}' is no type of an entity: 1 to 64 of letters, digits, '_', '-'")
    try:
        size = len(entity_id.encode())
    except UnicodeEncodeError as error:
        raise Refused("invalid_entity", str(error)) from error
    if not 1 <= size <= 256 or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in entity_id):
        raise Refused("invalid_entity", "an entity's id has 1 to 256 bytes without control characters")


def matches(patterns: Sequence[str] | None, event_type: str) -> bool:
    """Whether a type is one of those asked for, in which one `*` stands for any run of characters."""
    if patterns is None:
        return True
    for pattern in patterns:
        head, star, tail = pattern.partition("*")
        if (
            event_type == pattern
            if not star
            else (len(event_type) >= len(head) + len(tail) and event_type.startswith(head) and event_type.endswith(tail))
        ):
            return True
    return False
