"""Numbers that rest on one another: times of a stop, sizes of volumes, counts of pods, versions, what charts repeat."""

import re

from overlay import NATS_UNITS, containers, quantity, seconds, template

# What a node does behind drain.timeout: last answers, its leave of the others, closing the log and the journal.
CLOSING = 10
# What the journal's store may take beyond journal.max_bytes (docs/operations.md).
STORE = 200 << 20
# Files of imports that a node keeps at a time (docs/operations.md).
IMPORTS = 4


def claim(workload):
    claims = {c["metadata"]["name"]: c["spec"]["resources"]["requests"]["storage"] for c in workload["spec"]["volumeClaimTemplates"]}
    return quantity(claims["data"])


def of_a_stop(overlay, settings):
    nodes = overlay.workload("continuum")
    grace = template(nodes)["spec"]["terminationGracePeriodSeconds"]
    stop = containers(nodes)[0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain, spread = (seconds(settings["drain"][key]) for key in ("timeout", "spread"))
    if grace < stop + drain + CLOSING:
        yield f"continuum: a grace period of {grace} s is too short for preStop ({stop} s), drain.timeout ({drain:g} s) and {CLOSING} s to close"
    if nodes["spec"]["minReadySeconds"] < spread:
        yield f"continuum: the next node goes after {nodes['spec']['minReadySeconds']} s, while clients of the last one come back within {spread:g} s"
    readiness = containers(nodes)[0]["readinessProbe"]
    if readiness["periodSeconds"] * readiness["failureThreshold"] > drain:
        yield "continuum: it has drained before its readiness says so"
    startup = containers(nodes)[0]["startupProbe"]
    if startup["periodSeconds"] * startup["failureThreshold"] < 120:
        yield "continuum: it is started again before NATS had two minutes to come up"
    if containers(nodes)[0]["livenessProbe"]["httpGet"]["path"] != "/healthz":
        yield "continuum: liveness looks at more than the process"
    if {containers(nodes)[0][probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe")} != {"/readyz"}:
        yield "continuum: startup and readiness do not look at whether it can serve"
    for ingress in overlay.of("Ingress"):
        notes = ingress["metadata"]["annotations"]
        tunnel = re.search(r"timeout tunnel (\S+)", notes["haproxy.org/backend-config-snippet"])
        for what, text in (("tunnel", tunnel and tunnel[1]), ("server", notes["haproxy.org/timeout-server"])):
            if not text or seconds(text) <= seconds(settings["heartbeat"]["timeout"]):
                yield f"Ingress: its timeout for a silent {what} is not above heartbeat.timeout"


def of_servers(overlay):
    text = overlay.settings_of_servers()
    if not text:
        return
    servers = overlay.workload("nats")
    spec = template(servers)["spec"]
    lame = sum(seconds(found) for found in re.findall(r"^lame_duck_\w+: \"(\w+)\"", text, re.M))
    if spec["terminationGracePeriodSeconds"] < lame + CLOSING or not lame:
        yield f"nats: a grace period of {spec['terminationGracePeriodSeconds']} s is too short for {lame:g} s as a lame duck and {CLOSING} s to close"
    number, unit = re.search(r"max_file_store: (\d+)(\w*)", text).groups()
    if claim(servers) < int(number) * NATS_UNITS[unit] * 1.1:
        yield f"nats: a volume of {claim(servers):.0f} bytes is too small for max_file_store"
    if not re.search(r"^\s*sync_interval: always", text, re.M):
        yield "nats: servers do not flush before they acknowledge"
    limit = quantity(containers(servers)[0]["resources"]["limits"]["memory"])
    memory = next(e["value"] for e in containers(servers)[0]["env"] if e["name"] == "GOMEMLIMIT").removesuffix("B")
    if quantity(memory) > 0.9 * limit:
        yield "nats: GOMEMLIMIT is no less than the container's limit"


def of_volumes(overlay, settings):
    log, limits = settings["log"], settings["limits"]
    if settings["backbone"]["kind"] == "nats":
        needed = settings["journal"]["max_bytes"] + STORE
        number, unit = re.search(r"max_file_store: (\d+)(\w*)", overlay.settings_of_servers()).groups()
        if log["retention_bytes"] > int(number) * NATS_UNITS[unit]:
            yield "nats: max_file_store has no room for log.retention_bytes"
    else:
        needed = 2 * log["retention_bytes"]
    needed += IMPORTS * limits["import_bytes"]
    if claim(overlay.workload("continuum")) < needed:
        yield f"continuum: its volume is smaller than the {needed} bytes that may lie on it"


def of_pods(overlay, settings):
    for budget in overlay.of("PodDisruptionBudget"):
        spec, workload = budget["spec"], overlay.selected(budget["spec"]["selector"])
        if not workload:
            continue
        name, least = workload[0]["metadata"]["name"], overlay.least(workload[0])
        gone = spec["maxUnavailable"] if "maxUnavailable" in spec else least - spec["minAvailable"]
        if gone < 1:
            yield f"PodDisruptionBudget {name}: no machine with one of its pods can ever be emptied"
        if name == "nats" and least - gone <= least // 2:
            yield f"PodDisruptionBudget {name}: with {gone} of {least} away there is no majority"
        if name == "continuum" and least > 1 and least - gone < 1:
            yield f"PodDisruptionBudget {name}: all of them may be put out at once"
    for scaler in overlay.of("HorizontalPodAutoscaler"):
        spec = scaler["spec"]
        if any("replicas" in thing["spec"] for thing in overlay.workloads() if thing["metadata"]["name"] == spec["scaleTargetRef"]["name"]):
            yield "continuum: its replicas are set here as well as by the autoscaler"
        wanted = [m["pods"]["target"]["averageValue"] for m in spec["metrics"] if m["type"] == "Pods"]
        most = settings["limits"]["connections_per_node"]
        crowd = max(1.5, spec["minReplicas"] / max(spec["minReplicas"] - 1, 1))
        if not wanted or quantity(wanted[0]) * crowd > most:
            yield f"HorizontalPodAutoscaler: the target leaves no room for the connections of a node that goes (limits.connections_per_node is {most})"
        down = spec["behavior"]["scaleDown"]
        if down["stabilizationWindowSeconds"] < 600 or any(p["type"] != "Pods" or p["value"] > 1 for p in down["policies"]):
            yield "HorizontalPodAutoscaler: it takes nodes away too eagerly"
        busy = [quantity(m["resource"]["target"]["averageValue"]) for m in spec["metrics"] if m["type"] == "Resource"]
        if busy and busy[0] > settings["server"]["workers"]:
            yield "HorizontalPodAutoscaler: a node cannot use as much CPU as it is to be given more nodes for"
    if overlay.settings_of_servers() and settings["nats"]["replicas"] > overlay.least(overlay.workload("nats")):
        yield "continuum: nats.replicas asks for more copies than there are servers"


def of_versions(overlay, version, server):
    """`version` is that of Cargo.toml, `server` that of the nats-server that the tests run against."""
    for workload, wanted in (("continuum", version), ("nats", f"{server}-alpine")):
        for thing in overlay.workloads():
            for container in containers(thing):
                image, _, tag = container["image"].rpartition(":")
                if thing["metadata"]["name"] == workload and (tag != wanted or image.rsplit("/", 1)[-1] != workload):
                    yield f"{workload}: its image is {container['image']}, not {workload}:{wanted}"


def of_charts(overlay, servers, adapter, by_hand):
    """The values for charts say what the manifests say. `by_hand` is as in references.py."""
    config, mine = servers["config"], overlay.workload("nats")
    number = re.search(r"max_file_store: (\w+)", overlay.settings_of_servers())[1]
    memory = re.search(r"max_memory_store: (\w+)", overlay.settings_of_servers())[1]
    said = {
        "servers": config["cluster"]["replicas"],
        "volume": quantity(config["jetstream"]["fileStore"]["pvc"]["size"]),
        "store": (config["jetstream"]["fileStore"]["maxSize"], config["jetstream"]["memoryStore"]["maxSize"]),
        "flushing": config["jetstream"]["merge"]["sync_interval"],
        "image": servers["container"]["image"]["tag"],
        "resources": servers["container"]["resources"],
        "grace period": servers["podTemplate"]["merge"]["spec"]["terminationGracePeriodSeconds"],
        "service": servers["headlessService"]["name"],
    }
    wanted = {
        "servers": overlay.least(mine),
        "volume": claim(mine),
        "store": (number, memory),
        "flushing": "always",
        "image": containers(mine)[0]["image"].rpartition(":")[2],
        "resources": containers(mine)[0]["resources"],
        "grace period": template(mine)["spec"]["terminationGracePeriodSeconds"],
        "service": mine["spec"]["serviceName"],
    }
    for what, value in said.items():
        if value != wanted[what]:
            yield f"nats-values.yaml: its {what}: {value}, where base/nats has {wanted[what]}"
    for tls in (config["nats"]["tls"], config["cluster"]["tls"], servers["tlsCA"]):
        keys = {tls[part] for part in ("cert", "key") if part in tls}
        if not keys <= by_hand.get(tls["secretName"], set()):
            yield f"nats-values.yaml: docs/kubernetes.md does not make the secret {tls['secretName']} with {', '.join(sorted(keys))}"
    metrics = {m["pods"]["metric"]["name"] for s in overlay.of("HorizontalPodAutoscaler") for m in s["spec"]["metrics"] if "pods" in m}
    if {rule["seriesQuery"].partition("{")[0] for rule in adapter["rules"]["custom"]} != metrics:
        yield f"prometheus-adapter-values.yaml: it does not pass on {', '.join(metrics)}"
