"""Faults, each of which one of the checks must find when it is put into good manifests: else that check is worth nothing."""

from overlay import containers, template


def node(overlay):
    return overlay.workload("continuum")


def spec(overlay):
    return template(node(overlay))["spec"]


def box(overlay):
    return containers(node(overlay))[0]


def servers(overlay):
    return overlay.workload("nats")


def policy(overlay, name):
    return overlay.get("NetworkPolicy", name)["spec"]


def scaler(overlay):
    return overlay.get("HorizontalPodAutoscaler", "continuum")["spec"]


def ingress(overlay):
    return overlay.get("Ingress", "continuum")


def volume(workload, name):
    return next(v for v in template(workload)["spec"]["volumes"] if v["name"] == name)


def mount(overlay, name):
    return next(m for m in box(overlay)["volumeMounts"] if m["name"] == name)


def rewrite(overlay, kind, file, old, new):
    """Exchanges text in a file of a config map."""
    for thing in overlay.of(kind):
        if file in thing["data"]:
            assert old in thing["data"][file], f"{file} has no '{old}'"
            thing["data"][file] = thing["data"][file].replace(old, new)


def settings(old, new):
    return lambda o: rewrite(o, "ConfigMap", "continuum.toml", old, new)


def server(old, new, file="server.conf"):
    return lambda o: rewrite(o, "ConfigMap", file, old, new)


def without(overlay, kind, name):
    overlay.objects.remove(overlay.get(kind, name))


def claim(workload, size):
    workload["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = size


# What is done to production's manifests, and a part of what is then said.
FAULTS = [
    # Schemas.
    (lambda o: node(o)["spec"].update(replica=3), "'replica' was unexpected"),
    # Selectors.
    (lambda o: node(o)["spec"]["selector"]["matchLabels"].update({"app.kubernetes.io/name": "x"}), "continuum: its selector does not mean its own pods"),
    (lambda o: node(o)["spec"].update(serviceName="continuum"), "is no headless service"),
    (lambda o: o.get("Service", "continuum")["spec"]["selector"].update(tier="x"), "Service continuum: its selector"),
    (lambda o: o.get("PodDisruptionBudget", "nats")["spec"]["selector"]["matchLabels"].update(tier="x"), "PodDisruptionBudget nats: its selector"),
    (lambda o: policy(o, "nats")["podSelector"]["matchLabels"].update(tier="x"), "NetworkPolicy nats: nothing here has the labels"),
    (lambda o: policy(o, "nats")["ingress"][0]["from"][0]["podSelector"]["matchLabels"].update(tier="x"), "NetworkPolicy nats: nothing here"),
    (lambda o: spec(o)["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"].update(tier="x"), "what is spread over kubernetes.io/hostname"),
    (lambda o: scaler(o)["scaleTargetRef"].update(name="nodes"), "there is no StatefulSet nodes"),
    # Ports.
    (lambda o: o.get("Service", "continuum")["spec"]["ports"][0].update(targetPort="web"), "Service continuum: no container of continuum has the port web"),
    (lambda o: box(o)["readinessProbe"]["httpGet"].update(port="web"), "readinessProbe asks the port web"),
    (lambda o: template(node(o))["metadata"]["annotations"].update({"prometheus.io/port": "9090"}), "prometheus.io/port is 9090"),
    (lambda o: policy(o, "nats")["ingress"][0]["ports"][0].update(port="clients"), "NetworkPolicy nats: nats has no port clients"),
    (lambda o: ingress(o)["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"].update(name="web"), "/ws leads to no service and port"),
    (settings("workers = 4", "workers = 4\nport = 8421"), "it listens on 8421"),
    (settings('host = "0.0.0.0"', 'host = "127.0.0.1"'), "where no probe gets"),
    (server("0.0.0.0:4222", "0.0.0.0:4223"), "another port than its container's 'nats'"),
    # Names.
    (lambda o: volume(node(o), "auth")["secret"].update(secretName="auth"), "the Secret 'auth', which is not here and not made by hand"),
    (lambda o: volume(node(o), "auth")["secret"]["items"][0].update(key="admin"), "the Secret 'continuum-auth' has no admin"),
    (lambda o: volume(node(o), "config")["configMap"].update(name="continuum-x"), "the ConfigMap 'continuum-x'"),
    (lambda o: mount(o, "data").update(name="disk"), "there is no volume 'disk'"),
    (lambda o: box(o)["volumeMounts"].pop(), "nothing mounts the volume"),
    (lambda o: spec(o).update(serviceAccountName="default"), "no service account 'default'"),
    (lambda o: without(o, "PriorityClass", "continuum-nats"), "no priority class 'continuum-nats'"),
    (lambda o: ingress(o)["spec"]["tls"][0].update(secretName="tls"), "does not make the secret 'tls'"),
    (lambda o: ingress(o)["spec"]["rules"][0].update(host="example.org"), "the hosts with TLS are not those with rules"),
    (lambda o: mount(o, "data").update(mountPath="/data"), "data_dir is /var/lib/continuum, where no volume is mounted"),
    (settings("/run/secrets/nats/node.nk", "/run/secrets/node.nk"), "nothing puts /run/secrets/node.nk into the container"),
    (lambda o: box(o).update(args=["serve", "--config", "/etc/continuum.toml"]), "nothing puts /etc/continuum.toml"),
    (settings("nats-2.nats:", "nats-3.nats:"), "nats.urls are not those of the servers"),
    (server("nats-2.nats:", "nats-3.nats:"), "its routes are not to"),
    # Keys and variables.
    (settings("replicas = 3", "replica = 3"), "replica"),
    (lambda o: box(o)["env"].append({"name": "CONTINUUM__SERVER__PROT", "value": "1"}), 'unknown key "server.prot"'),
    (lambda o: box(o)["env"][0].update(value="staging"), "CONTINUUM_ENV is 'staging' in the overlay production"),
    (settings("shards = 4", "shards = 5"), "nats.shards is 5"),
    (settings("replicas = 3", "replicas = 5"), "more copies than there are servers"),
    (server("max_payload: 2MB", "max_playload: 2MB", "common.conf"), "the server refuses its configuration"),
    (server("sync_interval: always", "sync_interval: \"2m\"", "jetstream.conf"), "do not flush before they acknowledge"),
    (server("/run/nats/nats.pid", "/run/nats.pid"), "preStop does not signal"),
    # Paths through the network.
    (lambda o: policy(o, "default-deny").update(policyTypes=["Ingress"]), "denies everything"),
    (lambda o: without(o, "NetworkPolicy", "continuum-to-nats"), "lets continuum reach nats on port 4222 (egress)"),
    (lambda o: policy(o, "nats")["ingress"].pop(0), "lets continuum reach nats on port 4222 (ingress)"),
    (lambda o: policy(o, "nats")["egress"].pop(), "lets nats reach nats on port 6222 (egress)"),
    # What a pod may.
    (lambda o: o.of("Namespace")[0]["metadata"]["labels"].update({"pod-security.kubernetes.io/enforce": "baseline"}), "does not enforce"),
    (lambda o: spec(o)["securityContext"].update(runAsUser=0), "does not run as an ordinary user"),
    (lambda o: spec(o).update(automountServiceAccountToken=True), "gets a token"),
    (lambda o: box(o)["securityContext"].update(capabilities={"drop": ["NET_RAW"]}), "keeps capabilities"),
    (lambda o: box(o)["securityContext"].update(readOnlyRootFilesystem=False), "may write to its own files"),
    # Sums.
    (lambda o: spec(o).update(terminationGracePeriodSeconds=35), "a grace period of 35 s is too short for preStop (5 s), drain.timeout (25 s)"),
    (lambda o: box(o)["env"].append({"name": "CONTINUUM__DRAIN__TIMEOUT", "value": "40s"}), "drain.timeout (40 s)"),
    (lambda o: node(o)["spec"].update(minReadySeconds=5), "the next node goes after 5 s"),
    (lambda o: box(o)["readinessProbe"].update(periodSeconds=15), "drained before its readiness says so"),
    (lambda o: box(o)["startupProbe"].update(failureThreshold=10), "before NATS had two minutes"),
    (lambda o: box(o)["livenessProbe"]["httpGet"].update(path="/readyz"), "liveness looks at more than the process"),
    (lambda o: box(o)["readinessProbe"]["httpGet"].update(path="/healthz"), "do not look at whether it can serve"),
    (lambda o: ingress(o)["metadata"]["annotations"].update({"haproxy.org/timeout-server": "50s"}), "a silent server is not above heartbeat.timeout"),
    (lambda o: template(servers(o))["spec"].update(terminationGracePeriodSeconds=30), "nats: a grace period of 30 s"),
    (lambda o: claim(servers(o), "20Gi"), "too small for max_file_store"),
    (lambda o: box(o)["env"].append({"name": "CONTINUUM__LOG__RETENTION_BYTES", "value": "30000000000"}), "no room for log.retention_bytes"),
    (lambda o: claim(node(o), "5Gi"), "continuum: its volume is smaller"),
    (lambda o: containers(servers(o))[0]["env"][1].update(value="2000MiB"), "GOMEMLIMIT"),
    (lambda o: o.get("PodDisruptionBudget", "continuum")["spec"].update(maxUnavailable=3), "all of them may be put out at once"),
    (lambda o: o.get("PodDisruptionBudget", "continuum")["spec"].update(maxUnavailable=0), "can ever be emptied"),
    (lambda o: o.get("PodDisruptionBudget", "nats")["spec"].update(maxUnavailable=2), "there is no majority"),
    (lambda o: node(o)["spec"].update(replicas=3), "set here as well as by the autoscaler"),
    (lambda o: scaler(o)["metrics"][0]["pods"]["target"].update(averageValue="15k"), "no room for the connections of a node that goes"),
    (lambda o: scaler(o)["metrics"][1]["resource"]["target"].update(averageValue="5"), "cannot use as much CPU"),
    (lambda o: scaler(o)["behavior"]["scaleDown"].update(stabilizationWindowSeconds=60), "too eagerly"),
    # Versions.
    (lambda o: box(o).update(image="continuum:0.0.9"), "its image is continuum:0.0.9"),
    (lambda o: containers(servers(o))[0].update(image="nats:2.10.0"), "its image is nats:2.10.0"),
    # What programs answer.
    (lambda o: box(o)["startupProbe"]["httpGet"].update(path="/ready"), "startupProbe asks for /ready"),
    (lambda o: template(node(o))["metadata"]["annotations"].update({"prometheus.io/path": "/figures"}), "prometheus.io/path asks for /figures"),
    (lambda o: containers(servers(o))[0]["livenessProbe"]["httpGet"].update(path="/health"), "nats: livenessProbe asks for /health"),
    (lambda o: scaler(o)["metrics"][0]["pods"]["metric"].update(name="continuum_members"), "continuum_members is no gauge of /metrics"),
    (lambda o: ingress(o)["spec"]["rules"][0]["http"]["paths"][0].update(path="/metrics"), "/metrics is for the cluster"),
    (lambda o: servers(o)["spec"].update(replicas=4), "does not name nats-3.nats"),
]


def missed(production, checks):
    """The faults that no check found."""
    for number, (make, said) in enumerate(FAULTS, 1):
        broken, found = production.copy(), []
        make(broken)
        for line in checks.wrong(broken):
            found.append(line)
            if said in line:
                break
        else:
            yield f"fault {number} was not found: '{said}' is not among what was said: {found or 'nothing'}"
