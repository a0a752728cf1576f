import assert from "node:assert/strict";
import { test } from "node:test";
import { wordFor } from "../src/room/freshness.js";
import { matcher } from "../src/room/patterns.js";
import { lay } from "../src/state/overlay.js";
import { jsonPatch, mergePatch } from "../src/state/patch.js";
import { apply, compose } from "../src/text/ops.js";
import { follow, opsBetween, opsOf, spliceBetween, splicesOf, wellFormed } from "../src/text/utf16.js";
import { EventReader } from "../src/transport/events.js";
import { parseBase } from "../src/transport/link.js";

test("places are code points on the wire and UTF-16 units here, and no pair is ever cut", () => {
  assert.deepEqual(opsOf({ at: 3, deleted: 0, inserted: "x" }, "a🌍b"), [2, "x"]);
  // In the middle of a pair: in front of it, and all of it.
  assert.deepEqual(opsOf({ at: 2, deleted: 0, inserted: "x" }, "a🌍b"), [1, "x"]);
  assert.deepEqual(opsOf({ at: 1, deleted: 1, inserted: "" }, "a🌍b"), [1, -1]);
  assert.deepEqual(splicesOf([1, "é", -1, 1, "!"], "a🌍b"), [
    { at: 4, deleted: 0, inserted: "!" },
    { at: 1, deleted: 2, inserted: "é" },
  ]);
  // What is typed for one half of a pair: the other half is the letter's that stands there.
  assert.equal(apply(opsOf({ at: 1, deleted: 1, inserted: "\ude01" }, "😀"), "😀"), "😁");
  assert.equal(apply(opsOf({ at: 1, deleted: 1, inserted: "\ud83d" }, "a\ud83c\ude01b"), "a\ud83c\ude01b"), "a😁b");
  // The two share their first half.
  assert.deepEqual(opsBetween("🌍", "🌎"), ["🌎", -1]);
  assert.equal(wellFormed("a\ud83cb\udf0d"), "a\ufffdb\ufffd");
});

test("what was typed stands where the caret is", () => {
  assert.deepEqual(spliceBetween("aa", "aaa", 1), { at: 0, deleted: 0, inserted: "a" });
  assert.deepEqual(spliceBetween("aa", "aaa", 3), { at: 2, deleted: 0, inserted: "a" });
  assert.deepEqual(spliceBetween("aaa", "aa", 1), { at: 1, deleted: 1, inserted: "" });
  assert.equal(spliceBetween("same", "same"), undefined);
});

test("every change of a text is found again from before and after", () => {
  const texts = ["", "a", "🌍", "a🌍b", "🌍🌎", "🌎🌍", "e\u0301", "x".repeat(50), "aXa", "aa", "👩🏽‍🔬 works"];
  for (const before of texts) {
    for (const after of texts) {
      for (const caret of [undefined, 0, 1, after.length]) {
        assert.equal(apply(opsBetween(before, after, caret), before), after, JSON.stringify({ before, after, caret }));
      }
      assert.equal(apply(compose(opsBetween(before, "aa"), opsBetween("aa", after)), before), after);
    }
  }
});

test("a caret follows what others write, and stays before what they insert right there", () => {
  const change = (at: number, deleted: number, inserted: string) => ({
    splices: [{ at, deleted, inserted }],
    by: "others" as const,
  });
  assert.equal(follow(5, change(0, 0, "abc")), 8);
  assert.equal(follow(5, change(5, 0, "abc")), 5);
  assert.equal(follow(5, change(7, 0, "abc")), 5);
  assert.equal(follow(5, change(3, 4, "")), 3);
});

test("a JSON patch does all of its steps or nothing", () => {
  const base = { list: [1, 2], a: { b: "x" } };
  assert.deepEqual(jsonPatch(base, [{ op: "add", path: "/list/-", value: 3 }]), { ...base, list: [1, 2, 3] });
  assert.deepEqual(jsonPatch(base, [{ op: "move", from: "/a/b", path: "/c" }]), { list: [1, 2], a: {}, c: "x" });
  assert.deepEqual(jsonPatch(base, [{ op: "remove", path: "/list/0" }]), { ...base, list: [2] });
  assert.deepEqual(jsonPatch(base, [{ op: "replace", path: "/a~1b", value: 1 }]), undefined);
  const steps = [
    { op: "add", path: "/d", value: 1 },
    { op: "test", path: "/a/b", value: "y" },
  ] as const;
  assert.equal(jsonPatch(base, steps), undefined);
  assert.deepEqual(base, { list: [1, 2], a: { b: "x" } });
});

test("names of prototypes are names like any other", () => {
  const patched = mergePatch({}, JSON.parse('{"__proto__": {"polluted": true}}')) as object;
  assert.ok(Object.hasOwn(patched, "__proto__"));
  assert.equal(({} as Record<string, unknown>).polluted, undefined);
  assert.equal(jsonPatch({}, [{ op: "replace", path: "/constructor", value: 1 }]), undefined);
});

test("what waits looks as the node will do it, and what cannot be done shows nothing", () => {
  assert.deepEqual(lay(null, { action: "put", patch: { a: 1, b: null } }), { a: 1 });
  assert.deepEqual(lay({ a: 1, c: 3 }, { action: "update", patch: { a: 2, c: null } }), { a: 2 });
  assert.deepEqual(lay({ a: "ab" }, { action: "update", text: { path: "/a", ops: [2, "c"] } }), { a: "abc" });
  assert.equal(lay({ a: 1 }, { action: "delete" }), null);
  assert.equal(lay(null, { action: "update", patch: { a: 1 } }), undefined);
  assert.equal(lay({ a: "ab" }, { action: "update", text: { path: "/a", ops: [3, "c"] } }), undefined);
});

test("one star in a type stands for any run of characters", () => {
  const is = matcher(["memory_*", "note", "a.*.z"]);
  assert.deepEqual(["memory_added", "memory_", "note", "notes", "a.b.z", "a.z"].map(is), [
    true,
    true,
    true,
    false,
    true,
    false,
  ]);
  assert.equal(matcher([])("anything"), true);
});

test("the words for ages are those of all clients", () => {
  assert.deepEqual([0, 59, 60, 299, 300].map(wordFor), ["synced", "synced", "recent", "recent", "stale"]);
  assert.equal(wordFor(undefined), "stale");
});

test("an event stream's lines are messages, and its comments signs of life", () => {
  const reader = new EventReader();
  const lines = [
    "retry: 10",
    "",
    ": heartbeat",
    "id: e.1",
    "event: note",
    'data: {"seq":1,',
    'data: "event_type":"note"}',
    "",
  ];
  const messages = lines.map((line) => reader.line(line)).filter((message) => message !== undefined);
  assert.deepEqual(messages, [
    { event_type: "heartbeat", data: {} },
    { seq: 1, event_type: "note" },
  ]);
  reader.line("event: advance");
  reader.line('data: {"from":1,"to":2}');
  assert.deepEqual(reader.line(""), { event_type: "advance", data: { from: 1, to: 2 } });
});

test("base addresses of both schemes mean the same node", () => {
  const base = { ws: "ws://host:1/behind", http: "http://host:1/behind" };
  for (const url of ["ws://host:1/behind", "http://host:1/behind/", "ws://host:1/behind/ws/sync"])
    assert.deepEqual(parseBase(url), base);
  assert.deepEqual(parseBase("https://host"), { ws: "wss://host", http: "https://host" });
  for (const url of ["ftp://host", "host", "ws://host?x=1", "ws://me@host"])
    assert.throws(() => parseBase(url), { code: "invalid_parameter" });
});
