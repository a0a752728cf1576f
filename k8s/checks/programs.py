"""What only the programs themselves can say: whether a node takes its configuration and has the paths and the metric that manifests
name, and whether a NATS server takes its own."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
import tomllib
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import yaml

from overlay import Overlay, containers, ports, probes, template, volumes

ROOT = Path(__file__).resolve().parent.parent.parent
# For a debug build on a busy machine.
PATIENCE = 60


def first(*candidates):
    """Where the first of these programs is that runs."""
    for program in candidates:
        arguments = ["version", "--client"] if "kubectl" in program else ["--version"]
        try:
            subprocess.run([program, *arguments], check=True, capture_output=True, timeout=PATIENCE)
            return shutil.which(program)
        except (OSError, subprocess.CalledProcessError):
            continue
    raise SystemExit(f"none of {', '.join(candidates)} runs: scripts/setup")


def rendered(folder):
    """An overlay as kubectl makes it."""
    kubectl = first("kubectl", str(ROOT / ".tools/kubectl/usr/bin/kubectl"))
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, timeout=PATIENCE)
    # Warnings too: what is deprecated today does not render tomorrow.
    if done.returncode or done.stderr:
        raise SystemExit(f"{folder.relative_to(ROOT)} does not render: {done.stderr.strip()}")
    return Overlay(folder.name, list(yaml.safe_load_all(done.stdout)))


def nats_server():
    return first(os.environ.get("CONTINUUM_NATS_SERVER", "nats-server"), str(ROOT / ".tools/venv/bin/nats-server"))


def own(variables):
    """The environment without settings of whoever runs this."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CONTINUUM_")} | variables


class Node:
    """The node's program."""

    def __init__(self, program):
        self.program = program
        self.settings = cache(self._settings)

    def _settings(self, variables, text):
        """What holds with these variables (pairs) and this file, or the line that says why not."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "continuum.toml")
            file.write_text(text)
            for what in ("check", "show"):
                done = subprocess.run(
                    [self.program, "config", what, "--config", file], env=own(dict(variables)), capture_output=True, text=True, timeout=PATIENCE
                )
                if done.returncode:
                    return done.stderr.strip()
            return tomllib.loads(done.stdout)

    @contextmanager
    def running(self):
        """Where a node answers that stands on nothing but a directory."""
        with tempfile.TemporaryDirectory() as folder:
            command = [self.program, "serve", "--port", "0", "--data-dir", folder]
            process = subprocess.Popen(command, env=own({"CONTINUUM_ENV": "production"}), stderr=subprocess.PIPE, text=True)
            stop = threading.Timer(PATIENCE, process.kill)
            stop.start()
            try:
                lines = (json.loads(line) for line in process.stderr)
                address = next((line["address"] for line in lines if line["message"] == "ready"), None)
                if address is None:
                    raise SystemExit(f"{self.program} did not start")
                yield f"http://{address}"
            finally:
                stop.cancel()
                process.kill()
                process.wait()


def status(url):
    try:
        with urlopen(url, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, ""
    except (URLError, ConnectionError):
        return 0, ""


def settings(overlay, node):
    variables, text = overlay.config()
    return node.settings(tuple(sorted(variables.items())), text)


def configured(overlay, node):
    """Each key and variable is one that the node knows, and what they say is so in the pod."""
    variables, text = overlay.config()
    found = settings(overlay, node)
    if isinstance(found, str):
        yield f"continuum: {found}"
        return
    nodes = overlay.workload("continuum")
    if variables.get("CONTINUUM_ENV") != overlay.name:
        yield f"continuum: CONTINUUM_ENV is '{variables.get('CONTINUUM_ENV')}' in the overlay {overlay.name}"
    if ports(nodes)["http"] != found["server"]["port"]:
        yield f"continuum: it listens on {found['server']['port']}, its container's port is {ports(nodes)['http']}"
    if found["server"]["host"] != "0.0.0.0":
        yield f"continuum: it listens on {found['server']['host']}, where no probe gets"
    arguments = containers(nodes)[0]["args"]
    mounts = {mount["mountPath"]: mount["name"] for mount in containers(nodes)[0]["volumeMounts"]}
    held = {volume: {path for _, _, paths in sources for path in (paths or {}).values()} for volume, sources in volumes(nodes)}
    held["config"] = {"continuum.toml"}
    if mounts.get(found["data_dir"]) != "data":
        yield f"continuum: data_dir is {found['data_dir']}, where no volume is mounted"
    # `config show` hides what may be a secret, even where it is only a path.
    told = tomllib.loads(text)
    paths = [told[part][key] for part in ("server", "nats", "auth") for key in told.get(part, {}) if isinstance(told[part][key], str)]
    paths = [path for path in paths if path.startswith("/")] + [arguments[arguments.index("--config") + 1]]
    for path in paths:
        folder, _, file = path.rpartition("/")
        if file not in held.get(mounts.get(folder), ()):
            yield f"continuum: nothing puts {path} into the container"
    if found["backbone"]["kind"] == "nats":
        servers = overlay.workload("nats")
        service = servers["spec"]["serviceName"]
        names = [f"nats-{number}.{service}" for number in range(overlay.least(servers))]
        if [urlsplit(url).hostname for url in found["nats"]["urls"]] != names:
            yield f"continuum: nats.urls are not those of the servers {', '.join(names)}"
        if f"CREATE.SYNC_LOG_{found['nats']['shards'] - 1}" not in overlay.settings_of_servers():
            yield f"continuum: nats.shards is {found['nats']['shards']}, and the servers' permissions end before that"


def answered(overlay, url, metrics):
    """Paths and the metric that manifests name are the node's."""
    nodes = overlay.workload("continuum")
    paths = {kind: probe["httpGet"]["path"] for _, kind, probe in probes(nodes)}
    paths["prometheus.io/path"] = template(nodes)["metadata"]["annotations"]["prometheus.io/path"]
    for kind, path in paths.items():
        if status(url + path)[0] != 200:
            yield f"continuum: {kind} asks for {path}, which a node that serves does not answer with 200"
    for ingress in overlay.of("Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                if path["path"] in paths.values():
                    yield f"Ingress: {path['path']} is for the cluster, not for clients"
    for scaler in overlay.of("HorizontalPodAutoscaler"):
        for metric in scaler["spec"]["metrics"]:
            name = metric.get("pods", {}).get("metric", {}).get("name")
            if name and f"# TYPE {name} gauge" not in metrics:
                yield f"HorizontalPodAutoscaler: {name} is no gauge of /metrics"


def make_secrets(directory, command):
    """What the guide's own command makes of the secrets; it names the folder `secrets`."""
    arguments = command.split()
    arguments[arguments.index("secrets")] = str(directory)
    subprocess.run(arguments, check=True, capture_output=True, timeout=PATIENCE)


def files_of_servers(overlay, secrets, folder):
    """Writes the volume with the servers' configuration as the pod sees it."""
    for kind, name, paths in dict(volumes(overlay.workload("nats")))["config"]:
        texts = overlay.get("ConfigMap", name)["data"] if kind == "ConfigMap" else {key: Path(secrets, key).read_text() for key in paths}
        for key, text in texts.items():
            goal = Path(folder, (paths or {}).get(key, key))
            goal.parent.mkdir(exist_ok=True)
            goal.write_text(text.replace("/etc/nats/", f"{folder}/"))


def servers_take(overlay, program, secrets):
    """`nats-server -t` on the configuration in the pod, with the secrets of the guide."""
    if not overlay.settings_of_servers():
        return
    servers = overlay.workload("nats")
    command = containers(servers)[0]["command"]
    with tempfile.TemporaryDirectory() as folder:
        files_of_servers(overlay, secrets, folder)
        file = command[command.index("--config") + 1].replace("/etc/nats", folder)
        done = subprocess.run([program, "-t", "-c", file], env=own({"POD_NAME": "nats-0"}), capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        yield f"nats: the server refuses its configuration: {done.stderr.strip()}"
    text = overlay.settings_of_servers()
    for name, pattern in (("nats", r'^listen: "[\d.]+:(\d+)"'), ("monitor", r'^http: "[\d.]+:(\d+)"'), ("cluster", r'^\s+listen: "[\d.]+:(\d+)"')):
        if int(re.search(pattern, text, re.M)[1]) != ports(servers)[name]:
            yield f"nats: it listens on another port than its container's '{name}'"
    routes = re.search(r"^\s*routes: (\[.*\])", text, re.M)[1]
    wanted = [f"nats-{number}.nats:{ports(servers)['cluster']}" for number in range(overlay.least(servers))]
    if [urlsplit(route).netloc for route in json.loads(routes)] != wanted:
        yield f"nats: its routes are not to {', '.join(wanted)}"
    pid = re.search(r'^pid_file: "(.*)"', text, re.M)[1]
    if containers(servers)[0]["lifecycle"]["preStop"]["exec"]["command"][-1].split()[2] != f"ldm={pid}":
        yield "nats: preStop does not signal the server's own process"


def certified(secrets, overlay):
    """The certificate of the guide names every server that anybody connects to."""
    if not overlay.settings_of_servers():
        return
    shown = ["openssl", "x509", "-in", str(Path(secrets, "server.pem")), "-noout", "-ext", "subjectAltName"]
    names = re.findall(r"DNS:([\w.-]+)", subprocess.run(shown, check=True, capture_output=True, text=True).stdout)
    for number in range(overlay.least(overlay.workload("nats"))):
        if f"nats-{number}.nats" not in names:
            yield f"nats: the certificate that docs/kubernetes.md makes does not name nats-{number}.nats"


@contextmanager
def server(program):
    """Where a NATS server's monitoring answers."""
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "-a", "127.0.0.1", "-p", "-1", "-m", "-1", "-js", "-sd", folder, "--ports_file_dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            end = time.monotonic() + PATIENCE
            while not (found := list(Path(folder).glob("*.ports"))) or not found[0].read_text().strip():
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{program} did not start")
                time.sleep(0.02)
            yield json.loads(found[0].read_text())["monitoring"][0]
        finally:
            process.kill()
            process.wait()


def monitored(overlay, url):
    for workload in overlay.workloads():
        if workload["metadata"]["name"] == "nats":
            for _, kind, probe in probes(workload):
                if status(url + probe["httpGet"]["path"])[0] != 200:
                    yield f"nats: {kind} asks for {probe['httpGet']['path']}, which a server that serves does not answer with 200"
