"""What a client is made with. Owns: what is usual."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .clock import Clock, SystemClock
from .token import Source

TransportName = Literal["websocket", "sse", "poll"]


@dataclass(frozen=True)
class Options:
    """What a client is made with."""

    url: str = "ws://localhost:8420"
    """The node's base address: `ws://`, `wss://`, or the same with `http`."""
    tenant: str = "default"
    instance: str = ""
    """Who this is in the room: one connection each."""
    token: Source = None
    user: str | None = None
    user_name: str | None = None
    journal: Path | str | None = None
    """The directory in which writes are kept until the node has them; without one they are in memory."""
    since: str = "latest"
    """Where a journal that has seen nothing yet begins: `latest`, `earliest`, a cursor or a time."""
    types: Sequence[str] | None = None
    """Types of events to receive, with one `*` each; `None`: all."""
    entities: Sequence[str] | Literal["all"] | None = None
    """Types of entities to keep here; `None`: those of all types, from the first moment on at which one is asked for."""
    capabilities: Sequence[str] = ()
    transports: Sequence[TransportName] = ("websocket", "sse", "poll")
    """Ways to the node, each tried where the one before is refused by something on the way."""
    tls: ssl.SSLContext | None = None
    clock: Clock = field(default_factory=SystemClock)
    journal_bytes: int = 64 << 20
    """Most bytes that may wait or lie among the dead letters."""
    queue: int = 1_024
    """Most things that wait for a slow reader."""
    quiet_s: float = 15.0
    """After so long without a word the node is asked for one, so that no proxy takes the connection for idle."""
