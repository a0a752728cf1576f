/**
 * Real nodes for tests, on ports that the system gives.
 *
 * Owns: starting and ending a node, and a nats-server for several, with a directory of their own. Must not know: what is tested.
 */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

/** The repository's root: tests run in the package's directory. */
const ROOT = resolve("../..");
/** How long a process may take to start: the machine may be busy with a build. */
const PATIENCE_MS = 60_000;

function program(): string {
  return process.env.CONTINUUM ?? join(ROOT, "target/debug/continuum");
}

export class Node {
  readonly address: string;
  #process: ChildProcess;
  #directory: string;
  #settings: string[];

  private constructor(address: string, process: ChildProcess, directory: string, settings: string[]) {
    this.address = address;
    this.#process = process;
    this.#directory = directory;
    this.#settings = settings;
  }

  /** Starts one; `settings` as `--set` takes them. */
  static async start(settings: Readonly<Record<string, string>> = {}): Promise<Node> {
    const directory = await mkdtemp(join(tmpdir(), "continuum-node-"));
    const set = Object.entries(settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
    const { address, process } = await serve("0", directory, set);
    return new Node(address, process, directory, set);
  }

  get ws(): string {
    return `ws://${this.address}`;
  }

  get http(): string {
    return `http://${this.address}`;
  }

  /** Ends it as a crash does, and starts it again at the same address with what it has on disk. */
  async restart(): Promise<void> {
    await ended(this.#process, "SIGKILL");
    const port = this.address.split(":").at(-1) ?? "0";
    this.#process = (await serve(port, this.#directory, this.#settings)).process;
  }

  /** Ends it as a crash does. */
  async kill(): Promise<void> {
    await ended(this.#process, "SIGKILL");
    await rm(this.#directory, { recursive: true, force: true });
  }
}

async function serve(port: string, directory: string, settings: string[]) {
  const process = spawn(program(), ["serve", "--port", port, "--data-dir", directory, ...settings], {
    stdio: ["ignore", "pipe", "pipe"],
    env: environment(),
  });
  return { address: await said(process, /ready address=(\S+)/), process };
}

/** A node that asks for tokens, and what makes keys for it. */
export async function nodeWithTokens(): Promise<{ node: Node; key: (user: string) => Promise<string> }> {
  const directory = await mkdtemp(join(tmpdir(), "continuum-keys-"));
  const admin = join(directory, "admin.key");
  await writeFile(admin, await run(["key", "new"]));
  const node = await Node.start({ "auth.mode": "token", "auth.admin_key": admin });
  const key = async (user: string) =>
    (
      await run(["key", "create", "--url", node.http, "--token-file", admin, "--tenant", "default", "--user", user])
    ).trim();
  return { node, key };
}

/** A nats-server with storage, for nodes that form one system. */
export class Nats {
  readonly url: string;
  #process: ChildProcess;
  #directory: string;

  private constructor(url: string, process: ChildProcess, directory: string) {
    this.url = url;
    this.#process = process;
    this.#directory = directory;
  }

  static async start(): Promise<Nats> {
    const own = join(ROOT, ".tools/venv/bin/nats-server");
    const server = process.env.CONTINUUM_NATS_SERVER ?? (existsSync(own) ? own : "nats-server");
    const directory = await mkdtemp(join(tmpdir(), "continuum-nats-"));
    const port = await freePort();
    const started = spawn(server, ["-js", "-a", "127.0.0.1", "-p", String(port), "-sd", directory], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    await said(started, /Server is (ready)/);
    return new Nats(`nats://127.0.0.1:${port}`, started, directory);
  }

  settings(): Record<string, string> {
    return { "backbone.kind": "nats", "nats.urls": this.url };
  }

  async kill(): Promise<void> {
    await ended(this.#process, "SIGKILL");
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** A port that nobody had a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("the system gave no port");
  return address.port;
}

/** The settings of whoever runs the tests are none of theirs. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("CONTINUUM")));
}

async function run(parts: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program(), parts, { env: environment() });
  return stdout;
}

/** What a process writes when it is up. */
function said(process: ChildProcess, pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const late = setTimeout(() => reject(new Error(`not up in time:\n${text}`)), PATIENCE_MS);
    for (const stream of [process.stdout, process.stderr]) {
      stream?.on("data", (bytes) => {
        // Later lines are read so that it is not held up, and forgotten.
        if (text.length > 1_000_000) return;
        text += bytes;
        // biome-ignore lint/suspicious/noControlCharactersInRegex: colours of a log
        const match = pattern.exec(text.replace(/\x1b\[[0-9;]*m/g, ""));
        if (match) {
          clearTimeout(late);
          resolve(match[1] ?? "");
        }
      });
    }
    process.once("error", (error) => reject(new Error(`${error.message}: build the node with cargo build`)));
    process.once("exit", () => reject(new Error(`${process.spawnfile} ended by itself:\n${text}`)));
  });
}

async function ended(process: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (process.exitCode !== null || process.signalCode !== null) return;
  const exit = new Promise((resolve) => process.once("exit", resolve));
  process.kill(signal);
  await exit;
}

/** Waits until something is so; looks again every 20 ms. */
export async function until<T>(look: () => T | Promise<T>, words = "it"): Promise<NonNullable<T>> {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${words} did not come to be`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
