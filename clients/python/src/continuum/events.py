"""Events: what others told the room, in its order, without a hole.

Owns: that a reader who is slow misses nothing: what does not fit its queue is read from the node's log when it comes to that.
Must not know: connections.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from . import told
from .backoff import Backoff
from .clock import Clock, within
from .errors import ContinuumError, Refused
from .outbox import passes
from .streams import Pulse
from .token import TokenFailed
from .wire import Json, Malformed, Message, matches

QUEUE = 1_024
"""Events that wait for a slow reader before it is sent to the log."""
PAGE = 500


@dataclass(frozen=True)
class Event:
    """Something that happened in the room."""

    type: str
    data: Json
    seq: int
    """Its place in the room's order."""
    event_id: str
    instance: str
    """Who told it."""
    timestamp: str
    is_change: bool
    """It tells that an entity changed."""

    @classmethod
    def of(cls, message: Message) -> Event:
        """Of a record."""
        try:
            is_change = told.record(message) is not None
        except Malformed:
            is_change = True
        return cls(
            message.type,
            message.data,
            int(message.seq or 0),
            str(message.event_id),
            message.instance,
            message.timestamp,
            is_change,
        )


@dataclass(frozen=True)
class HistoryPage:
    """A part of the room's past."""

    events: list[Event]
    cursor: str
    """Where to go on."""
    more: bool
    is_complete: bool
    """Nothing is missing between the place that was asked for and the first event."""


Read = Callable[[int, Sequence[str] | None], Awaitable[HistoryPage]]
"""Reads the log behind a position."""


class Subscription(AsyncIterator[Event]):
    """Events of some types, from the moment on at which it was made."""

    def __init__(
        self,
        types: Sequence[str] | None,
        wants: Callable[[Event], bool],
        read: Read,
        pulse: Pulse,
        closed: Callable[[Subscription], None],
        clock: Clock,
        most: int = QUEUE,
    ) -> None:
        self._types = types
        self._wants = wants
        self._read = read
        self._pulse = pulse
        self._closed = closed
        self._clock = clock
        self._backoff = Backoff()
        self._most = most
        self._waiting: deque[Event] = deque()
        self._reached = 0
        """The position up to which everything was taken."""
        self._skipped = 0
        """The last position that was offered and not taken."""
        self._is_over = False
        self.gaps = 0
        """How often the log did not reach back to where a slow reader stood: events are missing then."""

    def offer(self, event: Event) -> None:
        """Takes a record as it comes."""
        if event.seq <= self._reached:
            return
        if self._is_behind or len(self._waiting) >= self._most:
            # From the last one that waits on, the log is the buffer.
            self._skipped = max(self._skipped, event.seq)
            return
        self._reached = event.seq
        if matches(self._types, event.type) and self._wants(event):
            self._waiting.append(event)
            self._pulse.beat()

    def begin_anew(self) -> None:
        """Positions are those of another log from now on."""
        self._reached = self._skipped = 0

    @property
    def waiting(self) -> int:
        """How many were not read yet."""
        return len(self._waiting)

    @property
    def _is_behind(self) -> bool:
        return self._skipped > self._reached

    def end(self) -> None:
        """Nothing more will come."""
        self._is_over = True
        self._pulse.beat()

    def close(self) -> None:
        """Nothing more is wanted."""
        self._closed(self)
        self.end()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            if self._is_over:
                raise StopAsyncIteration
            if self._is_behind:
                await self._catch_up()
            else:
                await self._pulse.next().wait()
        return self._waiting.popleft()

    async def _catch_up(self) -> None:
        beat = self._pulse.next()
        try:
            page = await self._read(self._reached, self._types)
        except (ContinuumError, TokenFailed) as error:
            hint = getattr(error, "retry_after_ms", None)
            if isinstance(error, Refused) and not passes(error.code, hint):
                raise
            # What was missed is still to be had, later.
            with contextlib.suppress(TimeoutError):
                await within(self._clock, self._backoff.failed(self._clock.random(), hint) / 1000, beat.wait())
            return
        self._backoff = Backoff()
        self.gaps += not page.is_complete
        self._waiting.extend(event for event in page.events if self._wants(event) and event.seq > self._reached)
        self._reached = max(self._reached, int(page.cursor.split(".")[1]))

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
