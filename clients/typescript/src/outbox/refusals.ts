/** Writes that were refused for good, until a person has looked. Owns: how many are kept, and how they are shown. */

import type { RefusedWrite } from "../api.js";
import type { Content, Json } from "../json.js";
import { Cell } from "../observe.js";
import type { Refusal } from "./store.js";

/** Most that are kept; the oldest are forgotten. */
const MOST = 1_000;

export class Refusals {
  readonly list = new Cell<readonly RefusedWrite[]>([]);
  readonly #all = new Map<string, Refusal>();
  /** What was taken away, the latest: a store that was read before still shows it. */
  readonly #dropped = new Set<string>();

  get(id: string): Refusal | undefined {
    return this.#all.get(id);
  }

  /** Keeps them; gives the ids of those that had to make room. */
  keep(refusals: readonly Refusal[]): string[] {
    for (const refusal of refusals) this.#all.set(refusal.entry.id, refusal);
    const oldest = [...this.#all.keys()].slice(0, Math.max(0, this.#all.size - MOST));
    for (const id of oldest) this.#all.delete(id);
    if (refusals.length > 0) this.#tell();
    return oldest;
  }

  /** What a store holds. */
  found(refusals: readonly Refusal[]): void {
    this.keep(refusals.filter(({ entry }) => !this.#dropped.has(entry.id)));
  }

  /** `false`: there is none. */
  drop(id: string): boolean {
    if (this.#dropped.size >= MOST) this.#dropped.clear();
    this.#dropped.add(id);
    const isThere = this.#all.delete(id);
    if (isThere) this.#tell();
    return isThere;
  }

  #tell(): void {
    this.list.set([...this.#all.values()].map(shown));
  }
}

export function shown({ entry, code, message, current, at }: Refusal): RefusedWrite {
  const { id, kind, type, entity, base, body } = entry;
  const write: Record<string, Json> = { kind, type, body };
  if (entity !== undefined) write.entity = entity;
  if (base !== undefined) write.base = base;
  return { id, write, code, message, current: current as Content | null | undefined, at };
}
