/** A token that is renewed before it ends. Owns: when. Must not know: how one gets to the node. */

import type { Clock } from "./clock.js";
import { ContinuumError } from "./errors.js";
import type { Timers } from "./timers.js";
import type { Tokens } from "./token.js";

/** A token is renewed so long before it ends, or at the last tenth of a short one. */
const EARLY_MS = 60_000;
/** The shortest time between two renewals. */
const SHORTEST_MS = 10_000;

/** A connection that a token is renewed on. */
export interface Renewed {
  readonly signal: AbortSignal;
  /** It has a new token. */
  tell(token: string): void;
  failed(error: ContinuumError): void;
}

export class Renewal {
  readonly #clock: Clock;
  readonly #tokens: Tokens;
  readonly #timers: Timers;
  readonly #due: () => void;
  #renewedAt: number | undefined;

  /** `due` is called when it is time. */
  constructor(clock: Clock, tokens: Tokens, timers: Timers, due: () => void) {
    this.#clock = clock;
    this.#tokens = tokens;
    this.#timers = timers;
    this.#due = due;
  }

  /** The node took a token that ends then. */
  expect(endsAt: number | undefined): void {
    if (endsAt === undefined || Number.isNaN(endsAt) || !this.#tokens.isRenewable) return;
    const left = endsAt - this.#clock.wall();
    // Where it is over already it is our clock that is wrong.
    const life = left > 0 ? left : (this.#tokens.lifeMs ?? EARLY_MS);
    const rest = this.#renewedAt === undefined ? 0 : this.#renewedAt + SHORTEST_MS - this.#clock.now();
    this.#timers.set("renew", Math.max(life - Math.min(EARLY_MS, life / 10), rest), this.#due);
  }

  /** Asks for another token. */
  async renew({ signal, tell, failed }: Renewed): Promise<void> {
    const before = this.#tokens.current;
    this.#renewedAt = this.#clock.now();
    try {
      const token = await this.#tokens.ask(signal);
      if (signal.aborted || token === undefined) return;
      // A source may keep one until its end, and have the next only then.
      if (token === before) this.expect(this.#tokens.endsAt);
      else tell(token);
    } catch (error) {
      if (signal.aborted) return;
      // The present one still holds; at its end the node closes, and it is asked for again.
      failed(new ContinuumError("unauthenticated", `no new token could be had: ${String(error)}`));
    }
  }
}
