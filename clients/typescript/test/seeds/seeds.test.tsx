/** PUO Memo's examples as they are printed, with one changed import, against real nodes: one open, one that asks for a key. */

import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { type ComponentType, createElement, StrictMode } from "react";
import { ContinuumClient } from "../../src/index.js";
import { nodeWithTokens, until } from "../browser/nodes.js";
import { Shown } from "../react/dom.js";
import { TestNode } from "../support/node.js";

// The package by its own name, as an application has it.
const { PuoMemoWebSocket } = await import("continuum-client/puo-memo");
const { usePuoMemoWebSocket } = await import("continuum-client/puo-memo/react");
type Memo = InstanceType<typeof PuoMemoWebSocket>;

const open = await TestNode.start({ after });
const shut = await nodeWithTokens({ after });
const ends: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** Runs a printed file; what it exports. `authToken` is there for it, as in the application that it is of. */
async function printed(name: string, authToken: string, node: TestNode): Promise<{ default?: ComponentType }> {
  PuoMemoWebSocket.defaultUrl = `${node.url}/ws`;
  Object.assign(globalThis, { authToken });
  runs += 1;
  const outfile = `.build/test/seeds/printed/${runs}.js`;
  await build({
    entryPoints: [`test/seeds/printed/${name}`],
    outfile,
    format: "esm",
    jsx: "automatic",
    logLevel: "silent",
  });
  return import(pathToFileURL(outfile).href);
}
let runs = 0;

/** What is logged meanwhile. */
function logged(): { lines: unknown[][] } {
  const lines: unknown[][] = [];
  const { log } = console;
  console.log = (...parts: unknown[]) => void lines.push(parts);
  ends.push(() => {
    console.log = log;
  });
  return { lines };
}

/** The node behind an example: open, or with a key. */
const doors = [
  { name: "an open node", enter: async () => ({ node: open, token: "any", other: "any" }) },
  {
    name: "a node that asks for keys",
    enter: async () => ({ node: shut.node, token: await shut.key("ada"), other: await shut.key("bob") }),
  },
];

/** Somebody else in the room, who hears that the example came. */
async function somebody(
  node: TestNode,
  token: string,
): Promise<{ client: ContinuumClient; came: (n: number) => Promise<unknown> }> {
  const client = new ContinuumClient({ url: node.url, tenant: "default", user: "bob", token, store: "memory" });
  ends.push(() => client.close());
  await client.online();
  return { client, came: (n) => until(() => client.presence.snapshot().total >= n, `${n} in the room`) };
}

for (const { name, enter } of doors) {
  test(`the JavaScript example runs against ${name}`, async () => {
    const { node, token, other } = await enter();
    const { client, came } = await somebody(node, other);
    const { total } = client.presence.snapshot();
    const { lines } = logged();
    const connect = PuoMemoWebSocket.prototype.connect;
    PuoMemoWebSocket.prototype.connect = function (this: Memo) {
      ends.push(() => this.disconnect());
      connect.call(this);
    };
    ends.push(() => {
      PuoMemoWebSocket.prototype.connect = connect;
    });
    await printed("javascript.ts", token, node);
    await came(total + 1);
    const memory = client.entity("memory", `m-${runs}`);
    await memory.create({ title: "Memory Title", content: "New memory content" }).settled;
    await memory.update({ content: "Updated content" }).settled;
    await memory.delete().settled;
    await until(() => lines.length >= 3, "three lines");
    const id = memory.id;
    assert.deepEqual(lines, [
      ["New memory:", { id, title: "Memory Title", content: "New memory content" }],
      ["Memory updated:", { id, title: "Memory Title", content: "Updated content" }],
      ["Memory deleted:", id],
    ]);
  });

  test(`the React example runs against ${name}`, async () => {
    const { node, token, other } = await enter();
    const { came } = await somebody(node, other);
    const { default: MemoryList } = await printed("react.tsx", token, node);
    assert.ok(MemoryList);
    const place = new Shown().show(createElement(StrictMode, null, createElement(MemoryList)));
    ends.push(() => place.end());
    await until(() => place.text === "🟢 Real-time updates active", "the example's line");
    await came(2);
    assert.deepEqual(place.complaints, []);
  });
}

const heard: string[] = [];

function List({ word }: { word: string }) {
  const { isConnected, send } = usePuoMemoWebSocket({
    token: "any",
    url: `${open.url}/ws`,
    onMemoryCreated: ({ memory }) => heard.push(`${word} created ${memory.title}`),
    onMemoryUpdated: ({ memory }) => heard.push(`${word} updated ${memory.title}`),
    onMemoryDeleted: ({ memory_id }) => heard.push(`${word} deleted ${memory_id}`),
  });
  const write = () => send("memory.created", { memory: { id: "sent", title: "from the hook" } });
  return (
    <button type="button" onClick={write}>
      {isConnected ? "connected" : "not connected"}
    </button>
  );
}

test("the hook tells of memories, and what is sent with it arrives", async () => {
  const { client } = await somebody(open, "any");
  const place = new Shown().show(<List word="first" />);
  ends.push(() => place.end());
  await until(() => place.text === "connected", "the connection");
  // Handlers that are written anew are the ones that are called.
  place.show(<List word="then" />);
  const memory = client.entity("memory", "told");
  await memory.create({ title: "one" }).settled;
  await memory.update({ title: "two" }).settled;
  await memory.delete().settled;
  await until(() => heard.length >= 3, "three calls");
  assert.deepEqual(heard, ["then created one", "then updated two", "then deleted told"]);
  place.container.querySelector("button")?.click();
  const sent = client.entity("memory", "sent");
  await until(async () => (await sent.load()).data?.title === "from the hook", "the memory");
});

test("what the class sends and hears is what it always was", async () => {
  const { client } = await somebody(open, "any");
  const memo = new PuoMemoWebSocket("any", `${open.url}/ws`);
  ends.push(() => memo.disconnect());
  const heard: [string, { [name: string]: unknown }][] = [];
  for (const type of ["subscribed", "pong", "memory.created", "note.said", "tenant.user_joined", "tenant.user_left"]) {
    memo.on(type, (data) => heard.push([type, data]));
  }
  const types = () => heard.map(([type]) => type);
  memo.connect();
  await until(() => types().includes("subscribed"), "the subscription");
  assert.deepEqual(heard[0]?.[1].channels, ["memories", "tenant.updates"]);
  memo.send("ping");
  await until(() => types().includes("pong"), "the answer");

  const carol = new ContinuumClient({
    url: open.url,
    instance: "phone",
    user: "carol",
    userName: "Carol",
    store: "memory",
  });
  ends.push(() => carol.close());
  await carol.online();
  await until(() => types().includes("tenant.user_joined"), "her coming");
  await carol.close();
  await until(() => types().includes("tenant.user_left"), "her going");
  const [, joined] = heard.find(([type]) => type === "tenant.user_joined") ?? [];
  assert.deepEqual([joined?.user_id, joined?.user_name], ["carol", "Carol"]);
  assert.equal(typeof joined?.connection_id, "string");

  // Its own memory is not told to it, another's event is; a handler that was taken off hears nothing.
  const silent: unknown[] = [];
  const handler = (data: unknown) => silent.push(data);
  memo.on("note.said", handler);
  memo.off("note.said", handler);
  memo.send("memory.created", { memory: { id: "own", title: "mine" } });
  memo.send("memory.updated", { memory_id: "own", changes: { title: "still mine" } });
  const own = client.entity("memory", "own");
  await until(async () => (await own.load()).data?.title === "still mine", "the change");
  memo.send("memory.deleted", { memory_id: "own" });
  await until(async () => (await own.load()).status === "absent", "the deletion");
  await client.publish("note.said", { text: "hello" });
  await until(() => types().includes("note.said"), "the event");
  assert.ok(!types().includes("memory.created"));
  assert.deepEqual(silent, []);
});

test("it comes back by itself and subscribes again", async (t) => {
  const node = await TestNode.start(t);
  const memo = new PuoMemoWebSocket("any", `${node.url}/ws`);
  ends.push(() => memo.disconnect());
  const told: string[] = [];
  for (const type of ["subscribed", "disconnected"]) memo.on(type, () => told.push(type));
  memo.connect();
  await until(() => told.length === 1, "the subscription");
  await node.kill();
  await node.start();
  await until(() => told.filter((type) => type === "subscribed").length === 2, "the second subscription");
  assert.equal(told[1], "disconnected");
});
