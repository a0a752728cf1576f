/** Two browser tabs and a Python process edit one text and one graph through two nodes, of which one is killed, and end equal. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { type Ending, TestNode } from "../support/node.js";
import { openDoor } from "./door.js";
import { launch, type Tab } from "./driver.js";
import { ROOT, startNats } from "./nodes.js";
import { servePage } from "./pages.js";

const TENANT = "together";
/** Rounds, and after which the node is killed. */
const ROUNDS = 12;
const KILLED_AFTER = 4;

interface State {
  text: string;
  node: Record<string, unknown>;
  edge: Record<string, unknown>;
}

test("two tabs and a Python process edit one text and one graph through two nodes, one is killed, and all end equal", async (t) => {
  const settings = await startNats(t);
  const one = await TestNode.start(t, { settings });
  const two = await TestNode.start(t, { settings });
  const browser = await launch("chromium");
  t.after(() => browser.close());
  const page = await servePage(t);
  // Ada and the Python process are at the node that dies, Bob is at the other.
  const first = await openDoor(t, [one.port, two.port]);
  const second = await openDoor(t, [two.port, one.port]);
  const ada = await enter(await browser.open(page), first.url, "ada");
  await ada.run("await note.create({ body: '' }).settled; await client.entity('node', 'root').create({}).settled");
  const bob = await enter(await browser.open(page, { apart: true }), second.url, "bob");
  await bob.until("return note.snapshot().status === 'present'");
  const python = startPython(t, first.url);
  await python.says("here");

  for (let n = 0; n < ROUNDS; n += 1) {
    if (n === KILLED_AFTER) await one.kill();
    python.write("\n");
    await Promise.all([write(ada, "ada", "é", n), write(bob, "bob", "𝄞", n), python.says(`wrote ${n}`)]);
  }
  await Promise.all(
    [ada, bob].map((tab) => tab.run("await client.outbox.flushed({ signal: AbortSignal.timeout(50000) })")),
  );
  // Nobody writes any more once what Python wrote is there too; what the node that lives says is what all have to come to.
  const last = `${ROUNDS - 1}🐍`;
  const log = await settled(two, last);
  python.write(`${log.version}\n`);
  const [hers, his, its] = await Promise.all([state(ada, log), state(bob, log), python.ends()]);
  assert.deepEqual(hers, his);
  assert.deepEqual(its, his);
  assert.equal(his.text, log.text);
  for (const [name, mark] of [
    ["ada", "é"],
    ["bob", "𝄞"],
    ["π", "🐍"],
  ] as const) {
    for (let n = 0; n < ROUNDS; n += 1) {
      const written = `[${name}${n}${mark}]`;
      assert.equal(his.text.split(written).length, 2, `${written} stands once in ${his.text}`);
    }
  }
  assert.equal(Object.keys(his.node).length, 3 * ROUNDS + 1);
  assert.equal(Object.keys(his.edge).length, 3 * ROUNDS);
  assert.equal(Object.keys(his.node.root as object).length, 3 * ROUNDS, "nobody's field of the root is lost");
});

async function enter(tab: Tab, url: string, instance: string): Promise<Tab> {
  await tab.run(
    `const [url, tenant, instance] = args;
     window.client = new continuum.ContinuumClient({ url, tenant, instance, random: () => Math.random() / 20 });
     window.note = client.entity("note", "shared");
     window.body = note.text("/body");
     note.subscribe(() => {});
     window.nodes = client.follow({ query: { entity_type: "node" } });
     window.edges = client.follow({ query: { entity_type: "edge" } });
     await client.online();`,
    url,
    TENANT,
    instance,
  );
  return tab;
}

/** One round: between two words in the middle of the text, a node with an edge, a field of the root. */
async function write(tab: Tab, name: string, mark: string, n: number): Promise<void> {
  await tab.run(
    `const [name, mark, n] = args;
     const text = body.snapshot();
     const place = text.indexOf("[", text.length / 2);
     body.splice({ at: place < 0 ? text.length : place, deleted: 0, inserted: "[" + name + n + mark + "]" });
     client.entity("node", name + "-" + n).create({ x: n, y: 0 });
     client.entity("edge", name + "-" + n).create({ from: "root", to: name + "-" + n });
     client.entity("node", "root").update({ [name + n]: n });`,
    name,
    mark,
    n,
  );
}

async function entity(node: TestNode): Promise<{ version: number; text: string }> {
  const answer = await fetch(`${node.http}/v1/tenants/${TENANT}/entities/note/shared`);
  const { version, data } = (await answer.json()) as { version: number; data: { body: string } };
  return { version, text: data.body };
}

/** The text of the log once this is in it, which is the last that is written. */
async function settled(node: TestNode, last: string): Promise<{ version: number; text: string }> {
  const end = Date.now() + 60_000;
  for (;;) {
    const found = await entity(node);
    if (found.text.includes(last)) return found;
    if (Date.now() > end) throw new Error(`${last} does not come into ${found.text}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function state(tab: Tab, log: { version: number }): Promise<State> {
  return tab.until<State>(
    `const [version, count] = args;
     const { status, data, version: here, pending } = note.snapshot();
     const [n, e] = [nodes.snapshot(), edges.snapshot()];
     const root = n.items.find(({ id }) => id === "root");
     if (status !== "present" || here < version || pending || n.status !== "live" || e.status !== "live") return null;
     if (n.items.length < count + 1 || e.items.length < count || Object.keys(root.data).length < count) return null;
     const graph = ({ items }) => Object.fromEntries(items.map(({ id, data }) => [id, data]));
     return { text: data.body, node: graph(n), edge: graph(e) };`,
    log.version,
    3 * ROUNDS,
  );
}

function startPython(test: Ending, url: string) {
  const program = join(ROOT, ".tools/venv/bin/python");
  const script = join(ROOT, "clients/typescript/test/browser/writer.py");
  const child = spawn(program, [script, url, TENANT, String(ROUNDS)], {
    env: { ...process.env, PYTHONPATH: join(ROOT, "clients/python/src") },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  test.after(async () => {
    child.kill("SIGKILL");
  });
  const next = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error("the Python process ended");
    return value;
  };
  return {
    write: (words: string) => child.stdin.write(words),
    says: async (words: string) => assert.equal(await next(), words),
    ends: async () => JSON.parse(await next()) as State,
  };
}
