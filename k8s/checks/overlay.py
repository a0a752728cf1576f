"""A rendered overlay: finds its objects, and what belongs to what. Must not know what is right and what is wrong."""

import re
from copy import deepcopy

WORKLOADS = ("StatefulSet", "Deployment", "DaemonSet")
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "m": 0.001}
# As nats-server reads them: 1K is a thousand, 1KB is 1,024.
NATS_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KB": 2**10, "MB": 2**20, "GB": 2**30}
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def quantity(text):
    """`6Gi` or `1500m` as a number."""
    number, unit = re.fullmatch(r"([\d.]+)([A-Za-z]*)", str(text)).groups()
    return float(number) * UNITS[unit]


def seconds(text):
    """`25s` or `1m 30s` as a number."""
    return sum(float(number) * SECONDS[unit] for number, unit in re.findall(r"([\d.]+)\s*(ms|[smhd])", text))


class Overlay:
    def __init__(self, name, objects):
        self.name = name
        self.objects = objects

    def copy(self):
        return Overlay(self.name, deepcopy(self.objects))

    def of(self, *kinds):
        return [thing for thing in self.objects if thing["kind"] in kinds]

    def get(self, kind, name):
        """The object, or None."""
        return next((thing for thing in self.of(kind) if thing["metadata"]["name"] == name), None)

    def workloads(self):
        return self.of(*WORKLOADS)

    def workload(self, name):
        return next(thing for thing in self.workloads() if thing["metadata"]["name"] == name)

    def selected(self, selector):
        """The workloads whose pods a label selector means."""
        labels = (selector or {}).get("matchLabels", {})
        return [thing for thing in self.workloads() if labels.items() <= template(thing)["metadata"]["labels"].items()]

    def config(self):
        """The node's own settings beside the binary's: the variables of its container, and its file's text."""
        container = containers(self.workload("continuum"))[0]
        variables = {entry["name"]: entry.get("value", "") for entry in container.get("env", [])}
        return variables, next(thing["data"]["continuum.toml"] for thing in self.of("ConfigMap") if "continuum.toml" in thing["data"])

    def settings_of_servers(self):
        """The text of all NATS configurations, or nothing where there are none."""
        texts = [thing["data"] for thing in self.of("ConfigMap") if thing["metadata"]["name"].startswith("nats-")]
        return "\n".join(text for data in texts for text in data.values())

    def least(self, workload):
        """How few pods of it there are when all is well."""
        name = workload["metadata"]["name"]
        scaled = [s["spec"]["minReplicas"] for s in self.of("HorizontalPodAutoscaler") if s["spec"]["scaleTargetRef"]["name"] == name]
        return scaled[0] if scaled else workload["spec"].get("replicas", 1)


def template(workload):
    return workload["spec"]["template"]


def containers(workload):
    return template(workload)["spec"]["containers"] + template(workload)["spec"].get("initContainers", [])


def ports(workload):
    """Names and numbers of the ports that its containers have."""
    return {port["name"]: port["containerPort"] for container in containers(workload) for port in container.get("ports", [])}


def has_port(workload, port):
    return port in ports(workload) or port in ports(workload).values()


def probes(workload):
    """Container, kind and probe, for each probe over HTTP."""
    for container in containers(workload):
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            if "httpGet" in container.get(kind, {}):
                yield container, kind, container[kind]


def volumes(workload):
    """What each volume of a pod holds: its name, and (kind, name of the object, path by key or None for all) for each source."""
    for volume in template(workload)["spec"].get("volumes", []):
        sources = volume["projected"]["sources"] if "projected" in volume else [volume]
        found = []
        for source in sources:
            for field, kind, name in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
                if field in source:
                    content = source[field]
                    items = content.get("items")
                    paths = {item["key"]: item["path"] for item in items} if items else None
                    found.append((kind, content.get(name) or content["name"], paths))
        yield volume["name"], found
    for claim in workload["spec"].get("volumeClaimTemplates", []):
        yield claim["metadata"]["name"], []
