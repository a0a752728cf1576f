import assert from "node:assert/strict";
import { appendFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join, relative } from "node:path";
import { type TestContext, test } from "node:test";
import { Worker } from "node:worker_threads";
import type { Draft, Store } from "../src/index.js";
import { FileStore } from "../src/outbox/file.js";
import { MemoryStore } from "../src/outbox/memory.js";
import { connect, until } from "./support/clients.js";
import { TestNode } from "./support/node.js";

const draft = (id: string): Draft => ({
  id,
  replica: "r",
  opNumber: 1,
  kind: "event",
  type: "note",
  entity: undefined,
  base: undefined,
  body: { id },
  writtenAt: 0,
});

async function directory(test: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "continuum-outbox-"));
  test.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

test("what was written while there was no node is sent by the next program, once", async (t) => {
  const path = await directory(t);
  const node = await TestNode.start(t);
  const options = { url: node.url, instance: "a", directory: path };
  await node.kill();
  const before = connect(t, options);
  const [event, change] = [before.send("note_added", 1), before.entity("task", "t1").create({ title: "bread" })];
  assert.deepEqual(await Promise.all([event.stored, change.stored]), ["disk", "disk"]);
  assert.equal(before.sync.snapshot().storage, "disk");
  await before.close();

  await node.start();
  const after = connect(t, options);
  await after.outbox.flushed();
  const seen = [];
  for await (const record of after.history()) seen.push(record.id);
  assert.deepEqual(seen, [event.id, change.id]);
});

test("a line that a crash cut off hides nothing before it, and nothing after it", async (t) => {
  const path = await directory(t);
  const first = new FileStore(path, "t", "i");
  await first.open();
  await first.append(draft("a"));
  await first.close();
  await appendFile(join(path, "outbox.jsonl"), '{"add":{"id":"half');
  const second = new FileStore(path, "t", "i");
  assert.deepEqual(
    (await second.open()).entries.map((entry) => entry.id),
    ["a"],
  );
  await second.append(draft("b"));
  await second.close();
  const third = new FileStore(path, "t", "i");
  assert.deepEqual(
    (await third.open()).entries.map((entry) => [entry.id, entry.number]),
    [
      ["a", 1],
      ["b", 2],
    ],
  );
  await third.close();
});

test("one process has a directory, a process that died does not, and another room's is left alone", async (t) => {
  const path = await directory(t);
  const first = new FileStore(path, "t", "i");
  await first.open();
  await assert.rejects(new FileStore(path, "t", "i").open(), /in use/);
  await first.close();
  await writeFile(join(path, "lock"), JSON.stringify({ pid: 999_999_999, host: hostname(), at: 0, word: "w" }));
  const second = new FileStore(path, "t", "i");
  await second.open();
  await second.close();
  const text = await readFile(join(path, "outbox.jsonl"), "utf8");
  await assert.rejects(new FileStore(path, "other", "i").open(), /another room/);
  assert.equal(await readFile(join(path, "outbox.jsonl"), "utf8"), text);
});

test("what was sent is repeated as it stands, what was not may still change", async (t) => {
  const store = new FileStore(await directory(t), "t", "i");
  await store.open();
  await Promise.all([store.append(draft("a")), store.append(draft("b"))]);
  await store.claim(["a", "gone"]);
  assert.equal(await store.rewrite({ id: "a", base: 7, body: {} }), false);
  assert.equal(await store.rewrite({ id: "b", base: 7, body: { new: true } }), true);
  const { entries } = await store.open();
  assert.deepEqual(
    entries.map(({ id, sent, base }) => [id, sent, base]),
    [
      ["a", true, undefined],
      ["b", false, 7],
    ],
  );
  await store.close();
});

/** A store like any other, until it is full. */
class FullStore extends MemoryStore implements Store {
  isFull = true;

  override append(entry: Draft) {
    return this.isFull ? Promise.reject(new Error("the quota is used up")) : super.append(entry);
  }
}

test("where storage is full it is said, writes go on in memory, and nothing is lost", async (t) => {
  const node = await TestNode.start(t);
  const store = new FullStore();
  const client = connect(t, { url: node.url, instance: "a", store });
  await client.online();
  await node.kill();
  await until(client.connection, (status) => status.state === "waiting");
  const [first, second] = [client.send("n", 1), client.send("n", 2)];
  assert.equal(await first.stored, "memory");
  assert.deepEqual(
    [client.sync.snapshot().storage, client.sync.snapshot().storageReason],
    ["memory", "the quota is used up"],
  );
  await second.stored;
  // Once there is room again, what found none is stored first.
  store.isFull = false;
  await client.send("n", 3).stored;
  assert.deepEqual(
    (await store.open()).entries.map((entry) => entry.body),
    [1, 2, 3],
  );
  assert.equal(client.sync.snapshot().storageReason, undefined);
  await node.start();
  await client.outbox.flushed();
  const seen = [];
  for await (const record of client.history()) seen.push(record.data);
  assert.deepEqual(seen, [1, 2, 3]);
});

test("where storage is forbidden it is said, and writes go on in memory", async (t) => {
  const node = await TestNode.start(t);
  const store = new MemoryStore();
  store.open = () => Promise.reject(new Error("the browser is in private mode"));
  store.append = () => Promise.reject(new Error("the browser is in private mode"));
  const client = connect(t, { url: node.url, instance: "a", store });
  assert.equal((await client.publish("n", 1)).durability, "stored");
  assert.match(client.sync.snapshot().storageReason ?? "", /private mode/);
});

test("a directory is one under all its names, and for each thread and copy of this module", async (t) => {
  const path = await directory(t);
  const first = new FileStore(path, "t", "i");
  await first.open();
  await symlink(path, `${path}-link`);
  t.after(() => rm(`${path}-link`));
  for (const name of [`${path}/`, `${path}-link`, relative(process.cwd(), path)])
    await assert.rejects(new FileStore(name, "t", "i").open(), /in use/, name);
  const copy = new URL("../src/outbox/file.js?copy", import.meta.url).href;
  const { FileStore: Copied } = (await import(copy)) as { FileStore: typeof FileStore };
  await assert.rejects(new Copied(path, "t", "i").open(), /in use/);
  const thread = new Worker(
    `const { parentPort, workerData } = require("node:worker_threads");
     import(workerData.copy).then(({ FileStore }) => new FileStore(workerData.path, "t", "i").open())
       .then(() => parentPort.postMessage("open"), (error) => parentPort.postMessage(String(error)));`,
    { eval: true, workerData: { copy, path } },
  );
  t.after(() => thread.terminate());
  assert.match(await new Promise((hear) => thread.once("message", hear)), /in use/);
  await first.close();
  const second = new Copied(path, "t", "i");
  await second.open();
  await second.close();
});

test("of several that find a dead program's lock, one has the directory", async (t) => {
  const path = await directory(t);
  const file = new URL("../src/outbox/file.js", import.meta.url).href;
  for (let round = 0; round < 5; round += 1) {
    await writeFile(join(path, "lock"), JSON.stringify({ pid: 999_999_999, host: hostname(), at: 0, word: "w" }));
    const threads = Array.from(
      { length: 4 },
      () =>
        new Worker(
          `const { parentPort, workerData } = require("node:worker_threads");
           import(workerData.file).then(({ FileStore }) => {
             const store = new FileStore(workerData.path, "t", "i");
             parentPort.once("message", () => store.open()
               .then(() => parentPort.postMessage("open"), (error) => parentPort.postMessage(String(error))));
             parentPort.postMessage("ready");
           });`,
          { eval: true, workerData: { file, path } },
        ),
    );
    const said = () =>
      Promise.all(threads.map((thread) => new Promise<string>((hear) => thread.once("message", hear))));
    await said();
    const answers = said();
    for (const thread of threads) thread.postMessage("go");
    assert.equal((await answers).filter((answer) => answer === "open").length, 1);
    await Promise.all(threads.map((thread) => thread.terminate()));
  }
});

test("a call that was done is not refused because there is no room to write the file anew", async (t) => {
  const path = await directory(t);
  const store = new FileStore(path, "t", "i");
  await store.open();
  await mkdir(join(path, "outbox.next"));
  const long = { ...draft("a"), body: "x".repeat(9 * 2 ** 20) };
  assert.equal((await store.append(long)).number, 1);
  assert.equal((await store.append(draft("b"))).number, 2);
  await store.close();
});
