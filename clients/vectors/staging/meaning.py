"""What a client's message means, whatever names it gives to things. Owns: which messages mean the same.

The names that are a client's own (ids of publishes, operations and subscriptions, and of its replica) are not part of what a message means;
they are what the answers to it are found by.
"""

from dataclasses import dataclass, field

# Messages that change an entity, by what they do, and where its content stands.
ACTIONS = {"create": "create", "created": "create", "update": "update", "updated": "update"}
ACTIONS |= {"delete": "delete", "deleted": "delete", "restore": "restore"}
PARTS = ("patch", "ops", "text", "data", "choice", "conflict_id")


@dataclass
class Meaning:
    """What a message says, and the client's own names in it."""

    says: dict
    names: dict = field(default_factory=dict)
    base: int | None = None

    @property
    def entity(self):
        return self.says.get("entity")


def meanings(message):
    """The demanded things that a message says: one, but for a batch."""
    kind, data = message.get("event_type", ""), message.get("data", {})
    head, _, tail = kind.partition(".")
    if kind == "sync_event":
        return [of_operation(data.get("event", data), message)]
    if kind == "batch.update":
        return [of_operation(part, part) for part in data.get("operations", [])]
    if kind in ("conflict.resolve", "conflict_resolution"):
        return [of_operation({**data, "action": "resolve"}, message)]
    if head in ("node", "edge", "memory", "context") and tail in ACTIONS:
        return [of_operation(by_name(head, ACTIONS[tail], data), message)]
    if kind == "subscribe":
        # Whether records come beside it (`mute`) is the client's own affair.
        asked = {name: data[name] for name in ("region", "ids", "query", "channels") if name in data}
        return [Meaning({"subscribe": asked}, {"subscription": data.get("subscription")})]
    if kind == "unsubscribe":
        return [Meaning({"unsubscribe": len(data.get("subscriptions", []))})]
    return [Meaning({"publish": kind, "data": data}, {"id": message.get("event_id")})]


def by_name(kind, action, data):
    """`node.update` and the like as an operation."""
    fields = dict(data)
    if kind == "context":
        level, name = fields.pop("level", ""), fields.pop("context_id", "")
        name = f"{level}:{name}" if level else name
        if action == "update":
            action = "put"
            fields["patch"] = fields.pop("data", {})
    else:
        content = dict(fields.pop(kind, {}))
        name = fields.pop(f"{kind}_id", None) or content.pop("id", None)
        if content:
            fields["data"] = content
    return {**fields, "entity_type": kind, "entity_id": name, "action": action}


def of_operation(operation, message):
    fields = dict(operation)
    if "changes" in fields:
        fields["patch"] = fields.pop("changes")
    if fields.get("action") == "update" and "data" in fields:
        fields["patch"] = fields.pop("data")
    if "value" in fields.get("text", {}) or isinstance(fields.get("text"), dict):
        fields["text"] = {name: fields["text"][name] for name in ("path", "ops", "value") if name in fields["text"]}
    strategy = fields.get("strategy") or "merge"
    says = {
        "entity": f"{fields.get('entity_type')}/{fields.get('entity_id')}",
        "action": fields.get("action"),
        "strategy": {"user_choice": "manual"}.get(strategy, strategy),
        **{name: fields[name] for name in PARTS if name in fields},
    }
    name = fields.get("op_id") or fields.get("id") or message.get("event_id") or message.get("id")
    return Meaning(says, {"id": name, "replica": fields.get("replica_id")}, fields.get("base_version"))
