"""What a recording knows of the room. Owns: the answers to questions that any client may ask at any time: they are made from the
records, as the room stood for this client at that moment."""

from fnmatch import fnmatchcase
from urllib.parse import unquote

from .wire import is_record, query_of


class Books:
    def __init__(self, recording, tenant):
        self.recording, self.tenant = recording, tenant
        self.rows = recording["records"]
        cursors = [
            frame["said"]["data"]["cursor"]
            for made in recording["connections"]
            for frame in made["frames"]
            if frame.get("said", {}).get("event_type") == "session_ready"
        ]
        self.epoch = cursors[0].split(".")[0]

    def between(self, after, last, types):
        records = [row["record"] for row in self.rows if after < row["record"]["seq"] <= last]
        wanted = types.split(",") if types else ["*"]
        return [record for record in records if any(fnmatchcase(record["event_type"], one) for one in wanted)]

    def missed(self, after, last, types):
        """What is told to somebody who goes on there: the records, and what closes the chain over those of other types."""
        wanted = {record["seq"] for record in self.between(after, last, types)}
        stands = after
        for record in self.between(after, last, None):
            if record["seq"] in wanted:
                if record["prev"] > stands:
                    yield self.said("advance", {"from": stands, "to": record["prev"]})
                yield record
                stands = record["seq"]

    def said(self, kind, data):
        head = {"tenant_id": self.tenant, "timestamp": "2025-01-01T00:00:00.000Z", "instance_id": "room"}
        return {"event_type": kind, **head, "data": data}

    def causes(self, given):
        """Which position came of which message of a client."""
        found = set()
        for made in self.recording["connections"]:
            for frame in made["frames"]:
                message = frame.get("said", {})
                kind, data = message.get("event_type", ""), message.get("data")
                if kind in ("ack", "stored") and data["event_id"] in given:
                    found.add((data["seq"], data["event_id"]))
                elif kind in ("update.confirmed", "update.conflict_resolved", "update.conflict_pending") and data["updateId"] in given:
                    found.add((data["version"], data["updateId"]))
        return found | {(row["record"]["seq"], row["record"]["event_id"]) for row in self.rows if row["record"]["event_id"] in given}

    # --- On a socket ---

    def answered(self, message, position):
        data = message.get("data") or {}
        match message["event_type"]:
            case "ping":
                return self.said("pong", {})
            case "auth":
                return self.said("authenticated", {})
            case "sync_request":
                state = {"total_concepts": 0, "total_messages": 0, "connected_instances": []}
                return self.said("sync_response", {"state": state, "position": position, "cursor": f"{self.epoch}.{position}"})
            case "graph.sync":
                name = data.get("id") or message.get("event_id") or message.get("id")
                return self.said("graph.sync", {"id": name, **self.graph(data.get("types"), position)})
        return None

    def graph(self, types, position):
        there = [one for one in self.state(position) if one["data"] is not None and (not types or one["entity_type"] in types)]
        lists = {"node": [], "edge": []}
        entities = []
        for one in there:
            if one["entity_type"] in lists:
                lists[one["entity_type"]].append({"id": one["entity_id"], **one["data"], "version": one["version"]})
            else:
                entities.append(one)
        progress = {"pages": 1, "entities": len(there), "reached": position, "of": position}
        state = {"nodes": lists["node"], "edges": lists["edge"], "entities": entities}
        return {**state, "progress": progress, "done": True, "as_of": position}

    def state(self, position):
        """The entities as they stood there, in the order of their last changes; without content those that were gone."""
        there = {}
        for record in self.between(0, position, None):
            change = change_of(record)
            if change is None:
                continue
            (kind, name), content = change
            known = there.pop((kind, name), {"data": None})["data"] if content is KEPT else content
            there.pop((kind, name), None)
            there[kind, name] = {"entity_type": kind, "entity_id": name, "version": record["seq"], "data": known}
        return list(there.values())

    # --- Over HTTP ---

    def asked(self, path, step, is_told):
        """Status and content. `is_told` says of a position, or of a client's name for something, whether what led to it was said."""
        words = [unquote(word) for word in path.split("?")[0].strip("/").split("/")]
        query = query_of(path)
        if words == ["healthz"] or words == ["readyz"]:
            return 200, {"status": "ready" if words == ["readyz"] else "alive"}
        if words[:3] != ["v1", "tenants", self.tenant]:
            return None
        rows = [row["record"] for row in self.rows if row["step"] <= step and is_told(row["record"]["seq"])]
        last = max((record["seq"] for record in rows), default=0)
        types = query.get("types")
        match words[3:]:
            case ["events"]:
                return 200, self.page(rows, query, last)
            case ["conflicts"]:
                return 200, {"conflicts": self.open(step, is_told), "position": last, "next": None}
            case ["snapshot"]:
                state = self.graph(types.split(",") if types else None, last)
                there = [
                    {"entity_type": kind, "entity_id": one["id"], "version": one["version"]}
                    | {"data": {name: part for name, part in one.items() if name not in ("id", "version")}}
                    for kind, key in (("node", "nodes"), ("edge", "edges"))
                    for one in state[key]
                ] + state["entities"]
                head = {"position": last, "cursor": f"{self.epoch}.{last}", "next": None}
                return 200, {"entities": there, **head, "progress": {"entities": len(there), "reached": last, "of": last}}
            case ["entities", kind, name]:
                return self.entity(kind, name, last, self.open(step, is_told))
        return None

    def open(self, step, is_told):
        lists = [kept["open"] for kept in self.recording["conflicts"] if kept["step"] <= step]
        return [one for one in (lists[-1] if lists else []) if is_told(one["version"]) and is_told(one["conflict_id"])]

    def entity(self, kind, name, last, conflicts):
        found = [one for one in self.state(last) if (one["entity_type"], one["entity_id"]) == (kind, name)]
        if not found:
            return 404, {"status": 404, "code": "not_found", "detail": "there is no such entity"}
        if found[0]["data"] is None:
            detail = "it was deleted; restore it or make it anew"
            return 410, {"status": 410, "code": "deleted", "detail": detail, "version": found[0]["version"]}
        lying = [one for one in conflicts if (one["entity_type"], one["entity_id"]) == (kind, name)]
        kinds = {f"{word}s": [one for one in lying if one["kind"] == word] for word in ("conflict", "variant")}
        return 200, {**found[0], **kinds, "cursor": f"{self.epoch}.{last}"}

    def page(self, rows, query, last):
        after = query.get("after", "earliest")
        after = 0 if after == "earliest" else int(after.split(".")[1])
        first = {record["seq"] for record in self.between(after, last, query.get("types"))}
        wanted = [record for record in rows if record["seq"] in first]
        events = wanted[: int(query.get("limit", 100))]
        more = len(events) < len(wanted)
        stands = events[-1]["seq"] if more else max(last, after)
        return {"events": events, "cursor": f"{self.epoch}.{stands}", "more": more, "resync": None}


# Its content is as it was.
KEPT = object()


def change_of(record):
    """Which entity a record changes, and its content then; `None` of what is gone."""
    kind, data = record["event_type"], record["data"]
    head, _, tail = kind.partition(".")
    if kind == "sync_event":
        event = data["event"]
        return (event["entity_type"], event["entity_id"]), None if event["action"] == "delete" else event.get("data")
    if kind == "context_changed":
        level = data["level"]
        name = f"{level}:{data['context_id']}" if level else data["context_id"]
        return ("context", name), None if data["change_type"] == "delete" else data.get("context")
    if head == "conflict":
        return (data["entity_type"], data["entity_id"]), KEPT
    if head in ("node", "edge", "memory") and (head in data or f"{head}_id" in data) and is_record(record):
        if head in data:
            content = {name: value for name, value in data[head].items() if name != "id"}
            return (head, data[head]["id"]), content
        if tail in ("delete", "deleted"):
            return (head, data[f"{head}_id"]), None
    return None
