import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";
import { isPassing, LOCAL_CODES, PROTOCOL } from "../src/index.js";
import { field, isContent, type Json } from "../src/json.js";
import { messageOf } from "../src/outbox/message.js";
import { tell } from "../src/state/told.js";
import { refusal } from "../src/transport/http.js";
import { type Meaning, read } from "../src/wire/message.js";
import { ROOT } from "./support/node.js";

const protocol = readFileSync(resolve(ROOT, "docs/protocol.md"), "utf8");
const openapi = JSON.parse(readFileSync(resolve(ROOT, "docs/openapi.json"), "utf8"));
const manifest = JSON.parse(readFileSync(resolve(ROOT, "clients/typescript/package.json"), "utf8"));

interface Example {
  readonly name: string;
  readonly message: Record<string, Json>;
}

/** What a node sends, as the page shows it; both envelopes, written as the first. */
function examples(kind: string): Example[] {
  const blocks = protocol.matchAll(new RegExp(`^\`\`\`json ${kind} (.+)\\n([\\s\\S]*?)^\`\`\``, "gm"));
  return [...blocks].map(([, name = "", text = ""]) => {
    const { type, event, ...rest } = JSON.parse(text);
    if (event !== undefined) rest.data = { ...rest.data, event };
    return { name, message: type === undefined ? rest : { event_type: type, event_id: rest.id, ...rest } };
  });
}

const KINDS: Readonly<Record<string, Meaning["kind"]>> = {
  session_ready: "ready",
  instance_joined: "joined",
  instance_left: "left",
  presence_changed: "crowd",
  "record signed": "record",
  "update.confirmed": "fate",
  "update.rollback": "fate",
  "update.retry": "fate",
  "update.conflict_resolved": "fate",
  "update.conflict_resolved variant": "fate",
  "update.conflict_pending": "fate",
  sync_response: "other",
  pong: "other",
};

test("every message of the protocol's page reads as what it is", () => {
  const all = examples("server");
  assert.ok(all.length > 15, "the page has examples");
  for (const { name, message } of all) {
    assert.equal(read(message).meaning.kind, KINDS[name] ?? name, name);
  }
});

test("every record of an entity on the protocol's page tells which one and how it stands", () => {
  const all = [...examples("server"), ...examples("ws server")].filter(({ message }) => message.seq !== undefined);
  assert.ok(all.length > 15, "the page has records");
  for (const { name, message } of all) {
    const told = tell(read(message));
    const isEvent = /^record|embedding_complete/.test(name);
    const isOpened = name.startsWith("conflict.");
    assert.equal(told.kind, isEvent ? "event" : isOpened ? "open" : "entity", name);
    if (told.kind === "entity") assert.equal(told.data === null, name.includes("delete"), name);
  }
});

test("every part of a result on the protocol's page is known as one", () => {
  const all = examples("ws server").filter(({ name }) => /^(region|ids|query)\./.test(name));
  assert.ok(all.length >= 8);
  for (const { name, message } of all) assert.equal(read(message).meaning.kind, "interest", name);
});

test("every operation's answer on the protocol's page reads as its fate", () => {
  const all = examples("ws server").filter(({ name }) => name.startsWith("update."));
  assert.ok(all.length >= 6);
  for (const { name, message } of all) assert.equal(read(message).meaning.kind, "fate", name);
});

test("every problem document on the protocol's page is an error with the node's code", () => {
  const blocks = [...protocol.matchAll(/^```http response\n(\d+)\n(?:[A-Za-z-]+: .*\n)*\n(\{[\s\S]*?)^```/gm)];
  const problems = blocks.filter(([, status]) => Number(status) >= 400);
  assert.ok(problems.length > 10, "the page has refusals");
  for (const [, status, text = ""] of problems) {
    const body: unknown = JSON.parse(text);
    const error = refusal(Number(status), body);
    assert.deepEqual([error.code, error.status], [field(body, "code"), Number(status)]);
  }
});

test("a write has the fields that the node's description of operations and events has, and no other", () => {
  const { Operation, Publish } = openapi.components.schemas;
  const blank = { id: "i", number: 1, replica: "r", opNumber: 1, sent: false, writtenAt: 0, base: 3 };
  const operation = messageOf({
    ...blank,
    kind: "operation",
    type: "task",
    entity: "t1",
    body: { action: "update", patch: {} },
  });
  const sent = field(operation.data, "event");
  assert.ok(isContent(sent));
  for (const name of Object.keys(sent)) assert.ok(Object.hasOwn(Operation.properties, name), `operation.${name}`);
  for (const name of Operation.required)
    assert.ok(name === "instance_id" || Object.hasOwn(sent, name), `operation.${name}`);
  const event = messageOf({ ...blank, kind: "event", type: "note", entity: undefined, body: {} });
  for (const name of Object.keys(event)) assert.ok(Object.hasOwn(Publish.properties, name), `event.${name}`);
});

test("what is read of a record, a member, a conflict and a page is what the node's description has", () => {
  const { schemas } = openapi.components;
  const has = (schema: string, names: readonly string[]) => {
    const parts = [schemas[schema], ...(schemas[schema].allOf ?? [])];
    const followed = parts.flatMap((part) => (part.$ref ? [schemas[part.$ref.split("/").at(-1)]] : [part]));
    const known = new Set(followed.flatMap((part) => Object.keys(part.properties ?? {})));
    for (const name of names) assert.ok(known.has(name), `${schema}.${name}`);
  };
  has("Record", ["seq", "prev", "event_type", "event_id", "timestamp", "instance_id", "data"]);
  has("Instance", ["instance_id", "connected_at", "capabilities", "user_id", "user_name"]);
  has("OpenItem", ["entity_type", "entity_id", "version", "kind", "conflict_id", "base", "proposed", "paths", "by"]);
  has("History", ["events", "cursor", "more", "resync"]);
  has("Stored", ["event_id", "seq", "duplicate", "status"]);
  has("Entity", ["version", "data"]);
  has("Versions", ["versions", "more", "before", "trimmed"]);
  has("Operated", ["outcome", "updateId", "version", "duplicate", "resolution", "overwritten"]);
  has("Problem", ["code", "detail", "title", "retry_after_ms", "version", "current", "conflict_id"]);
  assert.deepEqual(schemas.Strategy.enum.filter((word: string) => word !== "user_choice").sort(), [
    "last_write_wins",
    "manual",
    "merge",
    "version",
  ]);
});

test("a refusal passes if the protocol says that it does, and a code of ours is none of the node's", () => {
  const rows = [...protocol.matchAll(/^\| `([a-z_]+)` \| (\d{3}) \| (.*) \|$/gm)];
  assert.ok(rows.length > 40, "the page has a table of codes");
  const codes = new Map(rows.map(([, code = "", status, meaning = ""]) => [code, { status: Number(status), meaning }]));
  for (const code of Object.values(LOCAL_CODES)) assert.ok(!codes.has(code), code);
  for (const [code, { status, meaning }] of codes) {
    if (isPassing(code, undefined)) assert.ok([429, 500, 503].includes(status), code);
    if (/repeat (with|after)/.test(meaning) && status === 503) assert.ok(isPassing(code, undefined), code);
  }
});

test("the package's major version is the protocol's", () => {
  const ready = examples("server").find(({ name }) => name === "session_ready");
  assert.equal(field(ready?.message.data, "protocol"), PROTOCOL);
  assert.equal(Number(manifest.version.split(".")[0]), PROTOCOL);
});
