import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { describe, type TestContext, test } from "node:test";
import { type Conversation, run, type Stage } from "./runner/conversation.js";
import { type Case, PURE } from "./runner/pure.js";
import { PROGRAM, ROOT } from "./support/node.js";

const VECTORS = resolve(ROOT, "clients/vectors");

function json<T>(...path: string[]): T {
  return JSON.parse(readFileSync(join(VECTORS, ...path), "utf8")) as T;
}

async function stage(test: TestContext, vector: string, mode: string): Promise<Stage> {
  const path = join(VECTORS, "conversations", `${vector}.json`);
  const parameters = [join(VECTORS, "stage"), "--vector", path, "--mode", mode, "--continuum", PROGRAM];
  const child = spawn("python3", parameters, { stdio: ["pipe", "pipe", "inherit"] });
  // The end of its input ends it, and the node that it started.
  test.after(async () => {
    child.stdin.end();
    if (child.exitCode === null) await new Promise((ended) => child.once("exit", ended));
  });
  const lines = createInterface({ input: child.stdout });
  return new Promise((found, failed) => {
    lines.once("line", (line) => found(JSON.parse(line) as Stage));
    child.once("error", failed);
    child.once("exit", (code) => failed(new Error(`the stage ended with ${code}`)));
  });
}

for (const [name, check] of Object.entries(PURE)) {
  const { shows, cases } = json<{ shows: string; cases: Case[] }>(`${name}.json`);
  test(`${name}: ${shows}`, () => {
    for (const one of cases) check(one);
  });
}

// What takes long in a conversation is waiting: several wait at once.
describe("conversations", { concurrency: 4 }, () => {
  const recorded = new Set(readdirSync(join(VECTORS, "recorded")));
  for (const file of readdirSync(join(VECTORS, "conversations")).sort()) {
    const vector = file.replace(".json", "");
    const conversation = json<Conversation>("conversations", file);
    for (const mode of recorded.has(file) ? ["recorded", "real"] : ["real"]) {
      test(`${vector} (${mode}): ${conversation.shows}`, async (t) => {
        await run(conversation, await stage(t, vector, mode));
      });
    }
  }
});
