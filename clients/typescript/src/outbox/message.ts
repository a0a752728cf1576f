/** Writes as messages, and answers as what became of a write. Pure. */

import type { Overwritten, Settled } from "../api.js";
import { type Content, field, isContent, type Json } from "../json.js";
import { isReserved } from "../room/words.js";
import { count, type Fate, type Message, text } from "../wire/message.js";
import type { Entry } from "./store.js";

/** The message that a write goes out as. In another log than that of its base, there was nothing yet when it was made. */
export function messageOf(entry: Entry, log: string | undefined = entry.log): Message {
  if (entry.kind === "event") return { event_type: entry.type, event_id: entry.id, data: entry.body };
  const base = entry.base === undefined || entry.log === undefined || entry.log === log ? entry.base : 0;
  const event: Content = {
    op_id: entry.id,
    op_number: entry.opNumber,
    replica_id: entry.replica,
    entity_type: entry.type,
    entity_id: entry.entity ?? "",
    ...(base === undefined ? {} : { base_version: base }),
    ...(isContent(entry.body) ? entry.body : {}),
  };
  return { event_type: "sync_event", event_id: entry.id, data: { event } };
}

/** Why a write must not go out: nobody would answer it, or it would cost the connection, again and again. */
export function unsendable({ kind, type }: Entry, message: Message, mostBytes: number): Settled | undefined {
  if (kind === "event" && isReserved(type)) return refused("reserved_type", reservedText(type));
  const bytes = new TextEncoder().encode(JSON.stringify(message)).length;
  if (bytes <= mostBytes) return undefined;
  return refused("too_large", `${bytes} bytes as a message, of which the node takes ${mostBytes}`);
}

export function reservedText(type: string): string {
  return `'${type}' means something else than an event; choose another type`;
}

const BLANK: Omit<Settled, "status"> = {
  version: 0,
  duplicate: false,
  queued: false,
  code: undefined,
  message: undefined,
  resolution: undefined,
  overwritten: [],
  conflictId: undefined,
  variantId: undefined,
  current: undefined,
};

/** What an event's acknowledgement says. */
export function acknowledged(seq: number | undefined, duplicate: boolean): Settled {
  return { ...BLANK, status: "confirmed", version: seq ?? 0, duplicate, queued: seq === undefined };
}

/** A refusal before anything was tried. */
export function refused(code: string, message: string): Settled {
  return { ...BLANK, status: "refused", code, message };
}

/** What became of it is not known here, and will not be. */
export function unknown(code: string, message: string): Settled {
  return { ...BLANK, status: "unknown", code, message };
}

/** What the answer to an operation says; `undefined`: that it is to be sent again. */
export function decided({ outcome, version, data }: Fate): Settled | undefined {
  const said = { ...BLANK, version, duplicate: field(data, "duplicate") === true, current: currentOf(data) };
  switch (outcome) {
    case "retry":
      return undefined;
    case "confirmed":
      return { ...said, status: "confirmed" };
    case "conflict_resolved":
      return {
        ...said,
        status: "resolved",
        resolution: text(data, "resolution"),
        variantId: text(data, "variant_id"),
        overwritten: overwrittenOf(data),
      };
    case "conflict_pending":
      return { ...said, status: "pending", conflictId: text(data, "conflict_id") };
    case "rollback":
      return { ...said, status: "rolled_back", code: text(data, "code") ?? "unknown", message: text(data, "reason") };
  }
}

function currentOf(data: Content): Content | null | undefined {
  const current = field(data, "current");
  return isContent(current) || current === null ? current : undefined;
}

function overwrittenOf(data: Content): Overwritten[] {
  const list = field(data, "overwritten");
  if (!Array.isArray(list)) return [];
  return list.map((item) => ({
    path: text(item, "path") ?? "",
    value: (field(item, "value") ?? null) as Json,
    version: count(item, "version") ?? 0,
    by: text(item, "by") ?? "",
  }));
}
