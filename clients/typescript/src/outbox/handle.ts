/** What a program sees of the outbox. */

import type { Observable, Op, Outbox, RefusedWrite, SyncStatus, Unsubscribe, Waiting } from "../api.js";
import type { Writes } from "../state/writes.js";
import { abortable, either, when } from "../waiting.js";
import type { Queue } from "./queue.js";

interface Shown {
  readonly pending: number;
  readonly refused: readonly RefusedWrite[];
}

export class OutboxHandle implements Outbox {
  readonly #queue: Queue;
  readonly #sync: Observable<SyncStatus>;
  readonly #writes: Writes;
  readonly #closed: AbortSignal;
  /** Writes that are made again, until they are kept. */
  readonly #again = new Map<string, Op>();
  #shown: Shown = { pending: 0, refused: [] };

  /** `closed` aborts when the client is closed. */
  constructor(queue: Queue, sync: Observable<SyncStatus>, writes: Writes, closed: AbortSignal) {
    this.#queue = queue;
    this.#sync = sync;
    this.#writes = writes;
    this.#closed = closed;
  }

  snapshot(): Shown {
    const [pending, refused] = [this.#queue.size, this.#queue.refusals.list.snapshot()];
    if (pending !== this.#shown.pending || refused !== this.#shown.refused) this.#shown = { pending, refused };
    return this.#shown;
  }

  subscribe(listener: () => void): Unsubscribe {
    const stops = [this.#sync.subscribe(listener), this.#queue.refusals.list.subscribe(listener)];
    return () => {
      for (const stop of stops) stop();
    };
  }

  retry(id: string): Op | undefined {
    const refusal = this.#queue.refusals.get(id);
    if (refusal === undefined) return undefined;
    const made = this.#again.get(id);
    if (made !== undefined) return made;
    const op = this.#writes.again(refusal);
    this.#again.set(id, op);
    // Not before the new one is kept: it must be in one of the two.
    void this.#queue.kept(op).then(async () => {
      await this.#queue.drop(id);
      this.#again.delete(id);
    });
    return op;
  }

  drop(id: string): Promise<void> {
    return this.#queue.drop(id);
  }

  async flushed({ signal }: Waiting = {}): Promise<void> {
    const ended = either(signal, this.#closed);
    await abortable(this.#queue.opened, ended);
    await when(this, ({ pending }) => pending === 0, ended);
  }
}
