/** How long to wait before connecting again: full jitter, so that a crowd that lost its node does not come back as one. */

/** The first delay's upper bound, in milliseconds. */
export const BASE_MS = 1_000;
/** No delay's upper bound is above this. */
export const CAP_MS = 60_000;
/** No hint of a node's is followed for longer. */
export const LONGEST_HINT_MS = 3_600_000;
/** A connection that lived this long starts the delays from the first again. */
export const STABLE_MS = 30_000;

/** For how long a hint is followed. */
export function followed(hintMs: number): number {
  return Math.min(hintMs, LONGEST_HINT_MS);
}

/** Delays drawn evenly from zero to a bound that doubles with every failure. */
export class Backoff {
  readonly #random: () => number;
  #failures: number;

  constructor(random: () => number, failures = 0) {
    this.#random = random;
    this.#failures = failures;
  }

  get failures(): number {
    return this.#failures;
  }

  /** The next delay, and one failure more. The node spreads its clients itself when it says when: no jitter on top. */
  failed(hintMs?: number): number {
    // 2^6 s is above the cap already.
    const bound = Math.min(CAP_MS, BASE_MS * 2 ** Math.min(this.#failures, 6));
    if (hintMs !== undefined) return followed(hintMs);
    this.#failures += 1;
    return Math.floor(this.#random() * bound);
  }

  /** A connection ended after so long; a stable one forgets the failures before it. */
  lived(ms: number): void {
    if (ms >= STABLE_MS) this.#failures = 0;
  }
}
