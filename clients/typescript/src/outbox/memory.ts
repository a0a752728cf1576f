/** A store that ends with the program: for tests, for who wants no other, and where no other can be had. */

import type { Draft, Entry, Held, Refusal, Rewritten, Store } from "./store.js";

export class MemoryStore implements Store {
  readonly durability = "memory";
  readonly #entries = new Map<string, Entry>();
  readonly #refusals = new Map<string, Refusal>();
  #last = 0;

  /** With what another one held. */
  constructor(held?: Held) {
    for (const entry of held?.entries ?? []) this.#entries.set(entry.id, entry);
    for (const refusal of held?.refusals ?? []) this.#refusals.set(refusal.entry.id, refusal);
    this.#last = Math.max(0, ...[...this.#entries.values()].map((entry) => entry.number));
  }

  async open(): Promise<Held> {
    return { entries: [...this.#entries.values()], refusals: [...this.#refusals.values()] };
  }

  async append(draft: Draft): Promise<Entry> {
    const there = this.#entries.get(draft.id);
    if (there !== undefined) return there;
    this.#last += 1;
    const entry = { ...draft, number: this.#last, sent: false };
    this.#entries.set(entry.id, entry);
    return entry;
  }

  async rewrite({ id, base, log, body }: Rewritten): Promise<boolean> {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.sent) return false;
    this.#entries.set(id, { ...entry, base, log, body });
    return true;
  }

  async claim(ids: readonly string[]): Promise<readonly Entry[]> {
    const claimed: Entry[] = [];
    for (const id of ids) {
      const entry = this.#entries.get(id);
      if (entry === undefined) continue;
      const sent = { ...entry, sent: true };
      this.#entries.set(id, sent);
      claimed.push(sent);
    }
    return claimed;
  }

  async settle(id: string, refusal?: Refusal): Promise<void> {
    this.#entries.delete(id);
    if (refusal !== undefined) this.#refusals.set(id, refusal);
  }

  async forget(id: string): Promise<void> {
    this.#refusals.delete(id);
  }

  async close(): Promise<void> {}
}
