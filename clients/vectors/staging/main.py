"""The stage as a program. Owns: its arguments, its first line, the control address, and that it ends with whoever started it."""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from .control import Control
from .player import Player
from .real import Real

ROOT = Path(__file__).resolve().parents[3]
TENANT = "vectors"


def arguments():
    parser = argparse.ArgumentParser(prog="stage", description="The other side of the test vectors.")
    parser.add_argument("--vector", type=Path, required=True)
    parser.add_argument("--mode", choices=["real", "recorded"], required=True)
    parser.add_argument("--continuum", default=os.environ.get("CONTINUUM", str(ROOT / "target/debug/continuum")))
    parser.add_argument("--record", type=Path, help="write what was on the wire (real mode)")
    parser.add_argument("--like", type=Path, help="what was on the wire must have the form of this recording (real mode)")
    return parser.parse_args()


def record():
    """Has the client in Rust hold every conversation with a real node, and keeps what was on the wire."""
    test = ["cargo", "test", "--locked", "--test", "client", "--", "with_a_real_node", "pure::"]
    return subprocess.run(test, cwd=ROOT, env={**os.environ, "RECORD_VECTORS": "1"}, check=False).returncode


def wait_for_starter(loop, over):
    while sys.stdin.buffer.read(4096):
        pass
    loop.call_soon_threadsafe(over.set)


async def run(options):
    vector = json.loads(options.vector.read_text(encoding="utf-8"))
    vector["name"] = options.vector.stem
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    # Whoever started this holds the other end of its standard input: it ends with them.
    threading.Thread(target=wait_for_starter, args=(loop, over), daemon=True).start()
    if options.mode == "real":
        stage = Real(vector, TENANT, options.continuum, options.record, options.like)
    else:
        recorded = options.vector.parent.parent / "recorded" / options.vector.name
        stage = Player(vector, TENANT, json.loads(recorded.read_text(encoding="utf-8")))
    try:
        await stage.start()
        control = Control(vector, stage, over)
        address = await control.start()
        clients = {name: f"ws://127.0.0.1:{line.port}" for name, line in stage.lines.items()}
        said = {"vector": vector["name"], "tenant": TENANT, "clients": clients, "control": f"http://{address}"}
        print(json.dumps(said), flush=True)
        await over.wait()
    finally:
        await stage.stop()


def main():
    if sys.argv[1:] == ["record"]:
        return record()
    asyncio.run(run(arguments()))
    # Not by way of the interpreter's end, which waits for the lock of a standard input that is being read.
    os._exit(0)
