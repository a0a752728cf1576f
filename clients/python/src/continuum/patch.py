"""Changes of JSON documents: RFC 7396 merge patches, RFC 6902 JSON patches, RFC 6901 pointers.

Pure; what it is given stays as it was.
"""

from __future__ import annotations

import copy
from typing import Any

from .wire import Json


class PatchFailed(Exception):
    """A patch does not fit the document."""


def merge(base: Json, patch: Json) -> Json:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(base) if isinstance(base, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def lay_fields(base: Json, fields: Json) -> Json:
    """What a second `create` does: fields that it brings are written, `null` too, and the others stay."""
    if not isinstance(base, dict) or not isinstance(fields, dict):
        return copy.deepcopy(fields)
    result = dict(base)
    for name, value in fields.items():
        result[name] = lay_fields(result[name], value) if name in result else copy.deepcopy(value)
    return result


def tokens(pointer: str) -> list[str]:
    """The names that lead to a place; raises `PatchFailed`."""
    if pointer == "":
        return []
    if not pointer.startswith("/"):
        raise PatchFailed(f"'{pointer}' is no JSON pointer")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]


def escape(name: str) -> str:
    """A name as a part of a pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def get(document: Json, pointer: str) -> Json:
    """What stands at a place; raises `PatchFailed` if there is nothing."""
    at = document
    for token in tokens(pointer):
        at = _step(at, token, pointer)
    return at


def put(document: Json, pointer: str, value: Json) -> Json:
    """The document with another value at a place that is there."""
    get(document, pointer)
    return apply(document, [{"op": "replace", "path": pointer, "value": value}])


def apply(document: Json, operations: Json) -> Json:
    """RFC 6902: all operations or none; raises `PatchFailed`."""
    if not isinstance(operations, list):
        raise PatchFailed("a JSON patch is a list of operations")
    result = copy.deepcopy(document)
    for operation in operations:
        try:
            result = _one(result, operation)
        except (KeyError, TypeError) as error:
            raise PatchFailed(f"{operation!r}: {error}") from error
    return result


def _one(document: Json, operation: dict[str, Any]) -> Json:
    path: str = operation["path"]
    match operation["op"]:
        case "add":
            return _add(document, path, copy.deepcopy(operation["value"]))
        case "remove":
            return _remove(document, path)
        case "replace":
            get(document, path)
            value = copy.deepcopy(operation["value"])
            return value if path == "" else _add(_remove(document, path), path, value)
        case "move":
            source: str = operation["from"]
            if path.startswith(source + "/"):
                raise PatchFailed(f"{source} cannot be moved into itself")
            value = get(document, source)
            return _add(_remove(document, source), path, value)
        case "copy":
            return _add(document, path, copy.deepcopy(get(document, operation["from"])))
        case "test":
            if not same(get(document, path), operation["value"]):
                raise PatchFailed(f"the test at {path} failed")
            return document
        case other:
            raise PatchFailed(f"'{other}' is no operation of a JSON patch")


def same(one: Json, other: Json) -> bool:
    """Equality of JSON: `true` is not 1, while 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _step(at: Json, token: str, pointer: str) -> Json:
    if isinstance(at, dict) and token in at:
        return at[token]
    if isinstance(at, list):
        return at[_index(token, len(at) - 1, pointer)]
    raise PatchFailed(f"there is nothing at {pointer}")


def _index(token: str, most: int, pointer: str) -> int:
    if not (token.isascii() and token.isdigit()) or (len(token) > 1 and token[0] == "0") or int(token) > most:
        raise PatchFailed(f"there is no such element: {pointer}")
    return int(token)


def _parent(document: Json, pointer: str) -> tuple[Json, str]:
    *ways, last = tokens(pointer)
    at = document
    for token in ways:
        at = _step(at, token, pointer)
    return at, last


def _add(document: Json, pointer: str, value: Json) -> Json:
    if pointer == "":
        return value
    parent, last = _parent(document, pointer)
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent), pointer), value)
    else:
        raise PatchFailed(f"there is nothing to add to at {pointer}")
    return document


def _remove(document: Json, pointer: str) -> Json:
    if pointer == "":
        raise PatchFailed("the whole document cannot be removed")
    parent, last = _parent(document, pointer)
    if isinstance(parent, dict) and last in parent:
        del parent[last]
    elif isinstance(parent, list):
        del parent[_index(last, len(parent) - 1, pointer)]
    else:
        raise PatchFailed(f"there is nothing at {pointer}")
    return document
