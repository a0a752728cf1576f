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
        there = self.state(types, position)
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

    def state(self, types, position):
        """The entities as they stood there."""
        there = {}
        for record in self.between(0, position, None):
            change = change_of(record)
            if change is None:
                continue
            (kind, name), content = change
            there.pop((kind, name), None) if content is not KEPT else None
            if content is None or (types and kind not in types):
                continue
            known = there.get((kind, name), {}).get("data") if content is KEPT else content
            if known is not None:
                there[kind, name] = {"entity_type": kind, "entity_id": name, "version": record["seq"], "data": known}
        return list(there.values())

    # --- Over HTTP ---

    def asked(self, path, step):
        words = [unquote(word) for word in path.split("?")[0].strip("/").split("/")]
        query = query_of(path)
        if words[:3] != ["v1", "tenants", self.tenant]:
            return 404, {"code": "not_found", "detail": "not recorded"}
        rows = [row["record"] for row in self.rows if row["step"] <= step]
        last = max((record["seq"] for record in rows), default=0)
        types = query.get("types")
        match words[3:]:
            case ["events"]:
                return 200, self.page(rows, query, last)
            case ["conflicts"]:
                lists = [kept["open"] for kept in self.recording["conflicts"] if kept["step"] <= step]
                return 200, {"conflicts": lists[-1] if lists else [], "next": None}
            case ["snapshot"]:
                there = self.state(types.split(",") if types else None, last)
                progress = {"entities": len(there), "reached": last, "of": last}
                head = {"position": last, "cursor": f"{self.epoch}.{last}", "next": None, "progress": progress}
                return 200, {"entities": there, **head}
        return 404, {"code": "not_found", "detail": "not recorded"}

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
