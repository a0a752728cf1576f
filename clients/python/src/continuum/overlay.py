"""What is pending, laid over what the log has: an entity as its author wants to see it. Pure.

Owns: doing an operation as the node does it where nobody else writes. Must not know: versions; what clashes is the node's to say.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

from . import patch
from . import text as texts
from .errors import ContinuumError
from .wire import Json

Fields = dict[str, Json]
"""An operation's `action` and one of `patch`, `ops`, `text` and `data`, as on the wire."""


def lay(base: dict[str, Json] | None, pending: Iterable[Fields]) -> dict[str, Json] | None:
    """The entity with what is pending done to it, as far as it can be; `None`: it is not there.

    What cannot be done shows nothing and hides nothing.
    """
    stands, kept = base, base
    for fields in pending:
        try:
            after = _one(stands, kept, fields)
        except (patch.PatchFailed, ContinuumError, KeyError, TypeError):
            continue
        if after is not None:
            kept = after
        stands = after
    return copy.deepcopy(stands)


def _one(stands: dict[str, Json] | None, kept: dict[str, Json] | None, fields: Fields) -> dict[str, Json] | None:
    match fields["action"]:
        case "create":
            return patch.lay_fields(stands, fields["data"]) if stands is not None else _object(fields["data"])
        case "put":
            return change(stands if stands is not None else {}, fields, is_put=True)
        case "update":
            return None if stands is None else change(stands, fields)
        case "delete":
            return None
        case "restore":
            return stands if stands is not None else kept
        case _:
            return stands


def change(stands: dict[str, Json], fields: Fields, is_put: bool = False) -> dict[str, Json]:
    """What an update does to a content; raises what does not fit."""
    if "patch" in fields:
        return _object(patch.merge(stands, _object(fields["patch"])))
    if "ops" in fields:
        return _object(patch.apply(stands, fields["ops"]))
    if "text" in fields:
        path = fields["text"]["path"]
        current = patch.get(stands, path)
        if not isinstance(current, str):
            raise patch.PatchFailed(f"no text at {path}")
        if "value" in fields["text"]:
            return _object(patch.put(stands, path, str(fields["text"]["value"])))
        return _object(patch.put(stands, path, texts.apply(texts.read(fields["text"]["ops"]), current)))
    if "data" in fields:
        return _object(fields["data"]) if is_put else _object(patch.merge(stands, _object(fields["data"])))
    return stands


def _object(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise patch.PatchFailed("not an object")
    return value
