/** A store that takes its time, as IndexedDB does: what is typed meanwhile is joined with what waits, and none of it is lost. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryStore } from "../src/outbox/memory.js";
import { connect, until } from "./support/clients.js";
import { TestNode } from "./support/node.js";

/** A store each of whose calls takes some turns of the event loop. */
function slowStore(): MemoryStore {
  const slow = async () => {
    for (let turn = 0; turn < 5; turn += 1) await new Promise((go) => setImmediate(go));
  };
  return new Proxy(new MemoryStore(), {
    get(store, name) {
      const found = Reflect.get(store, name);
      if (typeof found !== "function") return found;
      return async (...values: unknown[]) => {
        await slow();
        const result = await found.apply(store, values);
        await slow();
        return result;
      };
    },
  });
}

test("letters that are typed while the store is busy all arrive, in their order", async (t) => {
  const node = await TestNode.start(t);
  const a = connect(t, { url: node.url, instance: "a", store: slowStore() });
  const b = connect(t, { url: node.url, instance: "b" });
  await a.entity("note", "n1").create({ body: "" }).settled;
  const [mine, theirs] = [a.entity("note", "n1").text("/body"), b.entity("note", "n1").text("/body")];
  theirs.subscribe(() => {});
  const typed = "what is typed while the store is busy ".repeat(8);
  for (const letter of typed) {
    const { length } = mine.snapshot();
    mine.splice({ at: length, deleted: 0, inserted: letter });
    for (let turn = 0; turn < length % 4; turn += 1) await new Promise((go) => setImmediate(go));
  }
  await a.outbox.flushed();
  assert.equal(await until(theirs, (text) => text.length >= typed.length), typed);
});
