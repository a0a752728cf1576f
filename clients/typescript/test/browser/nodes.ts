/**
 * What tests need beside a node: a nats-server for several of them, keys where tokens are asked for, and waiting.
 *
 * Owns: starting and ending a nats-server. Must not know: what is tested.
 */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { type Ending, PROGRAM, TestNode } from "../support/node.js";

/** The repository's root. */
export const ROOT = resolve(import.meta.dirname, "../../../../..");
/** How long a process may take to start: the machine may be busy with a build. */
const PATIENCE_MS = 60_000;

/** A node that asks for tokens, what makes keys for it, and the key that may administer everything. */
export async function nodeWithTokens(
  test: Ending,
): Promise<{ node: TestNode; key: (user: string, grant?: object) => Promise<string>; admin: string }> {
  const directory = await mkdtemp(join(tmpdir(), "continuum-keys-"));
  test.after(() => rm(directory, { recursive: true, force: true }));
  const admin = join(directory, "admin.key");
  const secret = await run(["key", "new"]);
  await writeFile(admin, secret);
  const node = await TestNode.start(test, { settings: { "auth.mode": "token", "auth.admin_key": admin } });
  const made = ["key", "create", "--url", node.http, "--token-file", admin, "--tenant", "default", "--user"];
  const key = async (user: string, grant?: object) =>
    (await run([...made, user, ...(grant === undefined ? [] : ["--grant", JSON.stringify(grant)])])).trim();
  return { node, key, admin: secret.trim() };
}

/** A nats-server with storage; the settings of nodes that form one system over it. */
export async function startNats(test: Ending): Promise<Record<string, string>> {
  const own = join(ROOT, ".tools/venv/bin/nats-server");
  const server = process.env.CONTINUUM_NATS_SERVER ?? (existsSync(own) ? own : "nats-server");
  const directory = await mkdtemp(join(tmpdir(), "continuum-nats-"));
  const port = await freePort();
  const started = spawn(server, ["-js", "-a", "127.0.0.1", "-p", String(port), "-sd", directory], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  test.after(async () => {
    await ended(started, "SIGKILL");
    await rm(directory, { recursive: true, force: true });
  });
  await said(started, /Server is (ready)/);
  return { "backbone.kind": "nats", "nats.urls": `nats://127.0.0.1:${port}` };
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
  const { stdout } = await promisify(execFile)(PROGRAM, parts, { env: environment() });
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
        const match = pattern.exec(text);
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
