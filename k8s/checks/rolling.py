"""Prints what scripts/roll needs of production's manifests, as JSON: how nodes are replaced, and what they are configured with."""

import json

from overlay import containers, template
from programs import ROOT, rendered


def probe(container, kind):
    said = container[kind]
    return {
        "path": said["httpGet"]["path"],
        "period": f"{said['periodSeconds']}s",
        "timeout": f"{said['timeoutSeconds']}s",
        "failures": said["failureThreshold"],
    }


def main():
    overlay = rendered(ROOT / "k8s" / "overlays" / "production")
    nodes = overlay.workload("continuum")
    container = containers(nodes)[0]
    strategy = nodes["spec"]["updateStrategy"]
    # What is run is that: one after the other, from the last one down.
    if nodes["kind"] != "StatefulSet" or strategy != {"type": "RollingUpdate"}:
        raise SystemExit(f"a {nodes['kind']} with {strategy} is replaced in another way than scripts/roll does it")
    variables, config = overlay.config()
    numbers = {
        "nodes": overlay.least(nodes),
        "pre_stop": f"{container['lifecycle']['preStop']['sleep']['seconds']}s",
        "grace": f"{template(nodes)['spec']['terminationGracePeriodSeconds']}s",
        "min_ready": f"{nodes['spec']['minReadySeconds']}s",
        "startup": probe(container, "startupProbe"),
        "readiness": probe(container, "readinessProbe"),
    }
    print(json.dumps({"config": config, "environment": variables["CONTINUUM_ENV"], "numbers": numbers}))


if __name__ == "__main__":
    main()
