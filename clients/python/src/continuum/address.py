"""Where a node is and as whom it is asked: the addresses of sockets and requests, made of one base address.

Owns: what stands in an address. Must not know: who opens it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit


@dataclass(frozen=True)
class Address:
    """A node's base address, such as `ws://localhost:8420`, and who asks."""

    base: str
    tenant: str
    instance: str
    user: str | None = None
    user_name: str | None = None
    types: tuple[str, ...] | None = None
    capabilities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        parts = urlsplit(self.base)
        if parts.scheme not in ("ws", "wss", "http", "https") or not parts.hostname:
            raise ValueError(f"'{self.base}' is no address of a node; it looks like ws://localhost:8420")

    @property
    def is_secure(self) -> bool:
        """Whether it is asked under TLS."""
        return urlsplit(self.base).scheme in ("wss", "https")

    def socket(self, since: str) -> str:
        """Of the room's socket. Own records come like anybody's: so the mirror needs to know nothing of who wrote what."""
        asked = {"tenant_id": self.tenant, "since": since, "echo": "1", **self._who()}
        if self.types is not None:
            asked["types"] = ",".join(self.types)
        if self.capabilities:
            asked["capabilities"] = ",".join(self.capabilities)
        return f"{self._root('ws')}/ws/sync?{urlencode(asked)}"

    def room(self, path: str, asked: Mapping[str, str | int | None] | None = None) -> str:
        """Of something in the room, over HTTP."""
        return self.node(f"/v1/tenants/{quote(self.tenant, safe='')}{path}", {**self._who(), **(asked or {})})

    def node(self, path: str, asked: Mapping[str, str | int | None] | None = None) -> str:
        """Of something at the node, over HTTP."""
        query = urlencode({name: value for name, value in (asked or {}).items() if value is not None})
        return f"{self._root('http')}{path}{'?' + query if query else ''}"

    def joined_types(self, more: Sequence[str]) -> tuple[str, ...] | None:
        """The types that are asked for, with some more; `None`: all."""
        return None if self.types is None else tuple(dict.fromkeys([*self.types, *more]))

    def _root(self, scheme: str) -> str:
        parts = urlsplit(self.base)
        return f"{scheme}{'s' if self.is_secure else ''}://{parts.netloc}{parts.path.rstrip('/')}"

    def _who(self) -> dict[str, str]:
        who = {"instance_id": self.instance, "user_id": self.user, "user_name": self.user_name}
        return {name: value for name, value in who.items() if value is not None}
