/**
 * The node's messages, typed. Owns: reading them so that unknown fields, unknown types and fields that an older node does not
 * send do no harm. Must not know: what a message leads to.
 */

import { type Content, field, isContent, type Json } from "../json.js";

/** A message as it is on the wire, either way. */
export type Message = { [key: string]: Json };

/** `session_ready`. */
export interface Ready {
  sessionId: string;
  protocol: number;
  epoch: string;
  position: number;
  cursor: string;
  resume: { from: string; outcome: string; after: number; missed: number; missedExact: boolean };
  heartbeat: { intervalMs: number; timeoutMs: number };
  limits: { maxMessageBytes: number; publishesInFlight: number; signalBytes: number };
  instances: readonly WireMember[];
  instancesTotal: number;
}

/** Somebody in the room. */
export interface WireMember {
  instance: string;
  connectedAt: string;
  capabilities: readonly string[];
  user: string | undefined;
  userName: string | undefined;
}

/** The answer to an operation. */
export interface Fate {
  outcome: "confirmed" | "conflict_resolved" | "conflict_pending" | "rollback" | "retry";
  updateId: string;
  version: number;
  retryAfterMs: number | undefined;
  data: Content;
}

/** Where a record stands. */
export interface Place {
  seq: number;
  prev: number;
  eventId: string;
}

/** What a message means to a client. */
export type Meaning =
  | { kind: "ready"; ready: Ready }
  | { kind: "resync"; reason: string; cursor: string }
  | { kind: "caught_up"; position: number }
  | { kind: "advance"; from: number; to: number }
  | { kind: "heartbeat" }
  | { kind: "lagging" }
  | { kind: "draining"; retryAfterMs: number | undefined }
  | { kind: "authenticated"; expiresAt: string | undefined }
  | { kind: "record"; place: Place }
  | { kind: "ack" | "stored"; eventId: string; seq: number; duplicate: boolean }
  | { kind: "queued"; eventId: string }
  | { kind: "fate"; fate: Fate }
  | { kind: "error"; code: string; text: string; about: string | undefined; retryAfterMs: number | undefined }
  | { kind: "joined"; member: WireMember }
  | { kind: "left"; instance: string }
  | { kind: "crowd"; total: number }
  | { kind: "interest"; subscription: string }
  | { kind: "other" };

/** One message of the node. */
export interface Frame {
  type: string;
  data: Json;
  instance: string;
  timestamp: string;
  meaning: Meaning;
  raw: Message;
}

/** A message that does not read as the protocol says. */
export class Malformed extends Error {
  override readonly name = "Malformed";
}

export function text(value: unknown, name: string): string | undefined {
  const found = field(value, name);
  return typeof found === "string" ? found : undefined;
}

export function count(value: unknown, name: string): number | undefined {
  const found = field(value, name);
  return typeof found === "number" && Number.isFinite(found) && found >= 0 ? found : undefined;
}

function texts(value: unknown, name: string): string[] {
  const found = field(value, name);
  return Array.isArray(found) ? found.filter((item) => typeof item === "string") : [];
}

function must<T>(found: T | undefined, type: string, name: string): T {
  if (found === undefined) throw new Malformed(`'${type}' without a readable '${name}'`);
  return found;
}

/** Reads the text of one message. */
export function parse(line: string): Message {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new Malformed("a message that is no JSON");
  }
  if (!isContent(value)) throw new Malformed("a message that is no JSON object");
  return value;
}

/** Reads one message; throws {@link Malformed}. */
export function read(raw: Message): Frame {
  const type = must(text(raw, "event_type"), "a message", "event_type");
  const data = Object.hasOwn(raw, "data") ? (raw.data as Json) : {};
  return {
    type,
    data,
    instance: text(raw, "instance_id") ?? "",
    timestamp: text(raw, "timestamp") ?? "",
    meaning: meaning(type, data, raw),
    raw,
  };
}

const FATES: Readonly<Record<string, Fate["outcome"]>> = {
  "update.confirmed": "confirmed",
  "update.conflict_resolved": "conflict_resolved",
  "update.conflict_pending": "conflict_pending",
  "update.rollback": "rollback",
  "update.retry": "retry",
};

function meaning(type: string, data: Json, raw: Message): Meaning {
  const seq = count(raw, "seq");
  // Whatever has a position is a record, whatever its type.
  if (seq !== undefined) {
    const place = { seq, prev: must(count(raw, "prev"), type, "prev"), eventId: text(raw, "event_id") ?? "" };
    return { kind: "record", place };
  }
  const outcome = Object.hasOwn(FATES, type) ? FATES[type] : undefined;
  if (outcome !== undefined) return { kind: "fate", fate: fate(outcome, type, data) };
  switch (type) {
    case "session_ready":
      return { kind: "ready", ready: ready(data) };
    case "resync":
      return {
        kind: "resync",
        reason: text(data, "reason") ?? "unknown",
        cursor: must(text(data, "cursor"), type, "cursor"),
      };
    case "caught_up":
      return { kind: "caught_up", position: must(count(data, "position"), type, "position") };
    case "advance":
      return {
        kind: "advance",
        from: must(count(data, "from"), type, "from"),
        to: must(count(data, "to"), type, "to"),
      };
    case "heartbeat":
    case "lagging":
      return { kind: type };
    case "draining":
      return { kind: "draining", retryAfterMs: count(data, "retry_after_ms") };
    case "authenticated":
      return { kind: "authenticated", expiresAt: text(data, "expires_at") };
    case "ack":
    case "stored":
      return {
        kind: type,
        eventId: must(text(data, "event_id"), type, "event_id"),
        seq: must(count(data, "seq"), type, "seq"),
        duplicate: field(data, "duplicate") === true,
      };
    case "queued":
      return { kind: "queued", eventId: must(text(data, "event_id"), type, "event_id") };
    case "error":
      return {
        kind: "error",
        code: text(data, "code") ?? "internal",
        text: text(data, "message") ?? "the node says no more",
        about: text(data, "event_id") ?? text(data, "id"),
        retryAfterMs: count(data, "retry_after_ms"),
      };
    case "instance_joined":
      return { kind: "joined", member: member(data) };
    case "instance_left":
      return { kind: "left", instance: must(text(data, "instance_id"), type, "instance_id") };
    case "presence_changed":
      return { kind: "crowd", total: count(data, "instances_total") ?? 0 };
    default:
      return interest(type, data);
  }
}

function interest(type: string, data: Json): Meaning {
  const subscription = text(data, "subscription");
  const isOne = /^(region|ids|query)\.(sync|results|update)$/.test(type);
  return isOne && subscription !== undefined ? { kind: "interest", subscription } : { kind: "other" };
}

/** Somebody in the room, as `instance_joined` and the roster say it. */
export function member(data: unknown): WireMember {
  return {
    instance: must(text(data, "instance_id"), "a member", "instance_id"),
    connectedAt: text(data, "connected_at") ?? "",
    capabilities: texts(data, "capabilities"),
    user: text(data, "user_id"),
    userName: text(data, "user_name"),
  };
}

export function members(data: unknown): WireMember[] {
  const found = field(data, "instances");
  return Array.isArray(found) ? found.map(member) : [];
}

function fate(outcome: Fate["outcome"], type: string, data: Json): Fate {
  return {
    outcome,
    updateId: must(text(data, "updateId"), type, "updateId"),
    version: count(data, "version") ?? 0,
    retryAfterMs: count(data, "retry_after_ms"),
    data: isContent(data) ? data : {},
  };
}

// What an older node, or an event stream, leaves out is what the protocol says of itself.
function ready(data: Json): Ready {
  const epoch = must(text(data, "epoch"), "session_ready", "epoch");
  const position = must(count(data, "position"), "session_ready", "position");
  const resume = field(data, "resume");
  const heartbeat = field(data, "heartbeat");
  const limits = field(data, "limits");
  const intervalMs = count(heartbeat, "interval_ms") ?? 30_000;
  const instances = members(data);
  return {
    sessionId: text(data, "session_id") ?? "",
    protocol: count(data, "protocol") ?? 1,
    epoch,
    position,
    cursor: text(data, "cursor") ?? `${epoch}.${position}`,
    resume: {
      from: text(resume, "from") ?? "latest",
      outcome: text(resume, "outcome") ?? "honoured",
      after: count(resume, "after") ?? position,
      missed: count(resume, "missed") ?? 0,
      missedExact: field(resume, "missed_exact") !== false,
    },
    heartbeat: { intervalMs, timeoutMs: count(heartbeat, "timeout_ms") ?? 3 * intervalMs },
    limits: {
      maxMessageBytes: count(limits, "max_message_bytes") ?? 1_048_576,
      publishesInFlight: count(limits, "publishes_in_flight") ?? 256,
      signalBytes: count(limits, "signal_bytes") ?? 4_096,
    },
    instances,
    instancesTotal: count(data, "instances_total") ?? instances.length + 1,
  };
}
