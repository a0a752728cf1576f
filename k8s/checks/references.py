"""Whatever names something else names what is there: selectors, ports, volumes, secrets, classes, paths through the network."""

import re
from urllib.parse import urlsplit

from overlay import containers, has_port, ports, probes, template, volumes


def selectors(overlay):
    for thing in overlay.workloads():
        name, spec = thing["metadata"]["name"], thing["spec"]
        if thing not in overlay.selected(spec["selector"]):
            yield f"{name}: its selector does not mean its own pods"
        service = overlay.get("Service", spec["serviceName"])
        if not service or service["spec"].get("clusterIP") != "None" or thing not in overlay.selected({"matchLabels": service["spec"]["selector"]}):
            yield f"{name}: its serviceName '{spec['serviceName']}' is no headless service of its pods"
        pod = template(thing)["spec"]
        terms = pod.get("affinity", {}).get("podAntiAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", [])
        for term in terms + pod.get("topologySpreadConstraints", []):
            if thing not in overlay.selected(term["labelSelector"]):
                yield f"{name}: what is spread over {term['topologyKey']} is not its own pods"
    for kind in ("Service", "PodDisruptionBudget"):
        for thing in overlay.of(kind):
            selector = thing["spec"]["selector"]
            if len(overlay.selected(selector if kind != "Service" else {"matchLabels": selector})) != 1:
                yield f"{kind} {thing['metadata']['name']}: its selector does not mean the pods of one workload"
    for policy in overlay.of("NetworkPolicy"):
        for selector in [policy["spec"]["podSelector"], *(peer["podSelector"] for _, peer in peers(policy) if is_near(peer))]:
            if not overlay.selected(selector):
                yield f"NetworkPolicy {policy['metadata']['name']}: nothing here has the labels {selector}"
    for scaler in overlay.of("HorizontalPodAutoscaler"):
        goal = scaler["spec"]["scaleTargetRef"]
        if not overlay.get(goal["kind"], goal["name"]):
            yield f"HorizontalPodAutoscaler {scaler['metadata']['name']}: there is no {goal['kind']} {goal['name']}"


def peers(policy):
    """Rule and peer, for each peer of a network policy."""
    for rule in policy["spec"].get("ingress", []) + policy["spec"].get("egress", []):
        for peer in rule.get("from", []) + rule.get("to", []):
            yield rule, peer


def is_near(peer):
    return "podSelector" in peer and "namespaceSelector" not in peer


def all_ports(overlay):
    for service in overlay.of("Service"):
        for port in service["spec"]["ports"]:
            for workload in overlay.selected({"matchLabels": service["spec"]["selector"]}):
                if not has_port(workload, port.get("targetPort", port["port"])):
                    yield f"Service {service['metadata']['name']}: no container of {workload['metadata']['name']} has the port {port['targetPort']}"
    for workload in overlay.workloads():
        name = workload["metadata"]["name"]
        for container, kind, probe in probes(workload):
            if probe["httpGet"]["port"] not in [port["name"] for port in container["ports"]]:
                yield f"{name}: {kind} asks the port {probe['httpGet']['port']}, which the container does not have"
        scraped = template(workload)["metadata"].get("annotations", {}).get("prometheus.io/port")
        if scraped and not has_port(workload, int(scraped)):
            yield f"{name}: prometheus.io/port is {scraped}, which no container has"
    for policy in overlay.of("NetworkPolicy"):
        for direction, peer in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(direction, []):
                near = [found for one in rule.get(peer, []) if is_near(one) for found in overlay.selected(one["podSelector"])]
                # What comes in comes in here; what goes out arrives there.
                for workload in overlay.selected(policy["spec"]["podSelector"]) if direction == "ingress" else near:
                    for port in rule.get("ports", []):
                        if not has_port(workload, port["port"]):
                            yield f"NetworkPolicy {policy['metadata']['name']}: {workload['metadata']['name']} has no port {port['port']}"
    for ingress in overlay.of("Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                service = overlay.get("Service", backend["name"])
                if not service or backend["port"]["name"] not in [port["name"] for port in service["spec"]["ports"]]:
                    yield f"Ingress {ingress['metadata']['name']}: {path['path']} leads to no service and port that is there"


def things_by_name(overlay, by_hand):
    """`by_hand` is what docs/kubernetes.md makes: the keys of each secret by its name."""

    def keys(kind, name):
        if kind == "Secret":
            return by_hand.get(name)
        found = overlay.get(kind, name)
        return found and set(found.get("data", {}))

    for workload in overlay.workloads():
        name, pod = workload["metadata"]["name"], template(workload)["spec"]
        known = dict(volumes(workload))
        for volume, sources in known.items():
            for kind, source, paths in sources:
                there = keys(kind, source)
                if there is None:
                    yield f"{name}: the volume '{volume}' wants the {kind} '{source}', which is not here" + (
                        " and not made by hand in docs/kubernetes.md" if kind == "Secret" else ""
                    )
                elif not set(paths or {}) <= there:
                    yield f"{name}: the {kind} '{source}' has no {', '.join(sorted(set(paths) - there))}"
        for container in containers(workload):
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in known:
                    yield f"{name}: there is no volume '{mount['name']}' for {mount['mountPath']}"
            unused = set(known) - {mount["name"] for mount in container.get("volumeMounts", [])}
            if unused:
                yield f"{name}: nothing mounts the volume {', '.join(sorted(unused))}"
        if not overlay.get("ServiceAccount", pod.get("serviceAccountName")):
            yield f"{name}: there is no service account '{pod.get('serviceAccountName')}'"
        # Classes belong to the whole cluster: one overlay has them.
        if (overlay.name == "production" or "priorityClassName" in pod) and not overlay.get("PriorityClass", pod.get("priorityClassName")):
            yield f"{name}: there is no priority class '{pod.get('priorityClassName')}'"
    for ingress in overlay.of("Ingress"):
        for tls in ingress["spec"]["tls"]:
            if tls["secretName"] not in by_hand:
                yield f"Ingress {ingress['metadata']['name']}: docs/kubernetes.md does not make the secret '{tls['secretName']}'"
            if set(tls["hosts"]) != {rule["host"] for rule in ingress["spec"]["rules"]}:
                yield f"Ingress {ingress['metadata']['name']}: the hosts with TLS are not those with rules"


def secrets_by_hand(text):
    """The secrets that the commands of a Markdown text make, with their keys."""
    made = {}
    for kind, name, rest in re.findall(r"create secret (generic|tls) (\S+)((?:[^\n\\]|\\\n)*)", text):
        files = [part.split("=")[0] for part in re.findall(r"--from-file=(\S+)", rest)]
        made[name] = {"tls.crt", "tls.key"} if kind == "tls" else {file.rsplit("/", 1)[-1] for file in files}
    return made


def ways(overlay, settings):
    """With everything denied, whoever has to talk to somebody may."""
    denied = [p for p in overlay.of("NetworkPolicy") if p["spec"]["podSelector"] == {} and not set(p["spec"]) & {"ingress", "egress"}]
    if not denied or set(denied[0]["spec"]["policyTypes"]) != {"Ingress", "Egress"}:
        yield "no network policy denies everything to everybody"
    nodes = overlay.workload("continuum")
    needed = []
    if settings["backbone"]["kind"] == "nats":
        servers = overlay.workload("nats")
        needed += [(nodes, servers, urlsplit(url).port) for url in settings["nats"]["urls"]]
        needed += [(servers, servers, ports(servers)["cluster"])]
    for start, end, port in needed:
        for direction, peer, at, other in (("egress", "to", start, end), ("ingress", "from", end, start)):
            if not any(
                at in overlay.selected(policy["spec"]["podSelector"])
                and any(is_near(one) and other in overlay.selected(one["podSelector"]) for one in rule.get(peer, []))
                and any(ports(end).get(given["port"], given["port"]) == port for given in rule["ports"])
                for policy in overlay.of("NetworkPolicy")
                for rule in policy["spec"].get(direction, [])
            ):
                yield f"no network policy lets {start['metadata']['name']} reach {end['metadata']['name']} on port {port} ({direction})"


def restricted(overlay):
    """What the namespace demands of pods (the restricted profile), and a little more."""
    for namespace in overlay.of("Namespace"):
        if namespace["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
            yield "the namespace does not enforce the restricted profile"
    for workload in overlay.workloads():
        name, pod = workload["metadata"]["name"], template(workload)["spec"]
        context = pod.get("securityContext", {})
        if not context.get("runAsNonRoot") or not context.get("runAsUser") or context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name}: the pod does not run as an ordinary user under the default seccomp profile"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{name}: the pod gets a token of its service account"
        for container in containers(workload):
            own = container.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{name}: the container keeps capabilities, or may gain some"
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{name}: the container may write to its own files"
