/** What is done once more, or chosen, by somebody who saw what stood then: nothing of others is written over unsaid. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryStore } from "../src/outbox/memory.js";
import { connect, eventually, until } from "./support/clients.js";
import { TestNode } from "./support/node.js";

test("a refused write is made again on the version that it was made on", async (t) => {
  const node = await TestNode.start(t);
  const [a, b] = [connect(t, { url: node.url, instance: "a" }), connect(t, { url: node.url, instance: "b" })];
  const [mine, theirs] = [a.entity("task", "t1"), b.entity("task", "t1")];
  theirs.subscribe(() => {});
  await mine.create({ title: "one", n: 1 }).settled;
  const { version } = await until(theirs, (state) => state.version > 0);
  const refused = theirs.patch([
    { op: "test", path: "/n", value: 99 },
    { op: "replace", path: "/title", value: "B's" },
  ]);
  assert.equal((await refused.settled).status, "rolled_back");
  const later = await mine.update({ title: "A's later", n: 99 }).settled;
  await until(theirs, (state) => state.version === later.version);
  const again = b.outbox.retry(refused.id);
  assert.equal(b.outbox.retry(refused.id)?.id, again?.id, "once");
  const settled = await again?.settled;
  assert.deepEqual([settled?.status, settled?.overwritten[0]?.value], ["resolved", "A's later"]);
  assert.equal(b.outbox.snapshot().refused.length, 0);
  assert.ok(version < later.version);
});

test("an edit of a text is made again on its own text alone, a deletion of what was edited on what stands", async (t) => {
  const node = await TestNode.start(t);
  const [a, b] = [connect(t, { url: node.url, instance: "a" }), connect(t, { url: node.url, instance: "b" })];
  await a.entity("note", "n1").create({ body: "one" }).settled;
  const gone = b.entity("note", "n1");
  await gone.load();
  const { version } = gone.snapshot();
  const { version: now } = await a.entity("note", "n1").update({ body: "two" }).settled;
  const refused = gone.delete({ baseVersion: version });
  assert.equal((await refused.settled).code, "edited");
  gone.subscribe(() => {});
  await until(gone, (state) => state.version === now);
  assert.equal((await b.outbox.retry(refused.id)?.settled)?.status, "confirmed");
});

test("a refused write that is made again is in the outbox until the new one is kept", async (t) => {
  const node = await TestNode.start(t);
  const store = new (class extends MemoryStore {
    isFull = false;
    // biome-ignore lint/suspicious/noExplicitAny: one of the two words
    override readonly durability: any = "disk";
    override append(...values: Parameters<MemoryStore["append"]>) {
      return this.isFull ? Promise.reject(new Error("the quota is used up")) : super.append(...values);
    }
  })();
  const client = connect(t, { url: node.url, instance: "a", store, outboxBytes: 150 });
  const refused = client.entity("task", "gone").update({ title: "precious" });
  assert.equal((await refused.settled).status, "rolled_back");
  await node.kill();
  await until(client.connection, (status) => status.state === "waiting");
  const filling = client.send("n", "p".repeat(130));
  assert.throws(() => client.outbox.retry(refused.id), { code: "outbox_full" });
  assert.equal(client.outbox.snapshot().refused.length, 1);
  await node.start();
  await filling.settled;
  // No room on disk: the old one stays there until the new one's fate is known.
  await node.kill();
  await until(client.connection, (status) => status.state === "waiting");
  store.isFull = true;
  const again = client.outbox.retry(refused.id);
  assert.equal(await again?.stored, "memory");
  assert.equal((await store.open()).refusals.length, 1);
  assert.equal(client.outbox.snapshot().refused.length, 1);
  await node.start();
  await again?.settled;
  await eventually(() => client.outbox.snapshot().refused.every(({ id }) => id !== refused.id));
});

test("a choice is made on what its chooser saw: what others wrote meanwhile makes it a question again", async (t) => {
  const node = await TestNode.start(t);
  const open = (instance: string) => connect(t, { url: node.url, instance });
  const [a, b, chooser] = [open("a"), open("b"), open("chooser")];
  const task = a.entity("task", "t1");
  const seen = chooser.entity("task", "t1");
  seen.subscribe(() => {});
  const { version } = await task.create({ title: "zero" }).settled;
  await task.update({ title: "A" }).settled;
  const { status } = await b.entity("task", "t1").update({ title: "B" }, { baseVersion: version, strategy: "manual" })
    .settled;
  assert.equal(status, "pending");
  const [shown] = await until(chooser.conflicts, (list) => list.length === 1);
  assert.ok(shown !== undefined);
  const later = await task.update({ title: "A2, which the chooser has not seen" }).settled;
  await until(seen, (state) => state.version === later.version);
  assert.equal((await chooser.conflicts.resolve(shown, "proposed").settled).status, "pending");
  assert.equal(seen.snapshot().data?.title, "A2, which the chooser has not seen");
  // Shown anew, it holds.
  const [anew] = await chooser.conflicts.list();
  assert.ok(anew !== undefined);
  assert.equal((await chooser.conflicts.resolve(anew, "proposed").settled).status, "confirmed");
});
