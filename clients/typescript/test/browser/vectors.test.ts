/** The vectors that all clients share, run by real browsers: against a real node, and against what was recorded of one. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import type { Conversation } from "../runner/conversation.js";
import { startStage, VECTORS } from "../support/stage.js";
import { launchBoth, type Tab } from "./driver.js";
import { servePage } from "./pages.js";

const page = await servePage({ after }, "test/browser/vectors.ts");
/** Conversations that run at once. */
const AT_ONCE = 6;
const browsers = await launchBoth({ after });

function json<T>(...path: string[]): T {
  return JSON.parse(readFileSync(join(VECTORS, ...path), "utf8")) as T;
}

const conversations = readdirSync(join(VECTORS, "conversations")).sort();
const recorded = new Set(readdirSync(join(VECTORS, "recorded")));

for (const browser of browsers) {
  const { name } = browser;

  test(`${name}: the pure functions come out as in the vectors`, async () => {
    const tab = await browser.open(page);
    const names = await tab.run<string[]>("return Object.keys(continuum.PURE)");
    assert.ok(names.includes("text"));
    for (const vector of names) {
      const { cases } = json<{ cases: unknown[] }>(`${vector}.json`);
      await tab.run("for (const one of args[1]) continuum.PURE[args[0]](one)", vector, cases);
    }
    await tab.close();
  });

  // What takes long in a conversation is waiting: several wait at once, each in a tab of its own.
  const idle: Promise<Tab>[] = Array.from({ length: AT_ONCE }, () => browser.open(page));
  describe(`${name}: conversations`, { concurrency: AT_ONCE }, () => {
    for (const file of conversations) {
      const vector = file.replace(".json", "");
      const conversation = json<Conversation>("conversations", file);
      for (const mode of recorded.has(file) ? ["recorded", "real"] : ["real"]) {
        test(`${name}: ${vector} (${mode}): ${conversation.shows}`, async (t) => {
          const stage = await startStage(t, vector, mode);
          const tab = await (idle.pop() ?? browser.open(page));
          t.after(async () => {
            idle.push(Promise.resolve(tab));
          });
          await tab.run("await continuum.run(...args)", conversation, stage);
        });
      }
    }
  });
}
