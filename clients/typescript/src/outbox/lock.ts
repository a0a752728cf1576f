/**
 * One program at a time in a directory under Node.
 *
 * Owns: who has it: one thread of one process, until it gives it back or is dead. Must not know: what is kept there.
 */

import { field } from "../json.js";
import { builtin } from "./builtin.js";

/** How often who has a directory says so, and after how long a silence of another machine's it is taken to be gone. */
const SIGN_MS = 10_000;
const GONE_MS = 60_000;

/** Directories that this thread has, however often this module was loaded. */
const HELD = Symbol.for("continuum-outbox-directories");

interface Owner {
  readonly pid: number;
  readonly host: string;
  /** When it was taken, in milliseconds since 1970. */
  readonly at: number;
  /** No two are the same. */
  readonly word: string;
}

/** Gives it back. */
export type Unlock = () => Promise<void>;

export async function lock(directory: string): Promise<Unlock> {
  const fs = builtin<typeof import("node:fs/promises")>("node:fs/promises");
  const { join } = builtin<typeof import("node:path")>("node:path");
  const { hostname } = builtin<typeof import("node:os")>("node:os");
  // One directory has many names.
  const real = await fs.realpath(directory);
  const held = heldHere();
  const path = join(real, "lock");
  if (held.has(real)) throw new Error(`${directory} is in use by this process already`);
  held.add(real);
  const mine: Owner = { pid: process.pid, host: hostname(), at: Date.now(), word: crypto.randomUUID() };
  try {
    if (!(await made(path, mine))) await takeOver();
  } catch (error) {
    held.delete(real);
    throw error;
  }
  const signs = setInterval(() => fs.utimes(path, new Date(), new Date()).catch(() => {}), SIGN_MS);
  signs.unref();
  return async () => {
    clearInterval(signs);
    if ((await ownerOf(path))?.word === mine.word) await fs.rm(path, { force: true });
    held.delete(real);
  };

  /** `false`: it is there already. */
  async function made(name: string, owner: Owner): Promise<boolean> {
    try {
      await fs.writeFile(name, JSON.stringify(owner), { flag: "wx" });
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw error;
    }
  }

  /** Takes it from who is dead: one at a time, or the second would take it from the first. */
  async function takeOver(): Promise<void> {
    await refuse(path);
    const taking = join(real, "lock.taking");
    if (!(await made(taking, mine))) {
      await refuse(taking);
      await fs.rm(taking, { force: true });
      throw new Error(`${directory} is being taken over`);
    }
    try {
      await refuse(path);
      await fs.writeFile(join(real, "lock.next"), JSON.stringify(mine));
      await fs.rename(join(real, "lock.next"), path);
    } finally {
      await fs.rm(taking, { force: true });
    }
  }

  /** Throws if somebody lives who has it. */
  async function refuse(name: string): Promise<void> {
    const owner = await ownerOf(name);
    const silence =
      Date.now() -
      (await fs.stat(name).then(
        ({ mtimeMs }) => mtimeMs,
        () => 0,
      ));
    if (await isThere(owner, silence))
      throw new Error(`${directory} is in use by process ${owner?.pid ?? "(unknown)"}`);
  }

  async function isThere(owner: Owner | undefined, silence: number): Promise<boolean> {
    // One that is just being written, or was cut off by a crash.
    if (owner === undefined) return silence < SIGN_MS;
    if (owner.host !== mine.host) return silence < GONE_MS;
    // Our own number: another thread has it, or a process that was called so before us had it.
    if (owner.pid === process.pid) return owner.at >= Date.now() - process.uptime() * 1_000;
    return isAlive(owner.pid);
  }

  async function ownerOf(name: string): Promise<Owner | undefined> {
    const text = await fs.readFile(name, "utf8").catch(() => "");
    try {
      const said: unknown = JSON.parse(text);
      return typeof field(said, "word") === "string" ? (said as Owner) : undefined;
    } catch {
      return undefined;
    }
  }
}

function heldHere(): Set<string> {
  const place = globalThis as { [HELD]?: Set<string> };
  place[HELD] ??= new Set();
  return place[HELD];
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
