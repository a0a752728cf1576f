"""What can go wrong, as types. Every refusal has the node's own code, so that programs need not read sentences.

Owns: the types of errors. Must not know: who raises them.
"""

from __future__ import annotations


class ContinuumError(Exception):
    """Something was not done. `code` is one of the node's codes where the node said so."""

    def __init__(self, code: str, message: str, retry_after_ms: int | None = None) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.retry_after_ms = retry_after_ms


class Refused(ContinuumError):
    """The node refused it, or no node would take it: nothing was done."""


class Blocked(ContinuumError):
    """No connection can come about before somebody does something, such as giving another token."""


class Closed(ContinuumError):
    """The client was closed."""

    def __init__(self) -> None:
        super().__init__("closed", "the client is closed")


class NotOnline(ContinuumError):
    """It can only be done while there is a connection, and there is none, or one that cannot do it."""


class StorageFailed(ContinuumError):
    """The journal takes no more: nothing was written."""


class TextFailed(ContinuumError):
    """An edit of a text does not fit the text, or is none."""

    def __init__(self, message: str) -> None:
        super().__init__("text_failed", message)
