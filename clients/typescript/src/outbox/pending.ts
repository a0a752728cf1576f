/** A write that waits, and what a queue of them needs of others. */

import type { Op, Settled, Waiting } from "../api.js";
import type { Clock } from "../clock.js";
import { LOCAL_CODES } from "../errors.js";
import type { Json } from "../json.js";
import { abortable, deferred } from "../waiting.js";
import type { Message } from "../wire/message.js";
import type { Entry, Refusal } from "./store.js";

/** A write that waits here. */
export interface Pending {
  entry: Entry;
  /** `storing` → `waiting` → `flying`; back to `waiting` when the connection is lost. */
  stage: "storing" | "waiting" | "flying";
  /** It is only in this program's memory. */
  isLoose: boolean;
  /** Another tab may have got it otherwise than from the store. */
  isHanded: boolean;
  /** An event's place in the log, seen there before its answer. */
  landed: number | undefined;
  /** How often it was refused for a while. */
  refusals: number;
  bytes: number;
  readonly op: Op<unknown>;
  readonly settle: (settled: Settled) => void;
  readonly stored: (where: "disk" | "memory") => void;
}

/** Who has to know what happens to writes. */
export interface QueueEvents {
  /** A write joined the queue, here or in another tab. */
  added(pending: Pending): void;
  /** Its fate is known. */
  settled(pending: Pending, settled: Settled): void;
  /** A write of ours waits: in the store, or where that takes none in our memory. Who sends may send it. */
  stored(entry: Entry): void;
  /** A write was refused for good. */
  refused(refusal: Refusal): void;
  /** A person took a refused write away. */
  dropped(id: string): void;
  /** Something that is counted changed. */
  changed(): void;
}

export interface QueueOptions {
  readonly clock: Clock;
  readonly most: number;
  readonly replica: string;
  readonly send: (message: Message) => boolean;
  readonly uuid: () => string;
  /** Why writes wait in memory only, where that is known from the beginning. */
  readonly reason: string | undefined;
}

export interface Storage {
  readonly where: "disk" | "memory";
  readonly reason: string | undefined;
}

/** How much a content counts. */
export function sizeOf(body: Json): number {
  return JSON.stringify(body).length;
}

/** A write that was made here. */
export function pendingOf(entry: Entry, optimistic: unknown): Pending {
  const fate = deferred<Settled>();
  const stored = deferred<"disk" | "memory">();
  const op: Op<unknown> = {
    id: entry.id,
    optimistic,
    stored: stored.promise,
    settled: fate.promise,
    wait: ({ signal }: Waiting = {}) => abortable(fate.promise, signal),
  };
  return {
    entry,
    stage: "storing",
    isLoose: true,
    isHanded: false,
    landed: undefined,
    refusals: 0,
    bytes: sizeOf(entry.body),
    op,
    settle: fate.resolve,
    stored: stored.resolve,
  };
}

/** A write that was in the store, or in another tab's hands. */
export function restored(entry: Entry): Pending {
  return { ...pendingOf(entry, undefined), stage: "waiting", isLoose: entry.number === Number.POSITIVE_INFINITY };
}

/** What was there before goes out before what was written since; what has no place yet is last, in the order that it has. */
export function inOrder(a: { readonly entry: Entry }, b: { readonly entry: Entry }): number {
  const [first, second] = [a.entry.number, b.entry.number];
  return first < second ? -1 : first > second ? 1 : 0;
}

/** The next ones to send, in their order: as many as the window has room for, and of each entity one. */
export function nextOf(all: readonly Pending[], window: number): Pending[] {
  const busy = new Set<string>();
  const next: Pending[] = [];
  const room = window - all.filter((pending) => pending.stage === "flying").length;
  // An event may speak of the changes before it.
  let mayTell = true;
  for (const pending of all) {
    if (next.length >= room) break;
    const { kind, type, entity } = pending.entry;
    if (kind === "event") {
      if (pending.stage === "waiting" && mayTell) next.push(pending);
      else if (pending.stage !== "flying") mayTell = false;
      continue;
    }
    mayTell = false;
    const key = `${type}/${entity}`;
    // Whatever stage this one is in, those behind it wait for it.
    if (!busy.has(key) && pending.stage === "waiting") next.push(pending);
    busy.add(key);
  }
  return next;
}

/** What is kept of a write that did not come about; `undefined`: it did, or may, or nobody wants it any more. */
export function refusalOf(entry: Entry, settled: Settled, at: number): Refusal | undefined {
  const { status, code = "unknown", message = "", current } = settled;
  if (code === LOCAL_CODES.dropped) return undefined;
  return status === "refused" || status === "rolled_back" ? { entry, code, message, current, at } : undefined;
}
