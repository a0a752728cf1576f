/** What a program sees of the outbox. */

import type { Observable, Op, Outbox, RefusedWrite, SyncStatus, Unsubscribe, Waiting } from "../api.js";
import type { Writes } from "../state/writes.js";
import { when } from "../waiting.js";
import type { Queue } from "./queue.js";

interface Shown {
  readonly pending: number;
  readonly refused: readonly RefusedWrite[];
}

export class OutboxHandle implements Outbox {
  readonly #queue: Queue;
  readonly #sync: Observable<SyncStatus>;
  readonly #writes: Writes;
  #shown: Shown = { pending: 0, refused: [] };

  constructor(queue: Queue, sync: Observable<SyncStatus>, writes: Writes) {
    this.#queue = queue;
    this.#sync = sync;
    this.#writes = writes;
  }

  snapshot(): Shown {
    const [pending, refused] = [this.#queue.size, this.#queue.refusals.snapshot()];
    if (pending !== this.#shown.pending || refused !== this.#shown.refused) this.#shown = { pending, refused };
    return this.#shown;
  }

  subscribe(listener: () => void): Unsubscribe {
    const stops = [this.#sync.subscribe(listener), this.#queue.refusals.subscribe(listener)];
    return () => {
      for (const stop of stops) stop();
    };
  }

  retry(id: string): Op | undefined {
    const refusal = this.#queue.refusal(id);
    if (refusal === undefined) return undefined;
    const { type, entity, body } = refusal.entry;
    void this.#queue.drop(id);
    // On what stands when it arrives: it was refused for what it was made on, or will be refused again.
    if (entity !== undefined) return this.#writes.write({ type, id: entity }, undefined, body);
    return this.#queue.add({ kind: "event", type, entity: undefined, base: undefined, body }, null);
  }

  drop(id: string): Promise<void> {
    return this.#queue.drop(id);
  }

  async flushed({ signal }: Waiting = {}): Promise<void> {
    await this.#queue.opened;
    await when(this, ({ pending }) => pending === 0, signal);
  }
}
