/** The console at /console in real browsers, as an operator uses it: over two nodes, with and without the grants, by keyboard, on a phone. */

import assert from "node:assert/strict";
import { after, type TestContext, test } from "node:test";
import { connect } from "../support/clients.js";
import { TestNode } from "../support/node.js";
import { type Browser, KEYS, launchBoth, type Tab } from "./driver.js";
import { nodeWithTokens, startNats } from "./nodes.js";

const settings = await startNats({ after });
const one = await TestNode.start({ after }, { settings });
const two = await TestNode.start({ after }, { settings });
const shut = await nodeWithTokens({ after });
const browsers = await launchBoth({ after });

const VIEWS = ["overview", "stream", "entities", "conflicts", "graph", "journal", "figures"];

const reads = (tab: Tab, selector: string, words: string) =>
  tab.until(
    "return [...document.querySelectorAll(args[0])].some((it) => it.checkVisibility() && it.textContent.includes(args[1]))",
    selector,
    words,
  );

/** A light of a row in a panel: its colour and its words. */
const lamp = (tab: Tab, panel: string, name: string) =>
  tab.run<[string, string] | null>(
    `const row = [...document.querySelectorAll(args[0] + " tbody tr")].find((row) => row.cells[0].textContent.includes(args[1]));
     const lamp = row?.querySelector(".lamp");
     return lamp ? [lamp.dataset.light, lamp.textContent] : null;`,
    panel,
    name,
  );

const shines = (tab: Tab, panel: string, name: string, light: string) =>
  tab.until(
    `const row = [...document.querySelectorAll(args[0] + " tbody tr")].find((row) => row.cells[0].textContent.includes(args[1]));
     return row?.querySelector(".lamp")?.dataset.light === args[2];`,
    panel,
    name,
    light,
  );

/** Opens the console where nobody asks for a token. */
async function enter(browser: Browser, room: string, view = "overview"): Promise<Tab> {
  const tab = await browser.open();
  await tab.go(`${one.http}/console#/${room}/${view}`);
  await reads(tab, "[data-part=line]", "live");
  return tab;
}

/** Somebody in the room, at the other node. */
async function somebody(t: TestContext, room: string, instance: string) {
  const client = connect(t, { url: two.url, tenant: room, instance, store: "memory" });
  await client.online();
  return client;
}

const goTo = (tab: Tab, view: string) => tab.click(`nav a[data-view=${view}]`);

for (const browser of browsers) {
  const { name } = browser;

  test(`${name}: it shows both nodes, who comes and goes, what is said, what changed, and settles what clashes`, async (t) => {
    const room = `walk-${name}`;
    const tab = await enter(browser, room);
    await tab.until(
      `const lamps = [...document.querySelectorAll(".nodes tbody .lamp")];
       return lamps.length === 2 && lamps.every((lamp) => lamp.dataset.light === "green");`,
    );
    assert.ok((await tab.run<number>("return document.querySelectorAll('.links .link.green').length")) >= 3);
    const ada = await somebody(t, room, "ada");
    await shines(tab, ".instances", "ada", "green");
    await reads(tab, ".rooms tbody th", room);

    await goTo(tab, "stream");
    await ada.publish("decision_made", { decision: "<img src=x onerror=alert(1)>" });
    await ada.publish("memory_added", { user_message: "hello" });
    await reads(tab, ".records .words", "<img src=x");
    await tab.fill("[data-part=types]", "memory_*");
    await tab.until("return document.querySelectorAll('.records li').length === 1");
    await tab.click("button[type=reset]");
    await tab.until("return document.querySelectorAll('.records li').length === 2");
    await tab.click("[data-part=stop]");
    await ada.publish("memory_added", { user_message: "while it stood still" });
    await reads(tab, "[data-part=count]", "1 more came");
    await tab.click("[data-part=stop]");
    await reads(tab, ".records .words", "while it stood still");
    assert.equal(await tab.run("return document.querySelectorAll('main img').length"), 0);

    const task = ada.entity("task", "t1");
    await task.create({ title: "bread", amount: 1 }).settled;
    await task.update({ title: "brown bread" }).settled;
    await goTo(tab, "entities");
    await tab.click("button[data-key='task/t1']");
    await reads(tab, ".differences ins", "brown ");
    await reads(tab, ".entity [data-part=content]", "brown bread");
    await task.update({ amount: 2, title: "milk" }).settled;
    await reads(tab, ".differences del", "brown bread");
    await tab.click(".entity [data-part=versions] li:last-child button");
    await reads(tab, "[data-part=against]", "What it began with");

    const { version } = await task.load();
    await task.update({ title: "oat milk", amount: 3 }).settled;
    const bob = await somebody(t, room, "bob");
    const late = bob
      .entity("task", "t1")
      .update({ title: "soy milk", amount: 4 }, { strategy: "manual", baseVersion: version });
    assert.equal((await late.settled).status, "pending");
    await goTo(tab, "conflicts");
    await reads(tab, "article.conflict [data-side=current]", "oat milk");
    await reads(tab, "article.conflict [data-side=proposed]", "soy milk");
    assert.ok(await tab.run("return document.querySelector('[data-part=settle]').disabled"));
    await tab.click("article.conflict tr:nth-child(1) [data-side=proposed] input");
    await tab.click("article.conflict tr:nth-child(2) [data-side=current] input");
    await tab.click("[data-part=settle]");
    await tab.until("return document.querySelectorAll('article.conflict').length === 0");
    await reads(tab, "#notices", "Settled: task t1");
    const settled = await fetch(`${two.http}/v1/tenants/${room}/entities/task/t1`);
    const standing = (await settled.json()) as { data: object; conflicts: unknown[] };
    assert.deepEqual([standing.data, standing.conflicts], [{ title: "soy milk", amount: 3 }, []]);

    await goTo(tab, "overview");
    await ada.close();
    await reads(tab, ".instances .gone .lamp", "away for");
    await goTo(tab, "journal");
    await reads(tab, "[data-part=journal] .lamp", "empty");
    await shines(tab, "[data-part=shards]", "0", "green");
    await goTo(tab, "figures");
    await tab.until("return document.querySelector('.chart .line').getAttribute('d') !== ''");

    assert.deepEqual(tab.said, []);
    const strangers = tab.requests.filter((url) => new URL(url).host !== new URL(one.http).host);
    assert.deepEqual(strangers, []);
    await tab.close();
  });

  test(`${name}: the graph moves, shows the others, and passes on what Gonzai notices`, async (t) => {
    const room = `graph-${name}`;
    const ada = await somebody(t, room, "ada");
    for (const [id, x, y] of [
      ["n1", 0, 0],
      ["n2", 200, 100],
    ] as const) {
      await ada.entity("node", id).create({ label: `thought ${id}`, x, y }).settled;
    }
    await ada.entity("edge", "e1").create({ from: "n1", to: "n2" }).settled;
    const tab = await enter(browser, room, "graph");
    await tab.until(
      "return document.querySelectorAll('.canvas .n').length === 2 && document.querySelectorAll('.edge').length === 1",
    );
    await ada.entity("node", "n3").create({ label: "thought n3" }).settled;
    await tab.until("return document.querySelectorAll('.canvas .n').length === 3");
    const place = () => tab.run<string>("return document.querySelector('[data-id=n2]').getAttribute('transform')");
    const before = await place();
    await ada.entity("node", "n2").update({ x: 90, y: 160 }).settled;
    await tab.until(
      "return document.querySelector('[data-id=n2]').getAttribute('transform') === 'translate(90.0 160.0)'",
    );
    assert.notEqual(before, await place());
    ada.signal("cursor.move", { x: 50, y: 40 });
    ada.signal("selection.change", { nodes: ["n2"] });
    await reads(tab, ".pointer text", "ada");
    await tab.until("return document.querySelector('.ring')?.dataset.id === 'n2'");
    await reads(tab, "[data-part=people]", "ada selected thought n2");

    await tab.click(".canvas [data-id=n1] .dot");
    await reads(tab, "[data-part=selected] h3", "thought n1");
    // What one is busy with is not answered: that it holds is seen by something being noticed.
    const noticed = () => tab.run<boolean>("return document.querySelectorAll('.gonzai li').length > 0");
    for (let n = 0; n < 100 && !(await noticed()); n += 1) {
      await ada.entity("node", "n1").update({ label: `thought n1, ${n}` }).settled;
    }
    await reads(tab, ".gonzai", "you are focused on this node");
    ada.signal("gonzai.suggestion", { from: "n1", to: "n3", text: "These belong together." });
    await reads(tab, ".gonzai", "These belong together.");
    await tab.until("return document.querySelectorAll('.proposal').length === 1");
    await tab.click(".gonzai li:first-child button:last-child");
    await tab.until(
      "return document.querySelectorAll('.edge').length === 2 && document.querySelectorAll('.proposal').length === 0",
    );

    await ada.entity("node", "n2").delete().settled;
    await tab.until(
      "return document.querySelectorAll('.canvas .n').length === 2 && document.querySelectorAll('.edge').length === 1",
    );
    await tab.run("document.querySelector('[data-id=n1]').focus()");
    await tab.press(KEYS.enter);
    assert.deepEqual(tab.said, []);
    await tab.close();
  });

  // In Chromium alone.
  if (name === "chromium") {
    test(`${name}: it can be used with the keyboard alone, and what has the focus shows it`, async (t) => {
      const room = `keys-${name}`;
      const ada = await somebody(t, room, "ada");
      for (let n = 0; n < 5; n += 1) await ada.publish("note.said", { n });
      const tab = await enter(browser, room);
      const focused = () =>
        tab.run<{ words: string; outline: string; stop: boolean }>(
          `const it = document.activeElement, style = getComputedStyle(it);
         return { words: (it.getAttribute("aria-label") ?? it.textContent).trim(), outline: style.outlineStyle, stop: it !== document.body };`,
        );
      const passed = new Set<string>();
      for (let n = 0; n < 14; n += 1) {
        await tab.press(KEYS.tab);
        const { words, outline, stop } = await focused();
        if (!stop) continue;
        assert.notEqual(outline, "none", `nothing shows that '${words}' has the focus`);
        passed.add(words.split(" ")[0] ?? "");
      }
      for (const words of ["Other", "Colours:", "Keys", "Overview", "Stream", "Graph", "Figures"]) {
        assert.ok(passed.has(words), `Tab does not lead to '${words}': ${[...passed]}`);
      }
      await tab.press("2");
      await tab.until("return document.activeElement.matches('h2') && document.activeElement.textContent === 'Stream'");
      await tab.until("return document.querySelectorAll('.records li').length === 5");
      await tab.press("/");
      await tab.type("p?5");
      assert.equal(await tab.run("return document.activeElement.value"), "p?5", "what is written is no command");
      await tab.press("a", KEYS.control);
      await tab.press(KEYS.delete);
      for (let n = 0; n < 6 && (await focused()).words.startsWith("#") === false; n += 1) await tab.press(KEYS.tab);
      const first = (await focused()).words;
      await tab.press(KEYS.down);
      assert.notEqual((await focused()).words, first, "an arrow leads to the next record");
      await tab.press(KEYS.enter);
      await reads(tab, ".records pre", "note.said");
      await tab.press("?");
      await tab.until("return document.querySelector('dialog').open");
      await tab.press(KEYS.escape);
      await tab.until("return !document.querySelector('dialog').open");
      await tab.press("p");
      await tab.until("return document.querySelector('[data-part=stop]').getAttribute('aria-pressed') === 'true'");
      await tab.press("7");
      await tab.until("return document.activeElement.textContent === 'Figures'");
      assert.deepEqual(tab.said, []);
      await tab.close();
    });
  }

  test(`${name}: it fits a phone, in the dark and in the light`, async (t) => {
    const room = `phone-${name}`;
    const ada = await somebody(t, room, `ada-with-a-rather-long-name-${"x".repeat(60)}`);
    await ada.publish("memory_added", { user_message: "x".repeat(400) });
    await ada.entity("node", "n1").create({ label: "y".repeat(200), body: "z".repeat(300) }).settled;
    const tab = await enter(browser, room);
    for (const dark of [true, false]) {
      await tab.look({ width: 390, height: 844, dark });
      for (const view of VIEWS) {
        await goTo(tab, view);
        await tab.until("return document.querySelector('nav [aria-current]')?.dataset.view === args[0]", view);
        if (view === "entities") await tab.click("button[data-key='node/n1']");
        const [page = 0, screen = 0] = await tab.run<number[]>(
          "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]",
        );
        assert.ok(page <= screen, `${view} is ${page} wide on ${screen}`);
        const small = await tab.run<string[]>(
          `return [...document.querySelectorAll("button:not(.link), input:not([type=checkbox], [type=radio]), nav a")]
             .filter((it) => it.checkVisibility() && it.getBoundingClientRect().height < 44).map((it) => it.outerHTML)`,
        );
        assert.deepEqual(small, [], `${view}: a finger needs 44 pixels`);
      }
    }
    await tab.close();
  });

  test(`${name}: who may not look after the node sees the room and is told so kindly; who may sees all of it`, async (t) => {
    const tab = await browser.open();
    await tab.go(`${shut.node.http}/console`);
    await reads(tab, "#door", "asks for a token");
    await tab.fill("[name=token]", "no-such-key");
    await tab.click("#door .main");
    await reads(tab, "#door [data-part=told]", "does not take this token");
    const key = await shut.key("ada");
    await tab.fill("[name=token]", key);
    await tab.click("#door .main");
    await reads(tab, "[data-part=line]", "live");
    await reads(tab, ".nodes .note", "not for the nodes");
    await reads(tab, ".rooms .note", "not for the rooms");
    await reads(tab, ".rooms tbody th", "default");
    await reads(tab, ".instances .note", "not for how far each is behind");
    const bob = connect(t, { url: shut.node.url, instance: "bob", token: await shut.key("bob"), store: "memory" });
    await bob.publish("decision_made", { decision: "kind words" });
    await shines(tab, ".instances", "bob", "green");
    await goTo(tab, "stream");
    await reads(tab, ".records .words", "kind words");
    await goTo(tab, "journal");
    await reads(tab, "[data-part=journal] .note", "not for the journal");
    await reads(tab, "[data-part=shards] .note", "not for the log's shards");
    await goTo(tab, "figures");
    await tab.until("return document.querySelector('.chart .line').getAttribute('d') !== ''");
    assert.ok(
      !(
        await tab.run<string>("return location.href + document.body.outerHTML + JSON.stringify({ ...localStorage })")
      ).includes(key),
    );

    await tab.click("#leave");
    await tab.fill("[name=token]", shut.admin);
    await tab.click("#door .main");
    await goTo(tab, "overview");
    await shines(tab, ".nodes", "this one", "green");
    assert.match((await lamp(tab, ".nodes", "this one"))?.[1] ?? "", /ready/);
    await reads(tab, ".rooms tbody th", "default");
    await tab.close();
  });
}

test("a node that is killed turns red, and so is told", async (t) => {
  const [browser] = browsers;
  assert.ok(browser);
  const tab = await enter(browser, "killed");
  const third = await TestNode.start(t, { settings });
  await shines(tab, ".nodes", String(third.port), "green");
  await third.kill();
  await shines(tab, ".nodes", String(third.port), "red");
  assert.match((await lamp(tab, ".nodes", String(third.port)))?.[1] ?? "", /gone, last heard/);
  await reads(tab, "#notices", "fell silent");
  await tab.close();
});

test("however much is said, what is shown stays bounded", async () => {
  const [browser] = browsers;
  assert.ok(browser);
  const room = "flood";
  const tab = await enter(browser, room, "stream");
  const post = async (path: string, of: (n: number) => object) => {
    const body = JSON.stringify(Array.from({ length: 1_000 }, (_, n) => of(n)));
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`${two.http}/v1/tenants/${room}/${path}`, { method: "POST", headers, body });
    assert.ok(answer.ok, String(answer.status));
  };
  const said = (round: number) => (n: number) => ({ event_type: "note.said", instance_id: "many", data: { round, n } });
  await post("events", said(1));
  await post("events", said(2));
  await reads(tab, ".records .words", "round: 2 · n: 999");
  await reads(tab, "[data-part=count]", "300 of 1,000 shown");
  assert.equal(await tab.run("return document.querySelectorAll('.records li').length"), 300);
  await post("operations", (n) => ({
    instance_id: "many",
    op_id: `op-${n}`,
    entity_type: "node",
    entity_id: `n${n}`,
    action: "create",
    data: { label: `thought ${n}` },
  }));
  await goTo(tab, "graph");
  await reads(tab, "[data-part=count]", "400 nodes");
  await reads(tab, "[data-part=count]", "more than can be drawn");
  assert.equal(await tab.run("return document.querySelectorAll('.canvas .n').length"), 400);
  await goTo(tab, "entities");
  await reads(tab, "[data-part=count]", "200 of 200 and more");
  assert.deepEqual(tab.said, []);
  await tab.close();
});
