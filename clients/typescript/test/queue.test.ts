/** The outbox by itself: its order, who may touch what may have been sent, and what a store or another tab says late. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { field } from "../src/json.js";
import { MemoryStore } from "../src/outbox/memory.js";
import { inOrder } from "../src/outbox/pending.js";
import type { Draft, Entry, Held } from "../src/outbox/store.js";
import { LOG, now, PlayedOutbox, quiet, ready } from "./support/outbox.js";

/** A store on disk, as far as anybody can tell, that can be full and can be slow. */
class Disk extends MemoryStore {
  isFull = false;
  /** Reads and claims wait for it. */
  gate: Promise<void> = Promise.resolve();

  // biome-ignore lint/suspicious/noExplicitAny: one of the two words
  override readonly durability: any = "disk";

  override async open(): Promise<Held> {
    const held = await super.open();
    await this.gate;
    return held;
  }

  override async claim(ids: readonly string[]): Promise<readonly Entry[]> {
    await this.gate;
    return super.claim(ids);
  }

  override append(draft: Draft): Promise<Entry> {
    return this.isFull ? Promise.reject(new Error("the quota is used up")) : super.append(draft);
  }

  /** Shuts the gate; gives what opens it. */
  shut(): () => void {
    let open = () => {};
    this.gate = new Promise((go) => {
      open = go;
    });
    return open;
  }
}

const bodies = async (store: Disk) => (await store.open()).entries.map(({ body, sent }) => [body, sent]);

test("an event goes out behind the changes that were made before it, and changes of others do not wait for it", async () => {
  const outbox = await new PlayedOutbox(new Disk()).lead();
  const ops = [outbox.change("a", 1), outbox.change("a", 2), outbox.change("b", 1)];
  outbox.event(7);
  outbox.event(8);
  ops.push(outbox.change("c", 1));
  await quiet();
  assert.deepEqual(outbox.words, ["a 1", "b 1", "c 1"]);
  for (const op of ops) {
    outbox.confirm(op.id);
    await quiet();
  }
  assert.deepEqual(outbox.words, ["a 1", "b 1", "c 1", "a 2", "n 7", "n 8"]);
});

test("nothing goes out before all that was missed is here, and one that is among that is settled by it", async () => {
  const outbox = await new PlayedOutbox(new Disk()).lead();
  const [first, second] = [outbox.event(1), outbox.event(2)];
  await quiet();
  assert.deepEqual(outbox.words, ["n 1", "n 2"]);
  outbox.queue.lost();
  outbox.queue.connected(ready());
  await quiet();
  outbox.queue.recorded(first.id, 6);
  assert.deepEqual([await now(first.settled), (await first.settled).duplicate], ["confirmed", true]);
  assert.deepEqual(outbox.words, ["n 1", "n 2"]);
  outbox.queue.caughtUp();
  await quiet();
  assert.deepEqual(outbox.words, ["n 1", "n 2", "n 2"]);
  // Its answer will come, and says more than its record.
  outbox.queue.recorded(second.id, 7);
  assert.equal(await now(second.settled), "open");
  // The answer is lost: the record is behind the cursor, and does not come again.
  outbox.queue.lost();
  assert.equal(await now(second.settled), "confirmed");
});

test("an event whose record came before the store was read is not sent again", async () => {
  const store = new Disk();
  const before = new PlayedOutbox(store);
  const op = before.event(1);
  await op.stored;
  const outbox = new PlayedOutbox(store);
  outbox.queue.recorded(op.id, 6);
  await outbox.lead();
  await quiet();
  assert.deepEqual([outbox.words, await bodies(store)], [[], []]);
});

test("who begins to send takes over what was sent before: nothing is joined with it any more", async () => {
  const store = new Disk();
  const [leader, follower] = [await new PlayedOutbox(store, "leader").lead(), new PlayedOutbox(store, "follower")];
  const op = follower.change("a", 1);
  await op.stored;
  const [entry] = follower.handed;
  assert.ok(entry !== undefined);
  leader.queue.adopt(entry);
  await quiet();
  assert.deepEqual(leader.words, ["a 1"]);
  const leading = follower.lead();
  const body = { action: "update", patch: { n: 2 } };
  // Neither before it knows what was sent, nor after.
  assert.equal(follower.queue.rewrite(op.id, 1, body), false);
  await leading;
  assert.equal(follower.queue.rewrite(op.id, 1, body), false);
  await quiet();
  assert.deepEqual(follower.words, ["a 1"]);
});

test("what is about to be sent is not joined with, even if the connection is lost before it went out", async () => {
  const store = new Disk();
  const outbox = await new PlayedOutbox(store).lead();
  const open = store.shut();
  const op = outbox.change("a", 1);
  await quiet();
  outbox.queue.lost();
  const body = { action: "update", patch: { n: 2 } };
  assert.equal(outbox.queue.rewrite(op.id, 1, body), false);
  open();
  outbox.join();
  await quiet();
  assert.deepEqual(outbox.words, ["a 1"]);
});

test("what the store does not take is handed to the tab that sends, and settled by its word", async () => {
  const store = new Disk();
  const [leader, follower] = [await new PlayedOutbox(store, "leader").lead(), new PlayedOutbox(store, "follower")];
  store.isFull = true;
  const op = follower.event(1);
  assert.equal(await op.stored, "memory");
  assert.equal(follower.handed.length, 1);
  // A tab that leads later has not heard it.
  await follower.queue.follow();
  assert.equal(follower.handed.length, 2);
  for (const entry of follower.handed) leader.queue.adopt(structuredClone(entry));
  await quiet();
  assert.deepEqual(leader.words, ["n 1"]);
  // There is room again, and both put it there: it is there once, and gone when it is settled.
  store.isFull = false;
  follower.event(2);
  leader.event(3);
  await quiet();
  assert.deepEqual((await bodies(store)).map(([body]) => body).sort(), [1, 2, 3]);
  leader.queue.acknowledged(op.id, 6, false);
  follower.queue.learn(op.id, await fate());
  await quiet();
  assert.deepEqual((await bodies(store)).map(([body]) => body).sort(), [2, 3]);
});

test("a store that was full for a moment has no hole: what is on its way comes into it too, as sent", async () => {
  const store = new Disk();
  const outbox = await new PlayedOutbox(store).lead();
  store.isFull = true;
  const first = outbox.event(1);
  await first.stored;
  await quiet();
  assert.deepEqual(outbox.words, ["n 1"]);
  store.isFull = false;
  outbox.queue.lost();
  await outbox.event(2).stored;
  assert.deepEqual(await bodies(store), [
    [1, true],
    [2, false],
  ]);
});

test("what has no place yet keeps its order behind what has one, however a browser sorts", () => {
  const at = (number: number) => ({ entry: { number } as Entry });
  const [first, second] = [at(Number.POSITIVE_INFINITY), at(Number.POSITIVE_INFINITY)];
  assert.deepEqual([inOrder(first, second), inOrder(second, first)], [0, 0]);
  assert.ok(inOrder(at(1), first) < 0 && inOrder(first, at(1)) > 0 && inOrder(at(1), at(2)) < 0);
});

test("the same id twice is the same write, and another write under it is refused", async () => {
  const outbox = new PlayedOutbox(new Disk());
  const id = crypto.randomUUID();
  const [first, second] = [outbox.event(1, id), outbox.event(1, id)];
  assert.throws(() => outbox.event(2, id), { code: "duplicate_id" });
  await outbox.lead();
  await quiet();
  outbox.queue.acknowledged(id, 6, false);
  assert.deepEqual(
    [await now(first.settled), await now(second.settled), outbox.queue.size],
    ["confirmed", "confirmed", 0],
  );
});

test("what is settled while the store is read does not come back with it", async () => {
  const store = new Disk();
  const outbox = new PlayedOutbox(store);
  const op = outbox.change("a", 1);
  await op.stored;
  const open = store.shut();
  const reading = outbox.queue.reconcile();
  await quiet();
  outbox.queue.learn(op.id, await fate());
  await store.settle(op.id);
  open();
  await reading;
  assert.deepEqual([outbox.queue.size, outbox.added], [0, [op.id]]);
});

test("what is gone from the store without a word is not called confirmed", async () => {
  const store = new Disk();
  const outbox = new PlayedOutbox(store);
  const op = outbox.event(1);
  await op.stored;
  await store.settle(op.id);
  await outbox.lead();
  assert.equal(await now(op.settled), "open");
  await outbox.clock.pass(1_000);
  assert.deepEqual([await now(op.settled), outbox.words], ["unknown gone", []]);
});

test("a person can take away what waits, and what was refused; a store that was read before brings neither back", async () => {
  const store = new Disk();
  const outbox = await new PlayedOutbox(store).lead();
  const [waits, refused] = [outbox.change("a", 1), outbox.change("b", 1)];
  await quiet();
  outbox.queue.failed(refused.id, "rule_refused", "no", undefined);
  outbox.queue.lost();
  const open = store.shut();
  const reading = outbox.queue.reconcile();
  await quiet();
  const dropped = Promise.all([outbox.queue.drop(waits.id), outbox.queue.drop(refused.id)]);
  open();
  await Promise.all([reading, dropped]);
  assert.equal(await now(waits.settled), "refused dropped");
  assert.deepEqual([outbox.queue.size, outbox.queue.refusals.list.snapshot()], [0, []]);
  const held = await store.open();
  assert.deepEqual([held.entries, held.refusals], [[], []]);
});

test("a client that is closed says so to who waits, and where what waits is", async () => {
  const [store, full] = [new Disk(), new Disk()];
  full.isFull = true;
  for (const [held, where] of [
    [store, /waits on disk/],
    [full, /in memory only/],
  ] as const) {
    const outbox = new PlayedOutbox(held);
    const op = outbox.event(1);
    await outbox.queue.close();
    assert.equal(await now(op.settled), "unknown client_closed");
    assert.match((await op.settled).message ?? "", where);
    assert.throws(() => outbox.event(2), { code: "client_closed" });
  }
  assert.deepEqual(await bodies(store), [[1, false]]);
});

test("what no node answers, and lies in a store of before, is refused here and does not fill the window", async () => {
  const store = new Disk();
  for (const type of ["typing", "user.presence", "ping", "node.update", "signal.x"]) {
    const place = { replica: "old", opNumber: 1, entity: undefined, base: undefined, writtenAt: 0 };
    await store.append({ id: crypto.randomUUID(), kind: "event", type, body: {}, ...place });
  }
  const outbox = await new PlayedOutbox(store).lead();
  await quiet();
  assert.deepEqual(outbox.words, []);
  assert.equal(outbox.queue.refusals.list.snapshot().filter(({ code }) => code === "reserved_type").length, 5);
});

test("what is joined stays shorter than a message may be, and counts as what it is", async () => {
  const outbox = new PlayedOutbox(new Disk());
  await outbox.queue.lead();
  const op = outbox.change("a", 1);
  const body = (length: number) => ({ action: "update", patch: { text: "x".repeat(length) } });
  assert.equal(outbox.queue.rewrite(op.id, 1, body(200_000)), true);
  assert.equal(outbox.queue.rewrite(op.id, 1, body(300_000)), false);
  assert.throws(() => outbox.queue.add({ ...made("b"), body: body(900_000) }, null), { code: "outbox_full" });
});

const made = (entity: string) => ({ kind: "operation" as const, type: "task", entity, base: 1 });

test("in another log a write is made on nothing: versions of the one before mean nothing there", async () => {
  const store = new Disk();
  const outbox = await new PlayedOutbox(store).lead();
  const base = ({ sent }: PlayedOutbox) => field(field(sent.at(-1)?.data, "event"), "base_version");
  outbox.change("a", 1, 12);
  await quiet();
  assert.equal(base(outbox), 12);
  outbox.queue.lost();
  outbox.join({ epoch: "00000000000000aa" });
  await quiet();
  assert.deepEqual([outbox.sent.length, base(outbox)], [2, 0]);
  // A program that begins then finds the same in the store.
  const next = await new PlayedOutbox(store).lead({ epoch: "00000000000000aa" });
  await quiet();
  assert.equal(base(next), 0);
  assert.equal((await store.open()).entries[0]?.log, LOG);
});

/** An answer like any other. */
async function fate() {
  const outbox = await new PlayedOutbox(new Disk()).lead();
  const op = outbox.event(1);
  await quiet();
  outbox.queue.acknowledged(op.id, 6, false);
  return op.settled;
}
