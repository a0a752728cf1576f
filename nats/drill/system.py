"""The processes of scripts/restore-drill: three NATS servers and the nodes on them, started, watched and ended. Must not know what
is written to them."""

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 60
SHARDS = 2
STARTED = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - STARTED:5.1f}s] {text}", flush=True)


def check(holds, text):
    if not holds:
        raise SystemExit(f"FAILED: {text}")


def until(what, ask):
    end = time.monotonic() + PATIENCE
    while not (answer := ask()):
        check(time.monotonic() < end, f"gave up after {PATIENCE} s: {what}")
        time.sleep(0.05)
    return answer


def get(url, body=None, method=None):
    """Status and JSON of an answer; 0 when nobody answers."""
    request = Request(url, None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method)
    try:
        with urlopen(request, timeout=PATIENCE) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text[:1] in b"{[" else text.decode()
    except HTTPError as error:
        return error.code, json.loads(error.read() or b"null")
    except OSError:
        return 0, None


class Process:
    def start(self, *command):
        with self.log.open("a") as log:
            self.process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, env=self.environment())

    def environment(self):
        return {name: value for name, value in os.environ.items() if not name.startswith("CONTINUUM_")}

    def end(self, number):
        """Sends a signal and waits; says how long it took."""
        begun = time.monotonic()
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(PATIENCE)
        return time.monotonic() - begun


class Server(Process):
    """One of three NATS servers."""

    def __init__(self, folder, name, ports, routes):
        self.folder, self.name, self.log, self.process = folder / name, name, folder / f"{name}.log", None
        self.client, self.monitor, route = ports
        self.file = folder / f"{name}.conf"
        self.file.write_text(
            f'server_name: {name}\nlisten: "127.0.0.1:{self.client}"\nhttp: "127.0.0.1:{self.monitor}"\nmax_payload: 2MB\n'
            f'jetstream {{ store_dir: "{self.folder}", max_file_store: 4GB, sync_interval: always }}\n'
            f'cluster {{ name: sync, listen: "127.0.0.1:{route}", no_advertise: true, routes: {json.dumps(routes)} }}\n'
        )

    def up(self):
        program = shutil.which(os.environ.get("CONTINUUM_NATS_SERVER", "nats-server")) or ROOT / ".tools/venv/bin/nats-server"
        self.start(program, "-c", self.file)

    def healthy(self):
        return get(f"http://127.0.0.1:{self.monitor}/healthz")[0] == 200

    def leads(self):
        """Whether it leads the servers and finds both others up to date: before that it refuses to place a stream."""
        group = (get(f"http://127.0.0.1:{self.monitor}/jsz")[1] or {}).get("meta_cluster", {})
        current = [peer.get("current") and not peer.get("offline") for peer in group.get("replicas") or []]
        return group.get("leader") == self.name and len(current) == 2 and all(current)


class Node(Process):
    def __init__(self, folder, name, program, urls):
        self.folder, self.log, self.process, self.program, self.urls = folder / name, folder / f"{name}.log", None, program, urls

    def up(self):
        settings = {
            "backbone.kind": "nats", "nats.urls": self.urls, "nats.shards": SHARDS, "nats.replicas": 3, "log.retention_bytes": 1 << 30,
            "logging.format": "json", "drain.timeout": "3s", "drain.spread": "1s", "rooms.idle_timeout": "2s",
            "limits.connections_per_user": 0,
        }  # fmt: skip
        for limit in ("messages", "tenant_messages", "http_messages", "requests", "tenant_requests"):
            settings[f"limits.{limit}_per_minute"] = 0
        self.log.write_text("")
        options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        self.start(self.program, "serve", "--port", 0, "--data-dir", self.folder, *options)
        self.address = until("a node listens", self.listens)
        until("a node is ready", lambda: get(f"http://{self.address}/readyz")[0] == 200)

    def listens(self):
        check(self.process.poll() is None, f"a node ended: {self.log.read_text()[-2000:]}")
        lines = [json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n") and line.startswith("{")]
        return next((line["address"] for line in lines if line["message"] == "ready"), None)

    def of(self, room, path):
        return f"http://{self.address}/v1/tenants/{room}/{path}"

    def journal(self):
        lines = str(get(f"http://{self.address}/metrics")[1]).splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("continuum_journal_entries"))


def up(servers):
    for server in servers:
        server.up()
    until("the servers are healthy", lambda: all(server.healthy() for server in servers) and any(server.leads() for server in servers))


class socket_ports:
    """So many free ports, held until they are used."""

    def __init__(self, count):
        self.sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]

    def __enter__(self):
        return [held.getsockname()[1] for held in self.sockets]

    def __exit__(self, *_):
        for held in self.sockets:
            held.close()
