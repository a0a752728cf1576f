import assert from "node:assert/strict";
import { test } from "node:test";
import { type ContinuumClient, ContinuumError } from "../src/index.js";
import { connect, eventually, until } from "./support/clients.js";
import { ScriptedSocket } from "./support/scripted.js";

const CURSOR = "00000000000000ff";

async function joined(client: ContinuumClient, ready: object): Promise<ScriptedSocket> {
  await eventually(() => ScriptedSocket.last !== undefined);
  const socket = ScriptedSocket.last as ScriptedSocket;
  socket.say({ event_type: "session_ready", data: ready });
  socket.say({ event_type: "caught_up", data: { position: 5 } });
  await client.online();
  return socket;
}

/** A client of a node that is played: requests over HTTP find nothing. */
function played(t: Parameters<typeof connect>[0]): ContinuumClient {
  ScriptedSocket.last = undefined;
  const nothing = async () => Response.json({ code: "not_found", detail: "there is no such entity" }, { status: 404 });
  return connect(t, { url: "ws://played", instance: "me", WebSocket: ScriptedSocket, fetch: nothing });
}

test("an older node that leaves fields out is joined, written to and read", async (t) => {
  const client = played(t);
  const socket = await joined(client, { epoch: CURSOR, position: 5 });
  assert.equal(client.cursor, `${CURSOR}.5`);
  const op = client.send("note_added", 1);
  await eventually(() => socket.sent.some((message) => message.event_id === op.id));
  socket.say({ event_type: "ack", data: { event_id: op.id, seq: 6 } });
  const settled = await op.settled;
  assert.deepEqual([settled.status, settled.version, settled.duplicate], ["confirmed", 6, false]);
  const seen: unknown[] = [];
  client.on("record", ({ type, instance, timestamp, data }) => seen.push([type, instance, timestamp, data]));
  socket.say({ event_type: "old", seq: 7, prev: 6, event_id: "11111111-1111-4111-8111-111111111111" });
  assert.deepEqual(seen, [["old", "", "", {}]]);
});

test("a newer node's unknown fields, messages, records and codes do no harm, and are passed on", async (t) => {
  const client = played(t);
  const socket = await joined(client, {
    epoch: CURSOR,
    position: 5,
    moods: ["good"],
    resume: { outcome: "honoured", after: 5, mood: 1 },
  });
  const [messages, errors, records] = [[] as unknown[], [] as ContinuumError[], [] as string[]];
  client.on("message", (message) => messages.push(message.event_type));
  client.on("error", (error) => errors.push(error));
  client.on("record", ({ type }) => records.push(type));
  socket.say({ event_type: "system.weather", data: { rain: true }, mood: "wet" });
  socket.say({
    event_type: "universe.create",
    seq: 6,
    prev: 5,
    event_id: "22222222-2222-4222-8222-222222222222",
    data: { new: 1 },
  });
  socket.say({ event_type: "error", data: { code: "moon_phase", message: "the moon is wrong", tide: "high" } });
  assert.deepEqual(messages, ["system.weather", "universe.create", "error"]);
  assert.deepEqual(records, ["universe.create"]);
  assert.deepEqual(
    errors.map(({ code, message }) => [code, message]),
    [["moon_phase", "the moon is wrong"]],
  );

  const refused = client.send("n", 1);
  await eventually(() => socket.sent.some((message) => message.event_id === refused.id));
  socket.say({ event_type: "error", data: { code: "moon_phase", message: "the moon is wrong", event_id: refused.id } });
  assert.deepEqual([(await refused.settled).status, (await refused.settled).code], ["refused", "moon_phase"]);
  const passing = client.send("n", 2);
  await eventually(() => socket.sent.some((message) => message.event_id === passing.id));
  socket.say({
    event_type: "error",
    data: { code: "moon_phase", message: "wait", event_id: passing.id, retry_after_ms: 1 },
  });
  await eventually(() => socket.sent.filter((message) => message.event_id === passing.id).length === 2);
});

test("an answer to an operation that is missing in the protocol's page leaves it waiting, and nothing else", async (t) => {
  const client = played(t);
  const socket = await joined(client, { epoch: CURSOR, position: 5 });
  const op = client.entity("task", "t1").create({ title: "bread" });
  await eventually(() => socket.sent.some((message) => message.event_id === op.id));
  socket.say({ event_type: "update.pondered", data: { updateId: op.id } });
  assert.equal(client.sync.snapshot().pending, 1);
  socket.say({ event_type: "update.confirmed", data: { updateId: op.id, version: 6, certainty: 1 } });
  assert.equal((await op.settled).status, "confirmed");
});

test("a gap in the room's order ends the connection, and the next one begins at the last good place", async (t) => {
  const client = played(t);
  const socket = await joined(client, { epoch: CURSOR, position: 5 });
  const records: number[] = [];
  client.on("record", ({ seq }) => records.push(seq));
  socket.say({ event_type: "n", seq: 9, prev: 8, event_id: "33333333-3333-4333-8333-333333333333" });
  const waiting = await until(client.connection, (status) => status.state === "waiting");
  assert.match("reason" in waiting ? waiting.reason : "", /after 5 came 9/);
  assert.deepEqual(records, []);
  await eventually(() => ScriptedSocket.last !== socket);
  assert.match(ScriptedSocket.last?.url ?? "", /since=00000000000000ff\.5&/);
});

for (const [code, word] of [
  [4009, "replaced"],
  [4003, "too_many_invalid"],
  [4012, "rule_refused"],
] as const) {
  test(`a close with ${code} is not answered by coming back`, async (t) => {
    const client = played(t);
    const socket = await joined(client, { epoch: CURSOR, position: 5 });
    socket.end(code, "");
    assert.deepEqual(client.status, { state: "blocked", code: word, message: `closed with code ${code}` });
    await assert.rejects(client.online(), ContinuumError);
  });
}

test("a node that restarts says for how long to stay away, and that is followed", async (t) => {
  const client = played(t);
  const socket = await joined(client, { epoch: CURSOR, position: 5 });
  socket.end(1012, "restart; retry in 54321 ms");
  assert.equal("retryInMs" in client.status && client.status.retryInMs, 54_321);
});

test("when the network is back, or the page is looked at again, it is tried at once", async (t) => {
  const target = new EventTarget();
  const listen = target.addEventListener.bind(target);
  Object.defineProperty(globalThis, "addEventListener", { value: listen, configurable: true });
  t.after(() => Reflect.deleteProperty(globalThis, "addEventListener"));
  const client = played(t);
  const socket = await joined(client, { epoch: CURSOR, position: 5 });
  socket.end(1012, "restart; retry in 3600000 ms");
  assert.equal(client.status.state, "waiting");
  target.dispatchEvent(new Event("online"));
  assert.equal(client.status.state, "connecting");
  await eventually(() => ScriptedSocket.last !== socket);
  // What the node says is not overstepped each time that somebody looks.
  (ScriptedSocket.last as unknown as ScriptedSocket).end(1012, "restart; retry in 3600000 ms");
  target.dispatchEvent(new Event("focus"));
  assert.deepEqual({ ...client.connection.snapshot() }.state, "waiting");
});
