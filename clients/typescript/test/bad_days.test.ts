import assert from "node:assert/strict";
import { test } from "node:test";
import { ContinuumClient } from "../src/index.js";
import { wellFormed } from "../src/text/utf16.js";
import { connect, eventually, until } from "./support/clients.js";
import { VirtualClock } from "./support/clock.js";
import { TestNode } from "./support/node.js";
import { BadProxy } from "./support/proxy.js";

test("a laptop that slept for an hour knows that it is behind, comes back, and misses nothing", async (t) => {
  const node = await TestNode.start(t);
  const clock = new VirtualClock();
  const proxy = await BadProxy.start(t, node.port);
  const laptop = connect(t, { url: proxy.url, instance: "laptop", clock });
  const other = connect(t, { url: node.url, instance: "other" });
  await until(laptop.sync, (sync) => sync.status === "synced");
  await other.online();
  const seen: unknown[] = [];
  laptop.subscribe("note_added", (record) => seen.push(record.data));

  proxy.manners = { isStuck: true };
  for (let n = 0; n < 3; n += 1) await other.publish("note_added", n);
  const words = new Set<string>();
  laptop.on("sync", ({ status }) => words.add(status));
  await clock.sleep(3_600_000);
  assert.ok(words.has("stale"), [...words].join());
  assert.equal(laptop.status.state, "waiting");

  const resumed = new Promise<boolean>((hear) => laptop.on("resumed", ({ complete }) => hear(complete)));
  proxy.manners = {};
  proxy.cut();
  await clock.pass(2_000);
  assert.equal(await resumed, true);
  await until(laptop.sync, (sync) => sync.status === "synced");
  assert.deepEqual(seen, [0, 1, 2]);
});

test("a node that restarts under two hundred clients has them all back, with everything that each of them wrote", async (t) => {
  const node = await TestNode.start(t, { settings: { "limits.connections_per_tenant": "1000" } });
  const crowd = Array.from({ length: 200 }, (_, n) =>
    connect(t, { url: node.url, instance: `c${n}`, random: Math.random }),
  );
  await Promise.all(crowd.map((client) => client.online()));
  const seen = crowd.map(() => new Set<unknown>());
  crowd.forEach((client, at) => {
    client.subscribe("hello", (record) => seen[at]?.add(record.data));
  });
  await node.kill();
  await Promise.all(crowd.map((client) => until(client.connection, (status) => status.state !== "online")));
  const sent = crowd.map((client, n) => client.send("hello", n));
  await node.start();
  const fates = await Promise.all(sent.map((op) => op.settled));
  assert.ok(fates.every((fate) => fate.status === "confirmed"));
  await eventually(() => seen.every((all) => all.size === 200));
});

test("texts with letters of every plane come out the same on both sides, whatever breaks in between", async (t) => {
  const node = await TestNode.start(t);
  const proxies = [await BadProxy.start(t, node.port), await BadProxy.start(t, node.port)];
  const clients = proxies.map((proxy, at) => connect(t, { url: proxy.url, instance: `e${at}` }));
  const letters = Array.from({ length: 17 }, (_, plane) => String.fromCodePoint(plane * 0x10000 + 0x1041));
  let seed = 7;
  const draw = (most: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((seed / 2 ** 31) * most);
  };
  await clients[0]?.entity("note", "n").create({ body: letters.join("") }).settled;
  const fields = clients.map((client) => client.entity("note", "n").text("/body"));
  for (const field of fields) field.subscribe(() => {});
  await Promise.all(fields.map((field) => until(field, (text) => text !== "")));
  for (let round = 0; round < 60; round += 1) {
    for (const field of fields) {
      const units = field.snapshot().length;
      const at = draw(units + 1);
      field.splice({
        at,
        deleted: draw(Math.min(4, units - at + 1)),
        inserted: draw(3) > 0 ? (letters[draw(17)] ?? "") : "",
      });
    }
    if (round % 15 === 14) proxies[round % 2]?.cut();
    await new Promise((go) => setTimeout(go, draw(8)));
  }
  await Promise.all(clients.map((client) => client.outbox.flushed()));
  const text = () => fields.map((field) => field.snapshot());
  await eventually(() => text()[0] === text()[1]);
  assert.deepEqual(
    clients.map((client) => client.outbox.snapshot().refused),
    [[], []],
  );
  assert.equal(wellFormed(text()[0] ?? ""), text()[0]);
});

test("who reads slowly gets every record, in order, and holds no more than a bounded number", async (t) => {
  const node = await TestNode.start(t);
  const client = connect(t, { url: node.url, instance: "slow" });
  await client.online();
  const ended = new AbortController();
  const slow = client.records("n", { signal: ended.signal });
  const total = 3_000;
  const first = slow.next();
  for (let n = 0; n < total; n += 100) {
    const page = Array.from({ length: 100 }, (_, at) => ({ event_type: "n", instance_id: "other", data: n + at }));
    const response = await fetch(`${node.http}/v1/tenants/default/events`, {
      method: "POST",
      body: JSON.stringify(page),
    });
    assert.equal(response.status, 201);
  }
  await eventually(() => Number(client.cursor?.split(".")[1]) >= total);
  const seen = [(await first).value.data];
  while (seen.length < total) seen.push((await slow.next()).value.data);
  assert.deepEqual(
    seen,
    Array.from({ length: total }, (_, n) => n),
  );
  ended.abort();
  await assert.rejects(slow.next(), { name: "AbortError" });
});

test("where something cuts idle connections, they are kept busy", async (t) => {
  const node = await TestNode.start(t);
  const proxy = await BadProxy.start(t, node.port, { cutIdleMs: 2_500 });
  const client = connect(t, { url: proxy.url, instance: "a", transport: "websocket" });
  await until(client.connection, (status) => status.state === "waiting");
  await client.online();
  // Three times as long as it lived before.
  await assert.rejects(
    until(client.connection, (status) => status.state !== "online").then(
      () => {},
      () => Promise.reject(new Error("it lives")),
    ),
    /it lives/,
  );
});

test("a client that is closed leaves no timer and tells what waits on it", async (t) => {
  const node = await TestNode.start(t);
  const client = new ContinuumClient({ url: node.url, instance: "a" });
  await client.online();
  await client.close();
  assert.equal(client.status.state, "closed");
  await assert.rejects(client.online(), { code: "client_closed" });
});
