/** The page at /client in real browsers, as a person uses it: joined, its stories told, its network cut, its conflict resolved. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { TestNode } from "../support/node.js";
import { KEYS, launchBoth, type Tab } from "./driver.js";
import { nodeWithTokens, ROOT } from "./nodes.js";

const open = await TestNode.start({ after });
const shut = await nodeWithTokens({ after });
const browsers = await launchBoth({ after });

/** What stands in a part of Ada's or Bob's half. */
const part = (topic: string, side: "a" | "b", name: string) => `[data-of=${topic}] .${side} [data-part=${name}]`;

const reads = (tab: Tab, selector: string, words: string) =>
  tab.until("return document.querySelector(args[0])?.textContent.includes(args[1])", selector, words);

const values = (tab: Tab, selector: string) =>
  tab.run<string[]>("return [...document.querySelectorAll(args[0])].map((field) => field.value)", selector);

/** Opens the page and joins a room. */
async function join(tab: Tab, node: TestNode, room: string): Promise<void> {
  await tab.go(`${node.http}/client`);
  await tab.fill("[name=tenant]", room);
  await tab.click("#join button.main");
  await reads(tab, "#told", "are in the room");
}

async function plays(tab: Tab, story: string, end: string): Promise<void> {
  await tab.click(`[data-try=${story}]`);
  await reads(tab, "#story", end);
}

for (const browser of browsers) {
  const { name } = browser;

  test(`${name}: the page tells its stories, complains of nothing, and asks its own node alone`, async () => {
    const tab = await browser.open();
    await join(tab, open, `stories-${name}`);
    await plays(tab, "say", "The log has it");
    await reads(tab, "[data-of=stream] .b ol", "Hello at");
    await plays(tab, "edit", "Both changes hold");
    const [hers, his] = await values(tab, "[data-part=title]");
    assert.match(hers ?? "", /Ada's title/);
    assert.equal(his, hers);
    await plays(tab, "cut", "What Bob wrote is version");
    await reads(tab, part("connection", "b", "resumed"), "complete");
    await plays(tab, "conflict", "A conflict:");
    await tab.click("[data-of=conflicts] .a [data-choice=merged]");
    await tab.until("return document.querySelectorAll('.conflicts li').length === 0");
    await tab.until(
      "return [...document.querySelectorAll('[data-part=title]')].every(({ value }) => / \\/ Bob's idea/.test(value))",
    );
    assert.deepEqual(tab.said, []);
    const strangers = tab.requests.filter((url) => new URL(url).host !== new URL(open.http).host);
    assert.deepEqual(strangers, []);
    await tab.close();
  });

  test(`${name}: a title is written on what stood there when its typing began, and whose it replaces is told`, async () => {
    const tab = await browser.open();
    await join(tab, open, `typing-${name}`);
    await tab.fill(part("task", "a", "title"), "bread");
    await tab.press(KEYS.enter);
    await reads(tab, part("task", "b", "state"), "version");
    await tab.fill(part("task", "a", "title"), "mine");
    await tab.fill(part("task", "b", "title"), "theirs");
    await tab.press(KEYS.enter);
    await reads(tab, part("task", "b", "fates"), "confirmed");
    await tab.until(
      "return document.querySelector(args[0])?.textContent === document.querySelector(args[1])?.textContent",
      part("task", "a", "state"),
      part("task", "b", "state"),
    );
    assert.deepEqual(await values(tab, "[data-part=title]"), ["mine", "theirs"]);
    await tab.click(part("task", "a", "title"));
    await tab.press(KEYS.enter);
    await reads(tab, part("task", "a", "fates"), "theirs");
    await tab.close();
  });

  test(`${name}: what is written while the network is cut is shown at once, waits, and arrives`, async () => {
    const tab = await browser.open();
    await join(tab, open, `cut-${name}`);
    await tab.fill(part("task", "a", "title"), "bread");
    await tab.press(KEYS.enter);
    await reads(tab, part("task", "b", "state"), "version");
    await tab.click(part("connection", "b", "cut"));
    await reads(tab, part("connection", "b", "badge"), "waiting");
    await tab.fill(part("task", "b", "title"), "milk");
    await tab.press(KEYS.enter);
    await reads(tab, part("task", "b", "state"), "1 write waits");
    await reads(tab, part("task", "b", "confirmed"), "title: bread");
    assert.deepEqual(await values(tab, "[data-part=title]"), ["bread", "milk"]);
    await tab.fill(part("stream", "a", "say"), "while he was away");
    await tab.press(KEYS.enter);
    await reads(tab, "[data-of=stream] .a ol", "stored");
    await tab.click(part("connection", "b", "cut"));
    await reads(tab, part("connection", "b", "badge"), "online");
    await tab.until(
      "return [...document.querySelectorAll('[data-part=title]')].every(({ value }) => value === 'milk')",
    );
    await reads(tab, part("task", "b", "fates"), "confirmed, version");
    await reads(tab, "[data-of=stream] .b ol", "while he was away");
    await reads(tab, part("connection", "b", "resumed"), "complete, 1 missed");
    await tab.close();
  });

  test(`${name}: two write into one text, and both sides end equal with every plane of Unicode`, async () => {
    const tab = await browser.open();
    await join(tab, open, `text-${name}`);
    await tab.fill(part("task", "a", "title"), "a text");
    await tab.press(KEYS.enter);
    const [hers, his] = ["a", "b"].map((side) => `[data-of=text] .${side} textarea`);
    assert.ok(hers && his);
    await tab.click(hers);
    await tab.type("Grüße 👩‍👧 漢字 𠀀𰀀\u{e0021}\u{f0000}\u{100000}𝒳");
    await tab.until("return document.querySelectorAll('textarea')[1].value.endsWith('𝒳')");
    await tab.click(his);
    await tab.press(KEYS.end, KEYS.control);
    await tab.type("-Bob");
    // Ada's caret stays where she put it while Bob types behind it.
    await tab.click(hers);
    await tab.press(KEYS.home, KEYS.control);
    await tab.type("Ada🙂-");
    await tab.until(
      "const [a, b] = document.querySelectorAll('textarea'); return a.value === b.value && a.value === args[0]",
      "Ada🙂-Grüße 👩‍👧 漢字 𠀀𰀀\u{e0021}\u{f0000}\u{100000}𝒳-Bob",
    );
    await tab.close();
  });

  test(`${name}: the page can be used with the keyboard alone`, async () => {
    const tab = await browser.open();
    await tab.go(`${open.http}/client`);
    const focused = () => tab.run<string>("return document.activeElement.name || document.activeElement.textContent");
    const reach = async (words: string) => {
      for (let n = 0; n < 40; n += 1) {
        if ((await focused()) === words) return;
        await tab.press(KEYS.tab);
      }
      assert.fail(`Tab does not lead to '${words}'`);
    };
    await reach("Connect");
    await tab.press(KEYS.enter);
    await reads(tab, "#told", "are in the room");
    await reach("Let Ada say something");
    await tab.press(KEYS.enter);
    await reads(tab, "#story", "The log has it");
    await reach("Cut the network");
    await tab.press(KEYS.space);
    await reads(tab, part("connection", "a", "badge"), "waiting");
    await tab.close();
  });

  test(`${name}: where the node asks for a token, the page does, and says what is wrong with one`, async () => {
    const tab = await browser.open();
    await tab.go(`${shut.node.http}/client`);
    await tab.click("#join button.main");
    await reads(tab, "#told", "does not let them in");
    await tab.fill("[name=token]", "no-such-key");
    await tab.click("#join button.main");
    await reads(tab, "#told", "does not let them in");
    await reads(tab, part("connection", "a", "badge"), "blocked");
    await tab.fill("[name=token]", await shut.key("ada"));
    await tab.click("#join button.main");
    await reads(tab, "#told", "are in the room");
    await tab.close();
  });

  test(`${name}: the page fits a phone`, async () => {
    const tab = await browser.open();
    await tab.look({ width: 390, height: 844 });
    await join(tab, open, `phone-${name}`);
    const widths = "return [document.documentElement.scrollWidth, innerWidth]";
    const [page = 0, screen = 0] = await tab.run<number[]>(widths);
    assert.ok(page <= screen, `${page} wide on ${screen}`);
    const small = await tab.run<string[]>(
      `return [...document.querySelectorAll("button, input:not([type=checkbox]), select")]
         .filter((it) => it.offsetParent && it.getBoundingClientRect().height < 44).map((it) => it.outerHTML)`,
    );
    assert.deepEqual(small, [], "a finger needs 44 pixels");
    await tab.close();
  });
}

test("the page's script is the build of the present sources", async () => {
  await promisify(execFile)(`${ROOT}/scripts/build-page`, ["--check"]);
});
