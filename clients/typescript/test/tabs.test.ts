import "./support/browser.js";
import assert from "node:assert/strict";
import { test } from "node:test";
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
