"""Time and chance, given from outside: so that a test can be asleep for an hour without waiting for it.

Owns: the clock of this machine, which goes on while the machine sleeps, and one that only a test moves.
Must not know: what is waited for.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from collections.abc import Awaitable
from typing import Protocol, TypeVar

T = TypeVar("T")

_SLICE_S = 5.0
"""Longest that is slept at once: the system's timers stand still while a laptop sleeps, so it is looked again."""


class Clock(Protocol):
    """Where time and chance come from."""

    def now(self) -> float:
        """Seconds since some moment; rises, also while the machine sleeps."""

    def wall(self) -> float:
        """Seconds since 1970, for people."""

    def random(self) -> float:
        """Evenly from 0 up to, and without, 1."""

    async def sleep(self, seconds: float) -> None:
        """Waits until `now` is so much later."""


class SystemClock:
    """The clock of this machine."""

    def __init__(self) -> None:
        self._id = getattr(time, "CLOCK_BOOTTIME", None)

    def now(self) -> float:
        return time.monotonic() if self._id is None else time.clock_gettime(self._id)

    def wall(self) -> float:
        return time.time()

    def random(self) -> float:
        return random.random()

    async def sleep(self, seconds: float) -> None:
        until = self.now() + seconds
        await asyncio.sleep(min(max(seconds, 0.0), _SLICE_S))
        while (left := until - self.now()) > 0:
            await asyncio.sleep(min(left, _SLICE_S))


class VirtualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: float = 1_000.0, seed: int = 7) -> None:
        self._now = now
        self._random = random.Random(seed)
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return 1_750_000_000.0 + self._now

    def random(self) -> float:
        return self._random.random()

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), waker))
        await waker

    @property
    def next_wake(self) -> float | None:
        """Seconds until the next one that sleeps is to be woken."""
        self._forget()
        return self._sleepers[0][0] - self._now if self._sleepers else None

    def advance(self, seconds: float) -> None:
        """So many seconds pass at once, as when a laptop was asleep."""
        self._now += seconds
        self._forget()
        while self._sleepers and self._sleepers[0][0] <= self._now:
            heapq.heappop(self._sleepers)[2].set_result(None)
            self._forget()

    def _forget(self) -> None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)


async def within(clock: Clock, seconds: float, awaitable: Awaitable[T]) -> T:
    """Waits for something for at most so long, by this clock; `TimeoutError` after that."""
    task = asyncio.ensure_future(awaitable)
    timer = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        for one in (task, timer):
            if not one.done():
                one.cancel()
        await asyncio.gather(task, timer, return_exceptions=True)
