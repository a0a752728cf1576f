/** What of the console needs no browser: lights, differences, figures, the graph and its places, addresses. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { lightOfNode, nodesOf } from "../console/cluster.js";
import { differences, MOST, split } from "../console/diff.js";
import { bytes, span, took } from "../console/format.js";
import { placed } from "../console/graph/layout.js";
import { EDGES, GraphModel, NODES } from "../console/graph/model.js";
import { lightOfLag } from "../console/lag.js";
import { lightOf } from "../console/lights.js";
import { KEPT, parse, Readings } from "../console/metrics.js";
import { hashOf, parsePlace } from "../console/place.js";

test("a light is green under 60 s, yellow under 300 s, then red, and grey where nothing is known", () => {
  assert.deepEqual([0, 59.9, 60, 299.9, 300, undefined].map(lightOf), [
    "green",
    "green",
    "yellow",
    "yellow",
    "red",
    "grey",
  ]);
  assert.deepEqual(lightOfLag({ records: 0, seconds: 0, isMore: false }), ["green", "in step"]);
  assert.deepEqual(lightOfLag({ records: 1200, seconds: 320, isMore: true }), [
    "red",
    "more than 1,200 behind, 5 min 20 s",
  ]);
});

test("a node that is missing in the answer is gone and stays so, unless one came in its place", () => {
  const node = (id: string, name: string) => ({ id, name, is_self: id === "a", heard_ms_ago: 100, status: "ready" });
  const both = nodesOf({ nodes: [node("a", "h:1"), node("b", "h:2")] }, [], 1_000);
  const one = nodesOf({ nodes: [node("a", "h:1")] }, both, 2_000);
  assert.deepEqual(
    one.map(({ id, isGone }) => [id, isGone]),
    [
      ["a", false],
      ["b", true],
    ],
  );
  assert.equal(lightOfNode(one[1] as never, 3_000)[0], "red");
  const still = nodesOf({ nodes: [node("a", "h:1")] }, one, 3_000);
  assert.deepEqual(
    still.map(({ id }) => id),
    ["a", "b"],
  );
  const again = nodesOf({ nodes: [node("a", "h:1"), node("c", "h:2")] }, still, 4_000);
  assert.deepEqual(
    again.map(({ id }) => id),
    ["a", "c"],
  );
  assert.equal(lightOfNode(again[1] as never, 4_000)[0], "green");
  assert.equal(lightOfNode(again[1] as never, 20_000)[0], "yellow");
});

test("differences name what was added, removed and changed, and are bounded", () => {
  const found = differences(
    { a: 1, b: { c: [1, 2], "d/e": null }, gone: true },
    { a: 2, b: { c: [1, 3], "d/e": null }, came: "x" },
  );
  assert.deepEqual(
    found.map(({ path, kind }) => [path, kind]),
    [
      ["/a", "changed"],
      ["/b/c/1", "changed"],
      ["/gone", "removed"],
      ["/came", "added"],
    ],
  );
  const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`f${n}`, n]));
  assert.equal(differences({}, many).length, MOST);
  assert.deepEqual(split("one 🙂 two", "one 🙃 two"), { head: "one ", gone: "🙂", came: "🙃", tail: " two" });
  assert.deepEqual(split("bread", "brown bread"), { head: "", gone: "", came: "brown ", tail: "bread" });
  assert.deepEqual(split("milk", "milk and bread"), { head: "milk", gone: "", came: " and bread", tail: "" });
  assert.deepEqual(split("n1-a", "n1-b"), { head: "", gone: "n1-a", came: "n1-b", tail: "" });
});

test("rates and quantiles are of what came between two readings, and the window is bounded", () => {
  const readings = new Readings();
  const text = (count: number, fast: number) =>
    `# HELP x y\nstored_total{room="a b"} ${count}\nstored_total{room="c"} 1\n` +
    `wait_bucket{le="0.1"} ${fast}\nwait_bucket{le="0.2"} ${count}\nwait_bucket{le="+Inf"} ${count}\n`;
  readings.add({ at: 0, sample: parse(text(100, 0)) });
  assert.equal(readings.rate("stored_total"), undefined);
  readings.add({ at: 2_000, sample: parse(text(200, 50)) });
  assert.equal(readings.rate("stored_total"), 50);
  assert.equal(readings.gauge("stored_total"), 201);
  assert.equal(readings.gauge("stored"), undefined);
  assert.equal(readings.quantile("wait", 0.25)?.toFixed(3), "0.050");
  assert.equal(readings.quantile("wait", 0.75)?.toFixed(3), "0.150");
  readings.add({ at: 4_000, sample: parse(text(0, 0)) });
  assert.equal(readings.rate("stored_total"), undefined, "a node that was started anew counts from nothing");
  assert.equal(readings.quantile("wait", 0.5), undefined);
  for (let at = 0; at < 2 * KEPT; at += 1) readings.add({ at, sample: parse("") });
  assert.equal(readings.count, KEPT);
});

test("the graph keeps the later version whichever comes first, hides edges without ends, and is bounded", () => {
  const model = new GraphModel();
  assert.ok(model.take("node/a", { x: 1 }, 5));
  model.takeItem({ entity_type: "node", entity_id: "a", version: 4, data: { x: 0 } });
  assert.deepEqual(model.nodes.get("a")?.data, { x: 1 });
  model.take("edge/e", { source: "a", target: "b" }, 6);
  assert.equal(model.edges.length, 0);
  model.take("node/b", {}, 7);
  assert.deepEqual(
    model.edges.map(({ from, to }) => [from, to]),
    [["a", "b"]],
  );
  model.take("node/b", null, 9);
  model.takeItem({ entity_type: "node", entity_id: "b", version: 7, data: {} });
  assert.deepEqual([...model.nodes.keys()], ["a"], "an older page does not bring back what was deleted");
  assert.equal(model.take("task/t", {}, 10), false);
  for (let n = 0; n < NODES + EDGES; n += 1) {
    model.take(`node/m${n}`, {}, 10);
    model.take(`edge/m${n}`, { from: "a", to: "a" }, 10);
  }
  assert.deepEqual(
    [model.nodes.size, model.edges.length, model.isCut],
    [NODES, EDGES - 1, true],
    "one of the edges has lost its end",
  );
});

test("nodes lie where they say, stay where they were drawn, and find a place apart from others", () => {
  const node = (id: string, data = {}) => ({ id, version: 1, data });
  const first = placed([node("a", { x: 10, y: 20 }), node("b"), node("c")], [], new Map());
  assert.deepEqual(first.get("a"), { x: 10, y: 20 });
  const [b, c] = [first.get("b"), first.get("c")];
  assert.ok(b && c && Math.hypot(b.x - c.x, b.y - c.y) > 40);
  const again = placed([node("a", { x: 99, y: 20 }), node("b"), node("c")], [], first);
  assert.deepEqual([again.get("a"), again.get("b"), again.get("c")], [{ x: 99, y: 20 }, b, c]);
});

test("an address leads back to its place, whatever an id holds", () => {
  const place = { tenant: "acme", view: "entities", entity: "note/a/b #ü%" } as const;
  assert.deepEqual(parsePlace(hashOf(place)), place);
  assert.deepEqual(parsePlace(""), { tenant: "default", view: "overview", entity: undefined });
  assert.deepEqual(parsePlace("#/%E0%A4%A/nowhere"), { tenant: "%E0%A4%A", view: "overview", entity: undefined });
});

test("figures are short", () => {
  assert.deepEqual(
    [bytes(0), bytes(1023), bytes(1536), bytes(5e9), bytes(undefined)],
    ["0 B", "1023 B", "1.5 KiB", "4.7 GiB", "–"],
  );
  assert.deepEqual([took(0.00042), took(0.0042), took(0.42), took(4.2)], ["420 µs", "4.2 ms", "420 ms", "4.2 s"]);
  assert.deepEqual([3, 61, 3_600, 90_000].map(span), ["3 s", "1 min 1 s", "1 h 0 min", "1 d 1 h"]);
});
