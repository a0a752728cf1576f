/** Timers by name. Owns: that one of a name takes the place of the one before. */

import type { Clock } from "./clock.js";

export class Timers {
  readonly #clock: Clock;
  readonly #running = new Map<string, () => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  set(name: string, ms: number, callback: () => void): void {
    this.stop(name);
    const cancel = this.#clock.after(ms, () => {
      this.#running.delete(name);
      callback();
    });
    this.#running.set(name, cancel);
  }

  stop(name: string): void {
    this.#running.get(name)?.();
    this.#running.delete(name);
  }

  stopAll(): void {
    for (const cancel of this.#running.values()) cancel();
    this.#running.clear();
  }
}
