import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { connect, eventually, until } from "./support/clients.js";
import { VirtualClock } from "./support/clock.js";
import { TestNode } from "./support/node.js";
import { BadProxy } from "./support/proxy.js";
import { ScriptedSocket } from "./support/scripted.js";

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

/** A client of a node that is played, with tokens that last so long by a clock that is so far ahead. */
async function renewed(t: TestContext, lasts: number, ahead: number, isKept = false) {
  ScriptedSocket.last = undefined;
  const clock = new VirtualClock();
  let asked = 0;
  const made = () => tokenOf((clock.wall() - ahead) / 1_000, lasts, asked);
  const kept = made();
  const source = () => {
    asked += 1;
    return isKept ? kept : made();
  };
  const nothing = async () => Response.json({ code: "not_found" }, { status: 404 });
  const client = connect(t, { url: "ws://played", clock, token: source, WebSocket: ScriptedSocket, fetch: nothing });
  await eventually(() => ScriptedSocket.last !== undefined);
  const socket = ScriptedSocket.last as unknown as ScriptedSocket;
  const heartbeat = { timeout_ms: 100_000_000 };
  socket.say({ event_type: "session_ready", data: { epoch: "00000000000000ff", position: 5, heartbeat } });
  await client.online();
  const before = asked;
  const auths = () => socket.sent.filter(({ event_type }) => event_type === "auth").length - 1;
  const pass = async (seconds: number) => {
    for (let second = 0; second < seconds; second += 1) {
      await clock.pass(1_000);
      await new Promise((go) => setImmediate(go));
      if (auths() > answered) {
        answered = auths();
        const expires_at = new Date(clock.wall() - ahead + lasts * 1_000).toISOString();
        socket.say({ event_type: "authenticated", data: { expires_at } });
      }
    }
  };
  let answered = 0;
  return { pass, auths, asked: () => asked - before };
}

function tokenOf(now: number, seconds: number, jti: number): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "none" })}.${part({ iat: now, exp: now + seconds, jti })}.x`;
}

test("a token is renewed in the last tenth of its life, or a minute before its end", async (t) => {
  const short = await renewed(t, 100, 0);
  await short.pass(89);
  assert.equal(short.asked(), 0);
  await short.pass(2);
  assert.equal(short.asked(), 1);
  const long = await renewed(t, 3_600, 0);
  await long.pass(3_539);
  assert.equal(long.asked(), 0);
  await long.pass(2);
  assert.deepEqual([long.asked(), long.auths()], [1, 1]);
});

test("where our clock is ahead, tokens are asked for as often as they end, and not all the time", async (t) => {
  const ahead = await renewed(t, 3_600, 7_200_000);
  await ahead.pass(600);
  assert.deepEqual([ahead.asked(), ahead.auths()], [0, 0]);
  await ahead.pass(3_600);
  assert.deepEqual([ahead.asked(), ahead.auths()], [1, 1]);
});

test("a source that keeps its token to the end is asked now and then, and the node is not told of what it has", async (t) => {
  const kept = await renewed(t, 600, 0, true);
  await kept.pass(600);
  assert.equal(kept.auths(), 0);
  assert.ok(kept.asked() >= 1 && kept.asked() <= 8, `${kept.asked()}`);
});

test("a source of tokens that never answers is given up, and asked again", async (t) => {
  const clock = new VirtualClock();
  const token = () => new Promise<string>(() => {});
  const client = connect(t, { url: "ws://played", clock, token, WebSocket: ScriptedSocket });
  await clock.pass(20_001);
  assert.match(client.status.state === "waiting" ? client.status.reason : client.status.state, /no token/);
});
