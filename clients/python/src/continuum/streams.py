"""What a program reads with `async for`: events as they come, or the latest of something.

Owns: that nothing grows without bound, and that a reader who was slow learns of it. Must not know: where things come from.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Stream(AsyncIterator[T], Generic[T]):
    """Things in their order, of which at most so many wait; the oldest make way, and are counted."""

    def __init__(self, most: int, closed: Callable[[Stream[T]], None]) -> None:
        self._most = most
        self._waiting: deque[T] = deque()
        self._ready = asyncio.Event()
        self._closed = closed
        self._is_over = False
        self.lost = 0
        """How many were dropped because they were not read."""

    def offer(self, item: T) -> None:
        """Takes one more."""
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(item)
        self._ready.set()

    def end(self) -> None:
        """Nothing more will come."""
        self._is_over = True
        self._ready.set()

    def close(self) -> None:
        """Nothing more is wanted."""
        self._closed(self)
        self.end()

    @property
    def waiting(self) -> int:
        """How many were not read yet."""
        return len(self._waiting)

    def __aiter__(self) -> Stream[T]:
        return self

    async def __anext__(self) -> T:
        while not self._waiting:
            if self._is_over:
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        return self._waiting.popleft()

    async def __aenter__(self) -> Stream[T]:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Streams(Generic[T]):
    """All who read one kind of thing."""

    def __init__(self, most: int) -> None:
        self._most = most
        # What nobody reads any more goes by itself.
        self._open: weakref.WeakKeyDictionary[Stream[T], Callable[[T], bool]] = weakref.WeakKeyDictionary()

    def open(self, wants: Callable[[T], bool] = lambda _: True) -> Stream[T]:
        """One more reader."""
        stream: Stream[T] = Stream(self._most, self._forget)
        self._open[stream] = wants
        return stream

    def offer(self, item: T) -> None:
        """Something for all who want it."""
        for stream, wants in list(self._open.items()):
            if wants(item):
                stream.offer(item)

    def end(self) -> None:
        """Nothing more will come for anybody."""
        for stream in list(self._open):
            stream.end()
        self._open.clear()

    def _forget(self, stream: Stream[T]) -> None:
        self._open.pop(stream, None)


class Pulse:
    """Something changed: whoever waits looks again."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def beat(self) -> None:
        """It changed."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    def next(self) -> asyncio.Event:
        """Is set by the next beat. To be taken before one looks."""
        return self._event
