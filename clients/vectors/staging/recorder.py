"""What was on the wire, step by step. Owns: the form of a recording, and whether two recordings are of one kind."""

import json

from .wire import FREE, UNRECORDED, is_record, text_of

# Whether and how often these come is a matter of time.
BY_CHANCE = {"advance", "lagging", "caught_up", "instance_joined", "instance_left"}
# Contents of somebody's own; their fields are no matter of the protocol.
CONTENTS = {"data", "current", "proposed", "base", "changes", "patch", "value", "context"}


class Recorder:
    def __init__(self, node, tenant, record, like):
        self.node, self.tenant, self.record, self.like = node, tenant, record, like
        self.step = 0
        self.connections, self.records, self.conflicts = [], [], []

    # --- As it comes ---

    def opened(self, client, query):
        kept = {name: value for name, value in query.items() if name in ("since", "types", "capabilities")}
        self.connections.append({"client": client, "step": self.step, "query": kept, "frames": []})
        return self.connections[-1]["frames"]

    def latest(self, client):
        return next(made["frames"] for made in reversed(self.connections) if made["client"] == client)

    def said(self, tape, message):
        if message.get("event_type") not in UNRECORDED:
            tape.append({"step": self.step, "said": message})

    def heard(self, tape, message):
        if message.get("event_type") not in FREE:
            tape.append({"step": self.step, "heard": message})

    def ended(self, tape, code, reason):
        tape.append({"step": self.step, "closed": [code, reason]})

    # --- What the room holds, after each step ---

    async def begin(self, number):
        await self.look()
        self.step = number

    async def look(self):
        while True:
            after = f"&after={self.cursor}" if self.records else ""
            page = await self.node.json("GET", f"/v1/tenants/{self.tenant}/events?limit=1000{after}")
            self.cursor = page["cursor"]
            known = self.records[-1]["record"]["seq"] if self.records else 0
            for record in page["events"]:
                if record["seq"] > known:
                    self.records.append({"step": self.step, "record": record})
            if not page["more"]:
                break
        path = f"/v1/tenants/{self.tenant}/conflicts?limit=100&instance_id={self.vector_client()}"
        conflicts = (await self.node.json("GET", path))["conflicts"]
        if conflicts != (self.conflicts[-1]["open"] if self.conflicts else []):
            self.conflicts.append({"step": self.step, "open": conflicts})

    def vector_client(self):
        return self.connections[0]["client"] if self.connections else "a"

    # --- At the end ---

    async def end(self, vector):
        await self.look()
        recording = {"connections": self.connections, "records": self.records, "conflicts": self.conflicts}
        if self.record:
            self.record.parent.mkdir(parents=True, exist_ok=True)
            self.record.write_text(written(recording), encoding="utf-8")
        if not self.like:
            return []
        if not self.like.exists():
            return [f"there is no recording of '{vector['name']}': stage record makes it"]
        return differences(json.loads(self.like.read_text(encoding="utf-8")), recording)


def written(recording):
    """One message a line: what changes between two recordings is seen."""
    lines = ['{"connections": [']
    for number, made in enumerate(recording["connections"]):
        head = json.dumps({name: value for name, value in made.items() if name != "frames"}, ensure_ascii=False)
        frames = ",\n  ".join(text_of(frame) for frame in made["frames"])
        comma = "," if number + 1 < len(recording["connections"]) else ""
        lines.append(f' {head[:-1]}, "frames": [\n  {frames}]}}{comma}')
    for name in ("records", "conflicts"):
        rows = ",\n  ".join(text_of(row) for row in recording[name])
        lines.append(f' ],\n "{name}": [\n  {rows}')
    return "\n".join(lines) + "\n ]}\n"


# --- Of one kind ---


def differences(kept, new):
    """What the node says now and did not when the recording was made, and the other way round."""
    kept, new = kinds(kept), kinds(new)
    wrong = []
    for kind in sorted(kept.keys() | new.keys()):
        if kind not in kept or kind not in new:
            if kind not in BY_CHANCE:
                wrong.append(f"the recording is out of date: '{kind}' is {'not in it' if kind in new else 'not said any more'}")
        elif kept[kind] != new[kind]:
            fields = sorted(kept[kind] ^ new[kind])
            wrong.append(f"the recording is out of date: '{kind}' differs in {', '.join(fields)}")
    return wrong


def kinds(recording):
    """The fields of each kind of message."""
    found = {}
    said = [frame["said"] for made in recording["connections"] for frame in made["frames"] if "said" in frame]
    for message in said:
        name = message.get("event_type", "?")
        paths = found.setdefault(name, set())
        collect(message, "", paths, is_event=is_record(message) and not is_change(message))
    for row in recording["conflicts"]:
        for shown in row["open"]:
            collect(shown, "", found.setdefault("(open)", set()), is_event=False)
    return found


def is_change(message):
    name = message["event_type"]
    return name.split(".")[0] in ("node", "edge", "memory", "conflict") or name in ("sync_event", "context_changed")


def collect(value, path, into, is_event):
    into.add(path or "/")
    if isinstance(value, dict):
        for name, part in value.items():
            inner = f"{path}/{name}"
            # `data` at the top is the message's own, but of an event.
            if name in CONTENTS and (path or is_event):
                into.add(inner)
            else:
                collect(part, inner, into, is_event)
    elif isinstance(value, list):
        for part in value:
            collect(part, f"{path}[]", into, is_event)
