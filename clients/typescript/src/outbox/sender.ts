/**
 * When writes go out, and what their answers say.
 *
 * Owns: who sends (of several tabs one does), how many are on their way at once, that one is sent again under the same id however
 * often it takes, and the pauses in between. Must not know: how writes are kept.
 */

import type { Settled } from "../api.js";
import { CAP_MS, followed } from "../backoff.js";
import { isPassing } from "../errors.js";
import type { Fate, Ready } from "../wire/message.js";
import { acknowledged, decided, messageOf, refused, unsendable } from "./message.js";
import { nextOf, type Pending, type QueueOptions } from "./pending.js";

/** How many go out at once before the node has shown that it takes them. */
const FIRST_WINDOW = 32;
/** The pause after a refusal that names no time; twice as long after each further one. */
const PAUSE_MS = 1_000;
/** Longest message, before the node has said it. */
const MOST_BYTES = 2 ** 20;

/** The writes that wait. */
export interface Waiting {
  all(): readonly Pending[];
  get(id: string): Pending | undefined;
  /** Notes in the store that they are about to be sent. */
  claim(next: readonly Pending[]): Promise<void>;
  settle(id: string, settled: Settled): void;
}

export class Sender {
  readonly #options: Pick<QueueOptions, "clock" | "send">;
  readonly #waiting: Waiting;
  #leads = false;
  #window = 0;
  #mostInFlight = 0;
  #mostBytes = MOST_BYTES;
  #log: string | undefined;
  #resume: (() => void) | undefined;
  #isClaiming = false;
  /** All that was missed before this connection is here. */
  #isCaughtUp = false;

  constructor(options: Pick<QueueOptions, "clock" | "send">, waiting: Waiting) {
    this.#options = options;
    this.#waiting = waiting;
  }

  /** Whether this one sends. */
  get leads(): boolean {
    return this.#leads;
  }

  /** The epoch of the log that versions are of now; `undefined`: none was seen yet. */
  get log(): string | undefined {
    return this.#log;
  }

  get mostBytes(): number {
    return this.#mostBytes;
  }

  /** This one sends from now on; nobody else does any more. */
  lead(): void {
    this.#leads = true;
    this.#settleLanded();
    this.pump();
  }

  connected(ready: Ready): void {
    this.#log = ready.epoch;
    this.#mostInFlight = Math.max(1, Math.min(FIRST_WINDOW * 8, ready.limits.publishesInFlight));
    this.#window = Math.min(FIRST_WINDOW, this.#mostInFlight);
    this.#mostBytes = ready.limits.maxMessageBytes;
    this.pump();
  }

  caughtUp(): void {
    this.#isCaughtUp = true;
    this.pump();
  }

  lost(): void {
    this.#window = 0;
    this.#isCaughtUp = false;
    for (const pending of this.#waiting.all()) if (pending.stage === "flying") pending.stage = "waiting";
    this.#settleLanded();
    this.#resume?.();
    this.#resume = undefined;
  }

  /** The log has an event of ours. Where its answer may still come, that tells more. */
  recorded(pending: Pending, seq: number): void {
    pending.landed = seq;
    this.#settleLanded();
  }

  /** An event is in the log, or in the node's journal (`seq` is `undefined`). */
  acknowledged(id: string, seq: number | undefined, duplicate: boolean): void {
    if (this.#leads && this.#waiting.get(id)?.entry.kind === "event") this.#answered(id, acknowledged(seq, duplicate));
  }

  decided(fate: Fate): void {
    if (!this.#leads) return;
    const settled = decided(fate);
    if (settled === undefined) this.#again(fate.updateId, fate.retryAfterMs);
    else this.#answered(fate.updateId, settled);
  }

  /** `false`: it is about no write of ours. */
  failed(about: string, code: string, message: string, retryAfterMs: number | undefined): boolean {
    const pending = this.#waiting.get(about);
    if (pending?.stage !== "flying") return false;
    if (isPassing(code, retryAfterMs)) this.#again(about, retryAfterMs);
    else this.#answered(about, refused(code, message));
    return true;
  }

  /** Sends what may be sent. */
  pump(): void {
    if (!this.#leads || this.#isClaiming || this.#resume !== undefined || this.#window === 0) return;
    // What was missed may hold what would be sent: its answer was lost, and the log knows repeats by their id for minutes only.
    if (!this.#isCaughtUp) return;
    const next = nextOf(this.#waiting.all(), this.#window);
    if (next.length === 0) return;
    const fresh = next.filter((pending) => !pending.entry.sent);
    for (const pending of next) {
      pending.stage = "flying";
      // From here on nobody changes it any more.
      pending.entry = { ...pending.entry, sent: true };
    }
    this.#isClaiming = true;
    void this.#waiting.claim(fresh).then(() => {
      this.#isClaiming = false;
      for (const pending of next) {
        if (pending.stage === "flying" && this.#waiting.get(pending.entry.id) === pending) this.#send(pending);
      }
      this.pump();
    });
  }

  #send(pending: Pending): void {
    const message = messageOf(pending.entry, this.#log);
    const refusal = unsendable(pending.entry, message, this.#mostBytes);
    if (refusal !== undefined) this.#answered(pending.entry.id, refusal);
    else if (!this.#options.send(message)) pending.stage = "waiting";
  }

  #answered(id: string, settled: Settled): void {
    this.#window = this.#window === 0 ? 0 : Math.min(this.#window + 1, this.#mostInFlight);
    this.#waiting.settle(id, settled);
    this.pump();
  }

  /** It is sent again after a pause, one at a time: in the middle of many it would come behind its followers. */
  #again(id: string, retryAfterMs: number | undefined): void {
    const pending = this.#waiting.get(id);
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

  /** Events that the log has and whose answer does not come any more. */
  #settleLanded(): void {
    if (!this.#leads) return;
    for (const { entry, stage, landed } of this.#waiting.all()) {
      if (landed !== undefined && stage !== "flying") this.#waiting.settle(entry.id, acknowledged(landed, true));
    }
  }
}
