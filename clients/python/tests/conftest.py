"""Nodes for tests: one for all that only need a room of their own, and one each for those that are rough with it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from .support import PROGRAM, Node

_tenants = itertools.count(1)

# Tests of a crowd must not be refused for being one; limits have tests of their own.
GENEROUS = (
    "limits.messages_per_minute=1000000",
    "limits.tenant_messages_per_minute=1000000",
    "limits.control_per_minute=1000000",
    "limits.http_messages_per_minute=1000000",
    "limits.requests_per_minute=1000000",
    "limits.tenant_requests_per_minute=1000000",
    "limits.connections_per_tenant=1000",
    "limits.connections_per_user=1000",
)


def pytest_sessionstart() -> None:
    if not PROGRAM.exists():
        pytest.exit(f"there is no node at {PROGRAM}: build one (cargo build), or say where one is in CONTINUUM", 2)


@pytest.fixture(scope="session")
def shared_node() -> Iterator[Node]:
    node = Node(*GENEROUS)
    yield node
    node.close()


@pytest.fixture
def node() -> Iterator[Node]:
    """A node that a test may do anything with."""
    node = Node(*GENEROUS)
    yield node
    node.close()


@pytest.fixture
def tenant() -> str:
    """A room of the test's own."""
    return f"t{next(_tenants)}"
