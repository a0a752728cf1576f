/**
 * What was written here, from the call until its fate is known.
 *
 * Owns: the order of writes, that nothing leaves it but by an answer or a person's word, that a store that fails is said and
 * loses nothing, and what several tabs have to know of each other's writes. Must not know: what an operation does, when a write goes out.
 */

import type { Op, Settled } from "../api.js";
import { ContinuumError, LOCAL_CODES } from "../errors.js";
import { isEqual, type Json } from "../json.js";
import type { Fate, Ready } from "../wire/message.js";
import { refused, unknown } from "./message.js";
import {
  inOrder,
  type Pending,
  pendingOf,
  type QueueEvents,
  type QueueOptions,
  refusalOf,
  restored,
  type Storage,
  sizeOf,
} from "./pending.js";
import { Refusals } from "./refusals.js";
import { Sender } from "./sender.js";
import type { Draft, Entry, Held, Store } from "./store.js";

/** Of how many writes that are done it is known here that they are. */
const MOST_DONE = 10_000;
/** Longest time that a word between tabs takes. */
const WORD_MS = 1_000;

/** A write as its author makes it. */
export type Made = Omit<Draft, "id" | "replica" | "opNumber" | "writtenAt"> & { id?: string | undefined };

export class Queue {
  readonly refusals = new Refusals();
  readonly #store: Store;
  readonly #options: QueueOptions;
  readonly #events: QueueEvents;
  readonly #sender: Sender;
  readonly #pending = new Map<string, Pending>();
  /** Writes that are done, the latest: what a store or a tab still says of them is of before. */
  readonly #done = new Set<string>();
  /** Calls of the store, one after the other. */
  #turn: Promise<void>;
  readonly #opened: Promise<void>;
  #fault: string | undefined;
  #bytes = 0;
  #opNumber = 0;
  #isClosed = false;

  constructor(store: Store, options: QueueOptions, events: QueueEvents) {
    this.#store = store;
    this.#options = options;
    this.#events = events;
    this.#fault = options.reason;
    this.#sender = new Sender(options, {
      all: () => [...this.#pending.values()],
      get: (id) => this.#pending.get(id),
      claim: (next) => this.#claim(next),
      settle: (id, settled) => this.#settle(id, settled, "here"),
    });
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

  /** Puts a write behind the others. The same once more is the same write. */
  add<T>(made: Made, optimistic: T): Op<T> {
    if (this.#isClosed) throw new ContinuumError(LOCAL_CODES.closed, "the client is closed");
    const there = made.id === undefined ? undefined : this.#pending.get(made.id);
    if (there !== undefined) {
      const { kind, type, entity, body } = there.entry;
      const isSame = kind === made.kind && type === made.type && entity === made.entity && isEqual(body, made.body);
      if (isSame) return { ...there.op, optimistic };
      throw new ContinuumError(LOCAL_CODES.duplicate, `another write with the id ${made.id} waits`);
    }
    const { replica, clock, uuid, most } = this.#options;
    if (this.#bytes + sizeOf(made.body) > most)
      throw new ContinuumError(LOCAL_CODES.full, `the outbox holds ${this.#bytes} bytes; ${most} is the most`);
    this.#opNumber += 1;
    const id = made.id ?? uuid();
    const written = { replica, opNumber: this.#opNumber, writtenAt: clock.wall() };
    // Its number is the store's to give; until then it stands behind all others.
    const place = { number: Number.POSITIVE_INFINITY, sent: false };
    const pending = pendingOf({ ...made, log: made.log ?? this.#sender.log, id, ...written, ...place }, optimistic);
    this.#keep(pending);
    void this.#later(() => this.#append(pending));
    return pending.op as Op<T>;
  }

  /** Puts another content into a write that nobody can have sent; `false`: it is to be a write of its own. */
  rewrite(id: string, base: number | undefined, body: Json): boolean {
    const bytes = sizeOf(body);
    const more = bytes - (this.#pending.get(id)?.bytes ?? 0);
    // A message that is long in bytes may be a third of that in letters.
    const isLong = bytes > this.#sender.mostBytes / 4 || this.#bytes + more > this.#options.most;
    // Who does not send does not know whether the tab that does has it in its hands already.
    return this.#sender.leads && !isLong && this.carry(id, base, body);
  }

  /** The same where either content will do: if another tab sends, the store knows which it has. */
  carry(id: string, base: number | undefined, body: Json): boolean {
    const pending = this.#pending.get(id);
    if (this.#isClosed || pending === undefined || pending.entry.sent) return false;
    const { log } = this.#sender;
    this.#change(pending, { ...pending.entry, base, log, body });
    if (pending.isLoose) return true;
    void this.#later(async () => {
      await this.#store.rewrite({ id, base, log, body });
    });
    return true;
  }

  /** What another tab wrote: into the store, or where that took it not, into its own memory alone. */
  adopt(entry: Entry): void {
    const pending = restored(entry);
    if (this.#isClosed || this.#pending.has(entry.id) || (pending.isLoose && this.#done.has(entry.id))) return;
    this.#keep(pending);
    if (pending.isLoose) void this.#later(() => this.#append(pending));
    this.pump();
  }

  /** What another tab learned of a write. */
  learn(id: string, settled: Settled): void {
    this.#settle(id, settled, "elsewhere");
  }

  /** A person took a write away, here or in another tab. */
  forget(id: string): void {
    if (this.refusals.drop(id)) this.#events.changed();
    this.#settle(id, refused(LOCAL_CODES.dropped, "a person took it out of the outbox"), "elsewhere");
  }

  /** This one sends from now on: once it knows what was sent by who did so before. */
  async lead(): Promise<void> {
    await this.reconcile();
    this.#sender.lead();
  }

  /** Another tab sends: it is told again of what is in no store. */
  async follow(): Promise<void> {
    await this.reconcile();
    for (const pending of this.#pending.values()) if (pending.isLoose) this.#hand(pending);
  }

  /** Others may have written, sent or settled what their word of did not reach us: the store knows. */
  async reconcile(): Promise<void> {
    await this.#later(async () => {
      const mine = [...this.#pending.values()].filter((pending) => !pending.isLoose);
      const held = await this.#store.open();
      const there = new Map(held.entries.map((entry) => [entry.id, entry]));
      const refusals = new Map(held.refusals.map((refusal) => [refusal.entry.id, refusal]));
      for (const pending of mine) {
        const { id, replica } = pending.entry;
        const [entry, refusal] = [there.get(id), refusals.get(id)];
        if (refusal !== undefined) {
          this.#settle(id, refused(refusal.code, refusal.message), "elsewhere");
        } else if (entry === undefined) {
          if (pending.stage !== "flying") this.#miss(pending);
        } else if (!pending.entry.sent && (entry.sent || replica !== this.#options.replica)) {
          this.#change(pending, entry);
        }
      }
      this.#found(held);
    });
    this.pump();
  }

  connected(ready: Ready): void {
    for (const pending of this.#pending.values()) {
      const { log } = pending.entry;
      // Another log knows nothing of what the one before was sent.
      if (log !== undefined && log !== ready.epoch) pending.entry = { ...pending.entry, sent: false };
    }
    this.#sender.connected(ready);
  }

  /** All that was missed is here. */
  caughtUp(): void {
    this.#sender.caughtUp();
  }

  lost(): void {
    this.#sender.lost();
  }

  /** The log has an event of ours. */
  recorded(id: string, seq: number): void {
    this.#note(id);
    const pending = this.#pending.get(id);
    if (pending?.entry.kind === "event") this.#sender.recorded(pending, seq);
  }

  acknowledged(id: string, seq: number | undefined, duplicate: boolean): void {
    this.#sender.acknowledged(id, seq, duplicate);
  }

  decided(fate: Fate): void {
    this.#sender.decided(fate);
  }

  /** `false`: it is about no write of ours. */
  failed(about: string, code: string, message: string, retryAfterMs: number | undefined): boolean {
    return this.#sender.failed(about, code, message, retryAfterMs);
  }

  pump(): void {
    this.#sender.pump();
  }

  async drop(id: string): Promise<void> {
    this.forget(id);
    this.#events.dropped(id);
    await this.#later(() => this.#store.settle(id));
    await this.#later(() => this.#store.forget(id));
  }

  /** When a write is kept as well as a store of this kind keeps one. */
  async kept(op: Op<unknown>): Promise<void> {
    if ((await op.stored) !== this.#store.durability) await op.settled;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.lost();
    const closing = this.#later(() => this.#store.close());
    this.#isClosed = true;
    await closing;
    for (const { isLoose, settle } of this.#pending.values()) {
      const where = isLoose || this.#store.durability === "memory" ? "was in memory only" : "waits on disk";
      settle(unknown(LOCAL_CODES.closed, `the client was closed before its fate was known; it ${where}`));
    }
  }

  /** The store's content counts for what others wrote, ours for what we did. */
  #claim(next: readonly Pending[]): Promise<void> {
    return this.#later(async () => {
      const stored = next.filter(({ isLoose }) => !isLoose).map(({ entry }) => entry.id);
      if (stored.length === 0) return;
      for (const entry of await this.#store.claim(stored)) {
        const pending = this.#pending.get(entry.id);
        if (pending !== undefined && entry.replica !== this.#options.replica) this.#change(pending, entry);
      }
    });
  }

  #settle(id: string, settled: Settled, where: "here" | "elsewhere"): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    this.#bytes -= pending.bytes;
    this.#note(id);
    const refusal = refusalOf(pending.entry, settled, this.#options.clock.wall());
    if (refusal !== undefined) {
      for (const oldest of this.refusals.keep([refusal])) void this.#later(() => this.#store.forget(oldest));
      this.#events.refused(refusal);
    }
    // A loose one may be on its way into the store, from here or from where it was handed to: it is taken out all the same.
    if (where === "here") void this.#later(() => this.#store.settle(id, refusal));
    else if (pending.isHanded) void this.#later(() => this.#store.settle(id));
    this.#events.settled(pending, settled);
    pending.settle(settled);
    this.#events.changed();
  }

  /** It is in the store no more. Whoever took it out says why, and that word may still be on its way. */
  #miss(pending: Pending): void {
    const { id } = pending.entry;
    pending.stage = "storing";
    const gone = unknown(LOCAL_CODES.gone, "it is in the store no more, and nobody said what became of it");
    this.#options.clock.after(WORD_MS, () => this.#settle(id, gone, "elsewhere"));
  }

  #note(id: string): void {
    this.#done.add(id);
    const [oldest] = this.#done;
    if (this.#done.size > MOST_DONE && oldest !== undefined) this.#done.delete(oldest);
  }

  #keep(pending: Pending): void {
    this.#done.delete(pending.entry.id);
    this.#pending.set(pending.entry.id, pending);
    this.#bytes += pending.bytes;
    this.#events.added(pending);
    this.#events.changed();
  }

  #change(pending: Pending, entry: Entry): void {
    const bytes = sizeOf(entry.body);
    this.#bytes += bytes - pending.bytes;
    pending.bytes = bytes;
    pending.entry = entry;
  }

  /** What the store holds that is not known here. */
  #found(held: Held): void {
    const old = held.entries.filter((entry) => !this.#pending.has(entry.id));
    for (const entry of old) {
      if (this.#done.has(entry.id)) void this.#later(() => this.#store.settle(entry.id));
      else this.#keep(restored(entry));
    }
    const all = [...this.#pending.values()].sort(inOrder);
    this.#pending.clear();
    for (const pending of all) this.#pending.set(pending.entry.id, pending);
    this.refusals.found(held.refusals);
    this.#events.changed();
  }

  async #append(pending: Pending): Promise<void> {
    if (!this.#pending.has(pending.entry.id)) return;
    try {
      // Those that found no place before it come first, sent or not: the order is the store's, and has no hole.
      for (const loose of this.#pending.values()) {
        if (loose.isLoose) await this.#put(loose);
        if (loose === pending) break;
      }
      this.#fault = this.#options.reason;
    } catch (error) {
      this.#failed(error);
      this.#hand(pending);
    }
    if (pending.stage === "storing") pending.stage = "waiting";
    pending.stored(pending.isLoose ? "memory" : this.#store.durability);
    this.#events.changed();
    this.pump();
  }

  async #put(pending: Pending): Promise<void> {
    const { number: _, sent: __, ...draft } = pending.entry;
    const { number, sent } = await this.#store.append(draft);
    pending.isLoose = false;
    // It may have been rewritten or sent meanwhile.
    const { id, base, body } = pending.entry;
    pending.entry = { ...pending.entry, number, sent: sent || pending.entry.sent };
    if (body !== draft.body || base !== draft.base) await this.#store.rewrite(pending.entry);
    if (pending.entry.sent && !sent) await this.#store.claim([id]);
    this.#events.stored(pending.entry);
  }

  /** Gives a write that is in no store to the tab that sends. */
  #hand(pending: Pending): void {
    if (pending.entry.replica !== this.#options.replica) return;
    pending.isHanded = true;
    this.#events.stored(pending.entry);
  }

  #failed(error: unknown): void {
    this.#fault = told(error);
    this.#events.changed();
  }

  #later(task: () => Promise<void>): Promise<void> {
    if (!this.#isClosed) this.#turn = this.#turn.then(task).catch((error) => this.#failed(error));
    return this.#turn;
  }
}

function told(error: unknown): string {
  // Browsers say of a full storage its name and no more. What they throw is not always an `Error`.
  const { name, message } = error as { name?: unknown; message?: unknown };
  const isSaid = (part: unknown) => typeof part === "string" && part !== "" && part !== "Error";
  return [name, message].filter(isSaid).join(": ") || String(error);
}
