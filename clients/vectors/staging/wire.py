"""Messages as both kinds of stage see them. Owns: what stands in for a client's own record where it did not ask for it."""

import json
from urllib.parse import parse_qs, urlsplit

# What a client may send at any time and as often as it likes: it is answered, and not compared.
FREE = {"ping", "ack", "heartbeat", "auth", "sync_request", "graph.sync"}
# What the node says of itself, or as an answer to what is free.
UNRECORDED = {"pong", "heartbeat", "authenticated", "sync_response", "graph.sync"}


def query_of(path):
    return {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}


def text_of(message):
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


def is_record(message):
    return "seq" in message and "prev" in message


def is_signal(message):
    kind = message.get("event_type", "")
    return kind in ("typing", "cursor.move", "selection.change", "user.presence") or kind.startswith("signal.")


def for_client(message, name, query):
    """A message as the client of this name gets it: without `echo=1` its own records are only closed over, its own signals not there."""
    if query.get("echo") == "1" or message.get("instance_id") != name:
        return message
    if is_signal(message):
        return None
    if not is_record(message):
        return message
    data = {"from": message["prev"], "to": message["seq"]}
    kept = {field: message[field] for field in ("tenant_id", "timestamp", "instance_id")}
    return {"event_type": "advance", **kept, "data": data}
