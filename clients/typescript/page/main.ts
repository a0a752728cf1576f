/** The page at `/client`: joining, and the stories that its buttons tell. Owns: their words and steps. */

import { part } from "./dom.js";
import { Pane } from "./pane.js";

const join = part<HTMLFormElement>(document, "#join");
const leave = part<HTMLButtonElement>(document, "#leave");
const room = part(document, "#room");
let panes: { ada: Pane; bob: Pane } | undefined;
/** What is being shown; a newer story ends an older one. */
let story = new AbortController();

join.onsubmit = (event) => {
  event.preventDefault();
  void start();
};
leave.onclick = () => void stop("Disconnected.");
for (const button of document.querySelectorAll<HTMLButtonElement>("[data-try]")) {
  button.onclick = () => void play(button.dataset.try ?? "");
}

async function start(): Promise<void> {
  await stop("Connecting…");
  const fields = new FormData(join);
  const options = { tenant: String(fields.get("tenant")), token: String(fields.get("token")) };
  const made = {
    ada: new Pane("a", "Ada", options, toldOfConflicts),
    bob: new Pane("b", "Bob", options, toldOfConflicts),
  };
  panes = made;
  room.hidden = false;
  leave.hidden = false;
  try {
    await Promise.all([made.ada.client.online(), made.bob.client.online()]);
    if (panes === made) told(`Ada and Bob are in the room “${options.tenant}”.`);
  } catch (error) {
    if (panes === made) told(`The node does not let them in: ${(error as Error).message}`);
  }
}

async function stop(words: string): Promise<void> {
  story.abort();
  const ended = panes;
  panes = undefined;
  room.hidden = true;
  leave.hidden = true;
  told(words);
  await Promise.all([ended?.ada.end(), ended?.bob.end()]);
}

function toldOfConflicts(): void {
  const open = panes ? panes.ada.conflicts.count + panes.bob.conflicts.count : 0;
  // Once shown it stays, so that nothing jumps away under the hand that chooses.
  if (open > 0) part(document, "#conflicts").hidden = false;
}

function told(words: string): void {
  part(document, "#told").textContent = words;
}

async function play(name: string): Promise<void> {
  const both = panes;
  const tell = stories[name];
  if (!both || !tell) return;
  story.abort();
  story = new AbortController();
  const { signal } = story;
  const say = (words: string) => {
    if (!signal.aborted) part(document, "#story").textContent = words;
  };
  try {
    await tell(both, say, signal);
  } catch (error) {
    say(`That did not work: ${(error as Error).message}`);
  }
}

type Story = (panes: { ada: Pane; bob: Pane }, say: (words: string) => void, signal: AbortSignal) => Promise<void>;

const stories: Record<string, Story> = {
  async say({ ada }, say, signal) {
    const op = ada.stream.publish("note.said", `Hello at ${time()}`);
    say("Ada said something: it stands in her stream at once, and waits for the node's answer.");
    const { version } = await op.wait({ signal });
    say(`The log has it as record ${version}; Bob got it too. Look at the stream.`);
  },

  async edit({ ada, bob }, say, signal) {
    await ready({ ada, bob }, signal);
    const ops = [ada.task.write({ title: `Ada's title, ${time()}` }, "merge"), bob.task.write({ done: true }, "merge")];
    say("Ada changed the title and Bob ticked the box, both at once.");
    await Promise.all(ops.map((op) => op.wait({ signal })));
    say("Both changes hold: they were about different fields, and both sides show the same.");
  },

  async cut({ ada, bob }, say, signal) {
    await ready({ ada, bob }, signal);
    bob.connection.cut();
    const op = bob.task.write({ title: `Bob's title, offline, ${time()}` }, "last_write_wins");
    say(
      "Bob's network is cut. What he wrote is shown to him and waits; Ada knows nothing of it. It goes on in 4 seconds.",
    );
    await pause(4000, signal);
    bob.connection.restore();
    say("Bob's network is back: he resumes where he was, and sends what waited.");
    const { version } = await op.wait({ signal });
    say(`What Bob wrote is version ${version} now, on both sides. “Last resume” says whether he missed anything.`);
  },

  async conflict({ ada, bob }, say, signal) {
    await ready({ ada, bob }, signal);
    say("Bob's network is cut, and both write the title. Bob wants to be asked if it clashes.");
    bob.connection.cut();
    const theirs = ada.task.write({ title: `Ada's idea, ${time()}` }, "merge");
    const his = bob.task.write({ title: `Bob's idea, ${time()}` }, "manual");
    await theirs.wait({ signal });
    bob.connection.restore();
    const { status } = await his.wait({ signal });
    if (status !== "pending") return say(`There was no conflict: Bob's write was ${status}.`);
    part(document, "#conflicts").hidden = false;
    say("A conflict: Ada's title stands, Bob's waits. Either of them may choose, under “Conflicts”.");
  },
};

/** Both online, and the task there for both. */
async function ready({ ada, bob }: { ada: Pane; bob: Pane }, signal: AbortSignal): Promise<void> {
  for (const { connection, client } of [ada, bob]) {
    connection.restore();
    await client.online({ signal });
  }
  const { status } = await ada.task.entity.load({ signal });
  if (status !== "present") await ada.task.write({ title: "A task" }).wait({ signal });
  while ((await bob.task.entity.load({ signal })).status !== "present") await changed(bob, signal);
}

function changed({ task }: Pane, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = task.entity.subscribe(() => {
      stop();
      resolve();
    });
    signal.addEventListener("abort", () => {
      stop();
      reject(signal.reason);
    });
  });
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

function time(): string {
  return new Date().toTimeString().slice(0, 8);
}
