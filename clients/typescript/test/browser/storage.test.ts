/** Where a browser keeps nothing, or no more: the client says so, goes on in memory, and loses nothing. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { TestNode } from "../support/node.js";
import { openDoor } from "./door.js";
import { BROWSERS, launch } from "./driver.js";
import { flushed, join, logged, online } from "./members.js";
import { servePage } from "./pages.js";

const node = await TestNode.start({ after });
const page = await servePage({ after });

/** Each of 100 kB, more together than "storage small" holds. */
const COUNT = 40;

for (const name of BROWSERS) {
  test(`${name}: where storage is forbidden the client works in memory, and says why`, async (t) => {
    const browser = await launch(name, "storage forbidden");
    t.after(() => browser.close());
    const tenant = `forbidden-${name}`;
    const tab = await join(await browser.open(page), node.url, tenant, "ada");
    assert.equal(await online(tab), "websocket");
    assert.equal(await tab.run("return client.send('note.said', { n: 0 }).stored"), "memory");
    await flushed(tab);
    const { storage, storageReason } = await tab.run<{ storage: string; storageReason: string }>(
      "return client.sync.snapshot()",
    );
    assert.equal(storage, "memory");
    assert.match(storageReason, /denied|insecure|forbid/i);
    assert.deepEqual(await logged(node, tenant, "note.said"), [{ n: 0 }]);
    assert.deepEqual(tab.said, []);
  });

  test(`${name}: when storage is full, what finds no place waits in memory, and all arrives once`, async (t) => {
    const browser = await launch(name, "storage small");
    t.after(() => browser.close());
    const tenant = `full-${name}`;
    const door = await openDoor(t, [node.port]);
    const tab = await browser.open(page);
    await tab.allow(1_000_000);
    await join(tab, door.url, tenant, "ada");
    await online(tab);
    door.shut();
    await tab.until("return client.status.state !== 'online'");
    const stored = await tab.run<string[]>(
      `const filling = () => Array.from(crypto.getRandomValues(new Uint8Array(50_000)), (byte) => byte.toString(16).padStart(2, "0")).join("");
       const ops = Array.from({ length: args[0] }, (_, n) => client.send("note.said", { n, filling: filling() }));
       return Promise.all(ops.map((op) => op.stored));`,
      COUNT,
    );
    assert.equal(stored[0], "disk");
    assert.equal(stored.at(-1), "memory");
    const { storage, storageReason, pending } = await tab.run<{
      storage: string;
      storageReason: string;
      pending: number;
    }>("return client.sync.snapshot()");
    assert.deepEqual([storage, pending], ["memory", COUNT]);
    assert.match(storageReason, /quota|full|space|exceeded/i);
    door.open();
    await flushed(tab);
    const numbers = (await logged(node, tenant, "note.said")).map((data) => (data as { n: number }).n);
    assert.deepEqual(
      numbers,
      Array.from({ length: COUNT }, (_, n) => n),
    );
  });
}
