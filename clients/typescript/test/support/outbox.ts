/** An outbox whose node and other tabs are the test. */

import type { Settled } from "../../src/index.js";
import { Queue } from "../../src/outbox/queue.js";
import type { Entry, Store } from "../../src/outbox/store.js";
import { type Message, type Ready, read } from "../../src/wire/message.js";
import { VirtualClock } from "./clock.js";

export const LOG = "00000000000000ff";

export function ready(data: object = {}): Ready {
  const { meaning } = read({ event_type: "session_ready", data: { epoch: LOG, position: 5, ...data } });
  if (meaning.kind !== "ready") throw new Error("no session_ready");
  return meaning.ready;
}

export class PlayedOutbox {
  readonly queue: Queue;
  readonly clock = new VirtualClock();
  readonly sent: Message[] = [];
  /** What it shows, and what it says to other tabs. */
  readonly added: string[] = [];
  readonly handed: Entry[] = [];
  readonly settled: string[] = [];

  constructor(store: Store, replica = "here") {
    const send = (message: Message) => this.sent.push(message) > 0;
    const [most, uuid] = [1_000_000, () => crypto.randomUUID()];
    const options = { clock: this.clock, most, replica, send, uuid, reason: undefined };
    this.queue = new Queue(store, options, {
      added: ({ entry }) => this.added.push(entry.id),
      settled: ({ entry }) => this.settled.push(entry.id),
      stored: (entry) => this.handed.push(entry),
      refused: () => {},
      dropped: () => {},
      changed: () => {},
    });
  }

  /** Sends, in a room that was joined. */
  async lead(data: object = {}): Promise<this> {
    await this.queue.lead();
    this.join(data);
    return this;
  }

  /** A room was joined, and nothing was missed. */
  join(data: object = {}): void {
    this.queue.connected(ready(data));
    this.queue.caughtUp();
  }

  event(body: number, id?: string) {
    return this.queue.add({ id, kind: "event", type: "n", entity: undefined, base: undefined, body }, body);
  }

  change(entity: string, n: number, base = 1) {
    const body = { action: "update", patch: { n } };
    return this.queue.add({ kind: "operation", type: "task", entity, base, body }, null);
  }

  /** What was sent, in a word each. */
  get words(): string[] {
    return this.sent.map(({ event_type, data }) => {
      const { event } = data as { event?: { entity_id: string; patch: { n: number } } };
      return event === undefined ? `${event_type} ${JSON.stringify(data)}` : `${event.entity_id} ${event.patch.n}`;
    });
  }

  confirm(id: string, version = 6): void {
    this.queue.decided({ outcome: "confirmed", updateId: id, version, retryAfterMs: undefined, data: {} });
  }
}

/** Until nothing is under way any more that needs no waiting. */
export async function quiet(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((go) => setImmediate(go));
}

/** What became of a write, if that is known by now. */
export async function now(settled: Promise<Settled>): Promise<string> {
  let fate = "open";
  void settled.then(({ status, code }) => {
    fate = code === undefined ? status : `${status} ${code}`;
  });
  await quiet();
  return fate;
}
