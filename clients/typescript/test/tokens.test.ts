import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { connect, eventually, until } from "./support/clients.js";
import { TestNode } from "./support/node.js";
import { BadProxy } from "./support/proxy.js";

const SECRET = "a secret of thirty-two bytes or more, for tests";

function token(seconds: number): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Date.now() / 1_000;
  const claims = { iss: "test", aud: "continuum", tenant: "default", sub: "ada", exp: Math.floor(now + seconds) };
  const body = `${part({ alg: "HS256", typ: "JWT", kid: "k" })}.${part(claims)}`;
  return `${body}.${createHmac("sha256", SECRET).update(body).digest("base64url")}`;
}

async function strictNode(t: TestContext): Promise<TestNode> {
  const directory = await mkdtemp(join(tmpdir(), "continuum-issuers-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  await writeFile(join(directory, "secret"), SECRET);
  const issuer = `[[issuer]]\nissuer = "test"\naudience = "continuum"\ntenants = ["default"]\nkey = [{ id = "k", algorithm = "HS256", file = "secret" }]\n`;
  await writeFile(join(directory, "issuers.toml"), issuer);
  return TestNode.start(t, { settings: { "auth.mode": "token", "auth.issuers": join(directory, "issuers.toml") } });
}

test("a token is asked for at each connection, so that one that ended while there was no network does no harm", async (t) => {
  const node = await strictNode(t);
  const proxy = await BadProxy.start(t, node.port);
  let asked = 0;
  const source = () => {
    asked += 1;
    return token(3_600);
  };
  const client = connect(t, { url: proxy.url, instance: "a", token: source });
  await client.online();
  proxy.manners = { isDown: true };
  proxy.cut();
  await until(client.connection, (status) => status.state === "waiting");
  const before = asked;
  proxy.manners = {};
  await client.online();
  assert.ok(asked > before);
  assert.equal((await client.publish("n", 1)).durability, "stored");
});

test("a token is renewed on the open socket before it ends", async (t) => {
  const node = await strictNode(t);
  let asked = 0;
  const source = () => {
    asked += 1;
    return token(asked === 1 ? 5 : 3_600);
  };
  const client = connect(t, { url: node.url, instance: "a", token: source });
  await client.online();
  const states: string[] = [];
  client.on("status", ({ state }) => states.push(state));
  await eventually(() => asked === 2);
  // Beyond the end of the first one.
  const end = Date.now() + 6_000;
  await eventually(() => Date.now() > end);
  assert.deepEqual(states, []);
  assert.equal((await client.publish("n", 1)).durability, "stored");
});

test("a token that is no good blocks, says why, keeps what waits, and a better one goes on", async (t) => {
  const node = await strictNode(t);
  const client = connect(t, { url: node.url, instance: "a", token: "not.a.token" });
  const op = client.send("n", 1);
  const blocked = await until(client.connection, (status) => status.state === "blocked");
  assert.equal("code" in blocked && blocked.code, "unauthenticated");
  await assert.rejects(client.online(), { code: "unauthenticated" });
  assert.equal(client.sync.snapshot().pending, 1);
  client.renew(token(3_600));
  assert.equal((await op.settled).status, "confirmed");
});

test("a source of tokens that fails is asked again, and one that gives bad ones is asked once more and then no more", async (t) => {
  const node = await strictNode(t);
  let tries = 0;
  const failing = connect(t, {
    url: node.url,
    instance: "a",
    token: () => {
      tries += 1;
      if (tries < 3) throw new Error("the login page is away");
      return token(3_600);
    },
  });
  await failing.online();
  assert.equal(tries, 3);
  let asked = 0;
  const bad = connect(t, {
    url: node.url,
    instance: "b",
    token: () => {
      asked += 1;
      return "not.a.token";
    },
  });
  await until(bad.connection, (status) => status.state === "blocked");
  assert.equal(asked, 2);
});
