/** A write that waits, and what a queue of them needs of others. */

import type { Op, RefusedWrite, Settled, Waiting } from "../api.js";
import type { Clock } from "../clock.js";
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
  /** How often it was refused for a while. */
  refusals: number;
  readonly bytes: number;
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
  /** A write of ours is in the store: who sends may send it. */
  stored(entry: Entry): void;
  refused(write: RefusedWrite): void;
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

/** A write that was made here. */
export function pendingOf(entry: Entry, bytes: number, optimistic: unknown): Pending {
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
    refusals: 0,
    bytes,
    op,
    settle: fate.resolve,
    stored: stored.resolve,
  };
}

/** A write that was in the store. */
export function restored(entry: Entry): Pending {
  const bytes = JSON.stringify(entry.body).length;
  return { ...pendingOf(entry, bytes, undefined), stage: "waiting", isLoose: false };
}

/** The next ones to send, in their order: as many as the window has room for, one of each entity. */
export function nextOf(all: readonly Pending[], window: number): Pending[] {
  const busy = new Set<string>();
  const next: Pending[] = [];
  const room = window - all.filter((pending) => pending.stage === "flying").length;
  for (const pending of all) {
    if (next.length >= room) break;
    const { kind, type, entity } = pending.entry;
    const key = kind === "event" ? undefined : `${type}/${entity}`;
    if (key !== undefined && busy.has(key)) continue;
    // Whatever stage this one is in, those behind it wait for it.
    if (key !== undefined) busy.add(key);
    if (pending.stage === "waiting") next.push(pending);
  }
  return next;
}

/** What is kept of a write that did not come about; `undefined`: it did, or may. */
export function refusalOf(entry: Entry, settled: Settled, at: number): Refusal | undefined {
  const { status, code = "unknown", message = "", current } = settled;
  return status === "refused" || status === "rolled_back" ? { entry, code, message, current, at } : undefined;
}
