/** The hooks with React itself and a real node: what they show, under StrictMode and behind server rendering. */

import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { Activity, type ReactNode, StrictMode } from "react";
import { renderToString } from "react-dom/server";
import { ContinuumClient } from "../../src/index.js";
import {
  ContinuumProvider,
  useClient,
  useConflicts,
  useConnection,
  useEntity,
  useMutation,
  usePresence,
  useQuery,
  useSyncStatus,
} from "../../src/react/index.js";
import { until } from "../browser/nodes.js";
import { TestNode } from "../support/node.js";
import { Shown } from "./dom.js";

const node = await TestNode.start({ after });
let rooms = 0;
const ends: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A room of its own for a test. */
function room(): string {
  rooms += 1;
  return `react-${rooms}`;
}

function client(tenant: string, instance: string): ContinuumClient {
  const made = new ContinuumClient({ url: node.url, tenant, instance, store: "memory" });
  ends.push(() => made.close());
  return made;
}

function shown(under: ContinuumClient, children: ReactNode): Shown {
  const made = new Shown();
  ends.push(() => made.end());
  return made.show(
    <StrictMode>
      <ContinuumProvider client={under}>{children}</ContinuumProvider>
    </StrictMode>,
  );
}

/** Waits until this is shown. */
async function reads(place: Shown, words: string): Promise<void> {
  await until(() => place.text.includes(words), `"${words}" in "${place.text}"`).catch((error: Error) => {
    throw new Error(`${error.message}; it reads "${place.text}"; ${place.complaints.join("; ")}`);
  });
  assert.deepEqual(place.complaints, []);
}

/** What tasks read as, one after the other: some of it is there for a moment only. */
const read: string[] = [];

function Task({ id }: { id: string }) {
  const { status, data, version, pending } = useEntity("task", id);
  const words = `${status} ${data?.title} ${pending > 0 ? "waits" : `settled ${version > 0}`}`;
  read.push(words);
  return <p>{words}</p>;
}

test("an entity is shown at once when it is written here, and when others write it", async () => {
  const tenant = room();
  const [ada, bob] = [client(tenant, "ada"), client(tenant, "bob")];
  await Promise.all([ada.online(), bob.online()]);
  const place = shown(ada, <Task id="t1" />);
  await reads(place, "absent");
  ada.entity("task", "t1").create({ title: "bread" });
  await reads(place, "present bread settled true");
  assert.ok(read.includes("present bread waits"), read.join());
  await bob.entity("task", "t1").update({ title: "milk" }).settled;
  await reads(place, "present milk settled true");
});

test("another id shows another entity", async () => {
  const tenant = room();
  const ada = client(tenant, "ada");
  await ada.entity("task", "t1").create({ title: "bread" }).settled;
  await ada.entity("task", "t2").create({ title: "milk" }).settled;
  const place = shown(ada, <Task id="t1" />);
  await reads(place, "bread");
  place.show(
    <StrictMode>
      <ContinuumProvider client={ada}>
        <Task id="t2" />
      </ContinuumProvider>
    </StrictMode>,
  );
  await reads(place, "milk");
});

function Open() {
  // The interest is written anew with each rendering.
  const { status, items } = useQuery({ query: { entity_type: "task", where: "state == 'open'" } });
  return (
    <p>
      {status}: {items.map(({ id }) => id).join(",")}.
    </p>
  );
}

test("a query follows what others do, and is opened once", async () => {
  const tenant = room();
  const [ada, bob] = [client(tenant, "ada"), client(tenant, "bob")];
  await bob.entity("task", "t1").create({ state: "open" }).settled;
  let opened = 0;
  const follow = ada.follow.bind(ada);
  const open = new Set<object>();
  ada.follow = (interest) => {
    opened += 1;
    const result = follow(interest);
    open.add(result);
    const close = result.close.bind(result);
    result.close = () => {
      open.delete(result);
      close();
    };
    return result;
  };
  const place = shown(ada, <Open />);
  await reads(place, "live: t1.");
  await bob.entity("task", "t2").create({ state: "open" }).settled;
  await reads(place, "live: t1,t2.");
  await bob.entity("task", "t1").update({ state: "done" }).settled;
  await reads(place, "live: t2.");
  assert.equal(open.size, 1);
  assert.ok(opened <= 2, `rendering again opens nothing; StrictMode opens twice, and it was ${opened} times`);
  place.end();
  await until(() => open.size === 0, "the end of what was followed");
});

function Writer({ id }: { id: string }) {
  const { mutate, status, settled, writing } = useMutation((client, title: string) =>
    client.entity("task", id).update({ title }),
  );
  return (
    <button type="button" onClick={() => mutate("milk")}>
      {status} {settled?.code ?? "none"} {writing}
    </button>
  );
}

test("a mutation says what became of its write", async () => {
  const tenant = room();
  const ada = client(tenant, "ada");
  await ada.online();
  const place = shown(ada, <Writer id="t1" />);
  await reads(place, "idle none 0");
  const press = () => place.container.querySelector("button")?.click();
  press();
  await reads(place, "rolled_back not_found 0");
  await ada.entity("task", "t1").create({ title: "bread" }).settled;
  press();
  await reads(place, "confirmed none 0");
});

function Who() {
  const { members, total } = usePresence({ mood: "good" });
  return (
    <p>
      {members.map(({ instance, data }) => `${instance} ${JSON.stringify(data ?? null)}`).join(",")} of {total}
    </p>
  );
}

test("presence shows the others and what they say of themselves", async () => {
  const tenant = room();
  const [ada, bob] = [client(tenant, "ada"), client(tenant, "bob")];
  await Promise.all([ada.online(), bob.online()]);
  const [hers, his] = [shown(ada, <Who />), shown(bob, <Who />)];
  await reads(hers, 'bob {"mood":"good"} of 2');
  await reads(his, 'ada {"mood":"good"} of 2');
  await bob.close();
  await reads(hers, "of 1");
});

function Chooser() {
  const { conflicts, resolve } = useConflicts();
  return (
    <p>
      {conflicts.length} open
      {conflicts.map((conflict) => (
        <button type="button" key={conflict.conflictId} onClick={() => resolve(conflict, "proposed")}>
          choose
        </button>
      ))}
    </p>
  );
}

test("a conflict is shown and resolved", async () => {
  const tenant = room();
  const [ada, bob] = [client(tenant, "ada"), client(tenant, "bob")];
  const { version } = await ada.entity("task", "t1").create({ title: "bread" }).settled;
  await ada.entity("task", "t1").update({ title: "milk" }).settled;
  await bob.online();
  const place = shown(ada, [<Chooser key="c" />, <Task key="t" id="t1" />]);
  await reads(place, "0 open");
  const his = bob.entity("task", "t1");
  await his.load();
  const { status } = await his.update({ title: "soy" }, { baseVersion: version, strategy: "manual" }).settled;
  assert.equal(status, "pending");
  await reads(place, "1 open");
  place.container.querySelector("button")?.click();
  await reads(place, "0 open");
  await reads(place, "soy");
});

function Status() {
  return (
    <p>
      {useConnection().state} {useSyncStatus().status} {useSyncStatus().pending}
    </p>
  );
}

test("both statuses are shown, also without a node", async (t) => {
  const other = await TestNode.start(t);
  const ada = new ContinuumClient({ url: other.url, instance: "ada", store: "memory" });
  ends.push(() => ada.close());
  const place = shown(ada, <Status />);
  await reads(place, "online synced 0");
  await other.kill();
  await until(() => ada.status.state !== "online", "the loss");
  ada.entity("task", "t1").create({ title: "bread" });
  await reads(place, "synced 1");
  assert.match(place.text, /waiting|connecting/);
});

test("what a server renders is the state before anything is known, and hydrates without a word from React", async () => {
  const tenant = room();
  const ada = client(tenant, "ada");
  await ada.entity("task", "t1").create({ title: "bread" }).settled;
  const page = (
    <StrictMode>
      <ContinuumProvider client={ada}>
        <Task id="t1" />
        <Open />
        <Who />
        <Chooser />
        <Status />
      </ContinuumProvider>
    </StrictMode>
  );
  // This client knows more already; the page must not, or the two would differ.
  await ada.entity("task", "t1").load();
  const html = renderToString(page);
  assert.match(html, /loading/);
  assert.match(html, /idle/);
  const place = new Shown().hydrate(html, page);
  ends.push(() => place.end());
  await reads(place, "present bread settled true");
  await reads(place, "online synced 0");
});

function Made({ tenant, instance }: { tenant: string; instance: string }) {
  // The options are written anew with each rendering, the token too.
  return (
    <StrictMode>
      <ContinuumProvider options={{ url: node.url, tenant, instance, store: "memory", token: () => "any" }}>
        <Status />
        <Me />
      </ContinuumProvider>
    </StrictMode>
  );
}

function Me() {
  return <i>{useClient().instance}</i>;
}

test("a client that the provider makes survives StrictMode and rendering again, and leaves with it", async () => {
  const tenant = room();
  const watcher = client(tenant, "watcher");
  await watcher.online();
  const comings: string[] = [];
  watcher.presence.onJoin(({ instance }) => comings.push(`${instance} came`));
  watcher.presence.onLeave(({ instance }) => comings.push(`${instance} went`));
  const place = new Shown().show(<Made tenant={tenant} instance="ada" />);
  ends.push(() => place.end());
  await reads(place, "online synced 0ada");
  place.show(<Made tenant={tenant} instance="ada" />);
  place.show(<Made tenant={tenant} instance="bob" />);
  await reads(place, "online synced 0bob");
  place.end();
  await until(() => comings.includes("bob went"), `bob's leaving in ${comings}`);
  const counts = ["ada came", "ada went", "bob came", "bob went"].map(
    (word) => comings.filter((it) => it === word).length,
  );
  assert.deepEqual(counts, [1, 1, 1, 1], comings.join());
});

test("a provider that is hidden for a while is online again when it is shown", async () => {
  const tenant = room();
  const options = { url: node.url, tenant, instance: "ada", store: "memory" as const };
  const page = (mode: "visible" | "hidden") => (
    <Activity mode={mode}>
      <ContinuumProvider options={options}>
        <Status />
      </ContinuumProvider>
    </Activity>
  );
  const watcher = client(tenant, "watcher");
  const place = new Shown().show(page("visible"));
  ends.push(() => place.end());
  await reads(place, "online synced 0");
  await until(() => watcher.presence.snapshot().members.length === 1, "her coming");
  place.show(page("hidden"));
  await until(() => watcher.presence.snapshot().members.length === 0, "her leaving");
  place.show(page("visible"));
  await until(() => watcher.presence.snapshot().members.length === 1, "her coming again");
  await reads(place, "online synced 0");
});

test("a hook without a provider says so", () => {
  assert.throws(() => renderToString(<Status />), /no <ContinuumProvider> around/);
});
