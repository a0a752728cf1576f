// The page at /client and the TypeScript client, as scripts/build-page made them. Change clients/typescript, not this.

// src/json.ts
function isContent(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
function field(value, name) {
  return isContent(value) && Object.hasOwn(value, name) ? value[name] : void 0;
}
function copied(value) {
  return JSON.parse(JSON.stringify(value));
}
function isEqual(a, b) {
  if (a === b) return true;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, at) => isEqual(item, b[at]));
  }
  if (!isContent(a) || !isContent(b)) return false;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && isEqual(a[name], b[name]));
}

// page/dom.ts
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
function badge(target, tone, text2) {
  target.className = `badge ${tone}`;
  target.textContent = text2;
}
function brief(value, longest = 120) {
  const text2 = isContent(value) ? Object.entries(value).map(([name, value2]) => `${name}: ${flat(value2)}`).join(" · ") : flat(value);
  return text2.length > longest ? `${text2.slice(0, longest)}…` : text2;
}
function flat(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

// src/clock.ts
var LONGEST_TIMER = 2 ** 31 - 1;
var systemClock = {
  // Monotonic clocks of browsers stop while the machine sleeps; the wall clock does not, and ages are measured in minutes.
  now: () => Date.now(),
  wall: () => Date.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, Math.min(Math.max(ms, 0), LONGEST_TIMER));
    return () => clearTimeout(timer);
  }
};

// src/errors.ts
var ContinuumError = class extends Error {
  name = "ContinuumError";
  /** Stable, for programs. One that this client does not know is passed on as it came. */
  code;
  /** When the same may be tried again, if the node said so. */
  retryAfterMs;
  /** The HTTP status, where it came over HTTP. */
  status;
  /** Everything else that the node said with it (`current`, `version`, `error_id`…). */
  details;
  constructor(code, message, more = {}) {
    super(message);
    this.code = code;
    this.retryAfterMs = more.retryAfterMs;
    this.status = more.status;
    this.details = more.details ?? {};
  }
};
var LOCAL_CODES = {
  /** The client was closed. */
  closed: "client_closed",
  /** There is no connection, and this cannot wait for one. */
  offline: "offline",
  /** A message or answer has not the form that the protocol gives it. */
  malformed: "malformed",
  /** The outbox holds as much as it may. */
  full: "outbox_full",
  /** Only a socket has this, and there is none here. */
  socketOnly: "socket_only",
  /** Something else answers at this address, or nothing does. */
  unreachable: "unreachable",
  /** A person took the write out of the outbox. */
  dropped: "dropped",
  /** Another write with this id waits. */
  duplicate: "duplicate_id",
  /** The write is in the browser's storage no more, and nobody said what became of it. */
  gone: "gone"
};
var PASSING = /* @__PURE__ */ new Set([
  "rate_limited",
  "busy",
  "log_full",
  "journal_full",
  "unavailable",
  "unknown",
  "draining",
  "internal",
  "contended"
]);
function isPassing(code, retryAfterMs) {
  return retryAfterMs !== void 0 || PASSING.has(code);
}

// src/closing.ts
var FINAL = {
  1002: "broken_framing",
  1007: "invalid_encoding",
  4001: "unauthenticated",
  4003: "too_many_invalid",
  4009: "replaced",
  4012: "rule_refused",
  4013: "tenant_erased"
};
var OF_TOKENS = /* @__PURE__ */ new Set(["unauthenticated", "token_expired", "token_revoked"]);
function hint(why) {
  const said = why.code === 1012 ? /retry in (\d+) ms/.exec(why.reason) : null;
  return said === null ? void 0 : Number(said[1]);
}
function isOnline(status) {
  if (status.state === "blocked") throw new ContinuumError(status.code, status.message);
  if (status.state === "closed") throw new ContinuumError(LOCAL_CODES.closed, "the client is closed");
  return status.state === "online";
}

// src/backoff.ts
var BASE_MS = 1e3;
var CAP_MS = 6e4;
var LONGEST_HINT_MS = 36e5;
var STABLE_MS = 3e4;
function followed(hintMs) {
  return Math.min(hintMs, LONGEST_HINT_MS);
}
var Backoff = class {
  #random;
  #failures;
  constructor(random, failures = 0) {
    this.#random = random;
    this.#failures = failures;
  }
  get failures() {
    return this.#failures;
  }
  /** The next delay, and one failure more. The node spreads its clients itself when it says when: no jitter on top. */
  failed(hintMs) {
    const bound = Math.min(CAP_MS, BASE_MS * 2 ** Math.min(this.#failures, 6));
    if (hintMs !== void 0) return followed(hintMs);
    this.#failures += 1;
    return Math.floor(this.#random() * bound);
  }
  /** A connection ended after so long; a stable one forgets the failures before it. */
  lived(ms) {
    if (ms >= STABLE_MS) this.#failures = 0;
  }
};

// src/observe.ts
function run(task) {
  try {
    task();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
var Listeners = class {
  #all = /* @__PURE__ */ new Set();
  get size() {
    return this.#all.size;
  }
  add(listener) {
    const one = { listener };
    this.#all.add(one);
    return () => {
      this.#all.delete(one);
    };
  }
  tell(value) {
    for (const { listener } of [...this.#all]) run(() => listener(value));
  }
};
var Cell = class {
  #listeners = new Listeners();
  #value;
  constructor(value) {
    this.#value = value;
  }
  snapshot() {
    return this.#value;
  }
  subscribe(listener) {
    return this.#listeners.add(listener);
  }
  set(value) {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    this.#listeners.tell();
  }
};
var Emitter = class {
  #listeners = /* @__PURE__ */ new Map();
  on(name, listener) {
    return this.#of(name).add(listener);
  }
  emit(name, event) {
    this.#of(name).tell(event);
  }
  #of(name) {
    let found = this.#listeners.get(name);
    if (found === void 0) {
      found = new Listeners();
      this.#listeners.set(name, found);
    }
    return found;
  }
};

// src/renewal.ts
var EARLY_MS = 6e4;
var SHORTEST_MS = 1e4;
var Renewal = class {
  #clock;
  #tokens;
  #timers;
  #due;
  #renewedAt;
  /** `due` is called when it is time. */
  constructor(clock, tokens, timers, due) {
    this.#clock = clock;
    this.#tokens = tokens;
    this.#timers = timers;
    this.#due = due;
  }
  /** The node took a token that ends then. */
  expect(endsAt) {
    if (endsAt === void 0 || Number.isNaN(endsAt) || !this.#tokens.isRenewable) return;
    const left = endsAt - this.#clock.wall();
    const life = left > 0 ? left : this.#tokens.lifeMs ?? EARLY_MS;
    const rest = this.#renewedAt === void 0 ? 0 : this.#renewedAt + SHORTEST_MS - this.#clock.now();
    this.#timers.set("renew", Math.max(life - Math.min(EARLY_MS, life / 10), rest), this.#due);
  }
  /** Asks for another token. */
  async renew({ signal, tell: tell2, failed: failed2 }) {
    const before = this.#tokens.current;
    this.#renewedAt = this.#clock.now();
    try {
      const token = await this.#tokens.ask(signal);
      if (signal.aborted || token === void 0) return;
      if (token === before) this.expect(this.#tokens.endsAt);
      else tell2(token);
    } catch (error) {
      if (signal.aborted) return;
      failed2(new ContinuumError("unauthenticated", `no new token could be had: ${String(error)}`));
    }
  }
};

// src/timers.ts
var Timers = class {
  #clock;
  #running = /* @__PURE__ */ new Map();
  constructor(clock) {
    this.#clock = clock;
  }
  set(name, ms, callback) {
    this.stop(name);
    const cancel = this.#clock.after(ms, () => {
      this.#running.delete(name);
      callback();
    });
    this.#running.set(name, cancel);
  }
  stop(name) {
    this.#running.get(name)?.();
    this.#running.delete(name);
  }
  stopAll() {
    for (const cancel of this.#running.values()) cancel();
    this.#running.clear();
  }
};

// src/wire/message.ts
var Malformed = class extends Error {
  name = "Malformed";
};
function text(value, name) {
  const found = field(value, name);
  return typeof found === "string" ? found : void 0;
}
function count(value, name) {
  const found = field(value, name);
  return typeof found === "number" && Number.isFinite(found) && found >= 0 ? found : void 0;
}
function texts(value, name) {
  const found = field(value, name);
  return Array.isArray(found) ? found.filter((item) => typeof item === "string") : [];
}
function must(found, type, name) {
  if (found === void 0) throw new Malformed(`'${type}' without a readable '${name}'`);
  return found;
}
function parse(line2) {
  let value;
  try {
    value = JSON.parse(line2);
  } catch {
    throw new Malformed("a message that is no JSON");
  }
  if (!isContent(value)) throw new Malformed("a message that is no JSON object");
  return value;
}
function read(raw) {
  const type = must(text(raw, "event_type"), "a message", "event_type");
  const data = Object.hasOwn(raw, "data") ? raw.data : {};
  return {
    type,
    data,
    instance: text(raw, "instance_id") ?? "",
    timestamp: text(raw, "timestamp") ?? "",
    meaning: meaning(type, data, raw),
    raw
  };
}
var FATES = {
  "update.confirmed": "confirmed",
  "update.conflict_resolved": "conflict_resolved",
  "update.conflict_pending": "conflict_pending",
  "update.rollback": "rollback",
  "update.retry": "retry"
};
function meaning(type, data, raw) {
  const seq = count(raw, "seq");
  if (seq !== void 0) {
    const place = { seq, prev: must(count(raw, "prev"), type, "prev"), eventId: text(raw, "event_id") ?? "" };
    return { kind: "record", place };
  }
  const outcome = Object.hasOwn(FATES, type) ? FATES[type] : void 0;
  if (outcome !== void 0) return { kind: "fate", fate: fate(outcome, type, data) };
  switch (type) {
    case "session_ready":
      return { kind: "ready", ready: ready(data) };
    case "resync":
      return {
        kind: "resync",
        reason: text(data, "reason") ?? "unknown",
        cursor: must(text(data, "cursor"), type, "cursor")
      };
    case "caught_up":
      return { kind: "caught_up", position: must(count(data, "position"), type, "position") };
    case "advance":
      return {
        kind: "advance",
        from: must(count(data, "from"), type, "from"),
        to: must(count(data, "to"), type, "to")
      };
    case "heartbeat":
    case "lagging":
      return { kind: type };
    case "draining":
      return { kind: "draining", retryAfterMs: count(data, "retry_after_ms") };
    case "authenticated":
      return { kind: "authenticated", expiresAt: text(data, "expires_at") };
    case "ack":
    case "stored":
      return {
        kind: type,
        eventId: must(text(data, "event_id"), type, "event_id"),
        seq: must(count(data, "seq"), type, "seq"),
        duplicate: field(data, "duplicate") === true
      };
    case "queued":
      return { kind: "queued", eventId: must(text(data, "event_id"), type, "event_id") };
    case "error":
      return {
        kind: "error",
        code: text(data, "code") ?? "internal",
        text: text(data, "message") ?? "the node says no more",
        about: text(data, "event_id") ?? text(data, "id"),
        retryAfterMs: count(data, "retry_after_ms")
      };
    case "instance_joined":
      return { kind: "joined", member: member(data) };
    case "instance_left":
      return { kind: "left", instance: must(text(data, "instance_id"), type, "instance_id") };
    case "presence_changed":
      return { kind: "crowd", total: count(data, "instances_total") ?? 0 };
    default:
      return interest(type, data);
  }
}
function interest(type, data) {
  const subscription = text(data, "subscription");
  const isOne = /^(region|ids|query)\.(sync|results|update)$/.test(type);
  return isOne && subscription !== void 0 ? { kind: "interest", subscription } : { kind: "other" };
}
function member(data) {
  return {
    instance: must(text(data, "instance_id"), "a member", "instance_id"),
    connectedAt: text(data, "connected_at") ?? "",
    capabilities: texts(data, "capabilities"),
    user: text(data, "user_id"),
    userName: text(data, "user_name")
  };
}
function members(data) {
  const found = field(data, "instances");
  return Array.isArray(found) ? found.map(member) : [];
}
function fate(outcome, type, data) {
  return {
    outcome,
    updateId: must(text(data, "updateId"), type, "updateId"),
    version: count(data, "version") ?? 0,
    retryAfterMs: count(data, "retry_after_ms"),
    data: isContent(data) ? data : {}
  };
}
function ready(data) {
  const epoch = must(text(data, "epoch"), "session_ready", "epoch");
  const position = must(count(data, "position"), "session_ready", "position");
  const resume = field(data, "resume");
  const heartbeat = field(data, "heartbeat");
  const limits = field(data, "limits");
  const intervalMs = count(heartbeat, "interval_ms") ?? 3e4;
  const instances = members(data);
  return {
    sessionId: text(data, "session_id") ?? "",
    protocol: count(data, "protocol") ?? 1,
    epoch,
    position,
    cursor: text(data, "cursor") ?? `${epoch}.${position}`,
    resume: {
      from: text(resume, "from") ?? "latest",
      outcome: text(resume, "outcome") ?? "honoured",
      after: count(resume, "after") ?? position,
      missed: count(resume, "missed") ?? 0,
      missedExact: field(resume, "missed_exact") !== false
    },
    heartbeat: { intervalMs, timeoutMs: count(heartbeat, "timeout_ms") ?? 3 * intervalMs },
    limits: {
      maxMessageBytes: count(limits, "max_message_bytes") ?? 1048576,
      publishesInFlight: count(limits, "publishes_in_flight") ?? 256,
      signalBytes: count(limits, "signal_bytes") ?? 4096
    },
    instances,
    instancesTotal: count(data, "instances_total") ?? instances.length + 1
  };
}

// src/connection.ts
var JOIN_MS = 2e4;
var PATIENCE = 3;
var UPGRADE_MS = 15e3;
var LONGEST_UPGRADE_MS = 9e5;
var SHORTEST_KEEPALIVE_MS = 1e3;
var Connection = class {
  status = new Cell({ state: "idle" });
  #options;
  #events;
  #backoff;
  #ladder;
  #rung = 0;
  /** Failures in a row of the way that is tried. */
  #failures = 0;
  #hasWorked = false;
  #link;
  #ready;
  #attempt = 0;
  #readyAt = 0;
  #heardAt = 0;
  #lostAt;
  #upgradeMs = UPGRADE_MS;
  #keepaliveMs;
  /** What the node says before it closes. */
  #announced = {};
  #isTokenTried = false;
  #asking;
  /** The node said for how long to stay away; and that this was overstepped already. */
  #isHinted = false;
  #hasHurried = false;
  #timers;
  #renewal;
  constructor(options, events) {
    this.#options = options;
    this.#events = events;
    this.#ladder = options.ladder;
    this.#timers = new Timers(options.clock);
    this.#backoff = new Backoff(options.random);
    this.#renewal = new Renewal(options.clock, options.tokens, this.#timers, () => this.#renew());
  }
  /** What the node said when the room was joined; `undefined` while there is no connection. */
  get ready() {
    return this.#ready;
  }
  get isSocket() {
    return this.#ready !== void 0 && this.#link?.isSocket === true;
  }
  connect() {
    const { state } = this.status.snapshot();
    if (state === "idle" || state === "waiting") void this.#open();
  }
  /** Tries at once what would be tried later: the machine woke up, or the network is back. */
  hurry() {
    if (this.status.snapshot().state === "waiting") {
      if (this.#isHinted && this.#hasHurried) return;
      this.#hasHurried = this.#isHinted;
      void this.#open();
    } else if (this.#ready !== void 0) this.#listen();
  }
  /** Goes other ways from now on. */
  change(ladder) {
    this.#ladder = ladder;
    this.#rung = 0;
    this.#hasWorked = false;
    const { state } = this.status.snapshot();
    if (state === "idle" || state === "closed" || state === "blocked") return;
    this.#leave();
    void this.#open();
  }
  /** There may be a better token now. */
  renew() {
    this.#isTokenTried = false;
    if (this.status.snapshot().state === "blocked") void this.#open();
    else this.#renew();
  }
  close() {
    this.#leave();
    this.status.set({ state: "closed" });
  }
  /** Sends a message; `false`: there is no connection. */
  send(message) {
    if (this.#link === void 0 || this.#ready === void 0) return false;
    this.#link.send(message);
    return true;
  }
  async #open() {
    this.#timers.stopAll();
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    this.#attempt += 1;
    this.status.set({ state: "connecting", attempt: this.#attempt });
    this.#timers.set("join", JOIN_MS, () => {
      asking.abort();
      this.#wait("no token could be had in time");
    });
    let token;
    try {
      token = await this.#options.tokens.ask(asking.signal);
    } catch (error) {
      if (asking.signal.aborted) return;
      this.#timers.stop("join");
      const isFinal = error instanceof ContinuumError && !isPassing(error.code, error.retryAfterMs) && error.status !== void 0;
      if (isFinal) this.#block(error.code, error.message);
      else this.#wait(`no token could be had: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    if (asking.signal.aborted) return;
    this.#start(token);
  }
  #start(token) {
    const { query, tracker, since } = this.#options;
    const open = this.#ladder[this.#rung];
    if (open === void 0) {
      this.#wait("there is no way to the node here");
      return;
    }
    this.#announced = {};
    this.#timers.set("join", JOIN_MS, () => this.#drop("the node did not answer in time"));
    let link;
    const isPresent = () => link === void 0 || this.#link === link;
    const events = {
      message: (message) => {
        if (isPresent()) this.#take(message);
      },
      lost: (why) => {
        if (isPresent()) this.#ended(why);
      }
    };
    try {
      link = open({ query, since: tracker.cursor ?? since, token }, events);
      this.#link = link;
    } catch (error) {
      this.#ended({ code: void 0, reason: String(error), error: void 0 });
    }
  }
  #take(message) {
    let frame;
    try {
      frame = read(message);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.#events.error(new ContinuumError("malformed", error.message));
      this.#drop(error.message);
      return;
    }
    this.#heardAt = this.#options.clock.now();
    const { tracker } = this.#options;
    const wasSeen = tracker.cursor !== void 0;
    const novelty = tracker.see(frame.meaning);
    if (novelty === "repeated") return;
    if (novelty !== "new") {
      this.#drop(
        `a record is missing: after ${novelty.last} came ${novelty.seq}, whose predecessor is ${novelty.prev}`
      );
      return;
    }
    this.#mind(frame, wasSeen);
    this.#events.frame(frame);
  }
  /** What the connection itself has to know of a message. */
  #mind(frame, wasSeen) {
    const { meaning: meaning2 } = frame;
    switch (meaning2.kind) {
      case "ready":
        this.#joined(meaning2.ready, wasSeen);
        break;
      case "heartbeat":
        this.#sayAlive();
        break;
      case "draining":
        this.#announced.retryAfterMs = meaning2.retryAfterMs;
        break;
      case "authenticated":
        this.#renewal.expect(meaning2.expiresAt === void 0 ? void 0 : Date.parse(meaning2.expiresAt));
        break;
      case "error":
        if (meaning2.about === void 0) {
          const { retryAfterMs } = meaning2;
          this.#announced.error = new ContinuumError(meaning2.code, meaning2.text, { retryAfterMs });
        }
        break;
      default:
    }
  }
  #joined(ready4, wasSeen) {
    const link = this.#link;
    if (link === void 0) return;
    this.#timers.stop("join");
    this.#ready = ready4;
    this.#readyAt = this.#options.clock.now();
    this.#lostAt = void 0;
    this.#failures = 0;
    this.#attempt = 0;
    this.#isTokenTried = false;
    this.#hasHurried = false;
    if (this.#rung === 0) {
      this.#hasWorked = true;
      this.#upgradeMs = UPGRADE_MS;
    } else {
      this.#timers.set("upgrade", this.#upgradeMs, () => this.#upgrade());
    }
    this.status.set({ state: "online", transport: link.name });
    this.#events.ready(ready4, wasSeen);
    this.#renewal.expect(this.#options.tokens.endsAt);
    this.#listen();
    this.#keepAlive();
  }
  /** Tries the best way again. */
  #upgrade() {
    this.#upgradeMs = Math.min(this.#upgradeMs * 2, LONGEST_UPGRADE_MS);
    this.#rung = 0;
    this.#hasWorked = false;
    this.#leave();
    void this.#open();
  }
  /** Ends the link when nothing is heard for as long as the node itself would wait. */
  #listen() {
    const { clock } = this.#options;
    const timeout = this.#ready?.heartbeat.timeoutMs ?? JOIN_MS;
    const left = timeout - (clock.now() - this.#heardAt);
    if (left <= 0) this.#drop(`nothing was heard from the node for ${timeout} ms`);
    else this.#timers.set("silence", left, () => this.#listen());
  }
  #sayAlive() {
    this.send({ event_type: "heartbeat", data: { position: this.#options.tracker.position } });
  }
  /** Where something cuts connections that are idle, they are kept busy. */
  #keepAlive() {
    if (this.#keepaliveMs === void 0 || this.#link?.isSocket !== true) return;
    this.#timers.set("keepalive", this.#keepaliveMs, () => {
      this.#sayAlive();
      this.#keepAlive();
    });
  }
  /** There may be a better token than the present one. */
  #renew() {
    const link = this.#link;
    if (link === void 0 || this.#ready === void 0) return;
    const asking = new AbortController();
    this.#asking = asking;
    const tell2 = (token) => {
      if (link.isSocket) link.send({ event_type: "auth", data: { token } });
    };
    void this.#renewal.renew({ signal: asking.signal, tell: tell2, failed: (error) => this.#events.error(error) });
  }
  /** Gives a link up. */
  #drop(reason) {
    this.#link?.close();
    this.#ended({ code: void 0, reason, error: void 0 });
  }
  #leave() {
    this.#asking?.abort();
    this.#timers.stopAll();
    const { ready: ready4 } = this;
    this.#link?.close();
    this.#link = void 0;
    this.#ready = void 0;
    this.#options.tracker.lost();
    if (ready4 !== void 0) this.#events.lost();
  }
  #ended(why) {
    const { clock } = this.#options;
    const wasJoined = this.#ready !== void 0;
    const idle = clock.now() - this.#heardAt;
    const link = this.#link;
    this.#leave();
    this.#lostAt ??= clock.wall();
    if (wasJoined) {
      this.#backoff.lived(clock.now() - this.#readyAt);
      if (why.code === 1006 && link?.isSocket === true && idle >= 2 * SHORTEST_KEEPALIVE_MS) {
        this.#keepaliveMs = Math.max(SHORTEST_KEEPALIVE_MS, Math.min(this.#keepaliveMs ?? idle, idle) / 2);
      }
    }
    const error = why.error ?? this.#announced.error;
    const isNoWay = this.#isNoWay(error);
    if (!isNoWay && this.#isRefused(why, error)) return;
    if (!wasJoined && (error === void 0 || isNoWay) && this.#canStepDown(why)) {
      this.#rung += 1;
      this.#failures = 0;
      void this.#open();
      return;
    }
    if (this.#rung > 0 && !wasJoined) this.#rung = 0;
    this.#wait(error?.message ?? why.reason, hint(why) ?? error?.retryAfterMs ?? this.#announced.retryAfterMs);
  }
  /** Whether the node does not let us in, and what follows. */
  #isRefused(why, error) {
    const closed = why.code === void 0 ? void 0 : FINAL[why.code];
    const isHttp = error?.status !== void 0 && error.status >= 400 && error.status < 500;
    const isFinal = closed !== void 0 || isHttp && !isPassing(error.code, error.retryAfterMs);
    if (!isFinal) return false;
    const code = error?.code ?? closed ?? "refused";
    if (OF_TOKENS.has(code) && this.#options.tokens.isRenewable && !this.#isTokenTried) {
      this.#isTokenTried = true;
      void this.#open();
    } else {
      this.#block(code, error?.message ?? why.reason);
    }
    return true;
  }
  /** Whether what is between us and the node does not know this other way; the first one got through, and may again. */
  #isNoWay(error) {
    return this.#rung > 0 && this.#hasWorked && (error?.status === 404 || error?.status === 405);
  }
  /** Whether another way is worth a try: this one does not seem to get through. */
  #canStepDown(why) {
    this.#failures += 1;
    const isTried = !this.#hasWorked || this.#failures >= PATIENCE;
    return isTried && why.code !== 1012 && this.#rung + 1 < this.#ladder.length;
  }
  #block(code, message) {
    this.#leave();
    this.status.set({ state: "blocked", code, message });
  }
  #wait(reason, hintMs) {
    const { clock } = this.#options;
    this.#isHinted = hintMs !== void 0;
    const retryInMs = this.#backoff.failed(hintMs === void 0 ? void 0 : followed(hintMs));
    this.status.set({ state: "waiting", since: this.#lostAt ?? clock.wall(), retryInMs, reason });
    this.#timers.set("retry", retryInMs, () => void this.#open());
  }
};

// src/outbox/builtin.ts
function builtin(name) {
  const { process: process2 } = globalThis;
  const found = process2?.getBuiltinModule?.(name);
  if (found === void 0) throw new Error("a directory can be used under Node 20.16 or later only");
  return found;
}

// src/outbox/lock.ts
var SIGN_MS = 1e4;
var GONE_MS = 6e4;
var HELD = /* @__PURE__ */ Symbol.for("continuum-outbox-directories");
async function lock(directory) {
  const fs = builtin("node:fs/promises");
  const { join: join2 } = builtin("node:path");
  const { hostname } = builtin("node:os");
  const real = await fs.realpath(directory);
  const held = heldHere();
  const path = join2(real, "lock");
  if (held.has(real)) throw new Error(`${directory} is in use by this process already`);
  held.add(real);
  const mine = { pid: process.pid, host: hostname(), at: Date.now(), word: crypto.randomUUID() };
  try {
    if (!await made(path, mine)) await takeOver();
  } catch (error) {
    held.delete(real);
    throw error;
  }
  const signs = setInterval(() => fs.utimes(path, /* @__PURE__ */ new Date(), /* @__PURE__ */ new Date()).catch(() => {
  }), SIGN_MS);
  signs.unref();
  return async () => {
    clearInterval(signs);
    if ((await ownerOf(path))?.word === mine.word) await fs.rm(path, { force: true });
    held.delete(real);
  };
  async function made(name, owner) {
    try {
      await fs.writeFile(name, JSON.stringify(owner), { flag: "wx" });
      return true;
    } catch (error) {
      if (error.code === "EEXIST") return false;
      throw error;
    }
  }
  async function takeOver() {
    await refuse(path);
    const taking = join2(real, "lock.taking");
    if (!await made(taking, mine)) {
      await refuse(taking);
      await fs.rm(taking, { force: true });
      throw new Error(`${directory} is being taken over`);
    }
    try {
      await refuse(path);
      await fs.writeFile(join2(real, "lock.next"), JSON.stringify(mine));
      await fs.rename(join2(real, "lock.next"), path);
    } finally {
      await fs.rm(taking, { force: true });
    }
  }
  async function refuse(name) {
    const owner = await ownerOf(name);
    const silence = Date.now() - await fs.stat(name).then(
      ({ mtimeMs }) => mtimeMs,
      () => 0
    );
    if (await isThere(owner, silence))
      throw new Error(`${directory} is in use by process ${owner?.pid ?? "(unknown)"}`);
  }
  async function isThere(owner, silence) {
    if (owner === void 0) return silence < SIGN_MS;
    if (owner.host !== mine.host) return silence < GONE_MS;
    if (owner.pid === process.pid) return owner.at >= Date.now() - process.uptime() * 1e3;
    return isAlive(owner.pid);
  }
  async function ownerOf(name) {
    const text2 = await fs.readFile(name, "utf8").catch(() => "");
    try {
      const said = JSON.parse(text2);
      return typeof field(said, "word") === "string" ? said : void 0;
    } catch {
      return void 0;
    }
  }
}
function heldHere() {
  const place = globalThis;
  place[HELD] ??= /* @__PURE__ */ new Set();
  return place[HELD];
}
function isAlive(pid) {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

// src/outbox/file.ts
var FORM = "continuum-outbox";
var MOST_APPENDED = 8 * 2 ** 20;
var FileStore = class {
  durability = "disk";
  #directory;
  #tenant;
  #instance;
  #file;
  #unlock;
  /** Bytes that are whole lines. */
  #size = 0;
  #appended = 0;
  #last = 0;
  #entries = /* @__PURE__ */ new Map();
  #refusals = /* @__PURE__ */ new Map();
  #turn = Promise.resolve();
  /** One room and one instance in one directory, which is made if it is missing. */
  constructor(directory, tenant, instance2) {
    this.#directory = directory;
    this.#tenant = tenant;
    this.#instance = instance2;
  }
  open() {
    return this.#later(async () => {
      if (this.#file === void 0) await this.#start();
      return { entries: [...this.#entries.values()], refusals: [...this.#refusals.values()] };
    });
  }
  append(draft) {
    return this.#later(async () => {
      const there = this.#entries.get(draft.id);
      if (there !== void 0) return there;
      const entry = { ...draft, number: this.#last + 1, sent: false };
      await this.#write({ add: entry });
      return entry;
    });
  }
  rewrite({ id, base, log, body }) {
    return this.#later(async () => {
      const entry = this.#entries.get(id);
      if (entry === void 0 || entry.sent) return false;
      await this.#write({ rewrite: { id, base, log, body } });
      return true;
    });
  }
  claim(ids) {
    return this.#later(async () => {
      const there = ids.filter((id) => this.#entries.has(id));
      if (there.length > 0) await this.#write({ claim: there });
      return there.map((id) => this.#entries.get(id)).filter((entry) => entry !== void 0);
    });
  }
  settle(id, refusal2) {
    return this.#later(async () => {
      if (this.#entries.has(id) || refusal2 !== void 0) await this.#write({ settle: id, refusal: refusal2 });
    });
  }
  forget(id) {
    return this.#later(() => this.#write({ forget: id }));
  }
  close() {
    return this.#later(async () => {
      const file = this.#file;
      if (file === void 0) return;
      this.#file = void 0;
      await file.close();
      await this.#unlock?.();
    });
  }
  get #fs() {
    return builtin("node:fs/promises");
  }
  #path(name) {
    return builtin("node:path").join(this.#directory, name);
  }
  async #start() {
    await this.#fs.mkdir(this.#directory, { recursive: true, mode: 448 });
    this.#unlock = await lock(this.#directory);
    try {
      const text2 = await this.#fs.readFile(this.#path("outbox.jsonl"), "utf8").catch((error) => {
        if (field(error, "code") === "ENOENT" || error.code === "ENOENT") return "";
        throw error;
      });
      this.#read(text2);
      await this.#compact();
    } catch (error) {
      await this.#unlock();
      throw error;
    }
  }
  #read(text2) {
    const lines = text2.split("\n");
    lines.pop();
    const [head, ...rest] = lines;
    if (head !== void 0) {
      const said = JSON.parse(head);
      const isOurs = field(said, "form") === FORM && field(said, "tenant") === this.#tenant && field(said, "instance") === this.#instance;
      if (!isOurs) throw new Error(`${this.#directory} holds what another room or instance wrote`);
    }
    for (const line2 of rest) this.#do(JSON.parse(line2));
  }
  /** Does to the memory what a line says. */
  #do(step2) {
    if (!isContent(step2)) return;
    const said = step2;
    if (said.add !== void 0) {
      this.#entries.set(said.add.id, { ...said.add, entity: said.add.entity, base: said.add.base });
      this.#last = Math.max(this.#last, said.add.number);
    }
    if (said.rewrite !== void 0) {
      const entry = this.#entries.get(said.rewrite.id);
      if (entry !== void 0)
        this.#entries.set(entry.id, {
          ...entry,
          base: said.rewrite.base,
          log: said.rewrite.log,
          body: said.rewrite.body
        });
    }
    for (const id of said.claim ?? []) {
      const entry = this.#entries.get(id);
      if (entry !== void 0) this.#entries.set(id, { ...entry, sent: true });
    }
    if (said.settle !== void 0) this.#entries.delete(said.settle);
    if (said.refusal !== void 0) this.#refusals.set(said.refusal.entry.id, said.refusal);
    if (said.forget !== void 0) this.#refusals.delete(said.forget);
  }
  async #write(step2) {
    const file = this.#file;
    if (file === void 0) throw new Error("the store is not open");
    const bytes = Buffer.from(`${JSON.stringify(step2)}
`);
    try {
      await file.write(bytes, 0, bytes.length, this.#size);
      await file.datasync();
    } catch (error) {
      await file.truncate(this.#size).catch(() => {
      });
      throw error;
    }
    this.#size += bytes.length;
    this.#appended += bytes.length;
    this.#do(step2);
    if (this.#appended <= MOST_APPENDED) return;
    this.#appended = 0;
    await this.#compact().catch(() => {
    });
  }
  /** Writes the file anew with what it holds. */
  async #compact() {
    const head = { form: FORM, version: 1, tenant: this.#tenant, instance: this.#instance };
    const entries = [...this.#entries.values()].map((add) => ({ add }));
    const refusals = [...this.#refusals.values()].map((refusal2) => ({ refusal: refusal2 }));
    const text2 = [head, ...entries, ...refusals].map((line2) => `${JSON.stringify(line2)}
`).join("");
    const [path, next] = [this.#path("outbox.jsonl"), this.#path("outbox.next")];
    const file = await this.#fs.open(next, "w+", 384);
    try {
      await file.writeFile(text2);
      await file.sync();
      await this.#fs.rename(next, path);
    } catch (error) {
      await file.close();
      throw error;
    }
    await this.#file?.close();
    this.#file = file;
    this.#size = Buffer.byteLength(text2);
    this.#appended = 0;
    await this.#syncDirectory();
  }
  async #syncDirectory() {
    const directory = await this.#fs.open(this.#directory, "r");
    await directory.sync().finally(() => directory.close());
  }
  #later(task) {
    const done2 = this.#turn.then(task);
    this.#turn = done2.catch(() => {
    });
    return done2;
  }
};

// src/outbox/indexeddb.ts
var VERSION = 1;
var IndexedDbStore = class {
  durability = "disk";
  #factory;
  #name;
  #database;
  constructor(factory, name) {
    this.#factory = factory;
    this.#name = name;
  }
  async open() {
    this.#database ??= await this.#connect();
    return this.#run("readonly", async ({ entries, refusals }) => ({
      entries: await asked(entries.getAll()),
      refusals: (await asked(refusals.getAll())).map(({ refusal: refusal2 }) => refusal2)
    }));
  }
  append(draft) {
    return this.#run("readwrite", async ({ entries }) => {
      const there = await asked(entries.index("id").get(draft.id));
      if (there !== void 0) return there;
      const row = { ...draft, sent: false };
      const number = Number(await asked(entries.add(row)));
      return { ...draft, number, sent: false };
    });
  }
  rewrite({ id, base, log, body }) {
    return this.#run("readwrite", async ({ entries }) => {
      const entry = await asked(entries.index("id").get(id));
      if (entry === void 0 || entry.sent) return false;
      await asked(entries.put({ ...entry, base, log, body }));
      return true;
    });
  }
  claim(ids) {
    return this.#run("readwrite", async ({ entries }) => {
      const claimed = [];
      for (const id of ids) {
        const entry = await asked(entries.index("id").get(id));
        if (entry === void 0) continue;
        const sent = { ...entry, sent: true };
        await asked(entries.put(sent));
        claimed.push(sent);
      }
      return claimed;
    });
  }
  settle(id, refusal2) {
    return this.#run("readwrite", async ({ entries, refusals }) => {
      const number = await asked(entries.index("id").getKey(id));
      if (number !== void 0) await asked(entries.delete(number));
      if (refusal2 !== void 0) await asked(refusals.put({ id, refusal: refusal2 }));
    });
  }
  forget(id) {
    return this.#run("readwrite", async ({ refusals }) => {
      await asked(refusals.delete(id));
    });
  }
  async close() {
    this.#database?.close();
    this.#database = void 0;
  }
  async #connect() {
    const request = this.#factory.open(this.#name, VERSION);
    request.onupgradeneeded = () => {
      const entries = request.result.createObjectStore("entries", { keyPath: "number", autoIncrement: true });
      entries.createIndex("id", "id", { unique: true });
      request.result.createObjectStore("refusals", { keyPath: "id" });
    };
    const database = await asked(request);
    database.onversionchange = () => database.close();
    database.onclose = () => {
      this.#database = void 0;
    };
    return database;
  }
  async #run(mode, task) {
    this.#database ??= await this.#connect();
    try {
      const transaction = this.#database.transaction(["entries", "refusals"], mode, { durability: "strict" });
      const done2 = new Promise((complete, failed2) => {
        transaction.oncomplete = () => complete();
        transaction.onabort = () => failed2(transaction.error ?? new Error("the browser gave the transaction up"));
      });
      const stores = { entries: transaction.objectStore("entries"), refusals: transaction.objectStore("refusals") };
      const [result] = await Promise.all([task(stores), done2]);
      return result;
    } catch (error) {
      await this.close();
      throw error;
    }
  }
};
function asked(request) {
  return new Promise((found, failed2) => {
    request.onsuccess = () => found(request.result);
    request.onerror = () => failed2(request.error);
  });
}

// src/outbox/memory.ts
var MemoryStore = class {
  durability = "memory";
  #entries = /* @__PURE__ */ new Map();
  #refusals = /* @__PURE__ */ new Map();
  #last = 0;
  /** With what another one held. */
  constructor(held) {
    for (const entry of held?.entries ?? []) this.#entries.set(entry.id, entry);
    for (const refusal2 of held?.refusals ?? []) this.#refusals.set(refusal2.entry.id, refusal2);
    this.#last = Math.max(0, ...[...this.#entries.values()].map((entry) => entry.number));
  }
  async open() {
    return { entries: [...this.#entries.values()], refusals: [...this.#refusals.values()] };
  }
  async append(draft) {
    const there = this.#entries.get(draft.id);
    if (there !== void 0) return there;
    this.#last += 1;
    const entry = { ...draft, number: this.#last, sent: false };
    this.#entries.set(entry.id, entry);
    return entry;
  }
  async rewrite({ id, base, log, body }) {
    const entry = this.#entries.get(id);
    if (entry === void 0 || entry.sent) return false;
    this.#entries.set(id, { ...entry, base, log, body });
    return true;
  }
  async claim(ids) {
    const claimed = [];
    for (const id of ids) {
      const entry = this.#entries.get(id);
      if (entry === void 0) continue;
      const sent = { ...entry, sent: true };
      this.#entries.set(id, sent);
      claimed.push(sent);
    }
    return claimed;
  }
  async settle(id, refusal2) {
    this.#entries.delete(id);
    if (refusal2 !== void 0) this.#refusals.set(id, refusal2);
  }
  async forget(id) {
    this.#refusals.delete(id);
  }
  async close() {
  }
};

// src/outbox/choose.ts
function chooseStore({ store = "auto", directory, instance: instance2 }, tenant, name) {
  if (typeof store === "object") return { store, reason: void 0, isShared: false };
  if (store === "memory") return memory(void 0);
  if (directory !== void 0) {
    if (instance2 === void 0) {
      throw new ContinuumError("invalid_parameter", "a 'directory' is of one instance: name the 'instance'");
    }
    return { store: new FileStore(directory, tenant, instance2), reason: void 0, isShared: false };
  }
  let factory;
  try {
    factory = globalThis.indexedDB;
  } catch {
  }
  if (factory === void 0) return memory("there is no IndexedDB here, and no 'directory' was given");
  if (instance2 === void 0) return memory("without an 'instance' what waits could not be found again");
  if (globalThis.navigator?.locks === void 0)
    return memory("there are no Web Locks here: the page is not secure (https)");
  return { store: new IndexedDbStore(factory, name), reason: void 0, isShared: true };
}
function memory(reason) {
  return { store: new MemoryStore(), reason, isShared: false };
}

// src/waiting.ts
function abortable(promise, signal) {
  if (signal === void 0) return promise;
  if (signal.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
function either(signal, other) {
  return signal === void 0 ? other : AbortSignal.any([signal, other]);
}
function when(watched, until, signal) {
  return abortable(
    new Promise((resolve, reject) => {
      let stop2;
      const look = () => {
        try {
          const value = watched.snapshot();
          if (!until(value)) return;
          resolve(value);
        } catch (error) {
          reject(error);
        }
        stop2?.();
        signal?.removeEventListener("abort", end);
      };
      const end = () => stop2?.();
      stop2 = watched.subscribe(look);
      signal?.addEventListener("abort", end, { once: true });
      look();
    }),
    signal
  );
}
function deferred() {
  let resolve;
  let reject;
  const promise = new Promise((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

// src/outbox/handle.ts
var OutboxHandle = class {
  #queue;
  #sync;
  #writes;
  #closed;
  /** Writes that are made again, until they are kept. */
  #again = /* @__PURE__ */ new Map();
  #shown = { pending: 0, refused: [] };
  /** `closed` aborts when the client is closed. */
  constructor(queue, sync, writes, closed) {
    this.#queue = queue;
    this.#sync = sync;
    this.#writes = writes;
    this.#closed = closed;
  }
  snapshot() {
    const [pending, refused2] = [this.#queue.size, this.#queue.refusals.list.snapshot()];
    if (pending !== this.#shown.pending || refused2 !== this.#shown.refused) this.#shown = { pending, refused: refused2 };
    return this.#shown;
  }
  subscribe(listener) {
    const stops = [this.#sync.subscribe(listener), this.#queue.refusals.list.subscribe(listener)];
    return () => {
      for (const stop2 of stops) stop2();
    };
  }
  retry(id) {
    const refusal2 = this.#queue.refusals.get(id);
    if (refusal2 === void 0) return void 0;
    const made = this.#again.get(id);
    if (made !== void 0) return made;
    const op = this.#writes.again(refusal2);
    this.#again.set(id, op);
    void this.#queue.kept(op).then(async () => {
      await this.#queue.drop(id);
      this.#again.delete(id);
    });
    return op;
  }
  drop(id) {
    return this.#queue.drop(id);
  }
  async flushed({ signal } = {}) {
    const ended = either(signal, this.#closed);
    await abortable(this.#queue.opened, ended);
    await when(this, ({ pending }) => pending === 0, ended);
  }
};

// src/room/words.ts
var SIGNAL = /^(cursor\.move|selection\.change|user\.presence|typing|signal\..+|gonzai\.suggestion|chaos\.trigger)$/;
var RESERVED = /^(ping|pong|auth|ack|heartbeat|sync_(request|reconnect|event)|graph\.sync|subscribe|unsubscribe|gonzai\.focus|(node|edge)\.(create|update|delete|restore)|memory\.(created|updated|deleted|restore)|context\.(update|delete|restore)|batch\.update|conflict\.resolve|conflict_resolution)$/;
function wireOf({ instance: instance2, connectedAt, capabilities, user, userName }) {
  const member2 = { instance_id: instance2, connected_at: connectedAt, capabilities: [...capabilities] };
  if (user !== void 0) member2.user_id = user;
  if (userName !== void 0) member2.user_name = userName;
  return member2;
}
function queryOf(options) {
  const query = {};
  if (options.types !== void 0 && options.types.length > 0) query.types = options.types.join(",");
  if (options.capabilities !== void 0 && options.capabilities.length > 0) {
    query.capabilities = options.capabilities.join(",");
  }
  return query;
}
function isReserved(type) {
  return isSignal(type) || RESERVED.test(type);
}
function isSignal(type) {
  return SIGNAL.test(type);
}

// src/outbox/message.ts
function messageOf(entry, log = entry.log) {
  if (entry.kind === "event") return { event_type: entry.type, event_id: entry.id, data: entry.body };
  const base = entry.base === void 0 || entry.log === void 0 || entry.log === log ? entry.base : 0;
  const event = {
    op_id: entry.id,
    op_number: entry.opNumber,
    replica_id: entry.replica,
    entity_type: entry.type,
    entity_id: entry.entity ?? "",
    ...base === void 0 ? {} : { base_version: base },
    ...isContent(entry.body) ? entry.body : {}
  };
  return { event_type: "sync_event", event_id: entry.id, data: { event } };
}
function unsendable({ kind, type }, message, mostBytes) {
  if (kind === "event" && isReserved(type)) return refused("reserved_type", reservedText(type));
  const bytes = new TextEncoder().encode(JSON.stringify(message)).length;
  if (bytes <= mostBytes) return void 0;
  return refused("too_large", `${bytes} bytes as a message, of which the node takes ${mostBytes}`);
}
function reservedText(type) {
  return `'${type}' means something else than an event; choose another type`;
}
var BLANK = {
  version: 0,
  duplicate: false,
  queued: false,
  code: void 0,
  message: void 0,
  resolution: void 0,
  overwritten: [],
  conflictId: void 0,
  variantId: void 0,
  current: void 0
};
function acknowledged(seq, duplicate) {
  return { ...BLANK, status: "confirmed", version: seq ?? 0, duplicate, queued: seq === void 0 };
}
function refused(code, message) {
  return { ...BLANK, status: "refused", code, message };
}
function unknown(code, message) {
  return { ...BLANK, status: "unknown", code, message };
}
function decided({ outcome, version, data }) {
  const said = { ...BLANK, version, duplicate: field(data, "duplicate") === true, current: currentOf(data) };
  switch (outcome) {
    case "retry":
      return void 0;
    case "confirmed":
      return { ...said, status: "confirmed" };
    case "conflict_resolved":
      return {
        ...said,
        status: "resolved",
        resolution: text(data, "resolution"),
        variantId: text(data, "variant_id"),
        overwritten: overwrittenOf(data)
      };
    case "conflict_pending":
      return { ...said, status: "pending", conflictId: text(data, "conflict_id") };
    case "rollback":
      return { ...said, status: "rolled_back", code: text(data, "code") ?? "unknown", message: text(data, "reason") };
  }
}
function currentOf(data) {
  const current = field(data, "current");
  return isContent(current) || current === null ? current : void 0;
}
function overwrittenOf(data) {
  const list = field(data, "overwritten");
  if (!Array.isArray(list)) return [];
  return list.map((item) => ({
    path: text(item, "path") ?? "",
    value: field(item, "value") ?? null,
    version: count(item, "version") ?? 0,
    by: text(item, "by") ?? ""
  }));
}

// src/outbox/pending.ts
function sizeOf(body) {
  return JSON.stringify(body).length;
}
function pendingOf(entry, optimistic) {
  const fate2 = deferred();
  const stored = deferred();
  const op = {
    id: entry.id,
    optimistic,
    stored: stored.promise,
    settled: fate2.promise,
    wait: ({ signal } = {}) => abortable(fate2.promise, signal)
  };
  return {
    entry,
    stage: "storing",
    isLoose: true,
    isHanded: false,
    landed: void 0,
    refusals: 0,
    bytes: sizeOf(entry.body),
    op,
    settle: fate2.resolve,
    stored: stored.resolve
  };
}
function restored(entry) {
  return { ...pendingOf(entry, void 0), stage: "waiting", isLoose: entry.number === Number.POSITIVE_INFINITY };
}
function inOrder(a, b) {
  const [first, second] = [a.entry.number, b.entry.number];
  return first < second ? -1 : first > second ? 1 : 0;
}
function nextOf(all, window) {
  const busy = /* @__PURE__ */ new Set();
  const next = [];
  const room2 = window - all.filter((pending) => pending.stage === "flying").length;
  let mayTell = true;
  for (const pending of all) {
    if (next.length >= room2) break;
    const { kind, type, entity } = pending.entry;
    if (kind === "event") {
      if (pending.stage === "waiting" && mayTell) next.push(pending);
      else if (pending.stage !== "flying") mayTell = false;
      continue;
    }
    mayTell = false;
    const key = `${type}/${entity}`;
    if (!busy.has(key) && pending.stage === "waiting") next.push(pending);
    busy.add(key);
  }
  return next;
}
function refusalOf(entry, settled, at) {
  const { status, code = "unknown", message = "", current } = settled;
  if (code === LOCAL_CODES.dropped) return void 0;
  return status === "refused" || status === "rolled_back" ? { entry, code, message, current, at } : void 0;
}

// src/outbox/refusals.ts
var MOST = 1e3;
var Refusals = class {
  list = new Cell([]);
  #all = /* @__PURE__ */ new Map();
  /** What was taken away, the latest: a store that was read before still shows it. */
  #dropped = /* @__PURE__ */ new Set();
  get(id) {
    return this.#all.get(id);
  }
  /** Keeps them; gives the ids of those that had to make room. */
  keep(refusals) {
    for (const refusal2 of refusals) this.#all.set(refusal2.entry.id, refusal2);
    const oldest = [...this.#all.keys()].slice(0, Math.max(0, this.#all.size - MOST));
    for (const id of oldest) this.#all.delete(id);
    if (refusals.length > 0) this.#tell();
    return oldest;
  }
  /** What a store holds. */
  found(refusals) {
    this.keep(refusals.filter(({ entry }) => !this.#dropped.has(entry.id)));
  }
  /** `false`: there is none. */
  drop(id) {
    if (this.#dropped.size >= MOST) this.#dropped.clear();
    this.#dropped.add(id);
    const isThere = this.#all.delete(id);
    if (isThere) this.#tell();
    return isThere;
  }
  #tell() {
    this.list.set([...this.#all.values()].map(shown));
  }
};
function shown({ entry, code, message, current, at }) {
  const { id, kind, type, entity, base, body } = entry;
  const write2 = { kind, type, body };
  if (entity !== void 0) write2.entity = entity;
  if (base !== void 0) write2.base = base;
  return { id, write: write2, code, message, current, at };
}

// src/outbox/sender.ts
var FIRST_WINDOW = 32;
var PAUSE_MS = 1e3;
var MOST_BYTES = 2 ** 20;
var Sender = class {
  #options;
  #waiting;
  #leads = false;
  #window = 0;
  #mostInFlight = 0;
  #mostBytes = MOST_BYTES;
  #log;
  #resume;
  #isClaiming = false;
  /** All that was missed before this connection is here. */
  #isCaughtUp = false;
  constructor(options, waiting) {
    this.#options = options;
    this.#waiting = waiting;
  }
  /** Whether this one sends. */
  get leads() {
    return this.#leads;
  }
  /** The epoch of the log that versions are of now; `undefined`: none was seen yet. */
  get log() {
    return this.#log;
  }
  get mostBytes() {
    return this.#mostBytes;
  }
  /** This one sends from now on; nobody else does any more. */
  lead() {
    this.#leads = true;
    this.#settleLanded();
    this.pump();
  }
  connected(ready4) {
    this.#log = ready4.epoch;
    this.#mostInFlight = Math.max(1, Math.min(FIRST_WINDOW * 8, ready4.limits.publishesInFlight));
    this.#window = Math.min(FIRST_WINDOW, this.#mostInFlight);
    this.#mostBytes = ready4.limits.maxMessageBytes;
    this.pump();
  }
  caughtUp() {
    this.#isCaughtUp = true;
    this.pump();
  }
  lost() {
    this.#window = 0;
    this.#isCaughtUp = false;
    for (const pending of this.#waiting.all()) if (pending.stage === "flying") pending.stage = "waiting";
    this.#settleLanded();
    this.#resume?.();
    this.#resume = void 0;
  }
  /** The log has an event of ours. Where its answer may still come, that tells more. */
  recorded(pending, seq) {
    pending.landed = seq;
    this.#settleLanded();
  }
  /** An event is in the log, or in the node's journal (`seq` is `undefined`). */
  acknowledged(id, seq, duplicate) {
    if (this.#leads && this.#waiting.get(id)?.entry.kind === "event") this.#answered(id, acknowledged(seq, duplicate));
  }
  decided(fate2) {
    if (!this.#leads) return;
    const settled = decided(fate2);
    if (settled === void 0) this.#again(fate2.updateId, fate2.retryAfterMs);
    else this.#answered(fate2.updateId, settled);
  }
  /** `false`: it is about no write of ours. */
  failed(about, code, message, retryAfterMs) {
    const pending = this.#waiting.get(about);
    if (pending?.stage !== "flying") return false;
    if (isPassing(code, retryAfterMs)) this.#again(about, retryAfterMs);
    else this.#answered(about, refused(code, message));
    return true;
  }
  /** Sends what may be sent. */
  pump() {
    if (!this.#leads || this.#isClaiming || this.#resume !== void 0 || this.#window === 0) return;
    if (!this.#isCaughtUp) return;
    const next = nextOf(this.#waiting.all(), this.#window);
    if (next.length === 0) return;
    const fresh = next.filter((pending) => !pending.entry.sent);
    for (const pending of next) {
      pending.stage = "flying";
      pending.entry = { ...pending.entry, sent: true };
    }
    this.#isClaiming = true;
    void this.#waiting.claim(fresh).then(() => {
      this.#isClaiming = false;
      for (const pending of next) {
        if (pending.stage === "flying" && this.#waiting.get(pending.entry.id) === pending) this.#send(pending);
      }
      this.pump();
    });
  }
  #send(pending) {
    const message = messageOf(pending.entry, this.#log);
    const refusal2 = unsendable(pending.entry, message, this.#mostBytes);
    if (refusal2 !== void 0) this.#answered(pending.entry.id, refusal2);
    else if (!this.#options.send(message)) pending.stage = "waiting";
  }
  #answered(id, settled) {
    this.#window = this.#window === 0 ? 0 : Math.min(this.#window + 1, this.#mostInFlight);
    this.#waiting.settle(id, settled);
    this.pump();
  }
  /** It is sent again after a pause, one at a time: in the middle of many it would come behind its followers. */
  #again(id, retryAfterMs) {
    const pending = this.#waiting.get(id);
    if (pending === void 0) return;
    const pause2 = retryAfterMs === void 0 ? Math.min(CAP_MS, PAUSE_MS * 2 ** Math.min(pending.refusals, 6)) : followed(retryAfterMs);
    pending.refusals += 1;
    pending.stage = "waiting";
    this.#window = Math.min(this.#window, 1);
    this.#resume?.();
    this.#resume = this.#options.clock.after(pause2, () => {
      this.#resume = void 0;
      this.pump();
    });
  }
  /** Events that the log has and whose answer does not come any more. */
  #settleLanded() {
    if (!this.#leads) return;
    for (const { entry, stage, landed } of this.#waiting.all()) {
      if (landed !== void 0 && stage !== "flying") this.#waiting.settle(entry.id, acknowledged(landed, true));
    }
  }
};

// src/outbox/queue.ts
var MOST_DONE = 1e4;
var WORD_MS = 1e3;
var Queue = class {
  refusals = new Refusals();
  #store;
  #options;
  #events;
  #sender;
  #pending = /* @__PURE__ */ new Map();
  /** Writes that are done, the latest: what a store or a tab still says of them is of before. */
  #done = /* @__PURE__ */ new Set();
  /** Calls of the store, one after the other. */
  #turn;
  #opened;
  #fault;
  #bytes = 0;
  #opNumber = 0;
  #isClosed = false;
  constructor(store, options, events) {
    this.#store = store;
    this.#options = options;
    this.#events = events;
    this.#fault = options.reason;
    this.#sender = new Sender(options, {
      all: () => [...this.#pending.values()],
      get: (id) => this.#pending.get(id),
      claim: (next) => this.#claim(next),
      settle: (id, settled) => this.#settle(id, settled, "here")
    });
    this.#turn = store.open().then(
      (held) => this.#found(held),
      (error) => {
        this.#fault = `the store cannot be opened: ${told(error)}`;
        this.#events.changed();
      }
    );
    this.#opened = this.#turn;
  }
  get size() {
    return this.#pending.size;
  }
  get storage() {
    const isLoose = this.#fault !== void 0 || [...this.#pending.values()].some((pending) => pending.isLoose);
    return { where: isLoose ? "memory" : this.#store.durability, reason: this.#fault };
  }
  /** When the store is open. */
  get opened() {
    return this.#opened;
  }
  /** Our write to this entity that is on its way. */
  flying(key) {
    for (const { entry, stage } of this.#pending.values()) {
      if (stage === "flying" && `${entry.type}/${entry.entity}` === key) return entry.id;
    }
    return void 0;
  }
  get(id) {
    return this.#pending.get(id);
  }
  /** Puts a write behind the others. The same once more is the same write. */
  add(made, optimistic) {
    if (this.#isClosed) throw new ContinuumError(LOCAL_CODES.closed, "the client is closed");
    const there = made.id === void 0 ? void 0 : this.#pending.get(made.id);
    if (there !== void 0) {
      const { kind, type, entity, body } = there.entry;
      const isSame = kind === made.kind && type === made.type && entity === made.entity && isEqual(body, made.body);
      if (isSame) return { ...there.op, optimistic };
      throw new ContinuumError(LOCAL_CODES.duplicate, `another write with the id ${made.id} waits`);
    }
    const { replica, clock, uuid: uuid2, most } = this.#options;
    if (this.#bytes + sizeOf(made.body) > most)
      throw new ContinuumError(LOCAL_CODES.full, `the outbox holds ${this.#bytes} bytes; ${most} is the most`);
    this.#opNumber += 1;
    const id = made.id ?? uuid2();
    const written = { replica, opNumber: this.#opNumber, writtenAt: clock.wall() };
    const place = { number: Number.POSITIVE_INFINITY, sent: false };
    const pending = pendingOf({ ...made, log: made.log ?? this.#sender.log, id, ...written, ...place }, optimistic);
    this.#keep(pending);
    void this.#later(() => this.#append(pending));
    return pending.op;
  }
  /** Puts another content into a write that nobody can have sent; `false`: it is to be a write of its own. */
  rewrite(id, base, body) {
    const bytes = sizeOf(body);
    const more = bytes - (this.#pending.get(id)?.bytes ?? 0);
    const isLong = bytes > this.#sender.mostBytes / 4 || this.#bytes + more > this.#options.most;
    return this.#sender.leads && !isLong && this.carry(id, base, body);
  }
  /** The same where either content will do: if another tab sends, the store knows which it has. */
  carry(id, base, body) {
    const pending = this.#pending.get(id);
    if (this.#isClosed || pending === void 0 || pending.entry.sent) return false;
    const { log } = this.#sender;
    this.#change(pending, { ...pending.entry, base, log, body });
    if (pending.isLoose) return true;
    void this.#later(async () => {
      await this.#store.rewrite({ id, base, log, body });
    });
    return true;
  }
  /** What another tab wrote: into the store, or where that took it not, into its own memory alone. */
  adopt(entry) {
    const pending = restored(entry);
    if (this.#isClosed || this.#pending.has(entry.id) || pending.isLoose && this.#done.has(entry.id)) return;
    this.#keep(pending);
    if (pending.isLoose) void this.#later(() => this.#append(pending));
    this.pump();
  }
  /** What another tab learned of a write. */
  learn(id, settled) {
    this.#settle(id, settled, "elsewhere");
  }
  /** A person took a write away, here or in another tab. */
  forget(id) {
    if (this.refusals.drop(id)) this.#events.changed();
    this.#settle(id, refused(LOCAL_CODES.dropped, "a person took it out of the outbox"), "elsewhere");
  }
  /** This one sends from now on: once it knows what was sent by who did so before. */
  async lead() {
    await this.reconcile();
    this.#sender.lead();
  }
  /** Another tab sends: it is told again of what is in no store. */
  async follow() {
    await this.reconcile();
    for (const pending of this.#pending.values()) if (pending.isLoose) this.#hand(pending);
  }
  /** Others may have written, sent or settled what their word of did not reach us: the store knows. */
  async reconcile() {
    await this.#later(async () => {
      const mine = [...this.#pending.values()].filter((pending) => !pending.isLoose);
      const held = await this.#store.open();
      const there = new Map(held.entries.map((entry) => [entry.id, entry]));
      const refusals = new Map(held.refusals.map((refusal2) => [refusal2.entry.id, refusal2]));
      for (const pending of mine) {
        const { id, replica } = pending.entry;
        const [entry, refusal2] = [there.get(id), refusals.get(id)];
        if (refusal2 !== void 0) {
          this.#settle(id, refused(refusal2.code, refusal2.message), "elsewhere");
        } else if (entry === void 0) {
          if (pending.stage !== "flying") this.#miss(pending);
        } else if (!pending.entry.sent && (entry.sent || replica !== this.#options.replica)) {
          this.#change(pending, entry);
        }
      }
      this.#found(held);
    });
    this.pump();
  }
  connected(ready4) {
    for (const pending of this.#pending.values()) {
      const { log } = pending.entry;
      if (log !== void 0 && log !== ready4.epoch) pending.entry = { ...pending.entry, sent: false };
    }
    this.#sender.connected(ready4);
  }
  /** All that was missed is here. */
  caughtUp() {
    this.#sender.caughtUp();
  }
  lost() {
    this.#sender.lost();
  }
  /** The log has an event of ours. */
  recorded(id, seq) {
    this.#note(id);
    const pending = this.#pending.get(id);
    if (pending?.entry.kind === "event") this.#sender.recorded(pending, seq);
  }
  acknowledged(id, seq, duplicate) {
    this.#sender.acknowledged(id, seq, duplicate);
  }
  decided(fate2) {
    this.#sender.decided(fate2);
  }
  /** `false`: it is about no write of ours. */
  failed(about, code, message, retryAfterMs) {
    return this.#sender.failed(about, code, message, retryAfterMs);
  }
  pump() {
    this.#sender.pump();
  }
  async drop(id) {
    this.forget(id);
    this.#events.dropped(id);
    await this.#later(() => this.#store.settle(id));
    await this.#later(() => this.#store.forget(id));
  }
  /** When a write is kept as well as a store of this kind keeps one. */
  async kept(op) {
    if (await op.stored !== this.#store.durability) await op.settled;
  }
  async close() {
    if (this.#isClosed) return;
    this.lost();
    const closing = this.#later(() => this.#store.close());
    this.#isClosed = true;
    await closing;
    for (const { isLoose, settle } of this.#pending.values()) {
      const where = isLoose || this.#store.durability === "memory" ? "was in memory only" : "waits on disk";
      settle(unknown(LOCAL_CODES.closed, `the client was closed before its fate was known; it ${where}`));
    }
  }
  /** The store's content counts for what others wrote, ours for what we did. */
  #claim(next) {
    return this.#later(async () => {
      const stored = next.filter(({ isLoose }) => !isLoose).map(({ entry }) => entry.id);
      if (stored.length === 0) return;
      for (const entry of await this.#store.claim(stored)) {
        const pending = this.#pending.get(entry.id);
        if (pending !== void 0 && entry.replica !== this.#options.replica) this.#change(pending, entry);
      }
    });
  }
  #settle(id, settled, where) {
    const pending = this.#pending.get(id);
    if (pending === void 0) return;
    this.#pending.delete(id);
    this.#bytes -= pending.bytes;
    this.#note(id);
    const refusal2 = refusalOf(pending.entry, settled, this.#options.clock.wall());
    if (refusal2 !== void 0) {
      for (const oldest of this.refusals.keep([refusal2])) void this.#later(() => this.#store.forget(oldest));
      this.#events.refused(refusal2);
    }
    if (where === "here") void this.#later(() => this.#store.settle(id, refusal2));
    else if (pending.isHanded) void this.#later(() => this.#store.settle(id));
    this.#events.settled(pending, settled);
    pending.settle(settled);
    this.#events.changed();
  }
  /** It is in the store no more. Whoever took it out says why, and that word may still be on its way. */
  #miss(pending) {
    const { id } = pending.entry;
    pending.stage = "storing";
    const gone = unknown(LOCAL_CODES.gone, "it is in the store no more, and nobody said what became of it");
    this.#options.clock.after(WORD_MS, () => this.#settle(id, gone, "elsewhere"));
  }
  #note(id) {
    this.#done.add(id);
    const [oldest] = this.#done;
    if (this.#done.size > MOST_DONE && oldest !== void 0) this.#done.delete(oldest);
  }
  #keep(pending) {
    this.#done.delete(pending.entry.id);
    this.#pending.set(pending.entry.id, pending);
    this.#bytes += pending.bytes;
    this.#events.added(pending);
    this.#events.changed();
  }
  #change(pending, entry) {
    const bytes = sizeOf(entry.body);
    this.#bytes += bytes - pending.bytes;
    pending.bytes = bytes;
    pending.entry = entry;
  }
  /** What the store holds that is not known here. */
  #found(held) {
    const old = held.entries.filter((entry) => !this.#pending.has(entry.id));
    for (const entry of old) {
      if (this.#done.has(entry.id)) void this.#later(() => this.#store.settle(entry.id));
      else this.#keep(restored(entry));
    }
    const all = [...this.#pending.values()].sort(inOrder);
    this.#pending.clear();
    for (const pending of all) this.#pending.set(pending.entry.id, pending);
    this.refusals.found(held.refusals);
    this.#events.changed();
  }
  async #append(pending) {
    if (!this.#pending.has(pending.entry.id)) return;
    try {
      for (const loose of this.#pending.values()) {
        if (loose.isLoose) await this.#put(loose);
        if (loose === pending) break;
      }
      this.#fault = this.#options.reason;
    } catch (error) {
      this.#failed(error);
      this.#hand(pending);
    }
    if (pending.stage === "storing") pending.stage = "waiting";
    pending.stored(pending.isLoose ? "memory" : this.#store.durability);
    this.#events.changed();
    this.pump();
  }
  async #put(pending) {
    const { number: _, sent: __, ...draft } = pending.entry;
    const { number, sent } = await this.#store.append(draft);
    pending.isLoose = false;
    const { id, base, body } = pending.entry;
    pending.entry = { ...pending.entry, number, sent: sent || pending.entry.sent };
    if (body !== draft.body || base !== draft.base) await this.#store.rewrite(pending.entry);
    if (pending.entry.sent && !sent) await this.#store.claim([id]);
    this.#events.stored(pending.entry);
  }
  /** Gives a write that is in no store to the tab that sends. */
  #hand(pending) {
    if (pending.entry.replica !== this.#options.replica) return;
    pending.isHanded = true;
    this.#events.stored(pending.entry);
  }
  #failed(error) {
    this.#fault = told(error);
    this.#events.changed();
  }
  #later(task) {
    if (!this.#isClosed) this.#turn = this.#turn.then(task).catch((error) => this.#failed(error));
    return this.#turn;
  }
};
function told(error) {
  const { name, message } = error;
  const isSaid = (part2) => typeof part2 === "string" && part2 !== "" && part2 !== "Error";
  return [name, message].filter(isSaid).join(": ") || String(error);
}

// src/text/ops.ts
var Builder = class {
  #parts = [];
  keep(count2) {
    if (count2 > 0) this.#join(count2);
  }
  remove(count2) {
    if (count2 > 0) this.#join(-count2);
  }
  insert(text2) {
    if (text2 === "") return;
    const parts = this.#parts;
    const last = parts.at(-1);
    const at = typeof last === "number" && last < 0 ? parts.length - 1 : parts.length;
    const before = parts[at - 1];
    if (typeof before === "string") parts[at - 1] = before + text2;
    else parts.splice(at, 0, text2);
  }
  done() {
    const last = this.#parts.at(-1);
    if (typeof last === "number" && last > 0) this.#parts.pop();
    return this.#parts;
  }
  #join(part2) {
    const last = this.#parts.at(-1);
    if (typeof last === "number" && last > 0 === part2 > 0) this.#parts[this.#parts.length - 1] = last + part2;
    else this.#parts.push(part2);
  }
};
var Reader = class {
  #ops;
  #at = 0;
  #rest;
  constructor(ops) {
    this.#ops = ops;
    this.#rest = ops[0];
  }
  get isDone() {
    return this.#rest === void 0;
  }
  /** The text that is inserted here, if one is. */
  takeInsert() {
    if (typeof this.#rest !== "string") return void 0;
    const text2 = this.#rest;
    this.#next();
    return text2;
  }
  /** How many code points are kept (positive) or removed (negative) here; `Infinity` behind the end. */
  get run() {
    return typeof this.#rest === "number" ? this.#rest : Number.POSITIVE_INFINITY;
  }
  takeRun(count2) {
    if (typeof this.#rest !== "number") return;
    const left = Math.abs(this.#rest) - count2;
    if (left === 0) this.#next();
    else this.#rest = this.#rest > 0 ? left : -left;
  }
  /** How many code points are inserted here. */
  get inserted() {
    return typeof this.#rest === "string" ? lengthOf(this.#rest) : void 0;
  }
  /** The first of the code points that are inserted here. */
  takeInserted(count2) {
    const text2 = this.#rest;
    const end = advance(text2, 0, count2);
    if (end === text2.length) this.#next();
    else this.#rest = text2.slice(end);
    return text2.slice(0, end);
  }
  #next() {
    this.#at += 1;
    this.#rest = this.#ops[this.#at];
  }
};
function lengthOf(text2) {
  let count2 = 0;
  for (let at = 0; at < text2.length; at = step(text2, at)) count2 += 1;
  return count2;
}
function advance(text2, at, count2) {
  let place = at;
  for (let left = count2; left > 0; left -= 1) {
    if (place >= text2.length) return -1;
    place = step(text2, place);
  }
  return place;
}
function step(text2, at) {
  return at + ((text2.codePointAt(at) ?? 0) > 65535 ? 2 : 1);
}
function isTextOps(value) {
  return Array.isArray(value) && value.every((part2) => typeof part2 === "string" || Number.isSafeInteger(part2) && part2 !== 0);
}
function canonical(ops) {
  const builder = new Builder();
  for (const part2 of ops) {
    if (typeof part2 === "string") builder.insert(part2);
    else if (part2 > 0) builder.keep(part2);
    else builder.remove(-part2);
  }
  return builder.done();
}
function apply(ops, text2) {
  let at = 0;
  let result = "";
  for (const part2 of canonical(ops)) {
    if (typeof part2 === "string") {
      result += part2;
      continue;
    }
    const next = advance(text2, at, Math.abs(part2));
    if (next < 0) return void 0;
    if (part2 > 0) result += text2.slice(at, next);
    at = next;
  }
  return result + text2.slice(at);
}
function transformPair(earlier, later) {
  const [a, b] = [new Reader(canonical(earlier)), new Reader(canonical(later))];
  const [aAfter, bAfter] = [new Builder(), new Builder()];
  while (!a.isDone || !b.isDone) {
    const left = a.takeInsert();
    if (left !== void 0) {
      aAfter.insert(left);
      bAfter.keep(lengthOf(left));
      continue;
    }
    const right = b.takeInsert();
    if (right !== void 0) {
      aAfter.keep(lengthOf(right));
      bAfter.insert(right);
      continue;
    }
    const count2 = Math.min(Math.abs(a.run), Math.abs(b.run));
    const [doesKeepA, doesKeepB] = [a.run > 0, b.run > 0];
    if (doesKeepA && doesKeepB) {
      aAfter.keep(count2);
      bAfter.keep(count2);
    } else if (doesKeepB) {
      aAfter.remove(count2);
    } else if (doesKeepA) {
      bAfter.remove(count2);
    }
    a.takeRun(count2);
    b.takeRun(count2);
  }
  return [aAfter.done(), bAfter.done()];
}
function compose(first, second) {
  const [a, b] = [new Reader(canonical(first)), new Reader(canonical(second))];
  const both = new Builder();
  while (!a.isDone || !b.isDone) {
    if (a.inserted === void 0 && a.run < 0) {
      both.remove(-a.run);
      a.takeRun(-a.run);
      continue;
    }
    const inserted = b.takeInsert();
    if (inserted !== void 0) {
      both.insert(inserted);
      continue;
    }
    const count2 = Math.min(a.inserted ?? a.run, Math.abs(b.run));
    if (a.inserted !== void 0) {
      const text2 = a.takeInserted(Math.min(count2, a.inserted));
      if (b.run > 0) both.insert(text2);
      b.takeRun(count2);
      continue;
    }
    if (b.run > 0) both.keep(count2);
    else both.remove(count2);
    a.takeRun(count2);
    b.takeRun(count2);
  }
  return both.done();
}

// src/state/told.ts
function keyOf(type, id) {
  return `${type}/${id}`;
}
function splitKey(key) {
  const at = key.indexOf("/");
  return [key.slice(0, at), key.slice(at + 1)];
}
var EVENT = { kind: "event" };
function tell({ type, data }) {
  const named = /^(?:(node|edge)\.(?:create|update|delete)|(memory)\.(?:created|updated|deleted))$/.exec(type);
  const kind = named?.[1] ?? named?.[2];
  if (kind !== void 0) return ofNamed(kind, data);
  if (type === "context_changed") return ofContext(data);
  if (type === "sync_event") return ofEvent(data);
  if (/^conflict\.(pending|variant|resolved)$/.test(type)) {
    const [entityType, id] = [text(data, "entity_type"), text(data, "entity_id")];
    return entityType === void 0 || id === void 0 ? EVENT : { kind: "open", key: keyOf(entityType, id) };
  }
  return EVENT;
}
function changed(key, content, data) {
  return { kind: "entity", key, data: content, base: count(data, "base_version"), edits: editsOf(data) };
}
function ofNamed(kind, data) {
  const content = field(data, kind);
  if (isContent(content)) {
    const { id: id2, ...rest } = content;
    return typeof id2 === "string" ? changed(keyOf(kind, id2), rest, data) : EVENT;
  }
  const id = text(data, `${kind}_id`);
  return id === void 0 ? EVENT : changed(keyOf(kind, id), null, data);
}
function ofContext(data) {
  const [level, id] = [text(data, "level") ?? "", text(data, "context_id")];
  if (id === void 0) return EVENT;
  const key = keyOf("context", level === "" ? id : `${level}:${id}`);
  const content = field(data, "context");
  if (text(data, "change_type") === "delete") return changed(key, null, data);
  return isContent(content) ? changed(key, content, data) : EVENT;
}
function ofEvent(data) {
  const event = field(data, "event");
  const [type, id] = [text(event, "entity_type"), text(event, "entity_id")];
  if (type === void 0 || id === void 0) return EVENT;
  const content = field(event, "data");
  if (text(event, "action") === "delete") return changed(keyOf(type, id), null, data);
  return isContent(content) ? changed(keyOf(type, id), content, data) : EVENT;
}
function editsOf(data) {
  const said = field(data, "text");
  if (said === void 0) return void 0;
  const edits = [];
  for (const item of Array.isArray(said) ? said : [said]) {
    const [path, ops] = [text(item, "path"), field(item, "ops")];
    if (path === void 0 || !isTextOps(ops)) return void 0;
    edits.push({ path, ops });
  }
  return edits;
}

// src/room/conflicts.ts
var SHORTLY_MS = 50;
var PAUSE_MS2 = 5e3;
var BEHIND_MS = 1e3;
var PAGE = 200;
var MOST2 = 2e3;
var OpenConflicts = class {
  #options;
  #list = new Cell([]);
  #found = new Listeners();
  #cancel;
  #asking;
  #isOnline = false;
  /** The last record that opened or settled something, and while questions are on their way, those that may have. */
  #openAt = 0;
  #asked = 0;
  #changed = /* @__PURE__ */ new Map();
  constructor(options) {
    this.#options = options;
  }
  snapshot() {
    return this.#list.snapshot();
  }
  subscribe(listener) {
    return this.#list.subscribe(listener);
  }
  onConflict(listener) {
    return this.#found.add(listener);
  }
  async list({ signal } = {}) {
    this.#asked += 1;
    try {
      const { all, position } = await this.#pages(signal);
      this.#take(all, position);
    } finally {
      this.#asked -= 1;
      if (this.#asked === 0) this.#changed.clear();
    }
    return this.#list.snapshot();
  }
  resolve(conflict, choice, data) {
    const body = { action: "resolve", conflict_id: conflict.conflictId, choice };
    const { type, id, conflictId } = conflict;
    const listed = this.#list.snapshot().find((one) => one.conflictId === conflictId);
    const base = conflict.shownVersion ?? listed?.shownVersion;
    return this.#options.write({ type, id }, base, data === void 0 ? body : { ...body, data });
  }
  /** A record opened or settled something. */
  opened(seq) {
    this.#openAt = seq;
    this.ask();
  }
  /** An entity was changed: if something lies open with it, that may have settled it. */
  changed(key, seq) {
    if (this.#list.snapshot().some((conflict) => keyOf(conflict.type, conflict.id) === key)) this.opened(seq);
    else if (this.#asked > 0) this.#changed.set(key, seq);
  }
  online() {
    this.#isOnline = true;
    this.ask();
  }
  offline() {
    this.#isOnline = false;
    this.#openAt = 0;
    this.#cancel?.();
    this.#cancel = void 0;
    this.#asking?.abort();
  }
  /** Something was opened or settled: what lies open is asked for shortly. */
  ask(afterMs = SHORTLY_MS) {
    if (!this.#isOnline || this.#cancel !== void 0) return;
    this.#cancel = this.#options.clock.after(afterMs, () => {
      this.#cancel = void 0;
      void this.#refresh();
    });
  }
  async #refresh() {
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    try {
      await this.list({ signal: asking.signal });
    } catch {
      if (!asking.signal.aborted) this.ask(PAUSE_MS2);
    }
  }
  /** What is open, and up to where in the log that is counted. */
  async #pages(signal) {
    const all = [];
    let position = 0;
    let page2;
    const shown3 = (conflict) => {
      const version = this.#options.shown(conflict.type, conflict.id) ?? 0;
      return { ...conflict, shownVersion: version > position ? conflict.version : Math.max(conflict.version, version) };
    };
    do {
      const body = await this.#options.http.ask("conflicts", { query: { limit: PAGE, page: page2 }, signal });
      const found = field(body, "conflicts");
      for (const item of Array.isArray(found) ? found : []) {
        const conflict = read2(item);
        if (conflict !== void 0) all.push(conflict);
      }
      position = count(body, "position") ?? 0;
      page2 = text(body, "next");
    } while (page2 !== void 0 && all.length < MOST2);
    return { all: all.map(shown3), position };
  }
  #take(all, position) {
    const latest2 = all.map(({ type, id }) => this.#changed.get(keyOf(type, id)) ?? 0);
    if (Math.max(this.#openAt, ...latest2) > position) this.ask(BEHIND_MS);
    const before = new Set(this.#list.snapshot().map((conflict) => conflict.conflictId));
    if (all.length === 0 && before.size === 0) return;
    this.#list.set(all);
    this.#options.changed();
    for (const conflict of all) {
      if (before.has(conflict.conflictId)) continue;
      this.#options.found(conflict);
      this.#found.tell(conflict);
    }
  }
};
function read2(item) {
  const [type, id, conflictId] = [text(item, "entity_type"), text(item, "entity_id"), text(item, "conflict_id")];
  if (type === void 0 || id === void 0 || conflictId === void 0) return void 0;
  const paths = field(item, "paths");
  const by = field(item, "by");
  return {
    type,
    id,
    conflictId,
    version: count(item, "version") ?? 0,
    shownVersion: count(item, "version") ?? 0,
    kind: text(item, "kind") === "variant" ? "variant" : "conflict",
    base: field(item, "base"),
    proposed: field(item, "proposed"),
    current: field(item, "current"),
    paths: Array.isArray(paths) ? paths.filter((path) => typeof path === "string") : [],
    by: isContent(by) ? by : void 0
  };
}

// src/room/freshness.ts
var SYNCED_S = 60;
var RECENT_S = 300;
var LOOK_MS = 5e3;
function wordFor(ageS) {
  if (ageS === void 0 || ageS >= RECENT_S) return "stale";
  return ageS < SYNCED_S ? "synced" : "recent";
}
var Freshness = class {
  status;
  #clock;
  #counts;
  #freshAt;
  #cancel;
  constructor(clock, counts) {
    this.#clock = clock;
    this.#counts = counts;
    this.status = new Cell(this.#compute());
  }
  /** All that the node has told is here. */
  fresh() {
    const isFirst = this.#freshAt === void 0 || this.status.snapshot().status !== "synced";
    this.#freshAt = this.#clock.now();
    if (isFirst) this.look();
    this.#cancel ??= this.#clock.after(LOOK_MS, () => {
      this.#cancel = void 0;
      this.look();
      this.#watch();
    });
  }
  /** Something that is counted, or the age, may have changed. */
  look() {
    const [before, now] = [this.status.snapshot(), this.#compute()];
    const isSame = Object.keys(now).every((name) => now[name] === before[name]);
    if (!isSame) this.status.set(now);
  }
  close() {
    this.#cancel?.();
    this.#cancel = void 0;
  }
  #watch() {
    this.#cancel ??= this.#clock.after(LOOK_MS, () => {
      this.#cancel = void 0;
      this.look();
      this.#watch();
    });
  }
  #compute() {
    const ageS = this.#freshAt === void 0 ? void 0 : Math.max(0, Math.floor((this.#clock.now() - this.#freshAt) / 1e3));
    return { status: wordFor(ageS), ageS, ...this.#counts() };
  }
};

// src/tracker.ts
function parseCursor(text2) {
  const parts = /^([0-9a-f]{16})\.(\d{1,16})(?:\.([0-9a-f]{8}))?$/.exec(text2);
  if (parts === null) return void 0;
  return { epoch: parts[1] ?? "", position: Number(parts[2]), fingerprint: parts[3] };
}
function write(cursor) {
  const { epoch, position, fingerprint } = cursor;
  return fingerprint === void 0 ? `${epoch}.${position}` : `${epoch}.${position}.${fingerprint}`;
}
var Tracker = class {
  #hasEcho;
  #cursor;
  // Own records that were answered close the chain, but move the cursor only where that cannot skip anything.
  #acknowledged = 0;
  // Between `caught_up` and `lagging` an ack comes behind every record before it.
  #isLive = false;
  constructor(options) {
    this.#hasEcho = options.echo;
    this.#cursor = options.cursor === void 0 ? void 0 : parseCursor(options.cursor);
  }
  get cursor() {
    return this.#cursor && write(this.#cursor);
  }
  get position() {
    return this.#cursor?.position ?? 0;
  }
  get isLive() {
    return this.#isLive;
  }
  /** Takes one message in the order in which it came. */
  see(meaning2) {
    switch (meaning2.kind) {
      case "ready":
        this.#start(meaning2.ready.epoch, meaning2.ready.resume.after);
        return "new";
      case "resync":
        this.#acknowledged = 0;
        this.#cursor = parseCursor(meaning2.cursor) ?? this.#cursor;
        return "new";
      case "record": {
        const { seq, prev, eventId } = meaning2.place;
        if (seq <= this.position) return "repeated";
        const gap = this.#gap(prev, seq);
        if (gap === void 0) this.#set(seq, eventId);
        return gap ?? "new";
      }
      case "advance": {
        const gap = this.#gap(meaning2.from, meaning2.to);
        if (gap === void 0) this.#move(meaning2.to);
        return gap ?? "new";
      }
      case "caught_up":
        this.#isLive = true;
        this.#move(meaning2.position);
        return "new";
      case "lagging":
        this.#isLive = false;
        return "new";
      case "ack":
      case "stored":
        this.#acknowledged = Math.max(this.#acknowledged, meaning2.seq);
        if (this.#isLive && !meaning2.duplicate && !this.#hasEcho && meaning2.seq > this.position) {
          this.#set(meaning2.seq, meaning2.eventId);
        }
        return "new";
      case "fate":
        this.#acknowledged = Math.max(this.#acknowledged, meaning2.fate.version);
        return "new";
      default:
        return "new";
    }
  }
  /** The connection is gone. */
  lost() {
    this.#isLive = false;
  }
  #start(epoch, after) {
    this.#isLive = false;
    this.#acknowledged = 0;
    if (this.#cursor?.epoch === epoch && this.#cursor.position === after) return;
    this.#cursor = { epoch, position: after, fingerprint: void 0 };
  }
  #gap(prev, seq) {
    const last = Math.max(this.position, this.#acknowledged);
    return prev <= last ? void 0 : { last, seq, prev };
  }
  #move(position) {
    if (position > this.position) this.#set(position, void 0);
  }
  #set(position, eventId) {
    if (this.#cursor === void 0) return;
    const fingerprint = eventId?.slice(0, 8).toLowerCase();
    this.#cursor = { epoch: this.#cursor.epoch, position, fingerprint: fingerprint || void 0 };
  }
};

// src/room/patterns.ts
function matcher(types) {
  const all = types === void 0 ? [] : typeof types === "string" ? [types] : types;
  if (all.length === 0) return () => true;
  return (type) => all.some((pattern) => isMatch(pattern, type));
}
function only(types, listener) {
  const isWanted = matcher(types);
  return (item) => {
    if (isWanted(item.type)) listener(item);
  };
}
function isMatch(pattern, type) {
  const star = pattern.indexOf("*");
  if (star < 0) return pattern === type;
  const [head, tail] = [pattern.slice(0, star), pattern.slice(star + 1)];
  return type.length >= head.length + tail.length && type.startsWith(head) && type.endsWith(tail);
}

// src/room/history.ts
var MOST_WAITING = 1e3;
var PAUSE_MS3 = 1e3;
function recordOf({ type, instance: instance2, timestamp, data, raw, meaning: meaning2 }, epoch) {
  if (meaning2.kind !== "record") return void 0;
  const { seq, prev, eventId } = meaning2.place;
  const fingerprint = eventId === "" ? "" : `.${eventId.slice(0, 8).toLowerCase()}`;
  return { type, seq, prev, id: eventId, instance: instance2, timestamp, data, cursor: `${epoch}.${seq}${fingerprint}`, raw };
}
async function page(http, { after, types, pageSize, wait, signal }) {
  const query = { after: after ?? "earliest", limit: pageSize ?? 100, types: types?.join(","), wait };
  const body = await http.ask("events", { query, signal });
  const [events, cursor, resync] = [field(body, "events"), text(body, "cursor") ?? "", field(body, "resync")];
  const messages = Array.isArray(events) ? events.filter(isContent) : [];
  const epoch = parseCursor(cursor)?.epoch ?? "";
  const records2 = messages.map((message) => recordOf(read(message), epoch)).filter((record) => record !== void 0);
  return {
    records: records2,
    messages,
    cursor,
    more: field(body, "more") === true,
    resync: isContent(resync) ? resync : void 0
  };
}
async function historyPage(http, options) {
  const { records: records2, cursor, more, resync } = await page(http, options);
  return { records: records2, cursor, more, resync: resync === void 0 ? void 0 : text(resync, "reason") ?? "unknown" };
}
async function* history(http, options) {
  let after = options.after;
  for (let more = true; more; ) {
    const found = await page(http, { ...options, after });
    yield* found.records;
    after = found.cursor;
    more = found.more;
  }
}
function records(source, types, { signal }) {
  const reader = new Reader2(source, matcher(types), either(signal, source.closed));
  const told3 = reader.read(() => source.closed.aborted && signal?.aborted !== true);
  return {
    next: () => told3.next(),
    // One that was never asked has not begun, and would not be told that it is over.
    return: (value) => {
      reader.stop();
      return told3.return(value);
    },
    [Symbol.asyncIterator]() {
      return this;
    }
  };
}
var Reader2 = class {
  stop;
  #source;
  #isWanted;
  #ended;
  #waiting = [];
  #news = deferred();
  /** Where this reader fell behind, if it did: from there the log is read. */
  #behind;
  /** What a page of the log told already. */
  #told = 0;
  constructor(source, isWanted, ended) {
    this.#source = source;
    this.#isWanted = isWanted;
    this.#ended = ended;
    this.stop = source.listen((record) => this.#hear(record));
  }
  async *read(isClosed) {
    try {
      while (true) {
        for (let record = this.#waiting.shift(); record !== void 0; record = this.#waiting.shift()) yield record;
        if (this.#behind !== void 0) {
          for (const record of await this.#page(this.#behind)) if (this.#isWanted(record.type)) yield record;
          continue;
        }
        this.#news = deferred();
        await abortable(this.#news.promise, this.#ended);
      }
    } catch (error) {
      if (isClosed()) return void 0;
      throw error;
    } finally {
      this.stop();
    }
  }
  #hear(record) {
    if (!this.#isWanted(record.type) || this.#behind !== void 0 || record.seq <= this.#told) return;
    if (this.#waiting.length >= MOST_WAITING) this.#behind = this.#waiting.at(-1)?.cursor;
    else this.#waiting.push(record);
    this.#news.resolve();
  }
  /** A page of the log; a network that is away for a while is waited for. */
  async #page(after) {
    const { http, clock, cursor, missed } = this.#source;
    for (let pause2 = PAUSE_MS3; ; pause2 = Math.min(pause2 * 2, CAP_MS)) {
      try {
        const found = await page(http, { after, pageSize: MOST_WAITING, signal: this.#ended });
        if (found.resync !== void 0) missed(text(found.resync, "reason") ?? "unknown");
        this.#behind = isBefore(found.cursor, cursor()) ? found.cursor : void 0;
        this.#told = found.records.at(-1)?.seq ?? (found.resync === void 0 ? this.#told : 0);
        return found.records;
      } catch (error) {
        this.#ended.throwIfAborted();
        if (!(error instanceof ContinuumError)) throw error;
        if (error.status !== void 0 && !isPassing(error.code, error.retryAfterMs)) throw error;
        const rested = deferred();
        const cancel = clock.after(followed(error.retryAfterMs ?? pause2), rested.resolve);
        await abortable(rested.promise, this.#ended).finally(cancel);
      }
    }
  }
};
function isBefore(cursor, other) {
  const [a, b] = [parseCursor(cursor), other === void 0 ? void 0 : parseCursor(other)];
  return a !== void 0 && b !== void 0 && a.epoch === b.epoch && a.position < b.position;
}

// src/room/presence.ts
var PRESENCE = "user.presence";
function shown2(member2, data) {
  return { ...member2, data };
}
async function membersOf(http, signal) {
  return members(await http.ask("instances", { signal })).map((member2) => shown2(member2, void 0));
}
var Roster = class {
  #state = new Cell({ members: [], total: 0 });
  #joins = new Listeners();
  #leaves = new Listeners();
  #members = /* @__PURE__ */ new Map();
  #instance;
  #send;
  #total = 0;
  #own;
  constructor(instance2, send) {
    this.#instance = instance2;
    this.#send = send;
  }
  snapshot() {
    return this.#state.snapshot();
  }
  subscribe(listener) {
    return this.#state.subscribe(listener);
  }
  onJoin(listener) {
    return this.#joins.add(listener);
  }
  onLeave(listener) {
    return this.#leaves.add(listener);
  }
  update(data) {
    this.#own = data;
    this.#tellOwn();
  }
  /** The room was joined: these are there. Who is new and who is gone since is told. */
  joined(members2, total) {
    const before = new Map(this.#members);
    this.#members.clear();
    for (const member2 of members2) {
      if (member2.instance === this.#instance) continue;
      this.#members.set(member2.instance, shown2(member2, before.get(member2.instance)?.data));
    }
    this.#total = total;
    this.#changed();
    for (const [name, member2] of this.#members) if (!before.has(name)) this.#joins.tell(member2);
    for (const [name, member2] of before) if (!this.#members.has(name)) this.#leaves.tell(member2);
    this.#tellOwn();
  }
  lost() {
    this.#members.clear();
    this.#total = 0;
    this.#changed();
  }
  take(meaning2) {
    if (meaning2.kind === "joined") this.#came(meaning2.member);
    if (meaning2.kind === "left") this.#went(meaning2.instance);
    if (meaning2.kind === "crowd") {
      this.#total = meaning2.total;
      this.#changed();
    }
  }
  /** What somebody says of itself. */
  signal(frame) {
    const member2 = this.#members.get(frame.instance);
    if (frame.type !== PRESENCE || member2 === void 0) return;
    this.#members.set(frame.instance, { ...member2, data: frame.data });
    this.#changed();
  }
  #came(member2) {
    if (member2.instance === this.#instance) return;
    const before = this.#members.get(member2.instance);
    const now = shown2(member2, before?.data);
    this.#members.set(member2.instance, now);
    if (before === void 0) this.#total += 1;
    this.#changed();
    if (before === void 0) this.#joins.tell(now);
  }
  #went(instance2) {
    const member2 = this.#members.get(instance2);
    if (member2 === void 0) return;
    this.#members.delete(instance2);
    this.#total -= 1;
    this.#changed();
    this.#leaves.tell(member2);
  }
  #tellOwn() {
    if (this.#own !== void 0) this.#send({ event_type: PRESENCE, data: this.#own });
  }
  #changed() {
    const members2 = [...this.#members.values()].sort((a, b) => a.instance < b.instance ? -1 : 1);
    this.#state.set({ members: members2, total: this.#total });
  }
};

// src/room/results.ts
var PAUSE_MS4 = 1e3;
var Results = class {
  #options;
  #all = /* @__PURE__ */ new Map();
  #isSocket = false;
  #isClosed = false;
  constructor(options) {
    this.#options = options;
  }
  follow(interest2) {
    const name = this.#options.uuid();
    const result = new FollowedResult(name, interest2, this.#options, () => {
      this.#all.delete(name);
      if (this.#isSocket) this.#options.send({ event_type: "unsubscribe", data: { subscriptions: [name] } });
    });
    this.#all.set(name, result);
    if (this.#isClosed) result.close();
    else if (this.#isSocket) result.ask();
    return result;
  }
  online(isSocket) {
    this.#isSocket = isSocket;
    for (const result of this.#all.values()) {
      if (isSocket) result.ask();
      else
        result.refused(
          new ContinuumError(LOCAL_CODES.socketOnly, "what is followed needs a socket, and there is none")
        );
    }
  }
  offline() {
    this.#isSocket = false;
    for (const result of this.#all.values()) result.lost();
  }
  take(name, frame) {
    this.#all.get(name)?.take(frame);
  }
  /** `false`: it is about no result of ours. */
  refused(name, error) {
    const result = this.#all.get(name);
    result?.refused(error);
    return result !== void 0;
  }
  /** What waits for an entity changed. */
  changed(key) {
    for (const result of this.#all.values()) result.touched(key);
  }
  close() {
    this.#isClosed = true;
    for (const result of [...this.#all.values()]) result.close();
  }
};
var FollowedResult = class {
  #name;
  #interest;
  #options;
  #closed;
  #listeners = new Listeners();
  #items = /* @__PURE__ */ new Map();
  /** The result that is coming, before it is whole. */
  #coming;
  #status = "loading";
  #error;
  #state;
  constructor(name, interest2, options, closed) {
    this.#name = name;
    this.#interest = interest2;
    this.#options = options;
    this.#closed = closed;
  }
  snapshot() {
    this.#state ??= { status: this.#status, items: this.#shown(), error: this.#error };
    return this.#state;
  }
  subscribe(listener) {
    return this.#listeners.add(listener);
  }
  live({ signal } = {}) {
    return when(
      this,
      ({ status, error }) => {
        if (status === "failed" && error !== void 0) throw error;
        if (status === "closed") throw new ContinuumError(LOCAL_CODES.closed, "it is not followed any more");
        return status === "live";
      },
      signal
    );
  }
  close() {
    if (this.#status === "closed") return;
    this.#status = "closed";
    this.#changed();
    this.#closed();
  }
  ask() {
    this.#status = "loading";
    this.#error = void 0;
    this.#changed();
    const data = { subscription: this.#name, ...this.#interest, mute: false };
    this.#options.send({ event_type: "subscribe", data });
  }
  lost() {
    this.#coming = void 0;
    if (this.#status === "live") this.#status = "loading";
    this.#changed();
  }
  refused(error) {
    if (this.#status === "closed") return;
    this.#error = error;
    this.#status = "failed";
    this.#changed();
    if (!isPassing(error.code, error.retryAfterMs)) return;
    this.#options.clock.after(error.retryAfterMs ?? PAUSE_MS4, () => {
      if (this.#status === "failed") this.ask();
    });
  }
  touched(key) {
    if (this.#items.has(key)) this.#changed();
  }
  take({ type, data }) {
    if (type.endsWith(".update")) this.#change(data);
    else this.#part(data);
  }
  #part(data) {
    if (count(data, "part") === 1) this.#coming = /* @__PURE__ */ new Map();
    const coming = this.#coming;
    if (coming === void 0) return;
    for (const item of itemsOf(data)) coming.set(keyOf(item.type, item.id), item);
    if (field(data, "done") !== true) return;
    this.#items = coming;
    this.#coming = void 0;
    this.#status = "live";
    this.#error = void 0;
    this.#changed();
  }
  #change(data) {
    const items = this.#coming ?? this.#items;
    for (const name of ["entered", "changed"]) {
      for (const item of listOf(data, name)) {
        const read3 = itemOf(item);
        if (read3 !== void 0) items.set(keyOf(read3.type, read3.id), read3);
      }
    }
    for (const item of listOf(data, "left"))
      items.delete(keyOf(text(item, "entity_type") ?? "", text(item, "entity_id") ?? ""));
    this.#changed();
  }
  #shown() {
    const shown3 = [];
    for (const [key, item] of this.#items) {
      const data = this.#options.over(key, item.data);
      if (data !== null) shown3.push({ ...item, data });
    }
    return shown3;
  }
  #changed() {
    this.#state = void 0;
    this.#listeners.tell();
  }
};
function listOf(data, name) {
  const list = field(data, name);
  return Array.isArray(list) ? list : [];
}
function itemsOf(data) {
  const named = (name, type) => listOf(data, name).map((item) => {
    if (!isContent(item) || typeof item.id !== "string") return void 0;
    const { id, version, ...fields } = item;
    return { type, id, version: typeof version === "number" ? version : 0, data: fields };
  });
  const all = [...named("nodes", "node"), ...named("edges", "edge"), ...listOf(data, "results").map(itemOf)];
  return all.filter((item) => item !== void 0);
}
function itemOf(item) {
  const [type, id, data] = [text(item, "entity_type"), text(item, "entity_id"), field(item, "data")];
  if (type === void 0 || id === void 0 || !isContent(data)) return void 0;
  return { type, id, version: count(item, "version") ?? 0, data };
}

// src/tabs.ts
var Tabs = class {
  #name;
  #id;
  #events;
  #channel;
  #locks;
  #ended = new AbortController();
  #isLeader = false;
  #link;
  /** What each follower follows, so that it ends with it. */
  #followed = /* @__PURE__ */ new Map();
  constructor(name, id, locks, events) {
    this.#name = name;
    this.#id = id;
    this.#locks = locks;
    this.#events = events;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    const { signal } = this.#ended;
    void this.#hold(`${name}:${id}`, signal, () => {
    });
    void this.#hold(name, signal, () => {
      this.#isLeader = true;
      this.#events.lead();
    });
  }
  get isLeader() {
    return this.#isLeader;
  }
  /** A way to the node that leads over the tab that leads. */
  link(http) {
    return (target, events) => {
      const hello = () => this.#say({ kind: "hello", from: this.#id });
      const link = new FollowerLink(http, target.since, events, hello);
      this.#link = link;
      hello();
      return {
        name: "tab",
        get isSocket() {
          return link.isSocket;
        },
        send: (message) => this.#say({ kind: "send", from: this.#id, message }),
        close: () => {
          link.close();
          if (this.#link === link) this.#link = void 0;
        }
      };
    };
  }
  /** The leader joined the room. */
  joined() {
    if (this.#isLeader) this.#say({ kind: "joined" });
  }
  /** The leader got a message. */
  relay(message) {
    if (this.#isLeader) this.#say({ kind: "message", message });
  }
  lost(reason) {
    if (this.#isLeader) this.#say({ kind: "lost", reason });
  }
  stored(entry) {
    if (!this.#isLeader) this.#say({ kind: "stored", entry });
  }
  settled(id, settled) {
    if (this.#isLeader) this.#say({ kind: "settled", id, settled });
  }
  dropped(id) {
    this.#say({ kind: "dropped", id });
  }
  close() {
    this.#ended.abort();
    this.#channel.close();
  }
  async #hold(name, signal, granted) {
    try {
      await this.#locks.request(name, { signal }, () => {
        granted();
        return new Promise((release) => signal.addEventListener("abort", () => release(), { once: true }));
      });
    } catch {
      if (signal.aborted) return;
      this.close();
      this.#events.alone();
    }
  }
  #say(word) {
    if (!this.#ended.signal.aborted) this.#channel.postMessage(word);
  }
  #hear(word) {
    switch (word.kind) {
      case "hello":
        if (!this.#isLeader) return;
        this.#mourn(word.from);
        this.#events.look();
        this.#welcome(word.from);
        break;
      case "send":
        if (!this.#isLeader) return;
        this.#note(word.from, word.message);
        this.#events.send(word.message);
        break;
      case "stored":
        if (this.#isLeader) this.#events.stored(word.entry);
        break;
      case "settled":
        this.#events.settled(word.id, word.settled);
        break;
      case "dropped":
        this.#events.dropped(word.id);
        break;
      case "joined":
        this.#link?.hear(word);
        this.#events.joined();
        break;
      case "welcome":
        if (word.to !== this.#id) return;
        this.#link?.hear(word);
        this.#events.led();
        break;
      default:
        this.#link?.hear(word);
    }
  }
  #welcome(to) {
    const standing = this.#events.standing();
    if (standing !== void 0) this.#say({ kind: "welcome", to, ...standing });
  }
  /** Remembers what a follower follows. */
  #note(from, message) {
    const [subscription, ended] = [field(message.data, "subscription"), field(message.data, "subscriptions")];
    if (message.event_type === "unsubscribe" && Array.isArray(ended)) {
      for (const name of ended) this.#followed.get(from)?.delete(name);
    }
    if (message.event_type !== "subscribe" || typeof subscription !== "string") return;
    const names = this.#followed.get(from) ?? /* @__PURE__ */ new Set();
    this.#followed.set(from, names.add(subscription));
  }
  /** When a follower is gone, what it followed is followed no more. */
  #mourn(from) {
    if (this.#followed.has(from)) return;
    this.#followed.set(from, /* @__PURE__ */ new Set());
    const { signal } = this.#ended;
    const bury = () => {
      const names = [...this.#followed.get(from) ?? []];
      this.#followed.delete(from);
      this.#events.look();
      if (names.length > 0) this.#events.send({ event_type: "unsubscribe", data: { subscriptions: names } });
    };
    this.#locks.request(`${this.#name}:${from}`, { signal }, bury).catch(() => {
    });
  }
};
var FollowerLink = class {
  #http;
  #since;
  #events;
  #hello;
  #ended = new AbortController();
  isSocket = true;
  /** What came while what was missed is read. */
  #waiting = [];
  #isWelcome = false;
  constructor(http, since, events, hello) {
    this.#http = http;
    this.#since = since;
    this.#events = events;
    this.#hello = hello;
  }
  close() {
    this.#ended.abort();
  }
  hear(word) {
    if (this.#ended.signal.aborted) return;
    if (word.kind === "welcome" && !this.#isWelcome) {
      this.#isWelcome = true;
      this.isSocket = word.isSocket;
      void this.#begin(word);
    } else if (word.kind === "joined" && !this.#isWelcome) {
      this.#hello();
    } else if (word.kind === "joined" || word.kind === "lost") {
      if (this.#isWelcome) this.#end(word.kind === "lost" ? word.reason : "the leading tab joined the room again");
    } else if (word.kind === "message" && this.#isWelcome) {
      if (this.#waiting === void 0) this.#events.message(word.message);
      else this.#waiting.push(word.message);
    }
  }
  #end(reason) {
    this.#ended.abort();
    this.#events.lost({ code: void 0, reason, error: void 0 });
  }
  async #begin({ ready: ready4, cursor, isLive }) {
    try {
      for (const message of await this.#missed(ready4, cursor)) this.#events.message(message);
    } catch (error) {
      if (!this.#ended.signal.aborted) this.#end(`what was missed could not be read: ${String(error)}`);
      return;
    }
    const waiting = this.#waiting ?? [];
    this.#waiting = void 0;
    for (const message of waiting) if (!this.#ended.signal.aborted) this.#events.message(message);
    if (isLive && !this.#ended.signal.aborted) {
      this.#events.message({ event_type: "caught_up", data: { position: parseCursor(cursor)?.position ?? 0 } });
    }
  }
  /** What a node would say first: where we stand, and what lies between that and where the leader stands. */
  async #missed(ready4, cursor) {
    const [mine, theirs] = [this.#since === void 0 ? void 0 : parseCursor(this.#since), parseCursor(cursor)];
    const isKnown = mine !== void 0 && mine.epoch === theirs?.epoch;
    const after = isKnown ? mine.position : theirs?.position ?? 0;
    const isOther = mine !== void 0 && !isKnown;
    const resume = { from: "cursor", outcome: isOther ? "resync" : "honoured", after, missed: 0, missed_exact: false };
    const messages = [{ event_type: "session_ready", data: { ...ready4, resume } }];
    if (isOther) messages.push({ event_type: "resync", data: { reason: "other_epoch", cursor, after } });
    const { signal } = this.#ended;
    let at = isKnown ? this.#since : void 0;
    while (at !== void 0 && (parseCursor(at)?.position ?? 0) < (theirs?.position ?? 0)) {
      const found = await page(this.#http, { after: at, pageSize: 500, signal });
      if (found.resync !== void 0) messages.push({ event_type: "resync", data: found.resync });
      messages.push(...found.messages);
      at = found.cursor === at ? void 0 : found.cursor;
    }
    return messages;
  }
};

// src/sharing.ts
var Sharing = class {
  #options;
  #tabs;
  /** `session_ready` as it came. */
  #ready;
  constructor(options) {
    this.#options = options;
  }
  /** Takes part among the tabs, and sends. */
  begin() {
    const { name, replica, queue, connection, http } = this.#options;
    if (name === void 0) {
      void queue.lead();
      return;
    }
    const events = {
      lead: () => this.#lead(),
      alone: () => this.#alone(),
      send: (message) => connection.send(message),
      stored: (entry) => queue.adopt(entry),
      settled: (id, settled) => queue.learn(id, settled),
      dropped: (id) => queue.forget(id),
      led: () => void queue.follow(),
      joined: () => connection.hurry(),
      look: () => void queue.reconcile(),
      standing: () => this.#standing()
    };
    try {
      const tabs = new Tabs(name, replica, navigator.locks, events);
      this.#tabs = tabs;
      connection.change([tabs.link(http)]);
    } catch {
      this.#alone();
    }
  }
  /** A message came: the others get it too. What is said of one write is told when it is settled. */
  take({ meaning: meaning2, data, raw }) {
    if (meaning2.kind === "ready") {
      this.#ready = isContent(data) ? data : void 0;
      this.#tabs?.joined();
    } else if (meaning2.kind !== "error" || this.#options.queue.get(meaning2.about ?? "") === void 0) {
      this.#tabs?.relay(raw);
    }
  }
  lost() {
    this.#tabs?.lost("the leading tab lost its connection");
  }
  stored(entry) {
    this.#tabs?.stored(entry);
  }
  settled(id, settled) {
    this.#tabs?.settled(id, settled);
  }
  dropped(id) {
    this.#tabs?.dropped(id);
  }
  close() {
    this.#tabs?.close();
  }
  #lead() {
    const { queue, connection, ladder } = this.#options;
    void queue.lead();
    connection.change(ladder);
  }
  /** The browser forbids tabs to know of each other. */
  #alone() {
    this.#tabs = void 0;
    this.#lead();
  }
  /** How this tab stands, for the others. */
  #standing() {
    const { connection, tracker, roster } = this.#options;
    const { cursor, isLive } = tracker;
    if (connection.ready === void 0 || this.#ready === void 0 || cursor === void 0) return void 0;
    const { members: members2, total } = roster.snapshot();
    const ready4 = { ...this.#ready, instances: members2.map(wireOf), instances_total: total };
    return { ready: ready4, cursor, isLive, isSocket: connection.isSocket };
  }
};

// src/text/utf16.ts
var isHigh = (unit) => unit >= 55296 && unit <= 56319;
var isLow = (unit) => unit >= 56320 && unit <= 57343;
function wellFormed(text2) {
  return text2.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "�");
}
function whole(text2, at) {
  return at > 0 && at < text2.length && isHigh(text2.charCodeAt(at - 1)) && isLow(text2.charCodeAt(at)) ? at - 1 : at;
}
function spliceBetween(before, after, caret) {
  if (before === after) return void 0;
  const shorter = Math.min(before.length, after.length);
  const mostTail = caret === void 0 ? shorter : Math.min(shorter, Math.max(0, after.length - caret));
  let head = 0;
  let tail = 0;
  const growTail = (most) => {
    while (tail < most && before.charCodeAt(before.length - 1 - tail) === after.charCodeAt(after.length - 1 - tail))
      tail += 1;
  };
  if (caret !== void 0) growTail(mostTail);
  while (head < shorter - tail && before.charCodeAt(head) === after.charCodeAt(head)) head += 1;
  growTail(shorter - head);
  head = Math.min(whole(before, head), whole(after, head));
  while (tail > 0 && (whole(before, before.length - tail) !== before.length - tail || whole(after, after.length - tail) !== after.length - tail))
    tail -= 1;
  return { at: head, deleted: before.length - tail - head, inserted: after.slice(head, after.length - tail) };
}
function opsOf(splice, text2) {
  const from = whole(text2, splice.at);
  const end = splice.at + splice.deleted;
  const to = splice.deleted === 0 ? from : whole(text2, end) === end ? end : end + 1;
  const { inserted } = splice;
  const before = splice.deleted > 0 && isLow(inserted.charCodeAt(0)) ? text2.slice(from, splice.at) : "";
  const after = isHigh(inserted.charCodeAt(inserted.length - 1)) ? text2.slice(end, to) : "";
  return canonical([
    lengthOf(text2.slice(0, from)),
    wellFormed(before + inserted + after),
    -lengthOf(text2.slice(from, to))
  ]);
}
function opsBetween(before, after, caret) {
  const splice = spliceBetween(before, after, caret);
  return splice === void 0 ? [] : opsOf(splice, before);
}
function splicesOf(ops, text2) {
  const splices = [];
  let at = 0;
  let inserted = "";
  let deleted = 0;
  const flush = () => {
    if (inserted !== "" || deleted > 0) splices.unshift({ at: at - deleted, deleted, inserted });
    inserted = "";
    deleted = 0;
  };
  for (const part2 of canonical(ops)) {
    if (typeof part2 === "string") {
      inserted += part2;
      continue;
    }
    const next = advance(text2, at, Math.abs(part2));
    if (part2 > 0) {
      flush();
      at = next;
    } else {
      deleted += next - at;
      at = next;
    }
  }
  flush();
  return splices;
}
function follow(place, change2) {
  return change2.splices.reduce((at, splice) => {
    if (splice.at + splice.deleted <= at && !(splice.deleted === 0 && splice.at === at && change2.by === "others")) {
      return at + splice.inserted.length - splice.deleted;
    }
    return Math.min(at, splice.at);
  }, place);
}

// src/state/pointer.ts
function parsePointer(pointer) {
  if (pointer === "") return [];
  if (!pointer.startsWith("/") || /~(?![01])/.test(pointer)) return void 0;
  return pointer.slice(1).split("/").map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));
}
function indexOf(name) {
  return /^(0|[1-9][0-9]*)$/.test(name) ? Number(name) : void 0;
}
function valueAt(value, pointer) {
  let at = value;
  for (const name of parsePointer(pointer) ?? [""]) {
    if (Array.isArray(at)) {
      const index = indexOf(name);
      at = index === void 0 ? void 0 : at[index];
    } else if (typeof at === "object" && at !== null) {
      at = Object.hasOwn(at, name) ? at[name] : void 0;
    } else {
      return void 0;
    }
  }
  return at;
}

// src/state/edits.ts
function pathOf(body) {
  const edit = field(body, "text");
  const path = field(edit, "path");
  return typeof path === "string" && isTextOps(field(edit, "ops")) ? path : void 0;
}
function opsOfBody(body) {
  const ops = field(field(body, "text"), "ops");
  return isTextOps(ops) ? ops : [];
}
function withOps(body, ops) {
  if (!isContent(body)) return body;
  return { ...body, text: { path: pathOf(body) ?? "", ops: [...ops] } };
}
function textAt(data, path) {
  const value = data === null ? void 0 : valueAt(data, path);
  return typeof value === "string" ? value : void 0;
}
function makeWay(others, waiting) {
  let left = [...waiting];
  const here = [];
  for (const other of others) {
    let way = other;
    left = left.map((ops) => {
      const [after, carried] = transformPair(way, ops);
      way = after;
      return carried;
    });
    here.push(way);
  }
  return { waiting: left, here };
}

// src/state/patch.ts
function mergePatch(base, patch) {
  if (!isContent(patch)) return patch;
  let result = isContent(base) ? base : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) result = without(result, name);
    else result = { ...result, [name]: mergePatch(Object.hasOwn(result, name) ? result[name] : void 0, value) };
  }
  return result;
}
function without(value, name) {
  const { [name]: _, ...rest } = value;
  return rest;
}
function jsonPatch(base, ops) {
  let value = base;
  for (const op of ops) {
    if (value === void 0) return void 0;
    value = done(value, op);
  }
  return value;
}
function done(value, op) {
  switch (op.op) {
    case "add":
      return put(value, op.path, op.value, "add");
    case "replace":
      return valueAt(value, op.path) === void 0 ? void 0 : put(value, op.path, op.value, "replace");
    case "remove":
      return put(value, op.path, void 0, "replace");
    case "test": {
      const there = valueAt(value, op.path);
      return there !== void 0 && isEqual(there, op.value) ? value : void 0;
    }
    case "copy": {
      const from = valueAt(value, op.from);
      return from === void 0 ? void 0 : put(value, op.path, from, "add");
    }
    case "move": {
      const from = valueAt(value, op.from);
      if (from === void 0 || op.path.startsWith(`${op.from}/`)) return void 0;
      const rest = put(value, op.from, void 0, "replace");
      return rest === void 0 ? void 0 : put(rest, op.path, from, "add");
    }
    default:
      return void 0;
  }
}
function put(value, pointer, item, how) {
  const names = parsePointer(pointer);
  return names === void 0 ? void 0 : putAt(value, names, item, how);
}
function putAt(value, names, item, how) {
  const [name, ...rest] = names;
  if (name === void 0) return item;
  if (Array.isArray(value)) return putInList(value, name, rest, item, how);
  if (!isContent(value)) return void 0;
  const there = Object.hasOwn(value, name) ? value[name] : void 0;
  if (rest.length > 0) {
    const inner = there === void 0 ? void 0 : putAt(there, rest, item, how);
    return inner === void 0 ? void 0 : { ...value, [name]: inner };
  }
  if (item !== void 0) return { ...value, [name]: item };
  return there === void 0 ? void 0 : without(value, name);
}
function putInList(list, name, rest, item, how) {
  const index = name === "-" ? list.length : indexOf(name);
  if (index === void 0 || index > list.length) return void 0;
  if (rest.length > 0) {
    const there = list[index];
    const inner = there === void 0 ? void 0 : putAt(there, rest, item, how);
    return inner === void 0 ? void 0 : list.with(index, inner);
  }
  if (item === void 0) return index < list.length ? list.toSpliced(index, 1) : void 0;
  if (how === "replace") return index < list.length ? list.with(index, item) : void 0;
  return list.toSpliced(index, 0, item);
}
function putText(value, pointer, text2) {
  return put(value, pointer, text2, "replace");
}

// src/state/overlay.ts
function lay(base, body) {
  const action = field(body, "action");
  if (action === "delete") return null;
  if (action === "restore" || action === "resolve") return base === null ? void 0 : base;
  const isMade = action === "create" || action === "put" && base === null;
  if (base === null && !isMade) return void 0;
  const changed3 = change(isMade && action !== "create" ? {} : base ?? {}, body);
  return changed3 === void 0 || !isContent(changed3) ? void 0 : changed3;
}
function change(base, body) {
  const patch = field(body, "patch");
  if (patch !== void 0) return mergePatch(base, patch);
  const ops = field(body, "ops");
  if (Array.isArray(ops)) return jsonPatch(base, ops);
  const text2 = field(body, "text");
  if (text2 !== void 0) return changeText(base, text2);
  const data = field(body, "data");
  return isContent(data) ? data : void 0;
}
function changeText(base, edit) {
  const path = field(edit, "path");
  if (typeof path !== "string") return void 0;
  const value = field(edit, "value");
  if (typeof value === "string") return putText(base, path, value);
  const ops = field(edit, "ops");
  const there = valueAt(base, path);
  if (typeof there !== "string" || !isTextOps(ops)) return void 0;
  const after = apply(ops, there);
  return after === void 0 ? void 0 : putText(base, path, after);
}

// src/state/core.ts
var Core = class {
  listeners = new Listeners();
  #texts = /* @__PURE__ */ new Map();
  #rewrite;
  #standing;
  /** What others may have done since is not known. */
  #isOld = false;
  #error;
  #shown = [];
  #state;
  constructor(rewrite) {
    this.#rewrite = rewrite;
  }
  get isWatched() {
    return this.listeners.size > 0 || this.#texts.size > 0;
  }
  /** Whether what the log has is known, as it is now. */
  get isKnown() {
    return this.#standing !== void 0 && !this.#isOld;
  }
  get hasFailed() {
    return this.#error !== void 0;
  }
  get hasShown() {
    return this.#shown.length > 0;
  }
  /** The version that is shown; `undefined`: none is known. */
  get version() {
    return this.#standing?.version;
  }
  get state() {
    this.#state ??= this.#compute();
    return this.#state;
  }
  /** The last write that is shown. */
  get last() {
    return this.#shown.at(-1);
  }
  /** How some content of the entity looks with what waits. */
  over(data) {
    return layAll(data, this.#shown);
  }
  onText(path, listener) {
    const listeners = this.#texts.get(path) ?? new Listeners();
    this.#texts.set(path, listeners);
    const stop2 = listeners.add(listener);
    return () => {
      stop2();
      if (listeners.size === 0) this.#texts.delete(path);
    };
  }
  /** A text was changed here. */
  tellText(path, change2) {
    if (change2.splices.length > 0) this.#texts.get(path)?.tell(change2);
  }
  /** What the log has could not be had. */
  failed(error) {
    this.#error = error;
    this.#changed();
  }
  /** Others may have changed it: it has to be asked for again. In another log, versions of before mean nothing. */
  age(isOtherLog) {
    this.#isOld = true;
    if (isOtherLog && this.#standing !== void 0) this.#standing = { ...this.#standing, version: 0 };
  }
  /** What the log was asked for. */
  load(standing) {
    this.#error = void 0;
    const wasOld = this.#isOld;
    this.#isOld = false;
    if (this.#standing !== void 0 && standing.version < this.#standing.version) return;
    if (this.#standing?.version === standing.version && !wasOld) return;
    this.#stand({ ...standing, base: void 0, edits: void 0, mine: [] }, true);
  }
  /** A record. It holds the whole content: one that comes while the entity is asked for must not be missed. */
  record(step2) {
    if (this.#standing === void 0 || step2.version > this.#standing.version) this.#stand(step2, false);
  }
  /** The content is as it was, the version is not. */
  raise(version) {
    if (this.#standing === void 0 || version <= this.#standing.version) return;
    this.#standing = { ...this.#standing, version };
    this.#changed();
  }
  /** Shows a write. */
  add(entry, isOurs) {
    const path = pathOf(entry.body);
    if (path !== void 0 && !isOurs) return;
    const isCarried = path !== void 0 && this.#shown.some((one) => one.path === path && (one.isCarried || one.base !== entry.base));
    this.#shown.push({ id: entry.id, body: entry.body, landed: void 0, path, base: entry.base, isCarried });
    this.#changed();
  }
  /** Another content for a write. */
  replace(id, body) {
    const shown3 = this.#shown.find((one) => one.id === id);
    if (shown3 === void 0) return;
    shown3.body = body;
    this.#changed();
  }
  /** A write's fate is known. One that was done is shown until the content that holds it is here. */
  settled(id, version, isDone) {
    const at = this.#shown.findIndex((one) => one.id === id);
    const shown3 = this.#shown[at];
    if (shown3 === void 0) return;
    if (isDone && this.#standing !== void 0 && version > this.#standing.version) {
      shown3.landed = version;
      return;
    }
    const looked = this.state.data;
    if (shown3.path !== void 0 && !isDone) this.#takeBack(at, shown3.path);
    this.#shown = this.#shown.filter((one) => one !== shown3);
    this.#changed();
    for (const path of this.#texts.keys()) this.#tellBetween(path, textAt(looked, path), []);
  }
  /** An edit is undone: those that were made behind it make way for that. */
  #takeBack(at, path) {
    const before = textAt(this.#laid(this.#shown.slice(0, at)), path);
    const after = textAt(this.#laid(this.#shown.slice(0, at + 1)), path);
    if (before !== void 0 && after !== void 0)
      this.#carry(path, [opsBetween(after, before)], { from: at + 1, isJump: true });
  }
  /** `isJump`: what led there is not known, and perhaps not to the node either any more. */
  #stand(step2, isJump) {
    const { version, data, mine } = step2;
    const before = this.#standing;
    const looked = this.state.data;
    const done2 = this.#shown.filter(
      (one) => mine.includes(one.id) || one.landed !== void 0 && one.landed <= version
    );
    const others = /* @__PURE__ */ new Map();
    for (const path of this.#paths()) {
      const said = step2.edits?.filter((edit) => edit.path === path).map((edit) => edit.ops);
      const isNext = before !== void 0 && step2.base === before.version && done2.length === 0;
      if (isNext && said !== void 0 && said.length > 0) {
        others.set(path, said);
        continue;
      }
      const own = layAll(before?.data ?? null, done2);
      others.set(path, [opsBetween(textAt(own, path) ?? "", textAt(data, path) ?? "")]);
    }
    this.#shown = this.#shown.filter((one) => !done2.includes(one));
    this.#standing = { version, data };
    this.#isOld = false;
    const here = new Map([...others].map(([path, edits]) => [path, this.#carry(path, edits, { from: 0, isJump })]));
    this.#changed();
    for (const path of this.#texts.keys()) this.#tellBetween(path, textAt(looked, path), here.get(path) ?? []);
  }
  /** Brings edits of a text, from one on, past those of others. Gives the others' as they are on the text that is shown. */
  #carry(path, others, { from, isJump }) {
    const waiting = this.#shown.slice(from).filter((one) => one.path === path);
    const carried = makeWay(
      others,
      waiting.map((one) => opsOfBody(one.body))
    );
    waiting.forEach((one, at) => {
      one.body = withOps(one.body, carried.waiting[at] ?? []);
      one.isCarried ||= isJump;
      if (!one.isCarried) return;
      one.base = this.#standing?.version ?? 0;
      this.#rewrite(one.id, one.base, one.body);
    });
    return carried.here;
  }
  /** Tells those who show a text how it came to be as it is. */
  #tellBetween(path, before, edits) {
    const [from, to] = [before ?? "", textAt(this.state.data, path) ?? ""];
    if (from === to) return;
    const all = edits.reduce((first, second) => compose(first, second), []);
    const ops = apply(all, from) === to ? all : opsBetween(from, to);
    this.tellText(path, { splices: splicesOf(ops, from), by: "others" });
  }
  /** Texts that somebody shows, or that are edited here. */
  #paths() {
    const edited = this.#shown.map((one) => one.path).filter((path) => path !== void 0);
    return /* @__PURE__ */ new Set([...this.#texts.keys(), ...edited]);
  }
  #laid(shown3) {
    return layAll(this.#standing?.data ?? null, shown3);
  }
  #compute() {
    const data = this.#laid(this.#shown);
    const pending = this.#shown.filter((one) => one.landed === void 0).length;
    const confirmed = this.#standing?.data ?? null;
    return {
      status: this.#status(data),
      data,
      confirmed,
      version: this.#standing?.version ?? 0,
      pending,
      error: this.#error
    };
  }
  #status(data) {
    if (data !== null) return "present";
    if (this.#standing !== void 0) return "absent";
    return this.#error === void 0 ? "loading" : "failed";
  }
  #changed() {
    this.#state = void 0;
    this.listeners.tell();
  }
};
function layAll(base, shown3) {
  return shown3.reduce((data, one) => {
    const laid = lay(data, one.body);
    return laid === void 0 ? data : laid;
  }, base);
}

// src/state/entities.ts
var MOST_IDLE = 1e3;
var MOST_ASKED = 8;
var PAUSE_MS5 = 1e3;
var Entities = class {
  #options;
  #cores = /* @__PURE__ */ new Map();
  #asked = /* @__PURE__ */ new Map();
  #isOnline = false;
  constructor(options) {
    this.#options = options;
  }
  /** The entity, followed from now on if there is a place for it. */
  get(type, id) {
    const key = keyOf(type, id);
    let core = this.#cores.get(key);
    if (core === void 0) {
      core = new Core(this.#options.rewrite);
      this.#tidy();
    } else {
      this.#cores.delete(key);
    }
    this.#cores.set(key, core);
    return core;
  }
  get closed() {
    return this.#options.closed;
  }
  find(key) {
    return this.#cores.get(key);
  }
  /** How some content of an entity looks with what waits here; `null`: it is not there then. */
  over(key, data) {
    const core = this.#cores.get(key);
    return core === void 0 ? data : core.over(data);
  }
  /** Asks for what is not known of an entity, now or once there is a connection. */
  want(type, id) {
    const core = this.get(type, id);
    if (!core.isKnown) void this.#ask(keyOf(type, id), core);
  }
  /** The room was joined. `isReset`: what was known may be of the past. `isOtherLog`: versions too. */
  online(isReset, isOtherLog) {
    this.#isOnline = true;
    for (const [key, core] of this.#cores) {
      if (isReset) core.age(isOtherLog);
      if (!core.isKnown && (core.isWatched || core.hasShown)) void this.#ask(key, core);
    }
  }
  offline() {
    this.#isOnline = false;
    for (const asking of this.#asked.values()) asking.abort();
    this.#asked.clear();
  }
  /** Takes a record; gives what it says. */
  record(frame) {
    const told3 = tell(frame);
    if (told3.kind === "event" || frame.meaning.kind !== "record") return told3;
    const { seq, eventId } = frame.meaning.place;
    const core = this.#cores.get(told3.key);
    if (core === void 0) return told3;
    if (told3.kind === "open") {
      core.raise(seq);
    } else {
      const { data, base, edits, key } = told3;
      core.record({ version: seq, data, base, edits, mine: this.#mine(frame, key, eventId) });
    }
    return told3;
  }
  /** Our writes that a record holds. */
  #mine(frame, key, eventId) {
    const flying = this.#options.flying(key);
    const all = field(frame.data, "changed_by_all");
    const isAmong = Array.isArray(all) && JSON.stringify(all).includes(JSON.stringify(this.#options.instance));
    return isAmong && flying !== void 0 ? [eventId, flying] : [eventId];
  }
  added(entry) {
    if (entry.kind !== "operation" || entry.entity === void 0) return;
    this.get(entry.type, entry.entity).add(entry, entry.replica === this.#options.replica);
  }
  settled(entry, version, isDone) {
    this.#cores.get(keyOf(entry.type, entry.entity ?? ""))?.settled(entry.id, version, isDone);
  }
  async #ask(key, core) {
    if (!this.#isOnline || this.#asked.has(key) || this.#asked.size >= MOST_ASKED) return;
    const asking = new AbortController();
    this.#asked.set(key, asking);
    try {
      core.load(await this.#standing(key, asking.signal));
    } catch (error) {
      if (asking.signal.aborted) return;
      this.#refused(key, core, error);
    }
    this.#asked.delete(key);
    const next = [...this.#cores].find(
      ([other, one]) => !one.isKnown && one.isWatched && !this.#asked.has(other) && !one.hasFailed
    );
    if (next !== void 0) void this.#ask(...next);
  }
  #refused(key, core, error) {
    const why = error instanceof ContinuumError ? error : new ContinuumError("malformed", String(error));
    core.failed(why);
    if (!isPassing(why.code, why.retryAfterMs) && why.status !== void 0) return;
    this.#options.clock.after(why.retryAfterMs ?? PAUSE_MS5, () => {
      if (!core.isKnown) void this.#ask(key, core);
    });
  }
  async #standing(key, signal) {
    const [type, id] = splitKey(key);
    const path = `entities/${encodeURIComponent(type)}/${encodeURIComponent(id)}`;
    try {
      const body = await this.#options.http.ask(path, { signal });
      const data = field(body, "data");
      return { version: count(body, "version") ?? 0, data: isContent(data) ? data : null };
    } catch (error) {
      if (error instanceof ContinuumError && error.code === "not_found") return { version: 0, data: null };
      if (error instanceof ContinuumError && error.code === "deleted") {
        return { version: count(error.details, "version") ?? 0, data: null };
      }
      throw error;
    }
  }
  /** Forgets what nobody looks at, the longest idle first. */
  #tidy() {
    if (this.#cores.size < MOST_IDLE) return;
    for (const [key, core] of this.#cores) {
      if (core.isWatched || core.hasShown) continue;
      this.#cores.delete(key);
      return;
    }
  }
};

// src/state/field.ts
var MOST_PARTS = 1e3;
var Field = class {
  #entity;
  #path;
  #core;
  #writer;
  constructor(entity, path, core, writer) {
    if (parsePointer(path) === void 0 || path === "") {
      throw new ContinuumError("invalid_operation", `'${path}' is no JSON pointer to a text: write '/body'`);
    }
    this.#entity = entity;
    this.#path = path;
    this.#core = core;
    this.#writer = writer;
  }
  snapshot() {
    return textAt(this.#core().state.data, this.#path) ?? "";
  }
  subscribe(listener) {
    let last = this.snapshot();
    return this.#entity.subscribe(() => {
      const text2 = this.snapshot();
      if (text2 === last) return;
      last = text2;
      listener();
    });
  }
  set(text2, caret) {
    const wanted = wellFormed(text2);
    const now = textAt(this.#core().state.data, this.#path);
    return now === void 0 ? this.#make(wanted) : this.edit(opsBetween(now, wanted, caret));
  }
  splice(splice) {
    const now = textAt(this.#core().state.data, this.#path);
    return now === void 0 ? this.#make(wellFormed(splice.inserted)) : this.edit(opsOf(splice, now));
  }
  edit(ops) {
    const core = this.#core();
    const before = textAt(core.state.data, this.#path);
    if (before === void 0 || !isTextOps(ops) || apply(ops, before) === void 0) {
      throw new ContinuumError("text_failed", "the edit does not fit the text");
    }
    if (ops.length === 0) return void 0;
    const op = this.#join(core, ops) ?? this.#write(core, ops);
    core.tellText(this.#path, { splices: splicesOf(ops, before), by: "here" });
    return op;
  }
  onChange(listener) {
    const stops = [this.#core().onText(this.#path, listener), this.#entity.subscribe(() => {
    })];
    return () => {
      for (const stop2 of stops) stop2();
    };
  }
  follow(place, change2) {
    return follow(place, change2);
  }
  /** One edit with the one before, if that was not sent: who types fast does not send every letter by itself. */
  #join(core, ops) {
    const { last } = core;
    if (last === void 0 || pathOf(last.body) !== this.#path || last.base !== core.version) return void 0;
    const both = compose(opsOfBody(last.body), ops);
    if (both.length > MOST_PARTS) return void 0;
    const body = withOps(last.body, both);
    const op = this.#writer.rewrite(last.id, core.version, body);
    if (op === void 0) return void 0;
    core.replace(last.id, body);
    return { ...op, optimistic: core.state.data };
  }
  #write(core, ops) {
    return this.#writer.write(this.#entity, core.version, {
      action: "update",
      text: { path: this.#path, ops: [...ops] }
    });
  }
  /** There is no text yet: it is made as a field. */
  #make(text2) {
    const core = this.#core();
    const names = parsePointer(this.#path) ?? [];
    const patch = names.reduceRight((inner, name) => ({ [name]: inner }), text2);
    const op = this.#writer.write(this.#entity, core.version, { action: "put", patch });
    core.tellText(this.#path, { splices: [{ at: 0, deleted: 0, inserted: text2 }], by: "here" });
    return op;
  }
};

// src/state/handle.ts
var EntityHandle = class {
  type;
  id;
  #entities;
  #http;
  #writer;
  constructor(type, id, entities, http, writer) {
    this.type = type;
    this.id = id;
    this.#entities = entities;
    this.#http = http;
    this.#writer = writer;
  }
  get #core() {
    return this.#entities.get(this.type, this.id);
  }
  snapshot() {
    return this.#core.state;
  }
  subscribe(listener) {
    const stop2 = this.#core.listeners.add(listener);
    this.#entities.want(this.type, this.id);
    return stop2;
  }
  async load({ signal } = {}) {
    const core = this.#core;
    return when(
      this,
      (state) => {
        const isFinal = state.error !== void 0 && state.status === "failed";
        if (isFinal && state.error !== void 0 && state.error.status !== void 0) throw state.error;
        return core.isKnown;
      },
      either(signal, this.#entities.closed)
    );
  }
  create(data, options) {
    return this.#write({ action: "create", data: copied(data) }, options);
  }
  put(data, options) {
    return this.#write({ action: "put", data: copied(data) }, options);
  }
  update(patch, options) {
    return this.#write({ action: "update", patch: copied(patch) }, options);
  }
  upsert(patch, options) {
    return this.#write({ action: "put", patch: copied(patch) }, options);
  }
  patch(ops, options) {
    return this.#write({ action: "update", ops: copied(ops) }, options);
  }
  delete(options) {
    return this.#write({ action: "delete" }, options);
  }
  restore(options) {
    return this.#write({ action: "restore" }, options);
  }
  text(path) {
    return new Field(this, path, () => this.#core, this.#writer);
  }
  async versions({ signal, limit, before } = {}) {
    const path = `entities/${encodeURIComponent(this.type)}/${encodeURIComponent(this.id)}/versions`;
    const body = await this.#http.ask(path, { query: { limit, before }, signal });
    const versions = field(body, "versions");
    return {
      versions: Array.isArray(versions) ? versions.filter(isContent) : [],
      more: field(body, "more") === true,
      before: count(body, "before"),
      trimmed: field(body, "trimmed") === true
    };
  }
  #write(body, { strategy, baseVersion } = {}) {
    const base = baseVersion ?? this.#core.version;
    return this.#writer.write(this, base, strategy === void 0 ? body : { ...body, strategy });
  }
};

// src/state/writes.ts
var OUTDATED = /* @__PURE__ */ new Set(["edited", "deleted", "base_gone", "version_ahead"]);
var Writes = class {
  #queue;
  #core;
  constructor(queue, core) {
    this.#queue = queue;
    this.#core = core;
  }
  write(entity, base, body) {
    return this.#add({ kind: "operation", type: entity.type, entity: entity.id, base, body });
  }
  /** Puts another content into a write that was not sent, and gives it; `undefined`: it may have been. */
  rewrite(id, base, body) {
    return this.#queue.rewrite(id, base, body) ? this.#queue.get(id)?.op : void 0;
  }
  /**
   * Makes what was refused once more. Its author has seen what they had seen then, so what others wrote since is not written over
   * unsaid; only where the refusal says that this stands no more it goes on what stands now. An edit of a text is one of that text alone.
   */
  again({ entry, code }) {
    const { kind, type, entity, base, log, body } = entry;
    if (kind === "event" || entity === void 0) return this.#queue.add({ kind, type, entity, base, body }, null);
    const isOutdated = pathOf(body) === void 0 && (base === void 0 || OUTDATED.has(code));
    if (isOutdated) return this.write({ type, id: entity }, this.#core(type, entity).version, body);
    return this.#add({ kind, type, entity, base, log, body });
  }
  #add(made) {
    const { data } = this.#core(made.type, made.entity).state;
    const laid = lay(data, made.body);
    return this.#queue.add(made, laid === void 0 ? data : laid);
  }
};

// src/token.ts
var Tokens = class {
  #source;
  #current;
  constructor(source) {
    this.#source = source;
  }
  get current() {
    return this.#current;
  }
  /** Whether asking again may give another one. */
  get isRenewable() {
    return typeof this.#source === "function";
  }
  /** When the present token ends, as it says itself: a node tells it of a renewed one only. */
  get endsAt() {
    const ends = this.#claim("exp");
    return ends === void 0 ? void 0 : ends * 1e3;
  }
  /** How long the present token lasts from its making to its end, whatever our clock says. */
  get lifeMs() {
    const [made, ends] = [this.#claim("iat"), this.#claim("exp")];
    return made === void 0 || ends === void 0 ? void 0 : (ends - made) * 1e3;
  }
  replace(source) {
    this.#source = source;
  }
  /** Asks for a token; rejects with whatever its source rejects with. */
  async ask(signal) {
    this.#current = typeof this.#source === "function" ? await this.#source({ signal }) : this.#source;
    return this.#current;
  }
  #claim(name) {
    const claims = this.#current?.split(".")[1];
    if (claims === void 0) return void 0;
    try {
      const said = field(JSON.parse(atob(claims.replaceAll("-", "+").replaceAll("_", "/"))), name);
      return typeof said === "number" ? said : void 0;
    } catch {
      return void 0;
    }
  }
};

// src/transport/http.ts
var Http = class {
  #base;
  #tenant;
  #who;
  #tokens;
  #fetch;
  /** `who` are the parameters that say who asks: what is private to others is not shown. */
  constructor(base, tenant, who, tokens, fetcher) {
    this.#base = base;
    this.#tenant = tenant;
    this.#who = who;
    this.#tokens = tokens;
    this.#fetch = (input, init) => fetcher(input, init);
  }
  /** Asks for something below the tenant; rejects with {@link ContinuumError}, or with the signal's reason. */
  async ask(path, request = {}) {
    const { status, body } = await this.send(path, request);
    if (status >= 400) throw refusal(status, body);
    return body;
  }
  /** The same, and refusals are answers too. */
  async send(path, request = {}) {
    const response = await this.open(path, request);
    const line2 = await response.text().catch((error) => {
      request.signal?.throwIfAborted();
      throw unreachable(error);
    });
    let body;
    try {
      body = line2 === "" ? void 0 : JSON.parse(line2);
    } catch {
      throw new ContinuumError(LOCAL_CODES.malformed, "the answer is no JSON: something else is at this address", {
        status: response.status
      });
    }
    const after = Number(response.headers.get("retry-after"));
    const isHinted = response.status >= 400 && after > 0 && isContent(body) && !Object.hasOwn(body, "retry_after_ms");
    if (isHinted) body = { ...body, retry_after_ms: after * 1e3 };
    return { status: response.status, body };
  }
  /** The answer as it begins to come. */
  async open(path, { method = "GET", query = {}, body, signal }) {
    const parameters = new URLSearchParams(method === "GET" ? this.#who : {});
    for (const [name, value] of Object.entries(query)) if (value !== void 0) parameters.set(name, String(value));
    const rest = method === "GET" ? `?${parameters}` : "";
    const headers = {};
    if (this.#tokens.current !== void 0) headers.authorization = `Bearer ${this.#tokens.current}`;
    if (body !== void 0) headers["content-type"] = "application/json";
    const init = { method, headers };
    if (body !== void 0) init.body = JSON.stringify(body);
    if (signal !== void 0) init.signal = signal;
    try {
      return await this.#fetch(`${this.#base}/v1/tenants/${encodeURIComponent(this.#tenant)}/${path}${rest}`, init);
    } catch (error) {
      signal?.throwIfAborted();
      throw unreachable(error);
    }
  }
};
function unreachable(error) {
  const reason = error instanceof Error ? error.cause instanceof Error ? error.cause.message : error.message : String(error);
  return new ContinuumError(LOCAL_CODES.unreachable, `the node cannot be reached: ${reason}`);
}
function refusal(status, body) {
  const details = typeof body === "object" && body !== null ? body : {};
  const after = field(details, "retry_after_ms");
  return new ContinuumError(
    text(details, "code") ?? (status === 401 ? "unauthenticated" : status >= 500 ? "unavailable" : "refused"),
    text(details, "detail") ?? text(details, "message") ?? text(details, "title") ?? `HTTP ${status}`,
    { status, details, retryAfterMs: typeof after === "number" ? after : void 0 }
  );
}
function saidByNode(error) {
  return error instanceof ContinuumError && text(error.details, "code") !== void 0 ? error : void 0;
}

// src/transport/writes.ts
var AGAIN_MS = 1e3;
var HttpWrites = class {
  #http;
  #who;
  #answer;
  #ended = new AbortController();
  #turn = Promise.resolve();
  #sent = 0;
  /** What a request met that failed for a while, and the last one that was sent by then: those behind it wait as it does. */
  #failure;
  /** `who` are the fields that say who writes. */
  constructor(http, who, answer) {
    this.#http = http;
    this.#who = who;
    this.#answer = answer;
  }
  send(message) {
    const id = text(message, "event_id");
    if (id === void 0) return;
    this.#sent += 1;
    const number = this.#sent;
    this.#turn = this.#turn.then(() => this.#do(id, number, message));
  }
  close() {
    this.#ended.abort();
  }
  async #do(id, number, message) {
    const failure = this.#failure;
    if (this.#ended.signal.aborted) return;
    if (failure !== void 0 && number <= failure.upTo) {
      this.#answer({ event_type: "error", data: { ...failure.data, event_id: id } });
      return;
    }
    const answer = await this.#request(id, message);
    if (this.#ended.signal.aborted) return;
    const { data } = answer;
    const isPassed = answer.event_type === "error" && count(data, "retry_after_ms") !== void 0;
    if (isPassed && isContent(data)) this.#failure = { data, upTo: this.#sent };
    this.#answer(answer);
  }
  async #request(id, message) {
    const event = field(field(message, "data"), "event");
    const isOperation = message.event_type === "sync_event";
    const [path, body] = isOperation ? ["operations", { ...this.#who, ...isContent(event) ? event : {} }] : ["events", { ...message, ...this.#who }];
    const { signal } = this.#ended;
    try {
      const { status, body: said } = await this.#http.send(path, { method: "POST", body, signal });
      return isOperation ? ofOperation(id, status, said) : ofEvent2(id, status, said);
    } catch (error) {
      return failed(id, "unavailable", error instanceof Error ? error.message : String(error), AGAIN_MS);
    }
  }
};
function failed(id, code, message, retryAfterMs) {
  const data = { code, message, event_id: id };
  if (retryAfterMs !== void 0) data.retry_after_ms = retryAfterMs;
  return { event_type: "error", data };
}
function ofError(id, error) {
  const isPassed = isPassing(error.code, error.retryAfterMs);
  return failed(id, error.code, error.message, error.retryAfterMs ?? (isPassed ? AGAIN_MS : void 0));
}
function ofEvent2(id, status, said) {
  if (status >= 400) return ofError(id, refusal(status, said));
  if (text(said, "status") === "queued") return { event_type: "queued", data: { event_id: id } };
  const seq = count(said, "seq");
  if (seq === void 0) return ofError(id, new ContinuumError("malformed", "the answer names no position"));
  return { event_type: "ack", data: { event_id: id, seq, duplicate: field(said, "duplicate") === true } };
}
function ofOperation(id, status, said) {
  const data = { ...isContent(said) ? said : {}, updateId: id };
  const [outcome, code] = [text(said, "outcome"), text(said, "code")];
  if (status < 400 && outcome !== void 0) return { event_type: `update.${outcome}`, data };
  if (code === "conflict_pending") return { event_type: "update.conflict_pending", data };
  if (code === "contended") return { event_type: "update.retry", data };
  const isTried = text(said, "updateId") !== void 0 && code !== void 0 && !isPassing(code, count(said, "retry_after_ms"));
  const reason = text(said, "reason") ?? text(said, "detail") ?? "";
  return isTried ? { event_type: "update.rollback", data: { ...data, reason } } : ofError(id, refusal(status, said));
}

// src/transport/events.ts
var MOST_CHARACTERS = 4 * 2 ** 20;
var EventReader = class {
  #type = "";
  #data = [];
  /** Takes a line; gives a message when one is whole. A comment is a sign of life. */
  line(line2) {
    if (line2.startsWith(":")) return { event_type: "heartbeat", data: {} };
    if (line2 === "") return this.#done();
    const colon = line2.indexOf(":");
    const name = colon < 0 ? line2 : line2.slice(0, colon);
    const value = colon < 0 ? "" : line2.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#type = value;
    if (name === "data") this.#data.push(value);
    return void 0;
  }
  #done() {
    const [type, data] = [this.#type, this.#data];
    this.#type = "";
    this.#data = [];
    if (data.length === 0) return void 0;
    const value = parse(data.join("\n"));
    return Object.hasOwn(value, "event_type") ? value : { event_type: type, data: value };
  }
};
function openEvents(http, who) {
  return (target, events) => {
    const ended = new AbortController();
    const writes = new HttpWrites(http, who, (message) => events.message(message));
    const close = () => {
      ended.abort();
      writes.close();
    };
    const { since } = target;
    const query = { since, types: target.query.types };
    follow2(http, query, ended.signal, events).catch((error) => {
      if (ended.signal.aborted) return;
      close();
      events.lost({ code: void 0, reason: String(error.message ?? error), error: saidByNode(error) });
    });
    return { name: "events", isSocket: false, send: (message) => writes.send(message), close };
  };
}
async function follow2(http, query, signal, events) {
  const response = await http.open("stream", { query, signal });
  if (!response.ok) throw refusal(response.status, await response.json().catch(() => void 0));
  if (response.body === null || !response.headers.get("content-type")?.startsWith("text/event-stream")) {
    throw new Malformed("the answer is no event stream: something else is at this address");
  }
  const reader = new EventReader();
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of chunks(response.body)) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > MOST_CHARACTERS) throw new Malformed("a line of the event stream is too long");
    for (const line2 of lines) {
      const message = reader.line(line2.replace(/\r$/, ""));
      if (message !== void 0 && !signal.aborted) events.message(message);
    }
  }
  throw new Error("the event stream ended");
}
async function* chunks(body) {
  const reader = body.getReader();
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) yield piece.value;
  } finally {
    await reader.cancel().catch(() => {
    });
  }
}

// src/transport/polling.ts
var WAIT_S = 25;
var PAGE2 = 500;
function openPolling(http, who) {
  return (target, events) => {
    const ended = new AbortController();
    const writes = new HttpWrites(http, who, (message) => events.message(message));
    const close = () => {
      ended.abort();
      writes.close();
    };
    poll(http, target, ended.signal, events).catch((error) => {
      if (ended.signal.aborted) return;
      close();
      events.lost({ code: void 0, reason: String(error.message ?? error), error: saidByNode(error) });
    });
    return { name: "polling", isSocket: false, send: (message) => writes.send(message), close };
  };
}
async function poll(http, target, signal, events) {
  const types = target.query.types?.split(",");
  const tell2 = (event_type, data) => {
    if (!signal.aborted) events.message({ event_type, data });
  };
  const since = target.since === void 0 || target.since === "latest" ? await latest(http, signal) : target.since;
  let found = await page(http, { after: since, types, pageSize: PAGE2, signal });
  let at = begin(since, found);
  tell2("session_ready", ready2(at, found));
  let isLive = false;
  while (true) {
    const { resync } = found;
    if (resync !== void 0) {
      tell2("resync", resync);
      at = parseCursor(text(resync, "cursor") ?? "")?.position ?? 0;
      isLive = false;
    }
    for (const message of found.messages) if (!signal.aborted) events.message(message);
    const cursor = must2(found.cursor);
    const last = Math.max(at, ...found.records.map((record) => record.seq));
    if (cursor.position > last) tell2("advance", { from: last, to: cursor.position });
    at = Math.max(last, cursor.position);
    if (!found.more && !isLive) tell2("caught_up", { position: at });
    if (!found.more) isLive = true;
    const wait = isLive ? `${WAIT_S}s` : void 0;
    found = await page(http, { after: found.cursor, types, pageSize: PAGE2, wait, signal });
    tell2("heartbeat", {});
  }
}
async function latest(http, signal) {
  return must2(text(await http.ask("stats", { signal }), "cursor")).text;
}
function must2(cursor) {
  const read3 = cursor === void 0 ? void 0 : parseCursor(cursor);
  if (cursor === void 0 || read3 === void 0)
    throw new ContinuumError(LOCAL_CODES.malformed, "the answer has no cursor");
  return { text: cursor, epoch: read3.epoch, position: read3.position };
}
function begin(since, { resync, records: records2, cursor }) {
  if (resync !== void 0) return count(resync, "after") ?? 0;
  return parseCursor(since)?.position ?? records2[0]?.prev ?? must2(cursor).position;
}
function ready2(after, { cursor, resync }) {
  const { epoch, position } = must2(cursor);
  return {
    epoch,
    position: Math.max(after, position),
    resume: {
      from: "cursor",
      outcome: resync === void 0 ? "honoured" : "resync",
      after,
      missed: 0,
      missed_exact: false
    },
    heartbeat: { interval_ms: WAIT_S * 1e3, timeout_ms: WAIT_S * 3e3 }
  };
}

// src/transport/websocket.ts
var OPEN = 1;
function openWebSocket(base, Socket) {
  return (target, events) => {
    const query = new URLSearchParams(target.query);
    if (target.since !== void 0) query.set("since", target.since);
    query.set("echo", "1");
    const socket = new Socket(`${base.ws}/ws/sync?${query}`);
    let isOver = false;
    let hasOpened = false;
    const end = (code, reason) => {
      if (isOver) return;
      isOver = true;
      events.lost({ code, reason, error: void 0 });
    };
    socket.onopen = () => {
      hasOpened = true;
      if (target.token !== void 0) {
        socket.send(JSON.stringify({ event_type: "auth", data: { token: target.token } }));
      }
    };
    socket.onmessage = (event) => {
      if (isOver || typeof event.data !== "string") return;
      try {
        events.message(parse(event.data));
      } catch (error) {
        if (!(error instanceof Malformed)) throw error;
        socket.close();
        end(void 0, error.message);
      }
    };
    socket.onerror = () => {
      if (!hasOpened) end(1006, "no socket could be opened");
    };
    socket.onclose = (event) => {
      end(event.code, event.reason === "" ? `closed with code ${event.code}` : event.reason);
    };
    return {
      name: "websocket",
      isSocket: true,
      send(message) {
        if (socket.readyState === OPEN) socket.send(JSON.stringify(message));
      },
      close() {
        isOver = true;
        socket.close(1e3);
      }
    };
  };
}

// src/transport/ladder.ts
function ladderOf(options, base, http, who) {
  const Socket = options.WebSocket ?? globalThis.WebSocket;
  const { transport = "auto" } = options;
  const ladder = [];
  if (Socket !== void 0 && (transport === "auto" || transport === "websocket"))
    ladder.push(openWebSocket(base, Socket));
  if (transport === "auto" || transport === "events") ladder.push(openEvents(http, who));
  if (transport === "auto" || transport === "polling") ladder.push(openPolling(http, who));
  return ladder;
}

// src/transport/link.ts
function parseBase(url) {
  let parsed;
  try {
    parsed = new URL(url);
  } catch {
    throw new ContinuumError("invalid_parameter", `'${url}' is no URL; write ws://host:8420`);
  }
  const scheme = parsed.protocol;
  if (!["ws:", "wss:", "http:", "https:"].includes(scheme)) {
    throw new ContinuumError("invalid_parameter", "the URL must start with ws:, wss:, http: or https:");
  }
  if (parsed.search !== "" || parsed.hash !== "" || parsed.username !== "") {
    throw new ContinuumError("invalid_parameter", "the URL must be the node's base, without '?', '#' and '@'");
  }
  const rest = parsed.host + parsed.pathname.replace(/(\/ws\/sync)?\/*$/, "");
  const isSecure = scheme === "wss:" || scheme === "https:";
  return { ws: `${isSecure ? "wss" : "ws"}://${rest}`, http: `${isSecure ? "https" : "http"}://${rest}` };
}

// src/uuid.ts
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] ?? 0) & 15 | 64;
  bytes[8] = (bytes[8] ?? 0) & 63 | 128;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

// src/waking.ts
function onWaking(callback, signal) {
  const target = globalThis;
  for (const name of ["online", "focus", "pageshow"]) target.addEventListener?.(name, callback, { signal });
}

// src/client.ts
var OUTBOX_BYTES = 64 * 2 ** 20;
var ContinuumClient = class {
  tenant;
  instance;
  connection;
  sync;
  presence;
  conflicts;
  outbox;
  #clock;
  #events = new Emitter();
  #closed = new AbortController();
  #tokens;
  #tracker;
  #http;
  #connection;
  #queue;
  #entities;
  #writes;
  #results;
  #roster;
  #open;
  #freshness;
  #sharing;
  #isWanted;
  #hasBegun = false;
  #epoch = "";
  constructor(options) {
    const base = parseBase(options.url);
    this.tenant = options.tenant ?? "default";
    this.instance = options.instance ?? uuid();
    this.#clock = options.clock ?? systemClock;
    this.#tokens = new Tokens(options.token);
    const since = options.since ?? "latest";
    this.#tracker = new Tracker({ echo: true, cursor: parseCursor(since) === void 0 ? void 0 : since });
    const who = { instance_id: this.instance };
    if (options.user !== void 0) who.user_id = options.user;
    if (options.userName !== void 0) who.user_name = options.userName;
    this.#http = new Http(base.http, this.tenant, who, this.#tokens, options.fetch ?? fetch);
    const ladder = ladderOf(options, base, this.#http, who);
    const name = ["continuum", base.http, this.tenant, this.instance, ...options.user ? [options.user] : []].join(
      " "
    );
    const { store, reason, isShared } = chooseStore(options, this.tenant, name);
    const types = isShared ? void 0 : options.types;
    this.#isWanted = matcher(options.types);
    this.#connection = new Connection(
      {
        clock: this.#clock,
        random: options.random ?? Math.random,
        tokens: this.#tokens,
        tracker: this.#tracker,
        query: { tenant_id: this.tenant, ...who, ...queryOf({ ...options, types }) },
        since,
        ladder
      },
      {
        ready: (ready4, wasSeen) => this.#joined(ready4, wasSeen),
        frame: (frame) => this.#take(frame),
        lost: () => this.#lost(),
        error: (error) => this.#events.emit("error", error)
      }
    );
    const send = this.#connection.send.bind(this.#connection);
    this.#roster = new Roster(this.instance, send);
    const replica = uuid();
    const most = options.outboxBytes ?? OUTBOX_BYTES;
    this.#queue = new Queue(
      store,
      { clock: this.#clock, most, replica, send, uuid, reason },
      {
        added: ({ entry }) => {
          this.#entities.added(entry);
          this.#results.changed(keyOf(entry.type, entry.entity ?? ""));
        },
        settled: ({ entry }, settled) => this.#settled(entry, settled),
        stored: (entry) => this.#sharing.stored(entry),
        refused: (refusal2) => this.#events.emit("refused", shown(refusal2)),
        dropped: (id) => this.#sharing.dropped(id),
        changed: () => this.#freshness.look()
      }
    );
    this.#writes = new Writes(this.#queue, (type, id) => this.#entities.get(type, id));
    this.#entities = new Entities({
      http: this.#http,
      closed: this.#closed.signal,
      clock: this.#clock,
      replica,
      instance: this.instance,
      rewrite: (id, version, body) => this.#queue.carry(id, version, body),
      flying: (key) => this.#queue.flying(key)
    });
    const over = (key, data) => this.#entities.over(key, data);
    this.#results = new Results({ clock: this.#clock, uuid, send, over });
    this.#open = new OpenConflicts({
      http: this.#http,
      clock: this.#clock,
      shown: (type, id) => this.#entities.find(keyOf(type, id))?.version,
      write: (entity, version, body) => this.#writes.write(entity, version, body),
      found: (conflict) => this.#events.emit("conflict", conflict),
      changed: () => this.#freshness.look()
    });
    this.#freshness = new Freshness(this.#clock, () => {
      const { where, reason: reason2 } = this.#queue.storage;
      const [conflicted, refused2] = [this.#open.snapshot().length, this.#queue.refusals.list.snapshot().length];
      return { pending: this.#queue.size, conflicted, refused: refused2, storage: where, storageReason: reason2 };
    });
    this.connection = this.#connection.status;
    this.sync = this.#freshness.status;
    this.presence = this.#roster;
    this.conflicts = this.#open;
    this.outbox = new OutboxHandle(this.#queue, this.sync, this.#writes, this.#closed.signal);
    this.connection.subscribe(() => this.#events.emit("status", this.connection.snapshot()));
    this.sync.subscribe(() => this.#events.emit("sync", this.sync.snapshot()));
    this.#sharing = new Sharing({
      name: isShared ? name : void 0,
      replica,
      queue: this.#queue,
      connection: this.#connection,
      tracker: this.#tracker,
      roster: this.#roster,
      http: this.#http,
      ladder
    });
    onWaking(() => this.#connection.hurry(), this.#closed.signal);
    if (options.autoConnect !== false) this.connect();
  }
  get status() {
    return this.connection.snapshot();
  }
  get cursor() {
    return this.#tracker.cursor;
  }
  on(name, listener) {
    return this.#events.on(name, listener);
  }
  connect() {
    if (this.#closed.signal.aborted) return;
    if (!this.#hasBegun) this.#sharing.begin();
    this.#hasBegun = true;
    this.#connection.connect();
  }
  async online({ signal } = {}) {
    await when(this.connection, isOnline, signal);
  }
  async close() {
    if (this.#closed.signal.aborted) return;
    this.#results.close();
    this.#connection.close();
    this.#closed.abort(new ContinuumError(LOCAL_CODES.closed, "the client is closed"));
    this.#freshness.close();
    await this.#queue.close();
    this.#sharing.close();
  }
  renew(token) {
    if (token !== void 0) this.#tokens.replace(token);
    this.#connection.renew();
  }
  send(type, data = {}, { id } = {}) {
    if (isReserved(type)) throw new ContinuumError("reserved_type", reservedText(type));
    const body = copied(data);
    return this.#queue.add({ id, kind: "event", type, entity: void 0, base: void 0, body }, body);
  }
  async publish(type, data = {}, { id, signal } = {}) {
    signal?.throwIfAborted();
    const op = this.send(type, data, id === void 0 ? {} : { id });
    const settled = await op.wait({ signal });
    if (settled.status !== "confirmed") throw new ContinuumError(settled.code ?? "unknown", settled.message ?? "");
    const { queued, version, duplicate } = settled;
    return { id: op.id, durability: queued ? "queued" : "stored", seq: queued ? void 0 : version, duplicate };
  }
  subscribe(types, listener) {
    return this.on("record", only(types, listener));
  }
  records(types, options = {}) {
    const listen = (listener) => this.on("record", listener);
    const missed = (reason) => this.#resumed(false, reason, void 0);
    const source = { http: this.#http, clock: this.#clock, cursor: () => this.cursor, listen, missed };
    return records({ ...source, closed: this.#closed.signal }, types, options);
  }
  history(options = {}) {
    return history(this.#http, options);
  }
  historyPage(options = {}) {
    return historyPage(this.#http, options);
  }
  signal(type, data = {}) {
    return this.#connection.isSocket && this.#connection.send({ event_type: type, data });
  }
  onSignal(types, listener) {
    return this.on("signal", only(types, listener));
  }
  entity(type, id) {
    return new EntityHandle(type, id, this.#entities, this.#http, this.#writes);
  }
  follow(interest2) {
    return this.#results.follow(interest2);
  }
  members({ signal } = {}) {
    return membersOf(this.#http, signal);
  }
  #joined(ready4, wasSeen) {
    const isOtherLog = wasSeen && this.#epoch !== "" && this.#epoch !== ready4.epoch;
    const isReset = ready4.resume.outcome !== "honoured";
    this.#epoch = ready4.epoch;
    this.#entities.online(isReset || !wasSeen, isOtherLog);
    this.#queue.connected(ready4);
    this.#roster.joined(ready4.instances, ready4.instancesTotal);
    this.#results.online(this.#connection.isSocket);
    this.#open.online();
    if (wasSeen && !isReset) this.#resumed(true, void 0, ready4);
  }
  #resumed(complete, reason, ready4) {
    const { missed, missedExact } = ready4?.resume ?? { missed: 0, missedExact: false };
    this.#events.emit("resumed", { complete, reason, missed, exact: missedExact });
  }
  #lost() {
    this.#queue.lost();
    this.#entities.offline();
    this.#results.offline();
    this.#open.offline();
    this.#roster.lost();
    this.#freshness.look();
    this.#sharing.lost();
  }
  #settled(entry, settled) {
    const isDone = settled.status === "confirmed" || settled.status === "resolved";
    if (entry.kind === "operation") this.#entities.settled(entry, settled.version, isDone);
    this.#results.changed(keyOf(entry.type, entry.entity ?? ""));
    this.#sharing.settled(entry.id, settled);
    if (settled.status === "pending" || settled.variantId !== void 0) this.#open.ask();
  }
  /** What a message leads to. */
  #take(frame) {
    const { meaning: meaning2 } = frame;
    this.#sharing.take(frame);
    switch (meaning2.kind) {
      case "caught_up":
        this.#queue.caughtUp();
        break;
      case "record":
        this.#record(frame);
        break;
      case "resync":
        this.#entities.online(true, meaning2.reason === "other_epoch");
        this.#resumed(false, meaning2.reason, this.#connection.ready);
        break;
      case "ack":
      case "stored":
        this.#queue.acknowledged(meaning2.eventId, meaning2.seq, meaning2.duplicate);
        break;
      case "queued":
        this.#queue.acknowledged(meaning2.eventId, void 0, false);
        break;
      case "fate":
        this.#queue.decided(meaning2.fate);
        break;
      case "error":
        this.#refused(meaning2);
        break;
      case "joined":
      case "left":
      case "crowd":
        this.#roster.take(meaning2);
        break;
      case "interest":
        this.#results.take(meaning2.subscription, frame);
        break;
      case "other":
        this.#other(frame);
        break;
      default:
    }
    this.#events.emit("message", frame.raw);
    if (this.#tracker.isLive) this.#freshness.fresh();
  }
  #record(frame) {
    const told3 = this.#entities.record(frame);
    if (frame.meaning.kind === "record" && told3.kind !== "event") {
      const { seq } = frame.meaning.place;
      if (told3.kind === "open") this.#open.opened(seq);
      else this.#open.changed(told3.key, seq);
    }
    const record = recordOf(frame, this.#epoch);
    if (record === void 0) return;
    if (told3.kind === "event" && record.instance === this.instance) this.#queue.recorded(record.id, record.seq);
    if (this.#isWanted(record.type)) this.#events.emit("record", record);
  }
  #refused({ about, code, text: text2, retryAfterMs }) {
    if (about !== void 0 && this.#queue.failed(about, code, text2, retryAfterMs)) return;
    const error = new ContinuumError(code, text2, { retryAfterMs });
    if (about !== void 0 && this.#results.refused(about, error)) return;
    this.#events.emit("error", error);
  }
  /** A signal, an answer that nobody waits for, or a message of a later version. */
  #other(frame) {
    if (!isSignal(frame.type) || frame.instance === this.instance) return;
    this.#roster.signal(frame);
    const { type, instance: instance2, timestamp, data, raw } = frame;
    this.#events.emit("signal", { type, instance: instance2, user: text(raw, "user_id"), timestamp, data });
  }
};

// page/conflicts.ts
var ConflictsHalf = class {
  #card;
  #client;
  #stops;
  constructor(client, side, name, told3) {
    this.#client = client;
    this.#card = half("conflicts", "conflicts-half", side, name);
    const show = () => {
      this.#show();
      told3();
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
    const shown3 = JSON.stringify(conflicts.map((conflict) => [conflict, this.#current(conflict)]));
    if (list.dataset.shown === shown3) return;
    list.dataset.shown = shown3;
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
    const choose = (words2, choice, act) => {
      const button = element("button", { type: "button", onclick: () => void act() }, words2);
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

// page/connection.ts
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
    const text2 = (name, words3) => {
      if (this.#part(name).textContent !== words3) this.#part(name).textContent = words3;
    };
    const sync = client.sync.snapshot();
    text2("more", more);
    text2("sync", ofSync(sync));
    text2("pending", String(sync.pending));
    text2(
      "storage",
      sync.storage === "disk" ? "in this browser's storage" : `in memory only: ${sync.storageReason ?? ""}`
    );
    const others = client.presence.snapshot().members.map(({ instance: instance2 }) => instance2);
    text2("others", others.join(", ") || "nobody");
    this.#cut.classList.toggle("is-cut", this.#network.isCut);
    const words2 = this.#network.isCut ? "Restore the network" : "Cut the network";
    if (this.#cut.textContent !== words2) this.#cut.textContent = words2;
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
function ofSync({ status, ageS, conflicted, refused: refused2 }) {
  const age = ageS === void 0 ? "nothing was here yet" : `all was here ${Math.floor(ageS)} s ago`;
  const more = [conflicted && `${conflicted} in conflict`, refused2 && `${refused2} refused`].filter(Boolean);
  return [status, age, ...more].join(" · ");
}
function ofResumed({ complete, reason, missed, exact }) {
  if (!complete) return `not complete (${reason ?? "no reason"}): the state was loaded anew`;
  return missed === 0 ? "complete, nothing was missed" : `complete, ${exact ? "" : "more than "}${missed} missed and caught up`;
}

// page/network.ts
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
  send(text2) {
    this.#socket?.send(text2);
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

// page/stream.ts
var SHOWN = 50;
var StreamHalf = class {
  #card;
  #client;
  #name;
  #stop;
  /** What was published here is shown already when its record comes. */
  #own = /* @__PURE__ */ new Set();
  constructor(client, side, name) {
    this.#client = client;
    this.#name = name;
    this.#card = half("stream", "stream", side, name);
    this.#stop = client.on("record", (record) => {
      if (!this.#own.delete(record.id)) this.#show(line(record));
    });
    part(this.#card, "form").onsubmit = (event) => {
      event.preventDefault();
      const say = part(this.#card, '[data-part="say"]');
      this.publish(part(this.#card, '[data-part="type"]').value, say.value);
      say.value = "";
    };
  }
  /** Publishes, and shows what is on its way until it is acknowledged. */
  publish(type, text2) {
    const op = this.#client.send(type, { text: text2 });
    this.#own.add(op.id);
    const seq = element("span", { className: "seq" }, "…");
    const fate2 = element("span", { className: "who" }, `${this.#name}, on its way`);
    const item = element(
      "li",
      { className: "waits" },
      seq,
      type,
      element("span", { className: "what" }, fate2, ` ${text2}`)
    );
    this.#show(item);
    void op.settled.then(({ status, version, queued, code }) => {
      item.className = "";
      seq.textContent = version > 0 ? `#${version}` : "…";
      fate2.textContent = status === "rolled_back" ? `refused: ${code}` : `${this.#name}, ${queued ? "queued" : "stored"}`;
    });
    return op;
  }
  end() {
    this.#stop();
    this.#card.remove();
  }
  #show(item) {
    const records2 = part(this.#card, '[data-part="records"]');
    records2.prepend(item);
    while (records2.childElementCount > SHOWN) records2.lastElementChild?.remove();
  }
};
function line(record) {
  return element(
    "li",
    {},
    element("span", { className: "seq" }, `#${record.seq}`),
    record.type,
    element("span", { className: "what" }, element("span", { className: "who" }, record.instance), ` ${words(record)}`)
  );
}
function words({ data }) {
  const { event, entity_type, entity_id, changes, text: text2 } = isContent(data) ? data : {};
  const of = isContent(event) ? event : { entity_type, entity_id };
  const name = of.entity_type === void 0 ? "" : `${of.entity_type} ${of.entity_id}: `;
  const said = changes ?? (isContent(event) ? event.data ?? event.action : void 0);
  if (name) return name + brief(said ?? text2 ?? "nothing of it changed");
  return brief(text2 ?? data);
}

// page/task.ts
var SHOWN2 = 5;
var TaskHalf = class {
  entity;
  #card;
  #stop;
  /** The version that the title was of when somebody began to write into it: it is not taken from under their hands then. */
  #typedOn;
  constructor(client, side, name) {
    this.#card = half("task", "task", side, name);
    this.entity = client.entity("task", "shared");
    this.#stop = this.entity.subscribe(() => this.#show());
    this.#title.oninput = () => {
      this.#typedOn ??= this.entity.snapshot().version;
    };
    part(this.#card, "form").onsubmit = (event) => {
      event.preventDefault();
      this.write({ title: this.#title.value }, void 0, this.#typedOn);
    };
    this.#done.onchange = () => this.write({ done: this.#done.checked });
    this.#show();
  }
  /** Changes the task, or makes it where there is none; on the version that was seen, where that is not the one that is shown. */
  write(patch, strategy = part(this.#card, '[data-part="strategy"]').value, baseVersion) {
    if ("title" in patch) this.#typedOn = void 0;
    const isThere = this.entity.snapshot().status === "present";
    const op = isThere ? this.entity.update(patch, { strategy, baseVersion }) : this.entity.create({ notes: "", ...patch });
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
    if (this.#typedOn === void 0 && this.#title.value !== title) this.#title.value = title;
    this.#done.checked = data?.done === true;
    const state = part(this.#card, '[data-part="state"]');
    if (error) badge(state, "bad", error.code);
    else if (pending > 0) badge(state, "warn", pending === 1 ? "1 write waits" : `${pending} writes wait`);
    else if (status === "present") badge(state, "good", `version ${version}`);
    else badge(state, "", status === "absent" ? "not there yet" : "loading");
    const words2 = pending > 0 ? `The log still has: ${confirmed ? brief(without2(confirmed, "notes")) : "nothing"}` : "";
    part(this.#card, '[data-part="confirmed"]').textContent = words2;
  }
  #tell(patch, settled) {
    const fate2 = element("span", { className: "fate" }, "optimistic…");
    const fates = part(this.#card, '[data-part="fates"]');
    fates.prepend(element("li", {}, brief(patch, 60), fate2));
    while (fates.childElementCount > SHOWN2) fates.lastElementChild?.remove();
    void settled.then((settled2) => {
      fate2.textContent = ofSettled(settled2);
    });
  }
};
function without2(content, name) {
  return Object.fromEntries(Object.entries(content).filter(([field2]) => field2 !== name));
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
    default:
      return `rolled back: ${code}`;
  }
}

// page/text.ts
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
      const isWhole = !/\p{Surrogate}/u.test(this.#area.value);
      if (!this.#composing && isWhole) this.#field.set(this.#area.value, this.#area.selectionEnd);
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
      this.#field.onChange((change2) => {
        if (this.#composing) this.#composing.changes.push(change2);
        else this.#show([change2]);
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
    const over = (place) => changes.reduce((place2, change2) => this.#field.follow(place2, change2), place);
    const at = over(head);
    const deleted = Math.max(0, over(before.length - tail) - at);
    const inserted = after.slice(head, after.length - tail);
    if (deleted > 0 || inserted) this.#field.splice({ at, deleted, inserted });
    this.#show(changes);
  }
  #show(changes) {
    const area = this.#area;
    const text2 = this.#field.snapshot();
    if (area.value === text2) return;
    const over = (place) => changes.reduce((place2, change2) => change2.by === "here" ? place2 : this.#field.follow(place2, change2), place);
    const [start2, end] = [over(area.selectionStart), over(area.selectionEnd)];
    area.value = text2;
    area.setSelectionRange(start2, end);
  }
};

// page/pane.ts
var Pane = class {
  client;
  connection;
  stream;
  task;
  conflicts;
  #text;
  constructor(side, name, room2, told3) {
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
    this.conflicts = new ConflictsHalf(this.client, side, name, told3);
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

// page/main.ts
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
  await stop("Connecting…");
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
    if (panes === made) told2(`Ada and Bob are in the room “${options.tenant}”.`);
  } catch (error) {
    if (panes === made) told2(`The node does not let them in: ${error.message}`);
  }
}
async function stop(words2) {
  story.abort();
  const ended = panes;
  panes = void 0;
  room.hidden = true;
  leave.hidden = true;
  told2(words2);
  await Promise.all([ended?.ada.end(), ended?.bob.end()]);
}
function toldOfConflicts() {
  const open = panes ? panes.ada.conflicts.count + panes.bob.conflicts.count : 0;
  if (open > 0) part(document, "#conflicts").hidden = false;
}
function told2(words2) {
  part(document, "#told").textContent = words2;
}
async function play(name) {
  const both = panes;
  const tell2 = stories[name];
  if (!both || !tell2) return;
  story.abort();
  story = new AbortController();
  const { signal } = story;
  const say = (words2) => {
    if (!signal.aborted) part(document, "#story").textContent = words2;
  };
  try {
    await tell2(both, say, signal);
  } catch (error) {
    say(`That did not work: ${error.message}`);
  }
}
var stories = {
  async say({ ada }, say, signal) {
    const op = ada.stream.publish("note.said", `Hello at ${time()}`);
    say("Ada said something: it stands in her stream at once, and waits for the node's answer.");
    const { version } = await op.wait({ signal });
    say(`The log has it as record ${version}; Bob got it too. Look at the stream.`);
  },
  async edit({ ada, bob }, say, signal) {
    await ready3({ ada, bob }, signal);
    const ops = [ada.task.write({ title: `Ada's title, ${time()}` }, "merge"), bob.task.write({ done: true }, "merge")];
    say("Ada changed the title and Bob ticked the box, both at once.");
    await Promise.all(ops.map((op) => op.wait({ signal })));
    say("Both changes hold: they were about different fields, and both sides show the same.");
  },
  async cut({ ada, bob }, say, signal) {
    await ready3({ ada, bob }, signal);
    bob.connection.cut();
    const op = bob.task.write({ title: `Bob's title, offline, ${time()}` }, "last_write_wins");
    say(
      "Bob's network is cut. What he wrote is shown to him and waits; Ada knows nothing of it. It goes on in 4 seconds."
    );
    await pause(4e3, signal);
    bob.connection.restore();
    say("Bob's network is back: he resumes where he was, and sends what waited.");
    const { version } = await op.wait({ signal });
    say(`What Bob wrote is version ${version} now, on both sides. “Last resume” says whether he missed anything.`);
  },
  async conflict({ ada, bob }, say, signal) {
    await ready3({ ada, bob }, signal);
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
  }
};
async function ready3({ ada, bob }, signal) {
  for (const { connection, client } of [ada, bob]) {
    connection.restore();
    await client.online({ signal });
  }
  const { status } = await ada.task.entity.load({ signal });
  if (status !== "present") await ada.task.write({ title: "A task" }).wait({ signal });
  while ((await bob.task.entity.load({ signal })).status !== "present") await changed2(bob, signal);
}
function changed2({ task }, signal) {
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
  return (/* @__PURE__ */ new Date()).toTimeString().slice(0, 8);
}
