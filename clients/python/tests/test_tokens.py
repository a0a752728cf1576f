"""Tokens: expired while offline, renewed on the open socket, and what happens when none is good."""

from __future__ import annotations

import asyncio
import base64
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import continuum
from continuum import Client, VirtualClock
from continuum.token import ends_at, renewal_in

from .conftest import GENEROUS
from .support import DEADLINE, PROGRAM, Line, Node, QuickClock, eventually, fated, joined


class Issuer:
    """Whoever signs tokens for the node under test."""

    def __init__(self, directory: Path) -> None:
        self._key = directory / "key"
        self._key.write_text(secrets.token_hex(32))
        self.file = directory / "issuers.toml"
        self.file.write_text(
            '[[issuer]]\nissuer = "tests"\naudience = "continuum"\ntenants = ["*"]\n'
            'key = [{ id = "k", algorithm = "HS256", file = "key" }]\n'
        )

    def token(self, seconds: float = 3600, instance: str = "a") -> str:
        """A token that ends in so many seconds, or ended so long ago."""
        command = [str(PROGRAM), "token", "mint", "--key", str(self._key), "--algorithm", "HS256", "--kid", "k"]
        command += ["--issuer", "tests", "--audience", "continuum", "--tenant", "default", "--instance", instance]
        end = int(time.time() + seconds)
        made = subprocess.run([*command, "--claim", f"exp={end}"], capture_output=True, text=True, check=True)
        return made.stdout.strip()


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@pytest.fixture
def guarded(issuer: Issuer) -> Iterator[Node]:
    """A node that asks for tokens."""
    node = Node(*GENEROUS, "auth.mode=token", f"auth.issuers={issuer.file}")
    yield node
    node.close()


async def test_a_token_that_expired_while_offline_is_replaced_by_asking_again(guarded: Node, issuer: Issuer) -> None:
    given: list[str] = []
    good, expired = issuer.token(), issuer.token(-60)

    async def token() -> str:
        # The first connection gets a good one; what is at hand after the time offline has ended, and another one is got.
        given.append({0: good, 1: expired}.get(len(given), good + ""))
        return given[-1]

    async with Line(guarded.port) as line, joined(line.url, "a", token=token, clock=QuickClock()) as client:
        assert len(given) == 1
        line.cut()
        await eventually(lambda: client.status.connection.state != "online")
        op = await client.publish("note", {})
        line.heal()
        assert (await fated(op)).status == "stored"
        assert given[1] == expired
        assert len(given) >= 3


async def test_without_a_good_token_it_is_blocked_until_one_is_given(guarded: Node, issuer: Issuer) -> None:
    async with Client(guarded.url, instance="a", token=issuer.token(-60), clock=QuickClock()) as client:
        with pytest.raises(continuum.Blocked) as blocked:
            await client.online(DEADLINE)
        assert blocked.value.code == "token_expired"
        op = await client.publish("note", {})
        assert client.status.sync.pending == 1
        client.give_token(issuer.token())
        assert (await fated(op)).status == "stored"


async def test_a_token_for_somebody_else_is_told_by_its_code(guarded: Node, issuer: Issuer) -> None:
    async with Client(guarded.url, instance="a", token=issuer.token(instance="b"), clock=QuickClock()) as client:
        with pytest.raises(continuum.Blocked) as blocked:
            await client.online(DEADLINE)
        assert blocked.value.code == "identity_mismatch"


async def test_a_token_is_renewed_on_the_open_socket_before_it_ends(guarded: Node, issuer: Issuer) -> None:
    clock = VirtualClock()
    # The client's clock says that the token ends in an hour.
    first = issuer.token(3600)
    ahead = (ends_at(first) or 0) - 3600 - clock.wall()
    clock.wall = lambda: VirtualClock.wall(clock) + ahead  # type: ignore[method-assign]
    given: list[str] = []

    def token() -> str:
        given.append(issuer.token(3600 + len(given) * 3600))
        return given[-1]

    async with Line(guarded.port) as line, Client(line.url, instance="a", token=token, clock=clock) as client:
        await client.online(DEADLINE)
        opened = line.opened
        while len(given) < 2:
            clock.advance(60.0)
            # A word each time, so that the connection is not taken for dead.
            await fated(await client.publish("note", {}))
        await fated(await client.publish("note", {}))
        assert (client.status.connection.state, line.opened) == ("online", opened)


async def test_a_source_of_tokens_that_fails_is_asked_again(guarded: Node, issuer: Issuer) -> None:
    asked = 0

    def token() -> str:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise OSError("the door is closed")
        return issuer.token()

    async with joined(guarded.url, "a", token=token, clock=QuickClock()):
        assert asked == 3


async def test_over_http_tokens_are_shown_and_refused_alike(guarded: Node, issuer: Issuer) -> None:
    for way in ("sse", "poll"):
        name = f"over-{way}"
        good = issuer.token(instance=name)
        async with joined(guarded.url, name, token=good, transports=[way], clock=QuickClock()) as client:
            assert (await fated(await client.publish("note", {}))).status == "stored"
        async with Client(
            guarded.url, instance=name, token=issuer.token(-60, name), transports=[way], clock=QuickClock()
        ) as client:
            with pytest.raises(continuum.Blocked) as blocked:
                await client.online(DEADLINE)
            assert blocked.value.code == "token_expired"


def test_when_a_token_ends_is_read_of_itself_and_renewed_before() -> None:
    claims = base64.urlsafe_b64encode(b'{"exp": 2000}').decode().rstrip("=")
    assert ends_at(f"e30.{claims}.c2ln") == 2000
    for silent in (None, "cnt_0123_4567", "a.b.c", "e30.e30.e30"):
        assert ends_at(silent) is None
    assert renewal_in(None, None, 0) is None
    assert renewal_in(None, 3600, 0) == 3540
    assert renewal_in(None, 100, 0) == 80
    # A clock that is wrong does not make it ask all the time.
    assert renewal_in(None, 100, 200) == 10
    hour = base64.urlsafe_b64encode(b'{"iat": 0, "exp": 3600}').decode().rstrip("=")
    assert renewal_in(f"e30.{hour}.c2ln", 3600, 7200) == 360


@pytest.mark.parametrize("is_kept", [True, False], ids=["the same until it ends", "a new one each time"])
async def test_with_a_clock_that_is_ahead_tokens_are_renewed_now_and_then(guarded: Node, issuer: Issuer, is_kept: bool) -> None:
    clock = VirtualClock()
    clock.wall = lambda: time.time() + 7200  # type: ignore[method-assign]
    asked, first = 0, issuer.token()

    def token() -> str:
        nonlocal asked
        asked += 1
        return first if is_kept else issuer.token(3600 + asked)

    async with Client(guarded.url, instance="a", token=token, clock=clock) as client:
        await client.online(DEADLINE)
        for _ in range(30):
            clock.advance(1)
            await fated(await client.publish("note", {}))
        assert asked <= 4
        asked = 0
        for _ in range(5):
            await client.history()
        assert asked == 0, "requests are made with the connection's token"


async def test_where_every_new_token_is_refused_it_is_tried_now_and_then(guarded: Node, issuer: Issuer) -> None:
    clock, asked = VirtualClock(), [0]
    expired = [issuer.token(-60 - n) for n in range(12)]

    def token() -> str:
        asked[0] += 1
        return expired[asked[0] % len(expired)]

    async with Line(guarded.port) as line, Client(line.url, instance="a", token=token, clock=clock) as client:
        for n in range(2, 7):
            # One attempt with another token at once, and each one after that when its time comes.
            await eventually(lambda n=n: (line.opened, client.status.connection.state) == (n, "blocked"))  # type: ignore[misc]
            assert asked[0] == n
            clock.advance(60)
        client.give_token(issuer.token())
        await eventually(lambda: client.status.connection.state == "online")


async def test_a_source_of_tokens_that_hangs_is_given_up(guarded: Node, issuer: Issuer) -> None:
    clock = VirtualClock()
    hangs = [True]

    async def token() -> str:
        if hangs[0]:
            await asyncio.Event().wait()
        return issuer.token()

    async with Client(guarded.url, instance="a", token=token, clock=clock) as client:

        def is_told() -> bool:
            clock.advance(1)
            return "in time" in str(client.status.connection.reason)

        await eventually(is_told)
        hangs[0] = False

        def is_online() -> bool:
            clock.advance(0.1)
            return client.status.connection.state == "online"

        await eventually(is_online)


async def test_waiting_for_a_connection_that_cannot_come_ends_in_time(issuer: Issuer) -> None:
    async with Client("ws://127.0.0.1:9", instance="a") as client:
        with pytest.raises(TimeoutError):
            await client.online(0.05)
        await asyncio.sleep(0)
