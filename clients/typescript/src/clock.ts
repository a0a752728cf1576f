/** Time and chance as values that are handed in, so that an hour asleep is a test without waiting. */

export interface Clock {
  /** Milliseconds since some moment, never set back. Goes on while the machine sleeps, where the platform lets it. */
  now(): number;
  /** Milliseconds since 1970, for people. */
  wall(): number;
  /** Calls back once after so many milliseconds; what it returns cancels that. */
  after(ms: number, callback: () => void): () => void;
}

// A longer delay fires at once in browsers and Node.
const LONGEST_TIMER = 2 ** 31 - 1;

/** The platform's clock. */
export const systemClock: Clock = {
  // Monotonic clocks of browsers stop while the machine sleeps; the wall clock does not, and ages are measured in minutes.
  now: () => Date.now(),
  wall: () => Date.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, Math.min(Math.max(ms, 0), LONGEST_TIMER));
    return () => clearTimeout(timer);
  },
};
