import "./support/browser.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ContinuumClient } from "../src/index.js";
import { IndexedDbStore } from "../src/outbox/indexeddb.js";
import { connect, eventually, until } from "./support/clients.js";
import { TestNode } from "./support/node.js";
import { BadProxy } from "./support/proxy.js";

const transportOf = (client: { status: object }) =>
  "transport" in client.status ? client.status.transport : undefined;

test("of two tabs one has the connection, and both write, see and signal as one instance", async (t) => {
  const node = await TestNode.start(t);
  const open = () => connect(t, { url: node.url, instance: "browser" });
  const leader = open();
  await leader.online();
  const follower = open();
  await follower.online();
  assert.deepEqual([transportOf(leader), transportOf(follower)], ["websocket", "tab"]);
  const other = connect(t, { url: node.url, instance: "other", store: "memory" });
  await other.online();
  await until(other.presence, ({ members }) => members.length === 1 && members[0]?.instance === "browser");

  const op = follower.entity("task", "t1").create({ title: "bread" });
  assert.equal(await op.stored, "disk");
  const shown = leader.entity("task", "t1");
  shown.subscribe(() => {});
  assert.equal((await op.settled).status, "confirmed");
  await until(shown, (state) => state.data?.title === "bread");
  assert.equal((await follower.publish("note_added", 1)).durability, "stored");
  const result = follower.follow({ query: { entity_type: "task" } });
  assert.equal((await result.live()).items.length, 1);
  const waved = new Promise((hear) => other.onSignal("signal.wave", ({ data }) => hear(data)));
  assert.equal(follower.signal("signal.wave", { hand: "left" }), true);
  assert.deepEqual(await waved, { hand: "left" });
});

test("when the tab that leads is closed in the middle of writes, another one goes on: nothing is lost, nothing comes twice", async (t) => {
  const node = await TestNode.start(t);
  const proxy = await BadProxy.start(t, node.port);
  const open = () => connect(t, { url: proxy.url, instance: "browser" });
  const leader = open();
  await leader.online();
  const follower = open();
  await follower.online();
  const seen: unknown[] = [];
  follower.subscribe("n", (record) => seen.push(record.data));
  await leader.publish("n", -1);
  await eventually(() => seen.length === 1);

  // What is sent from here on arrives, and no answer does.
  proxy.manners = { isDeaf: true };
  const theirs = Array.from({ length: 20 }, (_, n) => leader.send("n", n));
  const mine = Array.from({ length: 20 }, (_, n) => follower.send("n", 100 + n));
  await Promise.all([...theirs, ...mine].map((op) => op.stored));
  await eventually(async () => (await positionOf(node)) >= 20);
  await leader.close();
  proxy.manners = {};
  proxy.cut();
  const fates = await Promise.all(mine.map((op) => op.settled));
  assert.ok(fates.every(({ status }) => status === "confirmed"));
  await follower.outbox.flushed();
  assert.notEqual(transportOf(follower), "tab");
  await eventually(() => seen.length === 41);
  const written = [];
  for await (const record of follower.history({ pageSize: 1_000 })) written.push(record.data);
  assert.equal(written.length, 41);
  assert.deepEqual(new Set(written).size, 41);
  assert.deepEqual(seen, written);
});

async function positionOf(node: TestNode): Promise<number> {
  const response = await fetch(`${node.http}/v1/tenants/default/stats`);
  return ((await response.json()) as { position: number }).position;
}

test("a tab that opens later shows what others wrote while there was no node, and it is sent once", async (t) => {
  const node = await TestNode.start(t);
  const { url } = node;
  await node.kill();
  const first = connect(t, { url, instance: "browser" });
  await first.entity("task", "t1").create({ title: "bread" }).stored;
  await first.close();
  const second = connect(t, { url, instance: "browser" });
  const task = second.entity("task", "t1");
  await until(task, (state) => state.data?.title === "bread");
  assert.equal(task.snapshot().pending, 1);
  await node.start();
  await until(task, (state) => state.pending === 0 && state.version > 0);
});

test("what a following tab writes and is closed at once is sent by the tab that leads", async (t) => {
  const node = await TestNode.start(t);
  const open = () => connect(t, { url: node.url, instance: "browser" });
  const leader = open();
  await leader.online();
  const follower = open();
  await follower.online();
  const op = follower.send("n", 1);
  await follower.close();
  assert.equal(await op.stored, "disk");
  assert.deepEqual([(await op.settled).status, (await op.settled).code], ["unknown", "client_closed"]);
  await eventually(async () => (await written(leader)).length === 1);
});

test("what a tab put into the store and died before it said so is sent by the tab that leads", async (t) => {
  const node = await TestNode.start(t);
  const leader = connect(t, { url: node.url, instance: "browser" });
  await leader.online();
  const follower = connect(t, { url: node.url, instance: "browser" });
  await follower.online();
  const name = `continuum ${node.http} default browser`;
  const store = new IndexedDbStore(indexedDB, name);
  await store.open();
  const place = { replica: "dead", opNumber: 1, entity: undefined, base: undefined, writtenAt: 0 };
  await store.append({ id: crypto.randomUUID(), kind: "event", type: "n", body: 1, ...place });
  await follower.close();
  await eventually(async () => (await written(leader)).length === 1);
  await store.close();
});

test("where the browser keeps nothing, what a following tab writes is sent all the same", async (t) => {
  const node = await TestNode.start(t);
  const { open: really } = indexedDB;
  t.after(() => {
    indexedDB.open = really;
  });
  indexedDB.open = () => {
    throw new DOMException("private mode", "SecurityError");
  };
  const open = () => connect(t, { url: node.url, instance: "browser" });
  const [leader, follower] = [open(), open()];
  await Promise.all([leader.online(), follower.online()]);
  const [mine, theirs] = [follower.send("n", 1), leader.send("n", 2)];
  assert.equal(await mine.stored, "memory");
  assert.deepEqual([(await mine.settled).status, (await theirs.settled).status], ["confirmed", "confirmed"]);
  // A tab that leads later is told again what waits.
  await node.kill();
  await until(follower.connection, (status) => status.state !== "online");
  const later = follower.send("n", 3);
  const third = open();
  await later.stored;
  await leader.close();
  await node.start();
  assert.equal((await later.settled).status, "confirmed");
  assert.deepEqual((await written(third)).sort(), [1, 2, 3]);
});

async function written(client: ContinuumClient): Promise<unknown[]> {
  const all = [];
  for await (const record of client.history({ types: ["n"] })) all.push(record.data);
  return all;
}

test("each tab has the types that it asked for, whichever leads", async (t) => {
  const node = await TestNode.start(t);
  const leader = connect(t, { url: node.url, instance: "browser", types: ["memory_added"] });
  await leader.online();
  const follower = connect(t, { url: node.url, instance: "browser" });
  await follower.online();
  const seen: string[] = [];
  leader.on("record", ({ type }) => seen.push(`leader ${type}`));
  follower.on("record", ({ type }) => seen.push(`follower ${type}`));
  await follower.publish("decision_made", 1);
  await follower.publish("memory_added", 2);
  await eventually(() => seen.includes("follower memory_added") && seen.includes("leader memory_added"));
  assert.deepEqual(seen.sort(), ["follower decision_made", "follower memory_added", "leader memory_added"]);
});

test("a following tab is back as soon as its leader is, and what the leader alone hears is no error of its own", async (t) => {
  const node = await TestNode.start(t);
  // Left to itself, it would come back in a minute.
  const slow = { random: () => 0.999 };
  const leader = connect(t, { url: node.url, instance: "browser" });
  await leader.online();
  const follower = connect(t, { url: node.url, instance: "browser", ...slow });
  await follower.online();
  let behind = 0;
  for (let round = 0; round < 5; round += 1) {
    await node.kill();
    await until(follower.connection, (status) => status.state === "waiting");
    await node.start();
    await leader.online();
    const since = Date.now();
    await follower.online();
    behind += Date.now() - since;
  }
  assert.ok(behind < 10_000, `${behind} ms`);
  const errors: string[] = [];
  follower.on("error", ({ code }) => errors.push(code));
  const refused = await leader.publish("no good type", 1).catch(({ code }) => code);
  assert.equal(refused, "invalid_type");
  await leader.publish("n", 1);
  await eventually(async () => (await written(follower)).length === 1);
  assert.deepEqual(errors, []);
});

test("a refused write that one tab takes away is gone in the others", async (t) => {
  const node = await TestNode.start(t);
  const open = () => connect(t, { url: node.url, instance: "browser" });
  const [leader, follower] = [open(), open()];
  await Promise.all([leader.online(), follower.online()]);
  const op = follower.entity("task", "gone").update({ a: 1 });
  assert.equal((await op.settled).status, "rolled_back");
  await until(leader.outbox, ({ refused }) => refused.length === 1);
  await leader.outbox.drop(op.id);
  await until(follower.outbox, ({ refused }) => refused.length === 0);
});
