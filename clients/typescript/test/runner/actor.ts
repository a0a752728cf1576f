/** One client of a conversation, and what it saw that no step asked for yet. Runs in browsers too. */

import type { ClientOptions, Conflict, EventRecord, Op, Result, Resumed, Signal } from "../../src/index.js";
import { ContinuumClient } from "../../src/index.js";
import { tell } from "../../src/state/told.js";
import { read } from "../../src/wire/message.js";

/** Longest time that a step waits. */
export const PATIENCE_MS = 20_000;

export class Actor {
  readonly client: ContinuumClient;
  readonly events: EventRecord[] = [];
  readonly signals: Signal[] = [];
  readonly ops = new Map<string, Op<unknown>>();
  readonly results = new Map<string, Result>();
  resumed: Resumed | undefined;
  /** Where the last page of history ended. */
  page: string | undefined;
  readonly #news = new Set<() => void>();

  constructor(options: ClientOptions) {
    // At most 50 ms before it connects again.
    const random = () => Math.random() / 20;
    // What a recording has to say is of a socket.
    this.client = new ContinuumClient({ store: "memory", random, transport: "websocket", ...options });
    const tell = () => {
      for (const look of [...this.#news]) look();
    };
    this.client.on("record", (record) => this.#take(record));
    this.client.on("signal", (signal) => this.signals.push(signal));
    this.client.on("resumed", (resumed) => {
      this.resumed = resumed;
    });
    for (const name of ["message", "status", "sync"] as const) this.client.on(name, () => queueMicrotask(tell));
    for (const watched of [this.client.presence, this.client.conflicts, this.client.outbox]) watched.subscribe(tell);
  }

  /** Waits until it is so; gives what `show` shows if it does not come to be so. */
  async until(is: () => boolean, show: () => unknown): Promise<void> {
    await new Promise<void>((done, failed) => {
      const timer = setTimeout(() => {
        this.#news.delete(look);
        failed(new Error(`there was instead: ${JSON.stringify(show())}`));
      }, PATIENCE_MS);
      const look = () => {
        if (!is()) return;
        clearTimeout(timer);
        this.#news.delete(look);
        done();
      };
      this.#news.add(look);
      look();
    });
  }

  /** Looks again at what is waited for whenever this changes. */
  watch(watched: { subscribe(listener: () => void): () => void }): void {
    watched.subscribe(() => {
      for (const look of [...this.#news]) look();
    });
  }

  conflicts(): readonly Conflict[] {
    return this.client.conflicts.snapshot();
  }

  #take(record: EventRecord): void {
    const isEvent = tell(read({ ...record.raw })).kind === "event";
    if (isEvent && record.instance !== this.client.instance) this.events.push(record);
  }
}
