/** What a record says of an entity. Owns: reading the protocol's names for changes. Pure. */

import { type Content, field, isContent, type Json } from "../json.js";
import { isTextOps, type TextOps } from "../text/ops.js";
import { count, type Frame, text } from "../wire/message.js";

/** An edit of one text of an entity. */
export interface TextEdit {
  readonly path: string;
  readonly ops: TextOps;
}

/** What a record is about. */
export type Told =
  /** The entity stands so from this record on (`null`: it is not there). */
  | {
      readonly kind: "entity";
      readonly key: string;
      readonly data: Content | null;
      /** The version that it was made on, and how texts in it were edited, if the record says so. */
      readonly base: number | undefined;
      readonly edits: readonly TextEdit[] | undefined;
    }
  /** A conflict or a variant was opened or settled; the content is as it was. */
  | { readonly kind: "open"; readonly key: string }
  /** Something happened. */
  | { readonly kind: "event" };

/** One name for a type and an id: types hold no slash. */
export function keyOf(type: string, id: string): string {
  return `${type}/${id}`;
}

export function splitKey(key: string): [type: string, id: string] {
  const at = key.indexOf("/");
  return [key.slice(0, at), key.slice(at + 1)];
}

const EVENT: Told = { kind: "event" };

/** Reads a record. One that has not the form that its type should have is taken for an event. */
export function tell({ type, data }: Frame): Told {
  const named = /^(?:(node|edge)\.(?:create|update|delete)|(memory)\.(?:created|updated|deleted))$/.exec(type);
  const kind = named?.[1] ?? named?.[2];
  if (kind !== undefined) return ofNamed(kind, data);
  if (type === "context_changed") return ofContext(data);
  if (type === "sync_event") return ofEvent(data);
  if (/^conflict\.(pending|variant|resolved)$/.test(type)) {
    const [entityType, id] = [text(data, "entity_type"), text(data, "entity_id")];
    return entityType === undefined || id === undefined ? EVENT : { kind: "open", key: keyOf(entityType, id) };
  }
  return EVENT;
}

function changed(key: string, content: Content | null, data: Json): Told {
  return { kind: "entity", key, data: content, base: count(data, "base_version"), edits: editsOf(data) };
}

/** `{"node": {"id": …}}`, or `{"node_id": …}` of one that is gone. */
function ofNamed(kind: string, data: Json): Told {
  const content = field(data, kind);
  if (isContent(content)) {
    const { id, ...rest } = content;
    return typeof id === "string" ? changed(keyOf(kind, id), rest, data) : EVENT;
  }
  const id = text(data, `${kind}_id`);
  return id === undefined ? EVENT : changed(keyOf(kind, id), null, data);
}

function ofContext(data: Json): Told {
  const [level, id] = [text(data, "level") ?? "", text(data, "context_id")];
  if (id === undefined) return EVENT;
  const key = keyOf("context", level === "" ? id : `${level}:${id}`);
  const content = field(data, "context");
  if (text(data, "change_type") === "delete") return changed(key, null, data);
  return isContent(content) ? changed(key, content, data) : EVENT;
}

function ofEvent(data: Json): Told {
  const event = field(data, "event");
  const [type, id] = [text(event, "entity_type"), text(event, "entity_id")];
  if (type === undefined || id === undefined) return EVENT;
  const content = field(event, "data");
  if (text(event, "action") === "delete") return changed(keyOf(type, id), null, data);
  return isContent(content) ? changed(keyOf(type, id), content, data) : EVENT;
}

function editsOf(data: Json): TextEdit[] | undefined {
  const said = field(data, "text");
  if (said === undefined) return undefined;
  const edits: TextEdit[] = [];
  for (const item of Array.isArray(said) ? said : [said]) {
    const [path, ops] = [text(item, "path"), field(item, "ops")];
    if (path === undefined || !isTextOps(ops)) return undefined;
    edits.push({ path, ops });
  }
  return edits;
}
