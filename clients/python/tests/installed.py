"""Run from an environment in which only the package was installed: it starts a node and says a first word.

Not collected by pytest: `scripts/test-python` runs it.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import tempfile
from importlib import metadata, resources

import continuum
import continuum.puo_memo
import continuum.realtime


async def speak(url: str, journal: str) -> None:
    async with continuum.Client(url, instance="installed", journal=journal) as client:
        op = await client.publish("memory_added", {"user_message": "hello"})
        assert (await op.settled(20)).status == "stored"
        note = client.entity("note", "n1")
        made = await note.create({"body": "one"})
        assert made.optimistic == {"body": "one"}
        assert (await made.settled(20)).status == "confirmed"


def main() -> None:
    assert metadata.version("continuum-client") == continuum.__version__
    assert resources.files("continuum").joinpath("py.typed").is_file()
    assert "site-packages" in str(continuum.__file__), continuum.__file__
    with tempfile.TemporaryDirectory() as directory:
        command = [os.environ["CONTINUUM"], "serve", "--port", "0", "--data-dir", f"{directory}/log"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as node:
            assert node.stderr is not None
            said = (re.search(r"ready address=(\S+)", line) for line in node.stderr)
            address = next(found[1] for found in said if found)
            try:
                asyncio.run(speak(f"ws://{address}", f"{directory}/journal"))
            finally:
                node.terminate()
                node.stderr.read()
    print(f"continuum-client {continuum.__version__} works where it was installed")


main()
