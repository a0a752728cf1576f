"""Where nodes stand: behind TLS, and several of them on one NATS server."""

from __future__ import annotations

import os
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import continuum
from continuum import Client

from .conftest import GENEROUS
from .support import DEADLINE, ROOT, Line, Node, QuickClock, eventually, fated, joined, soon
from .test_tokens import Issuer

NATS = Path(os.environ.get("NATS_SERVER", ROOT / ".tools/venv/bin/nats-server"))


def certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for `localhost` that it signed itself, and its key."""
    made, key = directory / "node.pem", directory / "node.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost".split()
    command += ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(made)], check=True, capture_output=True)
    return made, key


async def test_under_tls_all_is_said_and_asked_and_nobody_else_is_believed(tmp_path: Path) -> None:
    issuer, (made, key) = Issuer(tmp_path), certificate(tmp_path)
    auth = ("auth.mode=token", f"auth.issuers={issuer.file}")
    node = Node(*GENEROUS, *auth, f"server.tls_certificate={made}", f"server.tls_key={key}")
    try:
        url, trusted = f"wss://localhost:{node.port}", ssl.create_default_context(cafile=str(made))

        async def token() -> str:
            return issuer.token()

        for way in ("websocket", "sse", "poll"):
            options = {"token": token, "tls": trusted, "clock": QuickClock(), "transports": [way]}
            async with joined(url, "a", **options) as client:
                op = await client.publish("note", {"way": way})
                assert (await fated(op)).status == "stored"
                assert op.id in [event.event_id async for event in client.replay()]
        async with Client(url, instance="a", token=token, clock=QuickClock()) as client:
            with pytest.raises(continuum.Blocked, match="untrusted"):
                await client.online(DEADLINE)
    finally:
        node.close()


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[str]:
    """A NATS server with JetStream."""
    assert NATS.exists(), f"there is no nats-server at {NATS}: scripts/setup gets one, or say where one is in NATS_SERVER"
    (tmp_path / "ports").mkdir()
    command = [str(NATS), "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", str(tmp_path / "store")]
    with subprocess.Popen(
        [*command, "--ports_file_dir", str(tmp_path / "ports")], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stderr is not None
            for line in server.stderr:
                if "Listening for client connections on" in line:
                    yield f"nats://{line.rsplit(maxsplit=1)[1]}"
                    break
        finally:
            server.kill()


async def test_when_one_of_two_nodes_dies_it_goes_on_at_the_other(nats: str, tenant: str) -> None:
    settings = ("backbone.kind=nats", f"nats.urls={nats}", "log.retention_bytes=0")
    one, other = Node(*GENEROUS, *settings), Node(*GENEROUS, *settings)
    try:
        async with (
            joined(other.url, "there", tenant=tenant) as there,
            Line(one.port) as line,
            joined(line.url, "a", tenant=tenant, clock=QuickClock()) as client,
        ):
            heard, note = there.subscribe("note"), client.entity("task", "t")
            await fated(await note.put({"n": 0}))
            ops = [await client.publish("note", {"n": n}) for n in range(5)]
            one.kill()
            line.lead_to(other.port)
            ops += [await client.publish("note", {"n": n}) for n in range(5, 10)]
            change = await note.update({"n": 1})
            assert {(await fated(op)).status for op in ops} == {"stored"}
            assert (await fated(change)).status == "confirmed"
            assert client.status.connection.resumed == "complete"
            assert [(await soon(anext(heard))).data["n"] for _ in range(10)] == list(range(10))
            await eventually(there.entity("task", "t").data, lambda data: data == {"n": 1})
    finally:
        one.close()
        other.close()
