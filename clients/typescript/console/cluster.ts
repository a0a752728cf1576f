/** The nodes as one of them knows them. Owns: what is remembered of a node that is gone, and when a node's light changes. Pure. */

import { field, isContent } from "../src/json.js";
import { count, text } from "../src/wire/message.js";
import { span } from "./format.js";
import type { Light } from "./lights.js";

/** Nodes say something every three seconds; so long without a word is odd. After 12 s they are gone for the others. */
const ODD_S = 7;
/** Nodes that are gone and still shown. */
const GONE = 16;

export interface LogLink {
  readonly kind: string;
  readonly state: string;
  readonly reason: string | undefined;
  /** The server at the other end; an embedded log has none. */
  readonly server: string | undefined;
}

export interface NodeSeen {
  readonly id: string;
  /** Its machine and port, if it says so. */
  readonly name: string;
  readonly isThis: boolean;
  readonly isGone: boolean;
  /** When it was heard last, in milliseconds since 1970. */
  readonly heardAt: number;
  readonly version: string | undefined;
  readonly since: string | undefined;
  readonly status: string | undefined;
  readonly reason: string | undefined;
  readonly link: LogLink | undefined;
  readonly connections: number | undefined;
  readonly rooms: number | undefined;
  readonly hears: number | undefined;
}

/** What is known of the nodes after an answer, with those that are missing in it. */
export function nodesOf(answer: unknown, before: readonly NodeSeen[], now: number): NodeSeen[] {
  const listed = field(answer, "nodes");
  const seen: NodeSeen[] = [];
  for (const node of Array.isArray(listed) ? listed.filter(isContent) : []) {
    const id = text(node, "id");
    if (id === undefined) continue;
    seen.push({
      id,
      name: text(node, "name") ?? id.slice(0, 8),
      isThis: field(node, "is_self") === true,
      isGone: false,
      heardAt: now - (count(node, "heard_ms_ago") ?? 0),
      version: text(node, "version"),
      since: text(node, "since"),
      status: text(node, "status"),
      reason: text(node, "reason"),
      link: linkOf(field(node, "link")),
      connections: count(node, "connections"),
      rooms: count(node, "rooms"),
      hears: count(node, "hears"),
    });
  }
  const there = new Set(seen.map(({ id }) => id));
  // One that was started anew at its place has another id; the old one is no loss then.
  const names = new Set(seen.map(({ name }) => name));
  const gone = before.filter(({ id, name }) => !there.has(id) && !names.has(name));
  gone.sort((a, b) => b.heardAt - a.heardAt);
  return [...seen, ...gone.slice(0, GONE).map((node) => ({ ...node, isGone: true, isThis: false }))];
}

function linkOf(link: unknown): LogLink | undefined {
  const [kind, state] = [text(link, "kind"), text(link, "state")];
  if (kind === undefined || state === undefined) return undefined;
  return { kind, state, reason: text(link, "reason"), server: text(link, "server") };
}

/** A node's light and its words. One that counts as gone is red at once: its instances were declared gone with it. */
export function lightOfNode(node: NodeSeen, now: number): [Light, string] {
  const silent = (now - node.heardAt) / 1000;
  if (node.isGone) return ["red", `gone, last heard ${span(silent)} ago`];
  if (node.isThis && silent >= ODD_S) return ["red", `no answer for ${span(silent)}`];
  if (silent >= ODD_S) return ["yellow", `silent for ${span(silent)}`];
  switch (node.status) {
    case undefined:
      return ["green", "heard"];
    case "ready":
      return ["green", "ready"];
    case "journal_full":
      return ["red", "journal full"];
    default:
      return ["yellow", node.status];
  }
}

/** The light of the line between a node and the log. */
export function lightOfLink({ state }: LogLink): Light {
  return state === "serving" ? "green" : state === "degraded" ? "yellow" : "red";
}

/** Longest name of a server that is shown; one that nobody named has a long name of random letters. */
const LONGEST = 24;

/** What is at the log's end of a link. */
export function serverOf({ kind, server }: LogLink): string {
  if (kind === "embedded") return "log on this disk";
  if (server === undefined) return "no server";
  return server.length > LONGEST ? `${server.slice(0, 8)}…` : server;
}

/** What a node is linked to, in words. */
export function linkInWords(link: LogLink | undefined): string {
  if (link === undefined) return "–";
  return [serverOf(link), link.state, link.reason].filter(Boolean).join(" · ");
}
