"""Which writes are on their way, and when the next may go. Pure.

Owns: the window, the pauses after refusals that pass, that writes to one entity go out one after the other, and events behind the
changes before them.
Must not know: what is kept where.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .backoff import CAP_MS, followed
from .journal import Pending
from .told import Key
from .wire import Json

MOST = 64
"""Most writes that are on their way at a time."""
_FIRST_WINDOW = 32
"""How many go out at once before the node has shown that it takes them."""
_PAUSE_MS = 1_000
"""Pause after a refusal that names no time; twice as long after each further one of the same write."""
_PASSING = frozenset(
    ["rate_limited", "busy", "log_full", "journal_full", "unavailable", "unknown", "draining", "internal", "contended"]
)
"""Refusals after which the same write may go through, beside those that say when: none of them speaks of the write."""


def passes(code: str, hint: Json) -> bool:
    """Whether what was refused so may be sent again."""
    return hint is not None or code in _PASSING


@dataclass
class Outbox:
    """Writes on their way over one connection; the next one begins with none, so all that was not answered is sent again."""

    flying: dict[str, Key | None] = field(default_factory=dict)
    _refused: dict[str, int] = field(default_factory=dict)
    _window: int = _FIRST_WINDOW
    _most: int = MOST
    _paused_until: float = 0.0

    def connected(self, limit: int) -> None:
        """The node takes so many at a time."""
        self._most = max(1, min(limit, MOST))
        self._window = min(_FIRST_WINDOW, self._most)

    def room(self, now: float) -> int:
        """How many may go now."""
        return 0 if now < self._paused_until else max(0, self._window - len(self.flying))

    def pause_ends(self, now: float) -> float | None:
        """When it goes on after a refusal; `None`: it does."""
        return self._paused_until if now < self._paused_until else None

    def choose(self, waiting: Iterable[Pending], now: float, is_complete: bool) -> list[Pending]:
        """Those of the waiting writes, in their order, that may go now. `is_complete`: all that was missed is here."""
        free = self.room(now)
        blocked = {key for key in self.flying.values() if key is not None}
        # Until all that was missed is here an event may be among that: its answer was lost, and the log knows repeats by their id
        # for minutes only.
        holds_events = not is_complete
        chosen: list[Pending] = []
        for write in waiting:
            if len(chosen) >= free:
                break
            key = write.key
            if key is None:
                if not holds_events and write.id not in self.flying:
                    chosen.append(write)
                continue
            # An event may speak of the changes before it.
            holds_events = holds_events or write.done is None
            if key in blocked:
                continue
            # One at a time of each entity: refused for a moment, it must not come behind its followers.
            blocked.add(key)
            if write.done is None:
                chosen.append(write)
        return chosen

    def sent(self, write: Pending) -> None:
        """It is on its way."""
        self.flying[write.id] = write.key

    def answered(self, name: str) -> bool:
        """Its fate is known. Whether it was on its way."""
        self._refused.pop(name, None)
        if name not in self.flying:
            return False
        del self.flying[name]
        self._window = min(self._window + 1, self._most)
        return True

    def put_off(self, name: str, hint_ms: Json, now: float) -> None:
        """It was refused for a while."""
        if name not in self.flying:
            return
        del self.flying[name]
        times = self._refused.get(name, 0)
        self._refused[name] = times + 1
        # One at a time from here on: what is refused in the middle of a window comes back behind its followers.
        self._window = 1
        pause_ms = followed(int(hint_ms)) if hint_ms is not None else min(CAP_MS, _PAUSE_MS << min(times, 6))
        self._paused_until = max(self._paused_until, now + pause_ms / 1000)
