/** Several tabs of one browser as one instance: one sends, and what any of them kept is sent whoever is closed. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "../support/clients.js";
import { TestNode } from "../support/node.js";
import { openDoor } from "./door.js";
import { launchBoth, type Tab } from "./driver.js";
import { flushed, join, logged, online } from "./members.js";
import { until } from "./nodes.js";
import { servePage } from "./pages.js";

const node = await TestNode.start({ after });
const page = await servePage({ after });
const browsers = await launchBoth({ after });

/** Writes so many events, and waits until each is kept; where. */
const write = (tab: Tab, from: number, count: number) =>
  tab.run<string[]>(
    `const [from, count] = args;
     const ops = Array.from({ length: count }, (_, n) => client.send("note.said", { n: from + n }));
     return [...new Set(await Promise.all(ops.map((op) => op.stored)))];`,
    from,
    count,
  );

const numbered = (count: number) => Array.from({ length: count }, (_, n) => ({ n }));

for (const browser of browsers) {
  const { name } = browser;

  test(`${name}: of two tabs one has the connection, both write, and both see the same`, async (t) => {
    const tenant = `tabs-${name}`;
    const watcher = connect(t, { url: node.url, tenant, instance: "watcher" });
    await watcher.online();
    const tabs = [await browser.open(page), await browser.open(page)] as const;
    for (const tab of tabs) await join(tab, node.url, tenant, "ada");
    assert.deepEqual((await Promise.all(tabs.map(online))).sort(), ["tab", "websocket"]);
    await until(() => watcher.presence.snapshot().members.length === 1, "one instance");
    const [first, second] = tabs;
    for (const tab of tabs) {
      await tab.run("window.task = client.entity('task', 't1'); task.subscribe(() => {}); await task.load()");
    }
    await first.run("await task.create({ title: 'bread', done: false }).settled");
    await second.until("return task.snapshot().data?.title === 'bread'");
    assert.equal(await second.run("return (await task.update({ done: true }).settled).status"), "confirmed");
    await first.until("return task.snapshot().data?.done === true");
    for (const tab of tabs) assert.deepEqual(tab.said, []);
    for (const tab of tabs) await tab.close();
    await until(() => watcher.presence.snapshot().members.length === 0, "nobody");
  });

  test(`${name}: a tab that is closed in the middle of writing leaves nothing unsent behind`, async (t) => {
    const tenant = `closed-${name}`;
    const door = await openDoor(t, [node.port]);
    const [first, second] = [await browser.open(page), await browser.open(page)];
    await join(first, door.url, tenant, "ada");
    assert.equal(await online(first), "websocket");
    await join(second, door.url, tenant, "ada");
    assert.equal(await online(second), "tab");
    door.shut();
    await first.until("return client.status.state !== 'online'");
    assert.deepEqual(await write(first, 0, 20), ["disk"]);
    await first.close();
    door.open();
    await second.until("return client.status.transport === 'websocket'");
    await flushed(second);
    // A tab that has just begun to send reads what was kept, and counts it as waiting only then.
    await until(async () => (await logged(node, tenant, "note.said")).length >= 20, "20 records");
    assert.deepEqual(await logged(node, tenant, "note.said"), numbered(20));
    await second.close();
  });

  test(`${name}: a tab that is closed while it sends has each of its writes sent once`, async () => {
    const tenant = `sending-${name}`;
    const [first, second] = [await browser.open(page), await browser.open(page)];
    await join(first, node.url, tenant, "ada");
    assert.equal(await online(first), "websocket");
    await join(second, node.url, tenant, "ada");
    assert.equal(await online(second), "tab");
    // Some are acknowledged by then, some on their way, some wait.
    assert.deepEqual(await write(first, 0, 300), ["disk"]);
    await first.close();
    await second.until("return client.status.transport === 'websocket'");
    await flushed(second);
    // A tab that has just begun to send reads what was kept, and counts it as waiting only then.
    await until(async () => (await logged(node, tenant, "note.said")).length >= 300, "300 records");
    assert.deepEqual(await logged(node, tenant, "note.said"), numbered(300));
    await second.close();
  });

  test(`${name}: what waited when the last tab was closed is sent by the next`, async (t) => {
    const tenant = `later-${name}`;
    const door = await openDoor(t, [node.port]);
    const first = await browser.open(page);
    await join(first, door.url, tenant, "ada");
    await online(first);
    door.shut();
    await first.until("return client.status.state !== 'online'");
    assert.deepEqual(await write(first, 0, 5), ["disk"]);
    await first.close();
    door.open();
    const next = await browser.open(page);
    await join(next, door.url, tenant, "ada");
    await online(next);
    await flushed(next);
    // A tab that has just begun to send reads what was kept, and counts it as waiting only then.
    await until(async () => (await logged(node, tenant, "note.said")).length >= 5, "5 records");
    assert.deepEqual(await logged(node, tenant, "note.said"), numbered(5));
    await next.close();
  });
}
