// src/json.ts
function isContent(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// ../../../../tmp/h/uiproto/page/dom.ts
function part(within, selector) {
  const found = within.querySelector(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return found;
}
function half(topic, template, side, name) {
  const card = element("div", { className: `card half ${side}` }, element("h3", {}, name));
  card.append(part(document, `template#${template}`).content.cloneNode(true));
  card.setAttribute("role", "group");
  card.setAttribute("aria-label", name);
  part(document, `[data-of="${topic}"]`).append(card);
  return card;
}
function element(tag, fields = {}, ...children) {
  const made = Object.assign(document.createElement(tag), fields);
  made.append(...children);
  return made;
}
function badge(target, tone, text) {
  target.className = `badge ${tone}`;
  target.textContent = text;
}
function brief(value, longest = 120) {
  const text = isContent(value) ? Object.entries(value).map(([name, value2]) => `${name}: ${flat(value2)}`).join(" \xB7 ") : flat(value);
  return text.length > longest ? `${text.slice(0, longest)}\u2026` : text;
}
function flat(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

// ../../../../tmp/h/uiproto/fake.ts
var cell = (v) => ({ v, l: /* @__PURE__ */ new Set(), snapshot() {
  return this.v;
}, subscribe(f) {
  this.l.add(f);
  return () => this.l.delete(f);
}, set(v2) {
  this.v = v2;
  this.l.forEach((f) => f());
} });
var n = 40;
var ContinuumClient = class {
  instance;
  connection;
  sync;
  presence;
  conflicts;
  e;
  constructor(o) {
    this.instance = o.instance;
    const ada = o.userName === "Ada";
    this.connection = cell(ada ? { state: "online", transport: "websocket" } : { state: "waiting", since: Date.now(), retryInMs: 8e3, reason: "the network is cut" });
    this.sync = cell({ status: ada ? "synced" : "recent", ageS: ada ? 0 : 75, pending: ada ? 0 : 2, conflicted: 1, refused: 0, storage: "disk" });
    this.presence = cell({ members: [{ instance: ada ? "bob-1a2b" : "ada-77c1" }], total: 2 });
    this.conflicts = Object.assign(cell([{ type: "task", id: "shared", version: 9, kind: "conflict", conflictId: "c1", proposed: { title: "Bob's idea, 10:41:02" }, current: { title: "Ada's idea, 10:41:02" }, paths: ["/title"], by: { instance_id: "bob-1a2b" } }]), { resolve() {
    } });
    this.e = Object.assign(cell({ status: "present", data: { title: ada ? "Ada's idea, 10:41:02" : "Bob's idea", done: true, notes: "A text that both edit.\nSecond line \u{1F600}" }, confirmed: { title: "Ada's idea, 10:41:02", done: false }, version: 23, pending: ada ? 0 : 2 }), { update: () => ({ settled: new Promise(() => {
    }), wait: () => new Promise(() => {
    }) }), load: async () => this.e.v, text: () => Object.assign(cell("A text that both edit.\nSecond line \u{1F600}"), { onChange() {
      return () => {
      };
    }, set() {
    } }) });
  }
  on(name, f) {
    if (name === "record") setTimeout(() => {
      for (let i = 0; i < 6; i++) f({ seq: n++, type: ["memory_added", "note.said", "sync_event", "conflict.pending"][i % 4], instance: "ada-77c1", data: { text: "Hello at 10:41:02 and some longer words that wrap on a phone" } });
    }, 50);
    if (name === "resumed") f({ complete: true, missed: 3, exact: true });
    return () => {
    };
  }
  entity() {
    return this.e;
  }
  connect() {
  }
  async online() {
  }
  async close() {
  }
  send() {
    return { settled: Promise.resolve({ status: "confirmed", version: 77 }), wait: async () => ({ version: 77 }) };
  }
};

// ../../../../tmp/h/uiproto/page/conflicts.ts
var ConflictsHalf = class {
  #card;
  #client;
  #stops;
  constructor(client, side, name, told2) {
    this.#client = client;
    this.#card = half("conflicts", "conflicts-half", side, name);
    const show = () => {
      this.#show();
      told2();
    };
    this.#stops = [client.conflicts.subscribe(show), client.entity("task", "shared").subscribe(() => this.#show())];
    this.#show();
  }
  get count() {
    return this.#client.conflicts.snapshot().length;
  }
  end() {
    for (const stop2 of this.#stops) stop2();
    this.#card.remove();
  }
  #show() {
    const conflicts = this.#client.conflicts.snapshot();
    part(this.#card, '[data-part="none"]').hidden = conflicts.length > 0;
    const list = part(this.#card, '[data-part="list"]');
    const shown = JSON.stringify(conflicts.map((conflict) => [conflict, this.#current(conflict)]));
    if (list.dataset.shown === shown) return;
    list.dataset.shown = shown;
    list.replaceChildren(...conflicts.map((conflict) => this.#item(conflict)));
  }
  #item(conflict) {
    const current = this.#current(conflict);
    const rows = [
      ["Entity", `${conflict.type} ${conflict.id}`],
      ["Stands", current],
      [conflict.kind === "variant" ? "Kept beside it" : "Proposed", conflict.proposed],
      ["By", conflict.by?.instance_id]
    ];
    const table = element("dl");
    for (const [name, value] of rows) {
      if (value !== void 0)
        table.append(element("div", {}, element("dt", {}, name), element("dd", {}, brief(value))));
    }
    const choices = element("div", { className: "buttons" });
    const choose = (words, choice, act) => {
      const button = element("button", { type: "button", onclick: () => void act() }, words);
      button.dataset.choice = choice;
      choices.append(button);
    };
    const once = (act) => () => {
      for (const button of choices.querySelectorAll("button")) button.disabled = true;
      act();
    };
    const { conflicts } = this.#client;
    choose(
      "Keep what stands",
      "current",
      once(() => conflicts.resolve(conflict, "current"))
    );
    choose(
      "Take the other",
      "proposed",
      once(() => conflicts.resolve(conflict, "proposed"))
    );
    const both = titles(current, conflict.proposed);
    if (both)
      choose(
        "Take both",
        "merged",
        once(() => conflicts.resolve(conflict, "merged", { title: both }))
      );
    return element("li", {}, table, choices);
  }
  /** Of what stands, what the conflict is about. */
  #current(conflict) {
    const { data } = this.#client.entity(conflict.type, conflict.id).snapshot();
    const names = conflict.paths.map((path) => path.split("/")[1] ?? "");
    return data ? Object.fromEntries(names.map((name) => [name, data[name] ?? null])) : conflict.current;
  }
};
function titles(current, proposed) {
  const title = (value) => value?.title;
  const [one, other] = [title(current), title(proposed)];
  return typeof one === "string" && typeof other === "string" ? `${one} / ${other}` : void 0;
}

// ../../../../tmp/h/uiproto/page/connection.ts
var ConnectionHalf = class {
  #card;
  #client;
  #network;
  #stops;
  constructor(client, network, side, name) {
    this.#client = client;
    this.#network = network;
    this.#card = half("connection", "connection", side, name);
    this.#cut.onclick = () => network.isCut ? this.restore() : this.cut();
    this.#cut.setAttribute("aria-label", `Cut the network of ${name}`);
    this.#stops = [
      client.connection.subscribe(() => this.#show()),
      client.sync.subscribe(() => this.#show()),
      client.presence.subscribe(() => this.#show()),
      client.on("resumed", (resumed) => this.#part("resumed").replaceChildren(ofResumed(resumed)))
    ];
    const ticking = setInterval(() => this.#show(), 1e3);
    this.#stops.push(() => clearInterval(ticking));
    this.#show();
  }
  cut() {
    this.#network.cut();
    this.#show();
  }
  restore() {
    this.#network.restore();
    this.#client.connect();
    this.#show();
  }
  end() {
    for (const stop2 of this.#stops) stop2();
    this.#card.remove();
  }
  get #cut() {
    return part(this.#card, '[data-part="cut"]');
  }
  #part(name) {
    return part(this.#card, `[data-part="${name}"]`);
  }
  #show() {
    const client = this.#client;
    const [tone, word, more] = ofConnection(client.connection.snapshot());
    badge(this.#part("badge"), tone, word);
    const text = (name, words2) => {
      if (this.#part(name).textContent !== words2) this.#part(name).textContent = words2;
    };
    const sync = client.sync.snapshot();
    text("more", more);
    text("sync", ofSync(sync));
    text("pending", String(sync.pending));
    text(
      "storage",
      sync.storage === "disk" ? "in this browser's storage" : `in memory only: ${sync.storageReason ?? ""}`
    );
    const others = client.presence.snapshot().members.map(({ instance: instance2 }) => instance2);
    text("others", others.join(", ") || "nobody");
    this.#cut.setAttribute("aria-pressed", String(this.#network.isCut));
    const words = this.#network.isCut ? "Restore the network" : "Cut the network";
    if (this.#cut.textContent !== words) this.#cut.textContent = words;
  }
};
function ofConnection(status) {
  switch (status.state) {
    case "online":
      return ["good", "online", `over ${status.transport}`];
    case "waiting": {
      const left = Math.max(0, status.since + status.retryInMs - Date.now());
      return ["warn", "waiting", `${status.reason}; tries again within ${Math.ceil(left / 1e3)} s`];
    }
    case "blocked":
      return ["bad", "blocked", `${status.code}: ${status.message}`];
    default:
      return ["", status.state, ""];
  }
}
function ofSync({ status, ageS, conflicted, refused }) {
  const age = ageS === void 0 ? "nothing was here yet" : `all was here ${Math.floor(ageS)} s ago`;
  const more = [conflicted && `${conflicted} in conflict`, refused && `${refused} refused`].filter(Boolean);
  return [status, age, ...more].join(" \xB7 ");
}
function ofResumed({ complete, reason, missed, exact }) {
  if (!complete) return `not complete (${reason ?? "no reason"}): the state was loaded anew`;
  return missed === 0 ? "complete, nothing was missed" : `complete, ${exact ? "" : "more than "}${missed} missed and caught up`;
}

// ../../../../tmp/h/uiproto/page/network.ts
var LOST = 1006;
var Network = class {
  #isCut = false;
  #lines = /* @__PURE__ */ new Set();
  WebSocket;
  fetch;
  constructor() {
    const join2 = (line2) => this.#lines.add(line2);
    const leave2 = (line2) => this.#lines.delete(line2);
    const isCut = () => this.#isCut;
    this.WebSocket = class extends Line {
      constructor(url) {
        super(url, isCut(), leave2);
        join2(this);
      }
    };
    this.fetch = (input, init) => this.#isCut ? Promise.reject(new TypeError("the network is cut")) : globalThis.fetch(input, init);
  }
  get isCut() {
    return this.#isCut;
  }
  cut() {
    this.#isCut = true;
    for (const line2 of this.#lines) line2.lose();
  }
  restore() {
    this.#isCut = false;
  }
};
var Line = class {
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  #socket;
  #leave;
  constructor(url, isCut, leave2) {
    this.#leave = leave2;
    if (isCut) {
      queueMicrotask(() => this.lose());
      return;
    }
    const socket = new WebSocket(url);
    this.#socket = socket;
    socket.onopen = (event) => this.onopen?.(event);
    socket.onmessage = (event) => this.onmessage?.(event);
    socket.onerror = (event) => this.onerror?.(event);
    socket.onclose = (event) => {
      leave2(this);
      this.onclose?.(event);
    };
  }
  get readyState() {
    return this.#socket?.readyState ?? WebSocket.CLOSED;
  }
  send(text) {
    this.#socket?.send(text);
  }
  close(code, reason) {
    this.#socket?.close(code, reason);
  }
  /** Ends it for the client without a word; the node is spared the wait. */
  lose() {
    const socket = this.#socket;
    this.#socket = void 0;
    this.#leave(this);
    if (socket) {
      socket.onopen = socket.onmessage = socket.onerror = socket.onclose = null;
      socket.close();
    }
    this.onclose?.(new CloseEvent("close", { code: LOST, reason: "the network is cut", wasClean: false }));
  }
};

// ../../../../tmp/h/uiproto/page/stream.ts
var SHOWN = 50;
var StreamHalf = class {
  #card;
  #client;
  #name;
  #stop;
  constructor(client, side, name) {
    this.#client = client;
    this.#name = name;
    this.#card = half("stream", "stream", side, name);
    this.#stop = client.on("record", (record) => this.#show(line(record)));
    part(this.#card, "form").onsubmit = (event) => {
      event.preventDefault();
      const say = part(this.#card, '[data-part="say"]');
      this.publish(part(this.#card, '[data-part="type"]').value, say.value);
      say.value = "";
    };
  }
  /** Publishes, and shows what is on its way until it is acknowledged. */
  publish(type, text) {
    const op = this.#client.send(type, { text });
    const seq = element("span", { className: "seq" }, "\u2026");
    const fate = element("span", { className: "who" }, `${this.#name}, on its way`);
    const item = element(
      "li",
      { className: "waits" },
      seq,
      type,
      element("span", { className: "what" }, fate, ` ${text}`)
    );
    this.#show(item);
    void op.settled.then(({ status, version, queued, code }) => {
      item.className = "";
      seq.textContent = version > 0 ? `#${version}` : "\u2026";
      fate.textContent = status === "rolled_back" ? `refused: ${code}` : `${this.#name}, ${queued ? "queued" : "stored"}`;
    });
    return op;
  }
  end() {
    this.#stop();
    this.#card.remove();
  }
  #show(item) {
    const records = part(this.#card, '[data-part="records"]');
    records.prepend(item);
    while (records.childElementCount > SHOWN) records.lastElementChild?.remove();
  }
};
function line({ seq, type, instance: instance2, data }) {
  return element(
    "li",
    {},
    element("span", { className: "seq" }, `#${seq}`),
    type,
    element("span", { className: "what" }, element("span", { className: "who" }, instance2), ` ${brief(data)}`)
  );
}

// ../../../../tmp/h/uiproto/page/task.ts
var SHOWN2 = 5;
var TaskHalf = class {
  entity;
  #card;
  #stop;
  /** Whether somebody is writing into the title: it is not taken from under their hands then. */
  #isTyping = false;
  constructor(client, side, name) {
    this.#card = half("task", "task", side, name);
    this.entity = client.entity("task", "shared");
    this.#stop = this.entity.subscribe(() => this.#show());
    this.#title.oninput = () => {
      this.#isTyping = true;
    };
    part(this.#card, "form").onsubmit = (event) => {
      event.preventDefault();
      this.write({ title: this.#title.value });
    };
    this.#done.onchange = () => this.write({ done: this.#done.checked });
    this.#show();
  }
  /** Changes the task, or makes it where there is none. */
  write(patch, strategy = part(this.#card, '[data-part="strategy"]').value) {
    this.#isTyping = false;
    const isThere = this.entity.snapshot().status === "present";
    const op = isThere ? this.entity.update(patch, { strategy }) : this.entity.create({ notes: "", ...patch });
    this.#tell(patch, op.settled);
    return op;
  }
  end() {
    this.#stop();
    this.#card.remove();
  }
  get #title() {
    return part(this.#card, '[data-part="title"]');
  }
  get #done() {
    return part(this.#card, '[data-part="done"]');
  }
  #show() {
    const { status, data, confirmed, version, pending, error } = this.entity.snapshot();
    const title = String(data?.title ?? "");
    if (!this.#isTyping && this.#title.value !== title) this.#title.value = title;
    this.#done.checked = data?.done === true;
    const state = part(this.#card, '[data-part="state"]');
    if (error) badge(state, "bad", error.code);
    else if (pending > 0) badge(state, "warn", pending === 1 ? "1 write waits" : `${pending} writes wait`);
    else if (status === "present") badge(state, "good", `version ${version}`);
    else badge(state, "", status === "absent" ? "not there yet" : "loading");
    const words = pending > 0 ? `The log still has: ${confirmed ? brief(without(confirmed, "notes")) : "nothing"}` : "";
    part(this.#card, '[data-part="confirmed"]').textContent = words;
  }
  #tell(patch, settled) {
    const fate = element("span", { className: "fate" }, "optimistic\u2026");
    const fates = part(this.#card, '[data-part="fates"]');
    fates.prepend(element("li", {}, brief(patch, 60), fate));
    while (fates.childElementCount > SHOWN2) fates.lastElementChild?.remove();
    void settled.then((settled2) => {
      fate.textContent = ofSettled(settled2);
    });
  }
};
function without(content, name) {
  return Object.fromEntries(Object.entries(content).filter(([field]) => field !== name));
}
function ofSettled({ status, version, resolution, overwritten, code }) {
  switch (status) {
    case "confirmed":
      return `confirmed, version ${version}`;
    case "resolved": {
      const lost = overwritten.map(({ value, by }) => `${brief(value, 30)} of ${by}`).join(", ");
      return `${resolution ?? "resolved"}, version ${version}${lost && `, over ${lost}`}`;
    }
    case "pending":
      return "in conflict: somebody has to choose";
    case "rolled_back":
      return `rolled back: ${code}`;
  }
}

// ../../../../tmp/h/uiproto/page/text.ts
var TextHalf = class {
  #card;
  #area;
  #field;
  #stops;
  /** While an input method composes: the text of before, and what came from others since. */
  #composing;
  constructor(client, side, name) {
    this.#card = half("text", "text", side, name);
    this.#area = part(this.#card, "textarea");
    this.#area.setAttribute("aria-label", `The text, as ${name} has it`);
    const entity = client.entity("task", "shared");
    this.#field = entity.text("/notes");
    this.#area.oninput = () => {
      if (!this.#composing) this.#field.set(this.#area.value, this.#area.selectionEnd);
    };
    this.#area.addEventListener("compositionstart", () => {
      this.#composing = { before: this.#area.value, changes: [] };
    });
    this.#area.addEventListener("compositionend", () => this.#composed());
    const show = () => {
      this.#area.disabled = entity.snapshot().status !== "present";
      if (!this.#composing) this.#show([]);
    };
    this.#stops = [
      this.#field.onChange((change) => {
        if (this.#composing) this.#composing.changes.push(change);
        else this.#show([change]);
      }),
      entity.subscribe(show)
    ];
    show();
  }
  end() {
    for (const stop2 of this.#stops) stop2();
    this.#card.remove();
  }
  /** What was composed is one splice in the text of before: it is brought over what came since. */
  #composed() {
    const { before, changes } = this.#composing ?? { before: "", changes: [] };
    this.#composing = void 0;
    const after = this.#area.value;
    let head = 0;
    while (head < Math.min(before.length, after.length) && before[head] === after[head]) head += 1;
    let tail = 0;
    while (tail < Math.min(before.length, after.length) - head && before.at(-1 - tail) === after.at(-1 - tail))
      tail += 1;
    const over = (place) => changes.reduce((place2, change) => this.#field.follow(place2, change), place);
    const at = over(head);
    const deleted = Math.max(0, over(before.length - tail) - at);
    const inserted = after.slice(head, after.length - tail);
    if (deleted > 0 || inserted) this.#field.splice({ at, deleted, inserted });
    this.#show(changes);
  }
  #show(changes) {
    const area = this.#area;
    const text = this.#field.snapshot();
    if (area.value === text) return;
    const over = (place) => changes.reduce((place2, change) => change.by === "here" ? place2 : this.#field.follow(place2, change), place);
    const [start2, end] = [over(area.selectionStart), over(area.selectionEnd)];
    area.value = text;
    area.setSelectionRange(start2, end);
  }
};

// ../../../../tmp/h/uiproto/page/pane.ts
var Pane = class {
  client;
  connection;
  stream;
  task;
  conflicts;
  #text;
  constructor(side, name, room2, told2) {
    const network = new Network();
    this.client = new ContinuumClient({
      url: new URL(".", location.href).href,
      tenant: room2.tenant,
      instance: instance(name),
      userName: name,
      ...room2.token && { token: room2.token },
      // The page is about sockets; without this it would go on over HTTP after some cuts.
      transport: "websocket",
      WebSocket: network.WebSocket,
      fetch: network.fetch
    });
    this.connection = new ConnectionHalf(this.client, network, side, name);
    this.conflicts = new ConflictsHalf(this.client, side, name, told2);
    this.task = new TaskHalf(this.client, side, name);
    this.#text = new TextHalf(this.client, side, name);
    this.stream = new StreamHalf(this.client, side, name);
  }
  async end() {
    for (const half2 of [this.connection, this.conflicts, this.task, this.#text, this.stream]) half2.end();
    await this.client.close();
  }
};
function instance(name) {
  const key = `continuum-page-${name}`;
  const made = `${name.toLowerCase()}-${crypto.randomUUID().slice(0, 4)}`;
  try {
    const kept = sessionStorage.getItem(key);
    if (kept) return kept;
    sessionStorage.setItem(key, made);
  } catch {
  }
  return made;
}

// ../../../../tmp/h/uiproto/page/main.ts
var join = part(document, "#join");
var leave = part(document, "#leave");
var room = part(document, "#room");
var panes;
var story = new AbortController();
join.onsubmit = (event) => {
  event.preventDefault();
  void start();
};
leave.onclick = () => void stop("Disconnected.");
for (const button of document.querySelectorAll("[data-try]")) {
  button.onclick = () => void play(button.dataset.try ?? "");
}
async function start() {
  await stop("Connecting\u2026");
  const fields = new FormData(join);
  const options = { tenant: String(fields.get("tenant")), token: String(fields.get("token")) };
  const made = {
    ada: new Pane("a", "Ada", options, toldOfConflicts),
    bob: new Pane("b", "Bob", options, toldOfConflicts)
  };
  panes = made;
  room.hidden = false;
  leave.hidden = false;
  try {
    await Promise.all([made.ada.client.online(), made.bob.client.online()]);
    if (panes === made) told(`Ada and Bob are in the room \u201C${options.tenant}\u201D.`);
  } catch (error) {
    if (panes === made) told(`The node does not let them in: ${error.message}`);
  }
}
async function stop(words) {
  story.abort();
  const ended = panes;
  panes = void 0;
  room.hidden = true;
  leave.hidden = true;
  told(words);
  await Promise.all([ended?.ada.end(), ended?.bob.end()]);
}
function toldOfConflicts() {
  const open = panes ? panes.ada.conflicts.count + panes.bob.conflicts.count : 0;
  if (open > 0) part(document, "#conflicts").hidden = false;
}
function told(words) {
  part(document, "#told").textContent = words;
}
async function play(name) {
  const both = panes;
  const tell = stories[name];
  if (!both || !tell) return;
  story.abort();
  story = new AbortController();
  const { signal } = story;
  const say = (words) => {
    if (!signal.aborted) part(document, "#story").textContent = words;
  };
  try {
    await tell(both, say, signal);
  } catch (error) {
    say(`That did not work: ${error.message}`);
  }
}
var stories = {
  async say({ ada }, say, signal) {
    const op = ada.stream.publish("note.said", `Hello at ${(/* @__PURE__ */ new Date()).toLocaleTimeString()}`);
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
    const op = bob.task.write({ title: `Bob's title without network, ${time()}` }, "last_write_wins");
    say(
      "Bob's network is cut. What he wrote is shown to him and waits; Ada knows nothing of it. It goes on in 4 seconds."
    );
    await pause(4e3, signal);
    bob.connection.restore();
    say("Bob's network is back: he resumes where he was, and sends what waited.");
    const { version } = await op.wait({ signal });
    say(`What Bob wrote is version ${version} now, on both sides. \u201CLast resume\u201D says whether he missed anything.`);
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
    say("A conflict: Ada's title stands, Bob's waits. Either of them may choose, under \u201CConflicts\u201D.");
  }
};
async function ready({ ada, bob }, signal) {
  for (const { connection, client } of [ada, bob]) {
    connection.restore();
    await client.online({ signal });
  }
  const { status } = await ada.task.entity.load({ signal });
  if (status !== "present") await ada.task.write({ title: "A task" }).wait({ signal });
  while ((await bob.task.entity.load({ signal })).status !== "present") await changed(bob, signal);
}
function changed({ task }, signal) {
  return new Promise((resolve, reject) => {
    const stop2 = task.entity.subscribe(() => {
      stop2();
      resolve();
    });
    signal.addEventListener("abort", () => {
      stop2();
      reject(signal.reason);
    });
  });
}
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
function time() {
  return (/* @__PURE__ */ new Date()).toLocaleTimeString();
}
