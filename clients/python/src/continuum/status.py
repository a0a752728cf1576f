"""How it stands, in two words: the connection's, and how fresh what is here is. Pure.

Owns: the words and their thresholds. Must not know: where the figures come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .store import Storage

SYNCED_S = 60.0
"""Younger than this: synced."""
RECENT_S = 300.0
"""Younger than this: recent. Beyond it: stale."""

State = Literal["idle", "connecting", "online", "waiting", "blocked", "closed"]
Freshness = Literal["synced", "recent", "stale"]


@dataclass(frozen=True)
class Connection:
    """The connection to a node."""

    state: State
    since: float
    """Since when it is so, in seconds since 1970."""
    retry_in_ms: int | None = None
    """`waiting`: how long from then until it is tried again."""
    reason: str | None = None
    """`waiting`: why there is none."""
    code: str | None = None
    """`blocked`: why connecting again would be of no use before somebody does something."""
    message: str | None = None
    """`blocked`: the same, for people."""
    transport: str | None = None
    """`online`: `websocket`, `sse` or `poll`."""
    resumed: Literal["complete", "reset"] | None = None
    """How it went on after the one before: `complete`, all that was missed came or is coming; `reset`, the node's log does not
    reach back that far, so the state was read anew and events in between are missing."""


@dataclass(frozen=True)
class Sync:
    """How fresh what is here is, and what is on its way."""

    status: Freshness
    age_s: float | None
    """Seconds since all that the node has was here; `None`: it never was."""
    pending: int
    """Writes whose fate is open."""
    conflicted: int
    """Conflicts and variants that lie open, as far as was asked."""
    refused: int
    """Dead letters."""


@dataclass(frozen=True)
class Status:
    """How it stands."""

    connection: Connection
    sync: Sync
    storage: Storage


def freshness(age_s: float | None) -> Freshness:
    """The word for an age."""
    if age_s is None or age_s >= RECENT_S:
        return "stale"
    return "synced" if age_s < SYNCED_S else "recent"
