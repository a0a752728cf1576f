/**
 * Writes in a file under Node: a journal that is only appended to, flushed before a call resolves, and one program has it (`lock.ts`).
 *
 * Owns: the file's form, that what a crash cut off is left out and hides nothing before it.
 * Lines are `{"add": entry}`, `{"rewrite": {…}}`, `{"claim": [ids]}`, `{"settle": id, "refusal": …}` and `{"forget": id}`.
 */

import type { FileHandle } from "node:fs/promises";
import { field, isContent } from "../json.js";
import { builtin } from "./builtin.js";
import { lock, type Unlock } from "./lock.js";
import type { Draft, Entry, Held, Refusal, Rewritten, Store } from "./store.js";

const FORM = "continuum-outbox";
/** Written anew when so many bytes were appended. */
const MOST_APPENDED = 8 * 2 ** 20;

type Fs = typeof import("node:fs/promises");

export class FileStore implements Store {
  readonly durability = "disk";
  readonly #directory: string;
  readonly #tenant: string;
  readonly #instance: string;
  #file: FileHandle | undefined;
  #unlock: Unlock | undefined;
  /** Bytes that are whole lines. */
  #size = 0;
  #appended = 0;
  #last = 0;
  readonly #entries = new Map<string, Entry>();
  readonly #refusals = new Map<string, Refusal>();
  #turn: Promise<unknown> = Promise.resolve();

  /** One room and one instance in one directory, which is made if it is missing. */
  constructor(directory: string, tenant: string, instance: string) {
    this.#directory = directory;
    this.#tenant = tenant;
    this.#instance = instance;
  }

  open(): Promise<Held> {
    return this.#later(async () => {
      if (this.#file === undefined) await this.#start();
      return { entries: [...this.#entries.values()], refusals: [...this.#refusals.values()] };
    });
  }

  append(draft: Draft): Promise<Entry> {
    return this.#later(async () => {
      const there = this.#entries.get(draft.id);
      if (there !== undefined) return there;
      const entry: Entry = { ...draft, number: this.#last + 1, sent: false };
      await this.#write({ add: entry });
      return entry;
    });
  }

  rewrite({ id, base, log, body }: Rewritten): Promise<boolean> {
    return this.#later(async () => {
      const entry = this.#entries.get(id);
      if (entry === undefined || entry.sent) return false;
      await this.#write({ rewrite: { id, base, log, body } });
      return true;
    });
  }

  claim(ids: readonly string[]): Promise<readonly Entry[]> {
    return this.#later(async () => {
      const there = ids.filter((id) => this.#entries.has(id));
      if (there.length > 0) await this.#write({ claim: there });
      return there.map((id) => this.#entries.get(id)).filter((entry) => entry !== undefined);
    });
  }

  settle(id: string, refusal?: Refusal): Promise<void> {
    return this.#later(async () => {
      if (this.#entries.has(id) || refusal !== undefined) await this.#write({ settle: id, refusal });
    });
  }

  forget(id: string): Promise<void> {
    return this.#later(() => this.#write({ forget: id }));
  }

  close(): Promise<void> {
    return this.#later(async () => {
      const file = this.#file;
      if (file === undefined) return;
      this.#file = undefined;
      await file.close();
      await this.#unlock?.();
    });
  }

  get #fs(): Fs {
    return builtin<Fs>("node:fs/promises");
  }

  #path(name: string): string {
    return builtin<typeof import("node:path")>("node:path").join(this.#directory, name);
  }

  async #start(): Promise<void> {
    await this.#fs.mkdir(this.#directory, { recursive: true, mode: 0o700 });
    this.#unlock = await lock(this.#directory);
    try {
      const text = await this.#fs.readFile(this.#path("outbox.jsonl"), "utf8").catch((error) => {
        if (field(error, "code") === "ENOENT" || error.code === "ENOENT") return "";
        throw error;
      });
      this.#read(text);
      await this.#compact();
    } catch (error) {
      await this.#unlock();
      throw error;
    }
  }

  #read(text: string): void {
    const lines = text.split("\n");
    // What stands behind the last line's end was cut off in the middle.
    lines.pop();
    const [head, ...rest] = lines;
    if (head !== undefined) {
      const said: unknown = JSON.parse(head);
      const isOurs =
        field(said, "form") === FORM &&
        field(said, "tenant") === this.#tenant &&
        field(said, "instance") === this.#instance;
      if (!isOurs) throw new Error(`${this.#directory} holds what another room or instance wrote`);
    }
    for (const line of rest) this.#do(JSON.parse(line));
  }

  /** Does to the memory what a line says. */
  #do(step: unknown): void {
    if (!isContent(step)) return;
    const said = step as {
      add?: Entry;
      rewrite?: Entry;
      claim?: string[];
      settle?: string;
      refusal?: Refusal;
      forget?: string;
      last?: number;
    };
    if (said.add !== undefined) {
      this.#entries.set(said.add.id, { ...said.add, entity: said.add.entity, base: said.add.base });
      this.#last = Math.max(this.#last, said.add.number);
    }
    if (said.rewrite !== undefined) {
      const entry = this.#entries.get(said.rewrite.id);
      if (entry !== undefined)
        this.#entries.set(entry.id, {
          ...entry,
          base: said.rewrite.base,
          log: said.rewrite.log,
          body: said.rewrite.body,
        });
    }
    for (const id of said.claim ?? []) {
      const entry = this.#entries.get(id);
      if (entry !== undefined) this.#entries.set(id, { ...entry, sent: true });
    }
    if (said.settle !== undefined) this.#entries.delete(said.settle);
    if (said.refusal !== undefined) this.#refusals.set(said.refusal.entry.id, said.refusal);
    if (said.forget !== undefined) this.#refusals.delete(said.forget);
  }

  async #write(step: object): Promise<void> {
    const file = this.#file;
    if (file === undefined) throw new Error("the store is not open");
    const bytes = Buffer.from(`${JSON.stringify(step)}\n`);
    try {
      await file.write(bytes, 0, bytes.length, this.#size);
      await file.datasync();
    } catch (error) {
      // What was written in part must not be found behind what comes next.
      await file.truncate(this.#size).catch(() => {});
      throw error;
    }
    this.#size += bytes.length;
    this.#appended += bytes.length;
    this.#do(step);
    // What was written is written, whether there is room to write it anew or not.
    if (this.#appended <= MOST_APPENDED) return;
    this.#appended = 0;
    await this.#compact().catch(() => {});
  }

  /** Writes the file anew with what it holds. */
  async #compact(): Promise<void> {
    const head = { form: FORM, version: 1, tenant: this.#tenant, instance: this.#instance };
    const entries = [...this.#entries.values()].map((add) => ({ add }));
    const refusals = [...this.#refusals.values()].map((refusal) => ({ refusal }));
    const text = [head, ...entries, ...refusals].map((line) => `${JSON.stringify(line)}\n`).join("");
    const [path, next] = [this.#path("outbox.jsonl"), this.#path("outbox.next")];
    const file = await this.#fs.open(next, "w+", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
      await this.#fs.rename(next, path);
    } catch (error) {
      await file.close();
      throw error;
    }
    await this.#file?.close();
    this.#file = file;
    this.#size = Buffer.byteLength(text);
    this.#appended = 0;
    await this.#syncDirectory();
  }

  async #syncDirectory(): Promise<void> {
    const directory = await this.#fs.open(this.#directory, "r");
    await directory.sync().finally(() => directory.close());
  }

  #later<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(task);
    this.#turn = done.catch(() => {});
    return done;
  }
}
