import assert from "node:assert/strict";
import { test } from "node:test";
import type { EventRecord } from "../src/index.js";
import { connect, eventually, until } from "./support/clients.js";
import { TestNode } from "./support/node.js";

test("what one publishes is acknowledged and reaches the others", async (t) => {
  const node = await TestNode.start(t);
  const [a, b] = [connect(t, { url: node.url, instance: "a" }), connect(t, { url: node.url, instance: "b" })];
  await Promise.all([a.online(), b.online()]);
  const heard = new Promise<EventRecord>((hear) => b.subscribe("memory_*", hear));
  const published = await a.publish("memory_added", { message_id: 1 });
  assert.equal(published.durability, "stored");
  const record = await heard;
  assert.deepEqual([record.seq, record.data, record.instance], [published.seq, { message_id: 1 }, "a"]);
});

test("a write shows at once, settles, and reaches whoever looks at the entity", async (t) => {
  const node = await TestNode.start(t);
  const [a, b] = [connect(t, { url: node.url, instance: "a" }), connect(t, { url: node.url, instance: "b" })];
  const [mine, theirs] = [a.entity("task", "t1"), b.entity("task", "t1")];
  theirs.subscribe(() => {});
  const op = mine.create({ title: "bread" });
  assert.deepEqual(op.optimistic, { title: "bread" });
  assert.deepEqual(mine.snapshot().data, { title: "bread" });
  const settled = await op.settled;
  assert.equal(settled.status, "confirmed");
  const seen = await until(theirs, (state) => state.status === "present");
  assert.deepEqual([seen.data, seen.version], [{ title: "bread" }, settled.version]);
});

test("a refused write is taken back and says why", async (t) => {
  const node = await TestNode.start(t);
  const a = connect(t, { url: node.url, instance: "a" });
  const task = a.entity("task", "gone");
  task.subscribe(() => {});
  await task.load();
  const settled = await task.update({ title: "milk" }).settled;
  assert.deepEqual([settled.status, settled.code], ["rolled_back", "not_found"]);
  assert.equal(task.snapshot().data, null);
  assert.deepEqual(
    a.outbox.snapshot().refused.map((refused) => refused.code),
    ["not_found"],
  );
});

test("two who edit one text at once see the same in the end", async (t) => {
  const node = await TestNode.start(t);
  const [a, b] = [connect(t, { url: node.url, instance: "a" }), connect(t, { url: node.url, instance: "b" })];
  await a.entity("note", "n1").create({ body: "Hello 🌍!" }).settled;
  const [mine, theirs] = [a.entity("note", "n1").text("/body"), b.entity("note", "n1").text("/body")];
  mine.subscribe(() => {});
  theirs.subscribe(() => {});
  await Promise.all([until(mine, (text) => text !== ""), until(theirs, (text) => text !== "")]);
  for (let n = 0; n < 10; n += 1) {
    mine.splice({ at: 0, deleted: 0, inserted: `${n}🙂` });
    theirs.set(theirs.snapshot().replace("!", `é${n}!`));
    await new Promise((go) => setImmediate(go));
  }
  await Promise.all([a.outbox.flushed(), b.outbox.flushed()]);
  await eventually(() => mine.snapshot() === theirs.snapshot());
  assert.match(mine.snapshot(), /^9🙂.*é9!$/u);
});

test("a record that comes while its entity is asked for is not missed", async (t) => {
  const node = await TestNode.start(t);
  // Answers are of the moment of the question, and come late.
  let release = () => {};
  const released = new Promise<void>((go) => {
    release = go;
  });
  const late: typeof fetch = async (input, init) => {
    const answer = await fetch(input, init);
    await released;
    return answer;
  };
  const a = connect(t, { url: node.url, instance: "a" });
  const b = connect(t, { url: node.url, instance: "b", fetch: late });
  await Promise.all([a.online(), b.online()]);
  const theirs = b.entity("task", "t1");
  theirs.subscribe(() => {});
  const { version } = await a.entity("task", "t1").create({ title: "bread" }).settled;
  await until(theirs, (state) => state.version === version);
  release();
  await b.outbox.flushed();
  assert.deepEqual(theirs.snapshot().data, { title: "bread" });
});

test("what others see of a client is told again after each connection, and who comes and goes is told", async (t) => {
  const node = await TestNode.start(t);
  const a = connect(t, { url: node.url, instance: "a", capabilities: ["memory"] });
  await a.online();
  a.presence.update({ mood: "good" });
  const b = connect(t, { url: node.url, instance: "b" });
  const seen = await until(b.presence, ({ members }) => members[0]?.data !== undefined);
  assert.deepEqual(
    [seen.total, seen.members[0]?.capabilities, seen.members[0]?.data],
    [2, ["memory"], { mood: "good" }],
  );
  const left = new Promise((hear) => b.presence.onLeave(({ instance }) => hear(instance)));
  await a.close();
  assert.equal(await left, "a");
});

test("waiting can be ended, and what was sent goes on", async (t) => {
  const node = await TestNode.start(t);
  await node.kill();
  const a = connect(t, { url: node.url, instance: "a" });
  const signal = AbortSignal.timeout(10);
  await assert.rejects(a.online({ signal }), { name: "TimeoutError" });
  await assert.rejects(a.publish("n", 1, { signal: AbortSignal.timeout(10) }), { name: "TimeoutError" });
  await assert.rejects(a.entity("task", "t1").load({ signal: AbortSignal.timeout(10) }), { name: "TimeoutError" });
  await node.start();
  await a.outbox.flushed();
  const seen = [];
  for await (const record of a.history()) seen.push(record.data);
  assert.deepEqual(seen, [1]);
});

test("what waits when the client is closed, or is asked of it later, ends with that", async (t) => {
  const node = await TestNode.start(t);
  await node.kill();
  const client = connect(t, { url: node.url, instance: "a" });
  const waiting = [client.publish("n", 1), client.entity("task", "t1").load(), client.outbox.flushed()];
  const ended = Promise.allSettled(waiting);
  await client.close();
  for (const end of await ended) assert.equal(end.status === "rejected" && end.reason.code, "client_closed");
  assert.throws(() => client.send("n", 1), { code: "client_closed" });
  assert.throws(() => client.entity("task", "t1").create({}), { code: "client_closed" });
  const result = client.follow({ query: { entity_type: "task" } }).live();
  for (const late of [client.publish("n", 1), client.entity("task", "t1").load(), client.outbox.flushed(), result])
    await assert.rejects(late, { code: "client_closed" });
});

test("what a node takes for something else than an event is refused at once", async (t) => {
  const node = await TestNode.start(t);
  const client = connect(t, { url: node.url, instance: "a" });
  const types = [
    "typing",
    "user.presence",
    "signal.x",
    "cursor.move",
    "ping",
    "heartbeat",
    "node.update",
    "sync_event",
  ];
  for (const type of types) assert.throws(() => client.send(type), { code: "reserved_type" });
  await assert.rejects(client.publish("subscribe"), { code: "reserved_type" });
  assert.equal(client.sync.snapshot().pending, 0);
});

test("an event is written down as it is at the call", async (t) => {
  const node = await TestNode.start(t);
  const client = connect(t, { url: node.url, instance: "a" });
  const data = { v: 1 };
  const op = client.send("n", data);
  data.v = 2;
  await op.settled;
  const { records } = await client.historyPage();
  assert.deepEqual([op.optimistic, records[0]?.data], [{ v: 1 }, { v: 1 }]);
});

test("an iterator has what comes from the call on, and goes on behind a network that was away", async (t) => {
  const node = await TestNode.start(t);
  let isAway = false;
  const flaky: typeof fetch = (input, init) => (isAway ? Promise.reject(new TypeError("a blip")) : fetch(input, init));
  const [a, b] = [
    connect(t, { url: node.url, instance: "a" }),
    connect(t, { url: node.url, instance: "b", fetch: flaky }),
  ];
  await Promise.all([a.online(), b.online()]);
  const seen: unknown[] = [];
  const all = b.records("n");
  await a.publish("n", 0);
  await eventually(() => Number(b.cursor?.split(".")[1]) >= 1);
  const ops = Array.from({ length: 1_200 }, (_, n) => a.send("n", n + 1).settled);
  await Promise.all(ops);
  await eventually(() => Number(b.cursor?.split(".")[1]) >= 1_201);
  isAway = true;
  const reading = (async () => {
    for await (const { data } of all) {
      seen.push(data);
      if (seen.length === 1_201) return;
    }
  })();
  await eventually(() => seen.length === 1_000);
  isAway = false;
  await reading;
  assert.deepEqual(
    seen,
    Array.from({ length: 1_201 }, (_, n) => n),
  );
});
