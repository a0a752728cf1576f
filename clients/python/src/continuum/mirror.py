"""The room's entities as the log has them, and as they look with what is pending.

Owns: that an entity only goes forward in the log's order, and that edits of texts which are pending stay on the text that is shown,
in the same transaction. Must not know: connections.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from . import journal, overlay, patch
from . import text as texts
from .errors import TextFailed
from .journal import Pending, Settled
from .store import Db, fact, set_fact
from .told import Key, Open, Page, Stands
from .wire import Json, encode

Content = dict[str, Json] | None

_OUTDATED = frozenset(("edited", "deleted", "base_gone", "version_ahead"))
"""Refusals that say that what the author had seen stands no more: who tries again means what stands now."""
_NEAR = 8
"""Over how many edits of others an edit may have been carried that still goes out as it was made: nodes carry it over the latest
edits themselves, exactly as it was done here."""
_FAR = 1_000
"""Counts for what a node could not follow."""
_LARGE = 512
"""Code points that others inserted at once beyond which nodes may have forgotten the edits before."""


@dataclass(frozen=True)
class Seen:
    """An entity as it is seen here."""

    key: Key
    version: int
    """The log's version of it; 0: the log has none."""
    data: dict[str, Json] | None
    """Its content with what is pending; `None`: it is not there."""
    confirmed: dict[str, Json] | None
    """Its content as the log has it."""
    pending: int
    """How many writes to it are pending."""


def confirmed(db: Db, key: Key) -> tuple[int, Content]:
    """The log's version and content."""
    row = db.execute("SELECT version, data FROM entity WHERE kind = ? AND id = ?", key).fetchone()
    return (0, None) if row is None else (int(row[0]), None if row[1] is None else json.loads(row[1]))


def see(db: Db, key: Key) -> Seen:
    """An entity as it is seen here."""
    version, data = confirmed(db, key)
    pending = journal.of_entity(db, key)
    shown = overlay.lay(data, (write.shown() for write in pending if write.landed is None))
    return Seen(key, version, shown, data, sum(write.done is None for write in pending))


def keys(db: Db, kind: str | None) -> list[Key]:
    """Entities that are known, of a type or all."""
    rows = db.execute("SELECT kind, id FROM entity WHERE ? IS NULL OR kind = ? ORDER BY kind, id", (kind, kind))
    known = [Key(*row) for row in rows]
    return known + [key for key in journal.entities(db) if key not in set(known) and kind in (None, key.type)]


def apply(db: Db, told: Stands | Open, me: str, event_id: str | None = None) -> bool:
    """Takes what a record says. Whether it was news."""
    version, old = confirmed(db, told.key)
    if version >= told.version:
        return False
    if isinstance(told, Open):
        db.execute("UPDATE entity SET version = ? WHERE kind = ? AND id = ? AND version > 0", (told.version, *told.key))
        return True
    pending = journal.of_entity(db, told.key)
    mine = _landing(pending, told.authors, me, event_id)
    _rebase(db, [write for write in pending if write.landed is None], mine, old, told)
    if mine is not None:
        if mine.done is None:
            journal.mark_landed(db, mine.id, told.version)
        else:
            journal.remove(db, mine.id)
    _put(db, told)
    _drop_done(db, told.key, told.version)
    return True


def put_page(db: Db, page: Page) -> list[Key]:
    """Takes a page of the state. Gives what it is about."""
    for told in page.entities:
        version, old = confirmed(db, told.key)
        if version < told.version:
            pending = [write for write in journal.of_entity(db, told.key) if write.landed is None]
            _rebase(db, pending, None, old, told)
            _put(db, told)
            _drop_done(db, told.key, told.version)
        else:
            db.execute("UPDATE entity SET round = ? WHERE kind = ? AND id = ?", (_round(db), *told.key))
    return [told.key for told in page.entities]


def begin_state(db: Db, is_other_log: bool) -> None:
    """The whole state will be read. `is_other_log`: versions of what is here mean nothing in it."""
    set_fact(db, "whole", "")
    set_fact(db, "round", str(_round(db) + 1))
    if is_other_log:
        db.execute("UPDATE entity SET version = 0, data = NULL")
        db.execute("UPDATE pending SET base = 0, sent = 0, landed = NULL WHERE entity IS NOT NULL")
        db.execute("UPDATE refused SET base = 0 WHERE entity IS NOT NULL")
        db.execute("DELETE FROM pending WHERE done IS NOT NULL")


def end_state(db: Db, of: str) -> list[Key]:
    """The whole state was read: what it does not have is gone."""
    gone = [Key(*row) for row in db.execute("SELECT kind, id FROM entity WHERE round < ? AND data IS NOT NULL", (_round(db),))]
    db.execute("UPDATE entity SET version = 0, data = NULL WHERE round < ?", (_round(db),))
    set_fact(db, "whole", of)
    return gone


def whole(db: Db) -> str | None:
    """Of which log the whole state is here."""
    return fact(db, "whole") or None


def write(
    db: Db, name: str, key: Key, base: int | None, fields: dict[str, Json], seen: str | None, now_ms: int
) -> tuple[int, Content]:
    """Writes down an operation. Gives its number and how the entity looks with it.

    `seen` is the text that its author had before their eyes, if that may be an older one by now.
    """
    carried = None
    edit = fields.get("text")
    if isinstance(edit, dict) and "ops" in edit:
        carried = texts.read(edit["ops"])
        if seen is not None:
            local = see(db, key).data
            carried = texts.transform_pair(texts.between(seen, _text(local, str(edit["path"])) or ""), carried)[1]
            fields = {**fields, "text": {"path": edit["path"], "ops": list(carried)}}
    at = confirmed(db, key)[0] if base is None else base
    number = journal.append(db, name, key.type, key.id, at, fields, carried, now_ms)
    if carried is not None and any(one.is_sent and one.base != at for one in journal.of_entity(db, key) if one.landed is None):
        journal.recarry(db, name, carried, _FAR)
    return number, see(db, key).data


def retry(db: Db, refused: str, name: str, now_ms: int) -> tuple[int, Content] | None:
    """Writes a dead letter once more, under another id: as what it is, another attempt. Gives what `write` gives.

    Its author has seen what they had seen then, so what others wrote since is not written over unsaid; only where the refusal says
    that this stands no more it goes on what stands now. An edit of a text is one of that text alone.
    """
    letter = journal.take_dead(db, refused)
    if letter is None:
        return None
    if letter.entity is None:
        return journal.append(db, name, letter.kind, None, None, letter.body, None, now_ms), None
    key, base, carried = Key(letter.kind, letter.entity), letter.base, None
    stands = confirmed(db, key)[0]
    edit = letter.body.get("text")
    if isinstance(edit, dict) and "ops" in edit:
        # On another text than its own it shows nothing: only nodes can bring it over what was done since.
        carried = texts.read(edit["ops"]) if base == stands and not journal.of_entity(db, key) else ()
    elif base is None or letter.code in _OUTDATED:
        base = stands
    number = journal.append(db, name, *key, base, letter.body, carried, now_ms)
    write = journal.find(db, name)
    if write is not None and carried is not None:
        journal.mark_sent(db, write, base, letter.body)
    return number, see(db, key).data


def take(db: Db, writes: Iterable[Pending]) -> list[Pending]:
    """Makes writes ready to be sent: an edit that others' left far behind goes out in the form that fits what stands."""
    ready = []
    for one in writes:
        if one.is_sent:
            ready.append(one)
            continue
        base, body = one.base, one.body
        if one.key is None or one.carried is None:
            pass
        elif one.moved <= _NEAR:
            journal.leave_behind(db, one, _FAR, but=base)
        else:
            # Nothing of ours stands between the log's content and this edit: it was brought over all that came.
            base, body = confirmed(db, one.key)[0], one.shown()
            journal.leave_behind(db, one, _FAR, but=None)
        journal.mark_sent(db, one, base, body)
        ready.append(journal.find(db, one.id) or one)
    return ready


def settle(db: Db, name: str, settled: Settled, now_ms: int, keeps: Callable[[Key], bool]) -> Pending | None:
    """The node answered. Gives the write, unless it was settled before. `keeps` says whose records come here."""
    write = journal.find(db, name)
    if write is None or write.done is not None:
        return None
    journal.settle(db, write, settled, now_ms)
    came_about = settled.status in ("confirmed", "resolved") and settled.resolution != "variant"
    if write.key is None or write.landed is not None or not keeps(write.key):
        journal.remove(db, name)
        return write
    version, data = confirmed(db, write.key)
    if came_about and settled.version is not None and settled.version > version:
        journal.mark_done(db, name, settled.version)
        return write
    # Whatever stands has it already, or never will: what was made behind it must not count on it any more.
    _forget(db, write, data)
    return write


def _forget(db: Db, write: Pending, data: Content) -> None:
    """Removes a write that is shown, and what was made behind it makes way."""
    journal.remove(db, write.id)
    if write.key is None or write.carried is None:
        return
    behind = [one for one in journal.of_entity(db, write.key) if one.number > write.number and one.text_path == write.text_path]
    current = _text(data, str(write.text_path))
    if behind and current is not None and texts.reach(write.carried) <= len(current):
        carried = texts.without(write.carried, current, [one.carried or () for one in behind])
        for one, ops in zip(behind, carried, strict=True):
            journal.recarry(db, one.id, ops, _FAR)


def _landing(pending: list[Pending], authors: list[str], me: str, event_id: str | None) -> Pending | None:
    """Which of our writes a record is of, or has among others."""
    for write in pending:
        if write.landed is None and write.is_sent and (write.id == event_id or (len(authors) > 1 and me in authors)):
            return write
    return None


def _rebase(db: Db, pending: list[Pending], mine: Pending | None, old: Content, told: Stands) -> None:
    """Carries edits of texts that are pending over what others did to those texts."""
    for path in {write.text_path for write in pending if write.text_path is not None}:
        chain = [write for write in pending if write.text_path == path and write is not mine]
        own = mine.carried if mine is not None and mine.text_path == path else None
        if not chain:
            continue
        carried: list[texts.Ops] = [write.carried or () for write in chain]
        try:
            carried, moved = _carried(carried, own, mine, _text(old, path), path, old, told)
        except TextFailed:
            continue
        for write, ops in zip(chain, carried, strict=True):
            if moved:
                journal.recarry(db, write.id, ops, moved)


def _carried(
    chain: list[texts.Ops],
    own: texts.Ops | None,
    mine: Pending | None,
    before: str | None,
    path: str,
    old: Content,
    told: Stands,
) -> tuple[list[texts.Ops], int]:
    after = _text(told.data, path)
    if before is None or after is None:
        return chain, _FAR if before != after else 0
    edits = [ops for at, ops in told.texts if at == path]
    place = _place(edits, own) if own is not None else None
    if own is not None and place is None and edits:
        place = len(edits) - 1
    if edits and (own is None or place is not None):
        others = [ops for index, ops in enumerate(edits) if index != place]
        size = sum(len(part) for ops in others for part in ops if isinstance(part, str))
        for index, ops in enumerate(edits):
            if index == place:
                # Ours: what was made behind it was made with it before one's eyes.
                own = None
            elif own is not None:
                [own, *chain], _ = texts.carry([own, *chain], ops)
            else:
                chain, _ = texts.carry(chain, ops)
        return chain, len(others) if size < _LARGE else _FAR
    if mine is not None:
        # What we wrote there was no edit: others did what is different from that.
        before = _text(overlay.lay(old, [mine.shown()]), path)
        if before is None:
            return chain, _FAR
    if before == after:
        return chain, 0
    return texts.carry(chain, texts.between(before, after))[0], _FAR


def _place(edits: list[texts.Ops], own: texts.Ops) -> int | None:
    """Which of several edits of one moment is ours."""
    for index, ops in enumerate(edits):
        if ops == own:
            return index
        own = texts.transform_pair(ops, own)[1]
    return None


def _put(db: Db, told: Stands) -> None:
    data = None if told.data is None else encode(told.data)
    db.execute(
        "INSERT OR REPLACE INTO entity (kind, id, version, data, round) VALUES (?, ?, ?, ?, ?)",
        (*told.key, told.version, data, _round(db)),
    )


def _drop_done(db: Db, key: Key, version: int) -> None:
    """What was answered with a version that stands by now is in what stands."""
    for write in journal.of_entity(db, key):
        if write.done is not None and write.done <= version:
            _forget(db, write, confirmed(db, key)[1])


def _text(data: Content, path: str) -> str | None:
    try:
        found = patch.get(data, path)
    except patch.PatchFailed:
        return None
    return found if isinstance(found, str) else None


def _round(db: Db) -> int:
    return int(fact(db, "round") or 0)
