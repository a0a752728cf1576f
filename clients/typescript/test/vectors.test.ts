import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type Conversation, run } from "./runner/conversation.js";
import { type Case, PURE } from "./runner/pure.js";
import { startStage, VECTORS } from "./support/stage.js";

function json<T>(...path: string[]): T {
  return JSON.parse(readFileSync(join(VECTORS, ...path), "utf8")) as T;
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
        await run(conversation, await startStage(t, vector, mode));
      });
    }
  }
});
