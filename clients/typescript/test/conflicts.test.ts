/** The list of what lies open, where what comes over the socket and what is asked for cross each other. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { OpenConflicts } from "../src/room/conflicts.js";
import type { Http } from "../src/transport/http.js";
import { VirtualClock } from "./support/clock.js";

const OPEN = {
  entity_type: "task",
  entity_id: "t1",
  conflict_id: "c",
  version: 3,
  kind: "conflict",
  paths: ["/state"],
};

/** A list whose questions are answered by the test. */
function asked() {
  const clock = new VirtualClock();
  const questions: ((body: object) => void)[] = [];
  const http = { ask: () => new Promise((answer) => questions.push(answer)) } as unknown as Http;
  const write = () => assert.fail("nothing is written here");
  const list = new OpenConflicts({ http, clock, write, found: () => {}, changed: () => {}, shown: () => undefined });
  list.online();
  const answer = async (body: object) => {
    const next = questions.shift();
    assert.ok(next, "it was not asked");
    next({ next: null, ...body });
    await new Promise((go) => setImmediate(go));
  };
  return { clock, list, questions, answer };
}

test("what was settled while it was asked what lies open is asked for again", async () => {
  const { clock, list, questions, answer } = asked();
  await clock.pass(100);
  list.changed("task/t1", 4);
  await answer({ conflicts: [OPEN], position: 3 });
  assert.equal(list.snapshot().length, 1);
  await clock.pass(1_000);
  await answer({ conflicts: [], position: 4 });
  assert.deepEqual(list.snapshot(), []);
  await clock.pass(60_000);
  assert.equal(questions.length, 0);
});

test("an answer that is older than what was told is asked for again until it is not", async () => {
  const { clock, list, questions, answer } = asked();
  await clock.pass(100);
  await answer({ conflicts: [], position: 2 });
  list.opened(3);
  await clock.pass(100);
  await answer({ conflicts: [], position: 2 });
  await clock.pass(1_000);
  await answer({ conflicts: [OPEN], position: 3 });
  assert.equal(list.snapshot().length, 1);
  await clock.pass(60_000);
  assert.equal(questions.length, 0);
  // Its next change may have settled it.
  list.changed("task/t1", 9);
  await clock.pass(100);
  await answer({ conflicts: [], position: 9 });
  assert.deepEqual(list.snapshot(), []);
});
