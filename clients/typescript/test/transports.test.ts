import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, until } from "./support/clients.js";
import { TestNode } from "./support/node.js";
import { BadProxy } from "./support/proxy.js";

const transportOf = (client: { status: { state: string } }) =>
  "transport" in client.status ? client.status.transport : client.status.state;

for (const [name, refuse] of [
  ["events", ["/ws/sync"]],
  ["polling", ["/ws/sync", "/stream"]],
] as const) {
  test(`where sockets do not get through, a room is followed and written by ${name}`, async (t) => {
    const node = await TestNode.start(t);
    const proxy = await BadProxy.start(t, node.port, { refuse });
    const far = connect(t, { url: proxy.url, instance: "far" });
    const near = connect(t, { url: node.url, instance: "near" });
    await Promise.all([far.online(), near.online()]);
    assert.equal(transportOf(far), name);
    const task = far.entity("task", "t1");
    task.subscribe(() => {});
    await task.load();

    const op = task.create({ title: "bread" });
    assert.equal((await op.settled).status, "confirmed");
    await until(task, (state) => state.version > 0);
    const theirs = near.entity("task", "t1");
    await theirs.update({ title: "milk" }).settled;
    await until(task, (state) => state.data?.title === "milk");

    const heard = new Promise((hear) => near.subscribe("note_added", (record) => hear(record.data)));
    assert.equal((await far.publish("note_added", { n: 1 })).durability, "stored");
    assert.deepEqual(await heard, { n: 1 });

    const refused = await far.entity("task", "gone").update({ a: 1 }).settled;
    assert.deepEqual([refused.status, refused.code], ["rolled_back", "not_found"]);
    assert.equal(far.signal("typing"), false);
    assert.equal(far.follow({ query: { entity_type: "task" } }).snapshot().status, "loading");
    assert.equal(far.sync.snapshot().status, "synced");
  });
}

test("nothing is missed and nothing comes twice when a socket becomes a stream", async (t) => {
  const node = await TestNode.start(t);
  const proxy = await BadProxy.start(t, node.port);
  const far = connect(t, { url: proxy.url, instance: "far" });
  const near = connect(t, { url: node.url, instance: "near" });
  await Promise.all([far.online(), near.online()]);
  const seen: unknown[] = [];
  far.subscribe("n", (record) => seen.push(record.data));
  for (let n = 0; n < 30; n += 1) {
    await near.publish("n", n);
    if (n === 10) {
      proxy.manners = { refuse: ["/ws/sync"] };
      proxy.cut();
    }
  }
  await until(far.connection, (status) => status.state === "online" && status.transport === "events");
  await near.publish("n", 30);
  await until(far.sync, () => seen.length === 31).catch(() => {});
  assert.deepEqual(
    seen,
    Array.from({ length: 31 }, (_, n) => n),
  );
});

test("over HTTP, what stands behind a request that failed waits with it", async (t) => {
  const node = await TestNode.start(t);
  let requests = 0;
  const failing: typeof fetch = (input, init) => {
    requests += Number(init?.method === "POST");
    if (init?.method === "POST" && requests === 2) return Promise.reject(new TypeError("a blip"));
    return fetch(input, init);
  };
  const client = connect(t, { url: node.url, instance: "far", transport: "polling", fetch: failing });
  await client.online();
  const ops = [1, 2, 3, 4].map((n) => client.send("n", n));
  await Promise.all(ops.map((op) => op.settled));
  const seen = [];
  for await (const record of client.history()) seen.push(record.data);
  assert.deepEqual(seen, [1, 2, 3, 4]);
});
