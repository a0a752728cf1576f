/** How fresh what is shown is, in words. Owns: the thresholds, and when an age is looked at again. */

import type { SyncStatus } from "../api.js";
import type { Clock } from "../clock.js";
import { Cell } from "../observe.js";

/** Younger than this, in seconds: synced. */
export const SYNCED_S = 60;
/** Younger than this: recent. Beyond it: stale. */
export const RECENT_S = 300;
/** How often an age is looked at. */
const LOOK_MS = 5_000;

export interface Counts {
  readonly pending: number;
  readonly conflicted: number;
  readonly refused: number;
  readonly storage: "disk" | "memory";
  readonly storageReason: string | undefined;
}

/** The word for an age; `undefined`: never. */
export function wordFor(ageS: number | undefined): SyncStatus["status"] {
  if (ageS === undefined || ageS >= RECENT_S) return "stale";
  return ageS < SYNCED_S ? "synced" : "recent";
}

export class Freshness {
  readonly status: Cell<SyncStatus>;
  readonly #clock: Clock;
  readonly #counts: () => Counts;
  #freshAt: number | undefined;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, counts: () => Counts) {
    this.#clock = clock;
    this.#counts = counts;
    this.status = new Cell(this.#compute());
  }

  /** All that the node has told is here. */
  fresh(): void {
    const isFirst = this.#freshAt === undefined || this.status.snapshot().status !== "synced";
    this.#freshAt = this.#clock.now();
    if (isFirst) this.look();
    this.#cancel ??= this.#clock.after(LOOK_MS, () => {
      this.#cancel = undefined;
      this.look();
      this.#watch();
    });
  }

  /** Something that is counted, or the age, may have changed. */
  look(): void {
    const [before, now] = [this.status.snapshot(), this.#compute()];
    const isSame = (Object.keys(now) as (keyof SyncStatus)[]).every((name) => now[name] === before[name]);
    if (!isSame) this.status.set(now);
  }

  close(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #watch(): void {
    this.#cancel ??= this.#clock.after(LOOK_MS, () => {
      this.#cancel = undefined;
      this.look();
      this.#watch();
    });
  }

  #compute(): SyncStatus {
    const ageS =
      this.#freshAt === undefined ? undefined : Math.max(0, Math.floor((this.#clock.now() - this.#freshAt) / 1_000));
    return { status: wordFor(ageS), ageS, ...this.#counts() };
  }
}
