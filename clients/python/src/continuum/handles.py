"""What a program holds of what it wrote and what it follows: operations, entities, texts.

Owns: that an operation shows at once and settles later. Must not know: connections, tables.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from . import patch
from . import text as texts
from .errors import Closed, TextFailed
from .journal import Settled
from .mirror import Seen
from .streams import Pulse
from .told import Key
from .wire import Json

if TYPE_CHECKING:
    from .client import Client
    from .room import Room

Strategy = Literal["merge", "last_write_wins", "version", "manual"]
Choice = Literal["current", "proposed", "merged"]


class Op:
    """A write that is kept, and reaches the room when it can, once."""

    def __init__(self, room: Room, name: str, number: int, optimistic: dict[str, Json] | None) -> None:
        self._room = room
        self.id = name
        """Under which it is applied once, however often it is sent."""
        self.number = number
        self.optimistic = optimistic
        """How the entity looks with it, at once; `None`: it is not there, or this was no operation."""

    async def settled(self, timeout: float | None = None) -> Settled:
        """Waits until its fate is known; raises `TimeoutError` after so many seconds, and it goes on by itself."""
        if self._room.is_closed:
            raise Closed
        return await asyncio.wait_for(self._room.fate(self.id), timeout)


class Entity:
    """A JSON object that the room shares."""

    def __init__(self, client: Client, key: Key) -> None:
        self._client = client
        self.key = key

    async def see(self) -> Seen:
        """As it is seen here, with what is pending."""
        return await self._client.see(self.key.type, self.key.id)

    async def data(self) -> dict[str, Json] | None:
        """Its content, with what is pending; `None`: it is not there."""
        return (await self.see()).data

    async def create(self, data: dict[str, Json], strategy: Strategy | None = None) -> Op:
        """Makes it."""
        return await self._change("create", strategy, data=data)

    async def update(self, changes: dict[str, Json], strategy: Strategy | None = None, base: int | None = None) -> Op:
        """Sets fields, and removes those that are `None`. `base`: the version that its author has seen, if not the one here."""
        return await self._change("update", strategy, base, patch=changes)

    async def put(self, data: dict[str, Json], strategy: Strategy | None = None) -> Op:
        """Makes it, or puts this in the place of what stands."""
        return await self._change("put", strategy, data=data)

    async def apply(self, operations: list[dict[str, Json]], strategy: Strategy | None = None) -> Op:
        """Changes it by a JSON patch (RFC 6902)."""
        return await self._change("update", strategy, ops=operations)

    async def delete(self, strategy: Strategy | None = None) -> Op:
        """Deletes it; it can be restored."""
        return await self._change("delete", strategy)

    async def restore(self, strategy: Strategy | None = None) -> Op:
        """Undoes its deletion."""
        return await self._change("restore", strategy)

    async def resolve(
        self, conflict: str | Mapping[str, Json], choice: Choice, data: dict[str, Json] | None = None, base: int | None = None
    ) -> Op:
        """Settles a conflict or a variant of it; `data` is a merge patch, for `merged`.

        A choice holds for what its chooser was shown: the entity as it was when the conflict was handed out by `conflicts`, or at
        `base`. If somebody changed that meanwhile, the conflict lies open as it stands now (`pending`). Of one that is named by its
        id the latest that was handed out counts.
        """
        name = conflict if isinstance(conflict, str) else str(conflict["conflict_id"])
        if base is None:
            base = self._client.shown(name) if isinstance(conflict, str) else int(conflict["seen"])
        more: dict[str, Any] = {} if data is None else {"data": data}
        return await self._client.change(self.key.type, self.key.id, "resolve", base=base, conflict_id=name, choice=choice, **more)

    async def text(self, path: str) -> TextField:
        """One of its texts, to be edited by several at once. `path` is a JSON pointer."""
        field = TextField(self._client, self.key, path)
        await field.refresh()
        return field

    async def watch(self) -> AsyncGenerator[Seen, None]:
        """As it is seen here, and again whenever it looks otherwise; only the latest."""
        pulse = self._client.pulse(self.key)
        last: Seen | None = None
        while True:
            beat = pulse.next()
            seen = await self.see()
            if seen != last:
                last = seen
                yield seen
            await beat.wait()

    async def _change(self, action: str, strategy: Strategy | None, base: int | None = None, **fields: Any) -> Op:
        if strategy is not None:
            fields["strategy"] = strategy
        return await self._client.change(self.key.type, self.key.id, action, base=base, **fields)


@dataclass(frozen=True)
class TextChange:
    """A text looks otherwise."""

    value: str
    ops: texts.Ops
    """What led there from what was shown before, for whoever has a caret to move."""


class TextField:
    """A text that several edit at once. Places are in code points, as in every Python string."""

    def __init__(self, client: Client, key: Key, path: str) -> None:
        self._client = client
        self._key = key
        self._path = path
        self._pulse: Pulse = client.pulse(key)
        self._lock = asyncio.Lock()
        self.value = ""
        """The text as it is shown, with what is pending."""

    async def refresh(self) -> str:
        """Looks at it again."""
        async with self._lock:
            self.value = self._of((await self._client.see(*self._key)).data)
            return self.value

    async def edit(self, ops: Sequence[texts.Part]) -> Op:
        """Edits the text as it is shown in `value`; what came since then makes way for it."""
        edit, seen = texts.read(list(ops)), self.value
        texts.apply(edit, seen)
        async with self._lock:
            op = await self._client.change(*self._key, "update", seen=seen, text={"path": self._path, "ops": list(edit)})
            self.value = self._of(op.optimistic)
            return op

    async def insert(self, at: int, text: str) -> Op:
        """Inserts a text before a code point."""
        self._within(at)
        return await self.edit([at, text] if at else [text])

    async def delete(self, at: int, count: int) -> Op:
        """Removes so many code points."""
        self._within(at + count)
        return await self.edit([at, -count] if at else [-count])

    async def replace(self, text: str) -> Op:
        """Makes it this text, by the smallest edit that does."""
        return await self.edit(texts.between(self.value, text))

    async def changes(self) -> AsyncGenerator[TextChange, None]:
        """What others, and other holders of this text, did to it."""
        while True:
            beat = self._pulse.next()
            before = self.value
            after = await self.refresh()
            if after != before:
                yield TextChange(after, texts.between(before, after))
            await beat.wait()

    def _within(self, at: int) -> None:
        if not 0 <= at <= len(self.value):
            raise TextFailed(f"the text has {len(self.value)} code points; {at} is beyond it")

    def _of(self, data: dict[str, Json] | None) -> str:
        try:
            found = patch.get(data, self._path)
        except patch.PatchFailed as error:
            raise TextFailed(f"no text at {self._path}") from error
        if not isinstance(found, str):
            raise TextFailed(f"no text at {self._path}")
        return found
