/**
 * Writes in a browser's IndexedDB, which all tabs of an origin share.
 * Owns: the database's form, and that each call is one transaction, flushed where the browser lets us ask for that.
 */

import type { Draft, Entry, Held, Refusal, Rewritten, Store } from "./store.js";

const VERSION = 1;
type Row = Omit<Entry, "number"> & { number?: number };

export class IndexedDbStore implements Store {
  readonly durability = "disk";
  readonly #factory: IDBFactory;
  readonly #name: string;
  #database: IDBDatabase | undefined;

  constructor(factory: IDBFactory, name: string) {
    this.#factory = factory;
    this.#name = name;
  }

  async open(): Promise<Held> {
    this.#database ??= await this.#connect();
    return this.#run("readonly", async ({ entries, refusals }) => ({
      entries: await asked<Entry[]>(entries.getAll()),
      refusals: (await asked<{ refusal: Refusal }[]>(refusals.getAll())).map(({ refusal }) => refusal),
    }));
  }

  append(draft: Draft): Promise<Entry> {
    return this.#run("readwrite", async ({ entries }) => {
      const there = await asked<Entry | undefined>(entries.index("id").get(draft.id));
      if (there !== undefined) return there;
      const row: Row = { ...draft, sent: false };
      const number = Number(await asked(entries.add(row)));
      return { ...draft, number, sent: false };
    });
  }

  rewrite({ id, base, log, body }: Rewritten): Promise<boolean> {
    return this.#run("readwrite", async ({ entries }) => {
      const entry = await asked<Entry | undefined>(entries.index("id").get(id));
      if (entry === undefined || entry.sent) return false;
      await asked(entries.put({ ...entry, base, log, body }));
      return true;
    });
  }

  claim(ids: readonly string[]): Promise<readonly Entry[]> {
    return this.#run("readwrite", async ({ entries }) => {
      const claimed: Entry[] = [];
      for (const id of ids) {
        const entry = await asked<Entry | undefined>(entries.index("id").get(id));
        if (entry === undefined) continue;
        const sent = { ...entry, sent: true };
        await asked(entries.put(sent));
        claimed.push(sent);
      }
      return claimed;
    });
  }

  settle(id: string, refusal?: Refusal): Promise<void> {
    return this.#run("readwrite", async ({ entries, refusals }) => {
      const number = await asked<IDBValidKey | undefined>(entries.index("id").getKey(id));
      if (number !== undefined) await asked(entries.delete(number));
      if (refusal !== undefined) await asked(refusals.put({ id, refusal }));
    });
  }

  forget(id: string): Promise<void> {
    return this.#run("readwrite", async ({ refusals }) => {
      await asked(refusals.delete(id));
    });
  }

  async close(): Promise<void> {
    this.#database?.close();
    this.#database = undefined;
  }

  async #connect(): Promise<IDBDatabase> {
    const request = this.#factory.open(this.#name, VERSION);
    request.onupgradeneeded = () => {
      const entries = request.result.createObjectStore("entries", { keyPath: "number", autoIncrement: true });
      entries.createIndex("id", "id", { unique: true });
      request.result.createObjectStore("refusals", { keyPath: "id" });
    };
    const database = await asked(request);
    // A later version in another tab must not wait for this one.
    database.onversionchange = () => database.close();
    database.onclose = () => {
      this.#database = undefined;
    };
    return database;
  }

  async #run<T>(
    mode: "readonly" | "readwrite",
    task: (stores: { entries: IDBObjectStore; refusals: IDBObjectStore }) => Promise<T>,
  ): Promise<T> {
    this.#database ??= await this.#connect();
    try {
      const transaction = this.#database.transaction(["entries", "refusals"], mode, { durability: "strict" });
      const done = new Promise<void>((complete, failed) => {
        transaction.oncomplete = () => complete();
        transaction.onabort = () => failed(transaction.error ?? new Error("the browser gave the transaction up"));
      });
      const stores = { entries: transaction.objectStore("entries"), refusals: transaction.objectStore("refusals") };
      const [result] = await Promise.all([task(stores), done]);
      return result;
    } catch (error) {
      // Some browsers take the connection away with it, and say so too late: the next call begins with a new one.
      await this.close();
      throw error;
    }
  }
}

function asked<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((found, failed) => {
    request.onsuccess = () => found(request.result);
    request.onerror = () => failed(request.error);
  });
}
