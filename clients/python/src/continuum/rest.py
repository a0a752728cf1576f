"""Requests over HTTP, by the standard library in threads.

Owns: that a refusal is a typed error with the node's code. Must not know: what is asked for.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .errors import ContinuumError, NotOnline, Refused
from .transport import retry_after

_PATIENCE_S = 20.0


class Answer:
    """A whole answer."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        """Its content, if the request was done; raises `Refused` with the node's code if not."""
        try:
            content = json.loads(self.body)
        except ValueError as error:
            raise ContinuumError("internal", f"the answer (HTTP {self.status}) is no JSON") from error
        if self.status < 300:
            return content
        fields = content if isinstance(content, dict) else {}
        words = fields.get("detail") or fields.get("title") or f"HTTP {self.status}"
        raise Refused(str(fields.get("code", "internal")), str(words), retry_after(self.headers))


def ask(
    method: str,
    url: str,
    body: str | None = None,
    token: str | None = None,
    tls: ssl.SSLContext | None = None,
    timeout: float = _PATIENCE_S,
) -> Answer:
    """One request, from its connection to its end. Blocks; raises `NotOnline`."""
    connection = connect(url, tls, timeout)
    try:
        connection.request(method, target(url), None if body is None else body.encode(), headers(token, body))
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    except (OSError, http.client.HTTPException) as error:
        raise NotOnline("unavailable", f"cannot reach the node: {error}") from error
    finally:
        connection.close()


async def request(
    method: str,
    url: str,
    body: str | None = None,
    token: str | None = None,
    tls: ssl.SSLContext | None = None,
    timeout: float = _PATIENCE_S,
) -> Answer:
    """The same without blocking."""
    return await asyncio.to_thread(ask, method, url, body, token, tls, timeout)


def connect(url: str, tls: ssl.SSLContext | None, timeout: float) -> http.client.HTTPConnection:
    """A connection for requests, not open yet."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=tls)
    return http.client.HTTPConnection(host, parts.port, timeout=timeout)


def target(url: str) -> str:
    """What stands in a request's first line."""
    parts = urlsplit(url)
    return f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"


def headers(token: str | None, body: str | None = None) -> dict[str, str]:
    """What stands above a request's body."""
    said = {} if body is None else {"Content-Type": "application/json"}
    return said | ({"Authorization": f"Bearer {token}"} if token else {})
