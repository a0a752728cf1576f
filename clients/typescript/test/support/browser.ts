/** What tabs of a browser share, in one Node process: locks and a database. */

import "fake-indexeddb/auto";

interface Wish {
  readonly callback: () => unknown;
  readonly done: () => void;
}

/** Web Locks as far as they are used: exclusive, in turn, ended by a signal. */
class Locks {
  readonly #wishes = new Map<string, Wish[]>();

  request(name: string, { signal }: { signal?: AbortSignal }, callback: () => unknown): Promise<void> {
    return new Promise((done, failed) => {
      const wish: Wish = { callback, done };
      const wishes = this.#wishes.get(name) ?? [];
      this.#wishes.set(name, wishes);
      wishes.push(wish);
      signal?.addEventListener("abort", () => {
        const at = wishes.indexOf(wish);
        if (at <= 0) return;
        wishes.splice(at, 1);
        failed(signal.reason);
      });
      if (wishes.length === 1) void this.#grant(name);
    });
  }

  async #grant(name: string): Promise<void> {
    const wishes = this.#wishes.get(name) ?? [];
    while (wishes[0] !== undefined) {
      const { callback, done } = wishes[0];
      await new Promise<void>((go) => setImmediate(go));
      await callback();
      done();
      wishes.shift();
    }
  }
}

Object.defineProperty(globalThis, "navigator", { value: { locks: new Locks() }, configurable: true });
