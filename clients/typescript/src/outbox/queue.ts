/**
 * What was written here, from the call until its fate is known.
 *
 * Owns: the order in which writes go out (one at a time of each entity), that each goes out under the same id however often it
 * takes, that nothing leaves it but by an answer or a person's word, and that a store that fails is said and loses nothing.
 * Must not know: what an operation does, how a message travels.
 */

import type { Op, RefusedWrite, Settled } from "../api.js";
import { CAP_MS, followed } from "../backoff.js";
import { ContinuumError, isPassing, LOCAL_CODES } from "../errors.js";
import type { Content, Json } from "../json.js";
import { Cell } from "../observe.js";
import type { Fate, Ready } from "../wire/message.js";
import { acknowledged, decided, messageOf, refused } from "./message.js";
import {
  nextOf,
  type Pending,
  pendingOf,
  type QueueEvents,
  type QueueOptions,
  refusalOf,
  restored,
  type Storage,
} from "./pending.js";
import type { Draft, Entry, Held, Refusal, Store } from "./store.js";

/** How many go out at once before the node has shown that it takes them. */
const FIRST_WINDOW = 32;
/** The pause after a refusal that names no time; twice as long after each further one. */
const PAUSE_MS = 1_000;
/** Most refused writes that are kept; the oldest are forgotten. */
const MOST_REFUSED = 1_000;

export class Queue {
  readonly refusals = new Cell<readonly RefusedWrite[]>([]);
  readonly #store: Store;
  readonly #options: QueueOptions;
  readonly #events: QueueEvents;
  readonly #pending = new Map<string, Pending>();
  readonly #refusals = new Map<string, Refusal>();
  /** Calls of the store, one after the other. */
  #turn: Promise<void>;
  readonly #opened: Promise<void>;
  #fault: string | undefined;
  #bytes = 0;
  #opNumber = 0;
  /** Whether this one sends: of several tabs one does. */
  #isSender = false;
  #window = 0;
  #mostInFlight = 0;
  #mostBytes = Number.POSITIVE_INFINITY;
  #resume: (() => void) | undefined;
  #isClaiming = false;

  constructor(store: Store, options: QueueOptions, events: QueueEvents) {
    this.#store = store;
    this.#options = options;
    this.#events = events;
    this.#fault = options.reason;
    this.#turn = store.open().then(
      (held) => this.#found(held),
      (error) => {
        this.#fault = `the store cannot be opened: ${told(error)}`;
        this.#events.changed();
      },
    );
    this.#opened = this.#turn;
  }

  get size(): number {
    return this.#pending.size;
  }

  get storage(): Storage {
    const isLoose = this.#fault !== undefined || [...this.#pending.values()].some((pending) => pending.isLoose);
    return { where: isLoose ? "memory" : this.#store.durability, reason: this.#fault };
  }

  /** When the store is open. */
  get opened(): Promise<void> {
    return this.#opened;
  }

  /** Our write to this entity that is on its way. */
  flying(key: string): string | undefined {
    for (const { entry, stage } of this.#pending.values()) {
      if (stage === "flying" && `${entry.type}/${entry.entity}` === key) return entry.id;
    }
    return undefined;
  }

  get(id: string): Pending | undefined {
    return this.#pending.get(id);
  }

  /** Puts a write behind the others. */
  add<T>(
    draft: Omit<Draft, "id" | "replica" | "opNumber" | "writtenAt"> & { id?: string | undefined },
    optimistic: T,
  ): Op<T> {
    const bytes = JSON.stringify(draft.body).length;
    if (this.#bytes + bytes > this.#options.most) {
      throw new ContinuumError(
        LOCAL_CODES.full,
        `the outbox holds ${this.#bytes} bytes; ${this.#options.most} is the most`,
      );
    }
    this.#opNumber += 1;
    const { replica, clock, uuid } = this.#options;
    const id = draft.id ?? uuid();
    const full: Draft = { ...draft, id, replica, opNumber: this.#opNumber, writtenAt: clock.wall() };
    // Its number is the store's to give; until then it stands behind all others.
    const entry: Entry = { ...full, number: Number.POSITIVE_INFINITY, sent: false };
    const pending = pendingOf(entry, bytes, optimistic);
    this.#keep(pending);
    void this.#later(() => this.#append(pending));
    return pending.op as Op<T>;
  }

  /** Puts another content into a write that was not sent; `false`: it may have been. */
  rewrite(id: string, base: number | undefined, body: Json): boolean {
    // The tab that sends may have it in its hands already.
    return this.#isSender && this.carry(id, base, body);
  }

  /** The same where either content will do: if another tab sends, the store knows which it has. */
  carry(id: string, base: number | undefined, body: Json): boolean {
    const pending = this.#pending.get(id);
    if (pending === undefined || pending.stage === "flying" || pending.entry.sent) return false;
    pending.entry = { ...pending.entry, base, body };
    if (pending.isLoose) return true;
    void this.#later(async () => {
      await this.#store.rewrite({ id, base, body });
    });
    return true;
  }

  /** What another tab put into the store. */
  adopt(entry: Entry): void {
    if (this.#pending.has(entry.id)) return;
    this.#keep(restored(entry));
    this.pump();
  }

  /** What another tab learned of a write. */
  learn(id: string, settled: Settled): void {
    this.#settle(id, settled, "elsewhere");
  }

  /** This one sends from now on. */
  async lead(): Promise<void> {
    this.#isSender = true;
    await this.#opened;
    await this.reconcile();
    this.pump();
  }

  /** Others may have written or settled what their word of did not reach us: the store knows. */
  reconcile(): Promise<void> {
    return this.#later(async () => {
      const mine = [...this.#pending.values()].filter((pending) => !pending.isLoose);
      const held = await this.#store.open();
      const there = new Set(held.entries.map((entry) => entry.id));
      const refusals = new Map(held.refusals.map((refusal) => [refusal.entry.id, refusal]));
      for (const { entry } of mine) {
        if (there.has(entry.id)) continue;
        const refusal = refusals.get(entry.id);
        this.#settle(
          entry.id,
          refusal === undefined ? acknowledged(0, true) : refused(refusal.code, refusal.message),
          "elsewhere",
        );
      }
      this.#found(held);
    });
  }

  connected(ready: Ready): void {
    this.#mostInFlight = Math.max(1, Math.min(FIRST_WINDOW * 8, ready.limits.publishesInFlight));
    this.#window = Math.min(FIRST_WINDOW, this.#mostInFlight);
    this.#mostBytes = ready.limits.maxMessageBytes;
    this.pump();
  }

  lost(): void {
    this.#window = 0;
    for (const pending of this.#pending.values()) if (pending.stage === "flying") pending.stage = "waiting";
    this.#resume?.();
    this.#resume = undefined;
  }

  /** An event is in the log, or in the node's journal (`seq` is `undefined`). */
  acknowledged(id: string, seq: number | undefined, duplicate: boolean): void {
    if (this.#isSender && this.#pending.get(id)?.entry.kind === "event")
      this.#answered(id, acknowledged(seq, duplicate));
  }

  decided(fate: Fate): void {
    if (!this.#isSender) return;
    const settled = decided(fate);
    if (settled === undefined) this.#again(fate.updateId, fate.retryAfterMs);
    else this.#answered(fate.updateId, settled);
  }

  /** `false`: it is about no write of ours. */
  failed(about: string, code: string, message: string, retryAfterMs: number | undefined): boolean {
    const pending = this.#pending.get(about);
    if (pending?.stage !== "flying") return false;
    if (isPassing(code, retryAfterMs)) this.#again(about, retryAfterMs);
    else this.#answered(about, refused(code, message));
    return true;
  }

  async drop(id: string): Promise<void> {
    if (!this.#refusals.delete(id)) return;
    this.#tellRefusals();
    await this.#later(() => this.#store.forget(id));
  }

  refusal(id: string): Refusal | undefined {
    return this.#refusals.get(id);
  }

  async close(): Promise<void> {
    this.lost();
    await this.#later(() => this.#store.close());
  }

  /** Sends what may be sent. */
  pump(): void {
    if (!this.#isSender || this.#isClaiming || this.#resume !== undefined) return;
    const next = nextOf([...this.#pending.values()], this.#window);
    if (next.length === 0) return;
    for (const pending of next) pending.stage = "flying";
    this.#isClaiming = true;
    void this.#claim(next).then((claimed) => {
      this.#isClaiming = false;
      for (const pending of claimed) this.#send(pending);
      this.pump();
    });
  }

  /** Notes that they are about to be sent, so that nobody changes them any more. */
  async #claim(next: readonly Pending[]): Promise<readonly Pending[]> {
    const stored = next.filter((pending) => !pending.isLoose && !pending.entry.sent).map((pending) => pending.entry.id);
    await this.#later(async () => {
      if (stored.length === 0) return;
      const claimed = new Map((await this.#store.claim(stored)).map((entry) => [entry.id, entry]));
      for (const pending of next) {
        const entry = claimed.get(pending.entry.id);
        if (entry !== undefined) pending.entry = entry;
      }
    });
    return next.filter((pending) => pending.stage === "flying" && this.#pending.has(pending.entry.id));
  }

  #send(pending: Pending): void {
    pending.entry = { ...pending.entry, sent: true };
    const message = messageOf(pending.entry);
    const bytes = new TextEncoder().encode(JSON.stringify(message)).length;
    if (bytes > this.#mostBytes) {
      // Sent, it would cost the connection, again and again.
      this.#answered(
        pending.entry.id,
        refused("too_large", `${bytes} bytes as a message, of which the node takes ${this.#mostBytes}`),
      );
    } else if (!this.#options.send(message)) {
      pending.stage = "waiting";
    }
  }

  #answered(id: string, settled: Settled): void {
    this.#window = this.#window === 0 ? 0 : Math.min(this.#window + 1, this.#mostInFlight);
    this.#settle(id, settled, "here");
    this.pump();
  }

  /** It is sent again after a pause, one at a time: in the middle of many it would come behind its followers. */
  #again(id: string, retryAfterMs: number | undefined): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    const pause =
      retryAfterMs === undefined
        ? Math.min(CAP_MS, PAUSE_MS * 2 ** Math.min(pending.refusals, 6))
        : followed(retryAfterMs);
    pending.refusals += 1;
    pending.stage = "waiting";
    this.#window = Math.min(this.#window, 1);
    this.#resume?.();
    this.#resume = this.#options.clock.after(pause, () => {
      this.#resume = undefined;
      this.pump();
    });
  }

  #settle(id: string, settled: Settled, where: "here" | "elsewhere"): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    this.#bytes -= pending.bytes;
    const { entry } = pending;
    const refusal = refusalOf(entry, settled, this.#options.clock.wall());
    if (refusal !== undefined) this.#keepRefusal(refusal);
    // A loose one may have got into the store when it was taken for lost: it is taken out all the same.
    if (where === "here") void this.#later(() => this.#store.settle(id, refusal));
    this.#events.settled(pending, settled);
    pending.settle(settled);
    this.#events.changed();
  }

  #keepRefusal(refusal: Refusal): void {
    this.#refusals.set(refusal.entry.id, refusal);
    const [oldest] = this.#refusals.keys();
    if (this.#refusals.size > MOST_REFUSED && oldest !== undefined) {
      this.#refusals.delete(oldest);
      void this.#later(() => this.#store.forget(oldest));
    }
    this.#tellRefusals();
    this.#events.refused(shown(refusal));
  }

  #tellRefusals(): void {
    this.refusals.set([...this.#refusals.values()].map(shown));
    this.#events.changed();
  }

  #keep(pending: Pending): void {
    this.#pending.set(pending.entry.id, pending);
    this.#bytes += pending.bytes;
    this.#events.added(pending);
    this.#events.changed();
  }

  /** What the store holds that is not known here. */
  #found(held: Held): void {
    const old = held.entries.filter((entry) => !this.#pending.has(entry.id));
    for (const entry of old) this.#keep(restored(entry));
    if (old.length > 0) {
      // What was there before goes out before what was written since; what has no place yet is last.
      const all = [...this.#pending.values()].sort((a, b) => (a.entry.number < b.entry.number ? -1 : 1));
      this.#pending.clear();
      for (const pending of all) this.#pending.set(pending.entry.id, pending);
    }
    for (const refusal of held.refusals) this.#refusals.set(refusal.entry.id, refusal);
    this.#tellRefusals();
  }

  async #append(pending: Pending): Promise<void> {
    if (!this.#pending.has(pending.entry.id)) return;
    try {
      // Those that found no place before it come first: the order is the store's.
      for (const loose of this.#pending.values()) {
        if (loose.isLoose && loose.stage !== "flying") await this.#put(loose);
        if (loose === pending) break;
      }
      this.#fault = this.#options.reason;
    } catch (error) {
      this.#failed(error);
    }
    if (pending.stage === "storing") pending.stage = "waiting";
    pending.stored(pending.isLoose ? "memory" : this.#store.durability);
    this.#events.changed();
    this.pump();
  }

  async #put(pending: Pending): Promise<void> {
    const { number: _, sent: __, ...draft } = pending.entry;
    const { number } = await this.#store.append(draft);
    const { body, base } = draft;
    pending.isLoose = false;
    pending.entry = { ...pending.entry, number };
    // It may have been rewritten meanwhile.
    if (pending.entry.body !== body || pending.entry.base !== base) await this.#store.rewrite(pending.entry);
    this.#events.stored(pending.entry);
  }

  #failed(error: unknown): void {
    this.#fault = told(error);
    this.#events.changed();
  }

  #later(task: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(task).catch((error) => this.#failed(error));
    return this.#turn;
  }
}

function shown({ entry, code, message, current, at }: Refusal): RefusedWrite {
  const { id, kind, type, entity, base, body } = entry;
  const write: Record<string, Json> = { kind, type, body };
  if (entity !== undefined) write.entity = entity;
  if (base !== undefined) write.base = base;
  return { id, write, code, message, current: current as Content | null | undefined, at };
}

function told(error: unknown): string {
  // Browsers say of a full storage its name and no more. What they throw is not always an `Error`.
  const { name, message } = error as { name?: unknown; message?: unknown };
  const isSaid = (part: unknown) => typeof part === "string" && part !== "" && part !== "Error";
  return [name, message].filter(isSaid).join(": ") || String(error);
}
