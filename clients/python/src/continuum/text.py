"""Text that several edit at once: edits as values, how they apply and make way for each other. Pure.

Owns: invariant **convergence**: two edits of one text lead to the same text in either order, once each was transformed
against the other. Where both insert at one place, the earlier in the log stands to the left. Must not know: entities.

An edit is a list in which a positive number keeps so many code points, a negative one removes so many and a text is inserted;
what follows the last part is kept. All numbers are code points, which is how Python counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import TypeAlias

from .errors import TextFailed

Part: TypeAlias = int | str
Ops: TypeAlias = tuple[Part, ...]
"""An edit in its one canonical form."""

MAX_REACH = 16_777_216
MAX_PARTS = 10_000
_COMPARED = 2_000
"""Code points of either side up to which two texts are compared in detail."""


class _Builder:
    """Makes the canonical form: neighbours merged, an insertion before a deletion at one place, nothing kept at the end."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def keep(self, count: int) -> None:
        if count <= 0:
            return
        last = self.parts[-1] if self.parts else None
        if isinstance(last, int) and last > 0:
            self.parts[-1] = last + count
        else:
            self.parts.append(count)

    def remove(self, count: int) -> None:
        if count <= 0:
            return
        last = self.parts[-1] if self.parts else None
        if isinstance(last, int) and last < 0:
            self.parts[-1] = last - count
        else:
            self.parts.append(-count)

    def insert(self, text: str) -> None:
        if not text:
            return
        parts = self.parts
        last = parts[-1] if parts else None
        if isinstance(last, str):
            parts[-1] = last + text
        elif isinstance(last, int) and last < 0:
            before = parts[-2] if len(parts) > 1 else None
            if isinstance(before, str):
                parts[-2] = before + text
            else:
                parts.insert(len(parts) - 1, text)
        else:
            parts.append(text)

    def done(self) -> Ops:
        if self.parts and isinstance(self.parts[-1], int) and self.parts[-1] > 0:
            self.parts.pop()
        return tuple(self.parts)


def read(parts: object) -> Ops:
    """The canonical form of what somebody wrote; raises `TextFailed` for what is no edit."""
    if not isinstance(parts, Sequence) or isinstance(parts, str):
        raise TextFailed("an edit of a text is a list of whole numbers and strings")
    if len(parts) > MAX_PARTS:
        raise TextFailed(f"an edit of a text has at most {MAX_PARTS} parts")
    builder = _Builder()
    reached = 0
    for part in parts:
        if isinstance(part, str):
            builder.insert(part)
            continue
        if isinstance(part, bool) or not isinstance(part, int):
            raise TextFailed(f"{part!r} is no part of an edit: a whole number or a string is")
        if part == 0:
            raise TextFailed("0 is no part of an edit of a text: it neither keeps nor removes anything")
        reached += abs(part)
        if reached > MAX_REACH:
            raise TextFailed(f"the edit would reach {reached} code points into the text; {MAX_REACH} is the limit")
        if part > 0:
            builder.keep(part)
        else:
            builder.remove(-part)
    return builder.done()


def reach(ops: Ops) -> int:
    """The length that a text needs to have for an edit, in code points."""
    return sum(abs(part) for part in ops if isinstance(part, int))


def apply(ops: Ops, text: str) -> str:
    """The text after an edit; raises `TextFailed` if it is too short for it."""
    if reach(ops) > len(text):
        raise TextFailed(f"the edit reaches {reach(ops)} code points into the text, but the text has {len(text)}")
    out: list[str] = []
    at = 0
    for part in ops:
        if isinstance(part, str):
            out.append(part)
        elif part > 0:
            out.append(text[at : at + part])
            at += part
        else:
            at -= part
    out.append(text[at:])
    return "".join(out)


def invert(ops: Ops, text: str) -> Ops:
    """The edit that undoes one which was made on `text`."""
    builder = _Builder()
    at = 0
    for part in ops:
        if isinstance(part, str):
            builder.remove(len(part))
        elif part > 0:
            builder.keep(part)
            at += part
        else:
            builder.insert(text[at : at - part])
            at -= part
    return builder.done()


class _Parts:
    """The parts of an edit, handed out in pieces; behind the last one everything is kept."""

    def __init__(self, ops: Ops) -> None:
        self._rest = list(reversed(ops))

    def peek(self) -> Part | None:
        return self._rest[-1] if self._rest else None

    def take(self, count: int | None = None) -> None:
        part = self._rest.pop()
        if count is not None and isinstance(part, int) and abs(part) > count:
            self._rest.append(part - count if part > 0 else part + count)


def transform_pair(earlier: Ops, later: Ops) -> tuple[Ops, Ops]:
    """Edits of one text, each in the form that applies after the other; insertions of `earlier` stand to the left."""
    one, other = _Builder(), _Builder()
    a, b = _Parts(earlier), _Parts(later)
    while True:
        x, y = a.peek(), b.peek()
        if isinstance(x, str):
            one.insert(x)
            other.keep(len(x))
            a.take()
        elif isinstance(y, str):
            one.keep(len(y))
            other.insert(y)
            b.take()
        elif x is None and y is None:
            return _limited(one.done()), _limited(other.done())
        else:
            count = min(abs(part) for part in (x, y) if part is not None)
            keeps_x, keeps_y = x is None or x > 0, y is None or y > 0
            if keeps_x and keeps_y:
                one.keep(count)
                other.keep(count)
            elif keeps_y:
                one.remove(count)
            elif keeps_x:
                other.remove(count)
            for parts, part in ((a, x), (b, y)):
                if part is not None:
                    parts.take(count)


def carry(pending: Sequence[Ops], remote: Ops) -> tuple[list[Ops], Ops]:
    """Own edits that are not in the log, each on what the one before left, carried over an edit that is; and that edit in the
    form that applies to the text with the own edits in it."""
    carried = []
    for own in pending:
        remote, own = transform_pair(remote, own)
        carried.append(own)
    return carried, remote


def carry_all(pending: Iterable[Ops], remotes: Iterable[Ops]) -> tuple[list[Ops], list[Ops]]:
    """`carry` over several edits, each on what the one before left."""
    own = list(pending)
    here = []
    for remote in remotes:
        own, shown = carry(own, remote)
        here.append(shown)
    return own, here


def without(dropped: Ops, text: str, followers: Iterable[Ops]) -> list[Ops]:
    """Edits that were made behind one, in the form that applies where that one, made on `text`, never was."""
    carried, _ = carry(list(followers), invert(dropped, text))
    return carried


def between(old: str, new: str) -> Ops:
    """A small edit that turns one text into another. What is too long to be compared is replaced as a whole."""
    head = 0
    shortest = min(len(old), len(new))
    while head < shortest and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < shortest - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    before, after = old[head : len(old) - tail], new[head : len(new) - tail]
    builder = _Builder()
    builder.keep(head)
    if max(len(before), len(after)) <= _COMPARED:
        for tag, i1, i2, j1, j2 in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
            if tag == "equal":
                builder.keep(i2 - i1)
            else:
                builder.insert(after[j1:j2])
                builder.remove(i2 - i1)
    else:
        builder.insert(after)
        builder.remove(len(before))
    return builder.done()


def _limited(ops: Ops) -> Ops:
    if reach(ops) > MAX_REACH or len(ops) > MAX_PARTS:
        raise TextFailed("the edit passes the limits of one when it is brought over what others did")
    return ops
