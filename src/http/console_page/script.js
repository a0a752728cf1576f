// The page at /console and the TypeScript client, as scripts/build-page made them. Change clients/typescript, not this.

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

// src/uuid.ts
function uuid() {
  const bytes2 = crypto.getRandomValues(new Uint8Array(16));
  bytes2[6] = (bytes2[6] ?? 0) & 15 | 64;
  bytes2[8] = (bytes2[8] ?? 0) & 63 | 128;
  const hex = [...bytes2].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

// src/json.ts
function isContent(value2) {
  return typeof value2 === "object" && value2 !== null && !Array.isArray(value2);
}
function field(value2, name) {
  return isContent(value2) && Object.hasOwn(value2, name) ? value2[name] : void 0;
}
function copied(value2) {
  return JSON.parse(JSON.stringify(value2));
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

// src/wire/message.ts
var Malformed = class extends Error {
  name = "Malformed";
};
function text(value2, name) {
  const found = field(value2, name);
  return typeof found === "string" ? found : void 0;
}
function count(value2, name) {
  const found = field(value2, name);
  return typeof found === "number" && Number.isFinite(found) && found >= 0 ? found : void 0;
}
function texts(value2, name) {
  const found = field(value2, name);
  return Array.isArray(found) ? found.filter((item) => typeof item === "string") : [];
}
function must(found, type, name) {
  if (found === void 0) throw new Malformed(`'${type}' without a readable '${name}'`);
  return found;
}
function parse(line2) {
  let value2;
  try {
    value2 = JSON.parse(line2);
  } catch {
    throw new Malformed("a message that is no JSON");
  }
  if (!isContent(value2)) throw new Malformed("a message that is no JSON object");
  return value2;
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
    const place2 = { seq, prev: must(count(raw, "prev"), type, "prev"), eventId: text(raw, "event_id") ?? "" };
    return { kind: "record", place: place2 };
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
    for (const [name, value2] of Object.entries(query)) if (value2 !== void 0) parameters.set(name, String(value2));
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

// console/ask.ts
var PATIENCE_MS = 3e4;
var LONGEST_MS = 15e3;
var DEADLINE_MS = 2e4;
var Ask = class {
  #base;
  #token;
  /** `base` ends with a slash. */
  constructor(base, token) {
    this.#base = base;
    this.#token = token;
  }
  async json(path, signal) {
    const text2 = await this.text(path, signal);
    try {
      return JSON.parse(text2);
    } catch {
      throw new ContinuumError("malformed", "the answer is no JSON: something else is at this address");
    }
  }
  /** Rejects with what the node refuses, or with `unreachable`. */
  async text(path, signal) {
    const deadline = AbortSignal.timeout(DEADLINE_MS);
    const ended = signal === void 0 ? deadline : AbortSignal.any([signal, deadline]);
    let response;
    let text2;
    try {
      const headers = this.#token === "" ? {} : { authorization: `Bearer ${this.#token}` };
      response = await fetch(`${this.#base}${path}`, { headers, signal: ended });
      text2 = await response.text();
    } catch (error) {
      signal?.throwIfAborted();
      throw new ContinuumError("unreachable", `the node does not answer: ${error.message}`);
    }
    if (!response.ok) throw refusal(response.status, parsed(text2));
    return text2;
  }
};
function parsed(text2) {
  try {
    return JSON.parse(text2);
  } catch {
    return void 0;
  }
}
function isFinal(error) {
  if (!(error instanceof ContinuumError)) return false;
  return ["forbidden", "unauthenticated", "switched_off", "not_found", "method_not_allowed"].includes(error.code);
}
function inWords(error, what) {
  if (!(error instanceof ContinuumError)) return `${what} cannot be shown: ${error.message}`;
  switch (error.code) {
    case "forbidden":
      return `This token is good, but not for ${what}: ${error.message}. Everything else here goes on working.`;
    case "unauthenticated":
    case "token_expired":
    case "token_revoked":
      return `The node wants another token for ${what}: ${error.message}.`;
    case "switched_off":
      return `This node does not offer ${what}: ${error.message}.`;
    case "not_found":
    case "method_not_allowed":
      return `This node knows nothing of ${what}; it may be of an older version.`;
    case "rate_limited":
      return `The node asks for a pause (too many requests of this user); ${what} come again by themselves.`;
    case "unreachable":
      return `The node does not answer at this moment; it is asked again by itself.`;
    default:
      return `${what} cannot be shown: ${error.message} (${error.code}). It is tried again by itself.`;
  }
}
var Poll = class {
  #options;
  #running;
  #timer;
  #failures = 0;
  #looked = () => {
    if (!document.hidden && this.#timer !== void 0) this.now();
  };
  constructor(options) {
    this.#options = options;
  }
  start() {
    if (this.#running !== void 0) return;
    this.#running = new AbortController();
    document.addEventListener("visibilitychange", this.#looked);
    void this.#round(this.#running.signal);
  }
  stop() {
    this.#running?.abort();
    this.#running = void 0;
    document.removeEventListener("visibilitychange", this.#looked);
    clearTimeout(this.#timer);
    this.#timer = void 0;
  }
  /** Asks at once what would be asked later. */
  now() {
    if (this.#running === void 0 || this.#timer === void 0) return;
    clearTimeout(this.#timer);
    this.#timer = void 0;
    void this.#round(this.#running.signal);
  }
  async #round(signal) {
    const { ask, everyMs, show: show2, refused: refused2 } = this.#options;
    let pause = everyMs;
    if (!document.hidden) {
      try {
        const answer = await ask(signal);
        if (signal.aborted) return;
        this.#failures = 0;
        show2(answer);
      } catch (error) {
        if (signal.aborted) return;
        this.#failures += 1;
        pause = isFinal(error) ? PATIENCE_MS : Math.min(LONGEST_MS, everyMs * 2 ** Math.min(this.#failures, 5));
        refused2(error);
      }
    }
    this.#timer = setTimeout(() => {
      this.#timer = void 0;
      void this.#round(signal);
    }, pause);
  }
};

// page/dom.ts
function part(within, selector) {
  const found = within.querySelector(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return found;
}
function element(tag, fields2 = {}, ...children) {
  const made = Object.assign(document.createElement(tag), fields2);
  made.append(...children);
  return made;
}
function brief(value2, longest = 120) {
  const text2 = isContent(value2) ? Object.entries(value2).map(([name, value3]) => `${name}: ${flat(value3)}`).join(" · ") : flat(value2);
  return text2.length > longest ? `${text2.slice(0, longest)}…` : text2;
}
function flat(value2) {
  return typeof value2 === "string" ? value2 : JSON.stringify(value2);
}

// console/dom.ts
var SVG = "http://www.w3.org/2000/svg";
function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  mark(made, attributes);
  made.append(...children);
  return made;
}
function mark(target, attributes) {
  for (const [name, value2] of Object.entries(attributes)) {
    if (target.getAttribute(name) !== String(value2)) target.setAttribute(name, String(value2));
  }
}
function say(target, words2) {
  if (target.textContent !== words2) target.textContent = words2;
}
function copy(name) {
  const template = document.querySelector(`template#${name}`);
  const first = template?.content.firstElementChild;
  if (!(first instanceof HTMLElement)) throw new Error(`the page has no template ${name}`);
  return first.cloneNode(true);
}
function named(within, name) {
  const found = within.querySelector(`[data-part="${name}"]`);
  if (!found) throw new Error(`the page has no part ${name}`);
  return found;
}
function button(words2, act, fields2 = {}) {
  return element("button", { type: "button", onclick: act, ...fields2 }, words2);
}
var Rows = class {
  #parent;
  #make;
  #update;
  #rows = /* @__PURE__ */ new Map();
  constructor(parent, make, update2 = () => {
  }) {
    this.#parent = parent;
    this.#make = make;
    this.#update = update2;
  }
  get(key) {
    return this.#rows.get(key);
  }
  show(items, key) {
    const gone = new Set(this.#rows.keys());
    let before = null;
    for (const item of items) {
      const name = key(item);
      let row = this.#rows.get(name);
      if (row === void 0) {
        row = this.#make(item);
        this.#rows.set(name, row);
      }
      gone.delete(name);
      this.#update(row, item);
      const next = before === null ? this.#parent.firstElementChild : before.nextElementSibling;
      if (next !== row) this.#parent.insertBefore(row, next);
      before = row;
    }
    for (const name of gone) {
      this.#rows.get(name)?.remove();
      this.#rows.delete(name);
    }
  }
};
function labelled(row, table) {
  const heads = [...table.querySelectorAll("thead th")];
  [...row.cells].forEach((cell, at) => {
    if (at > 0) cell.dataset.label = heads[at]?.textContent ?? "";
  });
  return row;
}

// console/keys.ts
function listen(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target instanceof Element ? event.target : null;
    if (document.querySelector("dialog[open]")) return;
    if (target?.closest("input:not([type=radio], [type=checkbox]), textarea, select")) {
      if (event.key === "Escape" && target instanceof HTMLElement) target.blur();
      return;
    }
    if (/^[1-7]$/.test(event.key)) actions.view(Number(event.key));
    else if (event.key === "/") actions.search();
    else if (event.key === "p") actions.stop();
    else if (event.key === "t") actions.theme();
    else if (event.key === "?") actions.help();
    else return;
    event.preventDefault();
  });
}

// console/lights.ts
var GREEN_S = 60;
var YELLOW_S = 300;
function lightOf(ageS) {
  if (ageS === void 0) return "grey";
  if (ageS < GREEN_S) return "green";
  return ageS < YELLOW_S ? "yellow" : "red";
}
function lamp(light, words2) {
  const made = element("span", { className: `lamp ${light}` }, words2);
  made.dataset.light = light;
  return made;
}
function relight(target, light, words2) {
  if (target.dataset.light !== light) {
    target.dataset.light = light;
    target.className = `lamp ${light}`;
  }
  say(target, words2);
}

// console/notices.ts
var SHOWN = 4;
var FOR_MS = 8e3;
var Notices = class {
  #list;
  /** `list` is a live region. */
  constructor(list) {
    this.#list = list;
  }
  tell(words2, tone = "plain") {
    const item = element("li", { className: tone }, element("span", {}, words2));
    const away = () => item.remove();
    item.append(button("×", away, { ariaLabel: "Dismiss", className: "away" }));
    this.#list.append(item);
    while (this.#list.childElementCount > SHOWN) this.#list.firstElementChild?.remove();
    let timer = setTimeout(away, FOR_MS);
    item.onpointerenter = () => clearTimeout(timer);
    item.onpointerleave = () => {
      timer = setTimeout(away, FOR_MS);
    };
  }
  clear() {
    this.#list.replaceChildren();
  }
};

// console/place.ts
var VIEWS = ["overview", "stream", "entities", "conflicts", "graph", "journal", "figures"];
function parsePlace(hash) {
  const parts = hash.replace(/^#\/?/, "").split("/").map(decoded);
  const [tenant, name, type, id] = parts;
  const view = VIEWS.find((known2) => known2 === name) ?? "overview";
  const entity = view === "entities" && type && id ? `${type}/${id}` : void 0;
  return { tenant: tenant || "default", view, entity };
}
function hashOf({ tenant, view, entity }) {
  const at = entity?.indexOf("/") ?? -1;
  const parts = [tenant, view, ...entity === void 0 ? [] : [entity.slice(0, at), entity.slice(at + 1)]];
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}
function decoded(part2) {
  try {
    return decodeURIComponent(part2);
  } catch {
    return part2;
  }
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
  tell(value2) {
    for (const { listener } of [...this.#all]) run(() => listener(value2));
  }
};
var Cell = class {
  #listeners = new Listeners();
  #value;
  constructor(value2) {
    this.#value = value2;
  }
  snapshot() {
    return this.#value;
  }
  subscribe(listener) {
    return this.#listeners.add(listener);
  }
  set(value2) {
    if (Object.is(value2, this.#value)) return;
    this.#value = value2;
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
  constructor(clock2, tokens, timers, due) {
    this.#clock = clock2;
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
  constructor(clock2) {
    this.#clock = clock2;
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
      const isFinal2 = error instanceof ContinuumError && !isPassing(error.code, error.retryAfterMs) && error.status !== void 0;
      if (isFinal2) this.#block(error.code, error.message);
      else this.#wait(`no token could be had: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    if (asking.signal.aborted) return;
    this.#start(token);
  }
  #start(token) {
    const { query, tracker, since } = this.#options;
    const open2 = this.#ladder[this.#rung];
    if (open2 === void 0) {
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
      link = open2({ query, since: tracker.cursor ?? since, token }, events);
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
  #joined(ready3, wasSeen) {
    const link = this.#link;
    if (link === void 0) return;
    this.#timers.stop("join");
    this.#ready = ready3;
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
    this.#events.ready(ready3, wasSeen);
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
    const { clock: clock2 } = this.#options;
    const timeout = this.#ready?.heartbeat.timeoutMs ?? JOIN_MS;
    const left = timeout - (clock2.now() - this.#heardAt);
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
    const { ready: ready3 } = this;
    this.#link?.close();
    this.#link = void 0;
    this.#ready = void 0;
    this.#options.tracker.lost();
    if (ready3 !== void 0) this.#events.lost();
  }
  #ended(why) {
    const { clock: clock2 } = this.#options;
    const wasJoined = this.#ready !== void 0;
    const idle = clock2.now() - this.#heardAt;
    const link = this.#link;
    this.#leave();
    this.#lostAt ??= clock2.wall();
    if (wasJoined) {
      this.#backoff.lived(clock2.now() - this.#readyAt);
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
    const isFinal2 = closed !== void 0 || isHttp && !isPassing(error.code, error.retryAfterMs);
    if (!isFinal2) return false;
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
    const { clock: clock2 } = this.#options;
    this.#isHinted = hintMs !== void 0;
    const retryInMs = this.#backoff.failed(hintMs === void 0 ? void 0 : followed(hintMs));
    this.status.set({ state: "waiting", since: this.#lostAt ?? clock2.wall(), retryInMs, reason });
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
  const { join } = builtin("node:path");
  const { hostname } = builtin("node:os");
  const real = await fs.realpath(directory);
  const held = heldHere();
  const path = join(real, "lock");
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
    const taking = join(real, "lock.taking");
    if (!await made(taking, mine)) {
      await refuse(taking);
      await fs.rm(taking, { force: true });
      throw new Error(`${directory} is being taken over`);
    }
    try {
      await refuse(path);
      await fs.writeFile(join(real, "lock.next"), JSON.stringify(mine));
      await fs.rename(join(real, "lock.next"), path);
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
  const place2 = globalThis;
  place2[HELD] ??= /* @__PURE__ */ new Set();
  return place2[HELD];
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
  constructor(directory, tenant, instance) {
    this.#directory = directory;
    this.#tenant = tenant;
    this.#instance = instance;
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
    const lines2 = text2.split("\n");
    lines2.pop();
    const [head, ...rest] = lines2;
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
    const bytes2 = Buffer.from(`${JSON.stringify(step2)}
`);
    try {
      await file.write(bytes2, 0, bytes2.length, this.#size);
      await file.datasync();
    } catch (error) {
      await file.truncate(this.#size).catch(() => {
      });
      throw error;
    }
    this.#size += bytes2.length;
    this.#appended += bytes2.length;
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
function chooseStore({ store = "auto", directory, instance }, tenant, name) {
  if (typeof store === "object") return { store, reason: void 0, isShared: false };
  if (store === "memory") return memory(void 0);
  if (directory !== void 0) {
    if (instance === void 0) {
      throw new ContinuumError("invalid_parameter", "a 'directory' is of one instance: name the 'instance'");
    }
    return { store: new FileStore(directory, tenant, instance), reason: void 0, isShared: false };
  }
  let factory;
  try {
    factory = globalThis.indexedDB;
  } catch {
  }
  if (factory === void 0) return memory("there is no IndexedDB here, and no 'directory' was given");
  if (instance === void 0) return memory("without an 'instance' what waits could not be found again");
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
      let stop;
      const look2 = () => {
        try {
          const value2 = watched.snapshot();
          if (!until(value2)) return;
          resolve(value2);
        } catch (error) {
          reject(error);
        }
        stop?.();
        signal?.removeEventListener("abort", end);
      };
      const end = () => stop?.();
      stop = watched.subscribe(look2);
      signal?.addEventListener("abort", end, { once: true });
      look2();
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
      for (const stop of stops) stop();
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
function wireOf({ instance, connectedAt, capabilities, user, userName }) {
  const member2 = { instance_id: instance, connected_at: connectedAt, capabilities: [...capabilities] };
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
  const bytes2 = new TextEncoder().encode(JSON.stringify(message)).length;
  if (bytes2 <= mostBytes) return void 0;
  return refused("too_large", `${bytes2} bytes as a message, of which the node takes ${mostBytes}`);
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
function nextOf(all, window2) {
  const busy = /* @__PURE__ */ new Set();
  const next = [];
  const room = window2 - all.filter((pending) => pending.stage === "flying").length;
  let mayTell = true;
  for (const pending of all) {
    if (next.length >= room) break;
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
  connected(ready3) {
    this.#log = ready3.epoch;
    this.#mostInFlight = Math.max(1, Math.min(FIRST_WINDOW * 8, ready3.limits.publishesInFlight));
    this.#window = Math.min(FIRST_WINDOW, this.#mostInFlight);
    this.#mostBytes = ready3.limits.maxMessageBytes;
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
    const pause = retryAfterMs === void 0 ? Math.min(CAP_MS, PAUSE_MS * 2 ** Math.min(pending.refusals, 6)) : followed(retryAfterMs);
    pending.refusals += 1;
    pending.stage = "waiting";
    this.#window = Math.min(this.#window, 1);
    this.#resume?.();
    this.#resume = this.#options.clock.after(pause, () => {
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
    const { replica, clock: clock2, uuid: uuid2, most } = this.#options;
    if (this.#bytes + sizeOf(made.body) > most)
      throw new ContinuumError(LOCAL_CODES.full, `the outbox holds ${this.#bytes} bytes; ${most} is the most`);
    this.#opNumber += 1;
    const id = made.id ?? uuid2();
    const written = { replica, opNumber: this.#opNumber, writtenAt: clock2.wall() };
    const place2 = { number: Number.POSITIVE_INFINITY, sent: false };
    const pending = pendingOf({ ...made, log: made.log ?? this.#sender.log, id, ...written, ...place2 }, optimistic);
    this.#keep(pending);
    void this.#later(() => this.#append(pending));
    return pending.op;
  }
  /** Puts another content into a write that nobody can have sent; `false`: it is to be a write of its own. */
  rewrite(id, base, body) {
    const bytes2 = sizeOf(body);
    const more = bytes2 - (this.#pending.get(id)?.bytes ?? 0);
    const isLong = bytes2 > this.#sender.mostBytes / 4 || this.#bytes + more > this.#options.most;
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
  connected(ready3) {
    for (const pending of this.#pending.values()) {
      const { log } = pending.entry;
      if (log !== void 0 && log !== ready3.epoch) pending.entry = { ...pending.entry, sent: false };
    }
    this.#sender.connected(ready3);
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
    for (const { isLoose, settle: settle2 } of this.#pending.values()) {
      const where = isLoose || this.#store.durability === "memory" ? "was in memory only" : "waits on disk";
      settle2(unknown(LOCAL_CODES.closed, `the client was closed before its fate was known; it ${where}`));
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
    const bytes2 = sizeOf(entry.body);
    this.#bytes += bytes2 - pending.bytes;
    pending.bytes = bytes2;
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
  keep(count3) {
    if (count3 > 0) this.#join(count3);
  }
  remove(count3) {
    if (count3 > 0) this.#join(-count3);
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
  takeRun(count3) {
    if (typeof this.#rest !== "number") return;
    const left = Math.abs(this.#rest) - count3;
    if (left === 0) this.#next();
    else this.#rest = this.#rest > 0 ? left : -left;
  }
  /** How many code points are inserted here. */
  get inserted() {
    return typeof this.#rest === "string" ? lengthOf(this.#rest) : void 0;
  }
  /** The first of the code points that are inserted here. */
  takeInserted(count3) {
    const text2 = this.#rest;
    const end = advance(text2, 0, count3);
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
  let count3 = 0;
  for (let at = 0; at < text2.length; at = step(text2, at)) count3 += 1;
  return count3;
}
function advance(text2, at, count3) {
  let place2 = at;
  for (let left = count3; left > 0; left -= 1) {
    if (place2 >= text2.length) return -1;
    place2 = step(text2, place2);
  }
  return place2;
}
function step(text2, at) {
  return at + ((text2.codePointAt(at) ?? 0) > 65535 ? 2 : 1);
}
function isTextOps(value2) {
  return Array.isArray(value2) && value2.every((part2) => typeof part2 === "string" || Number.isSafeInteger(part2) && part2 !== 0);
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
    const count3 = Math.min(Math.abs(a.run), Math.abs(b.run));
    const [doesKeepA, doesKeepB] = [a.run > 0, b.run > 0];
    if (doesKeepA && doesKeepB) {
      aAfter.keep(count3);
      bAfter.keep(count3);
    } else if (doesKeepB) {
      aAfter.remove(count3);
    } else if (doesKeepA) {
      bAfter.remove(count3);
    }
    a.takeRun(count3);
    b.takeRun(count3);
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
    const count3 = Math.min(a.inserted ?? a.run, Math.abs(b.run));
    if (a.inserted !== void 0) {
      const text2 = a.takeInserted(Math.min(count3, a.inserted));
      if (b.run > 0) both.insert(text2);
      b.takeRun(count3);
      continue;
    }
    if (b.run > 0) both.keep(count3);
    else both.remove(count3);
    a.takeRun(count3);
    b.takeRun(count3);
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
  const named2 = /^(?:(node|edge)\.(?:create|update|delete)|(memory)\.(?:created|updated|deleted))$/.exec(type);
  const kind = named2?.[1] ?? named2?.[2];
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
    const shown4 = (conflict) => {
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
    return { all: all.map(shown4), position };
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
  constructor(clock2, counts) {
    this.#clock = clock2;
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
function recordOf({ type, instance, timestamp, data, raw, meaning: meaning2 }, epoch) {
  if (meaning2.kind !== "record") return void 0;
  const { seq, prev, eventId } = meaning2.place;
  const fingerprint = eventId === "" ? "" : `.${eventId.slice(0, 8).toLowerCase()}`;
  return { type, seq, prev, id: eventId, instance, timestamp, data, cursor: `${epoch}.${seq}${fingerprint}`, raw };
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
async function* history2(http, options) {
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
    return: (value2) => {
      reader.stop();
      return told3.return(value2);
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
    const { http, clock: clock2, cursor, missed } = this.#source;
    for (let pause = PAUSE_MS3; ; pause = Math.min(pause * 2, CAP_MS)) {
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
        const cancel = clock2.after(followed(error.retryAfterMs ?? pause), rested.resolve);
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
  constructor(instance, send) {
    this.#instance = instance;
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
  #went(instance) {
    const member2 = this.#members.get(instance);
    if (member2 === void 0) return;
    this.#members.delete(instance);
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
    const shown4 = [];
    for (const [key, item] of this.#items) {
      const data = this.#options.over(key, item.data);
      if (data !== null) shown4.push({ ...item, data });
    }
    return shown4;
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
  const named2 = (name, type) => listOf(data, name).map((item) => {
    if (!isContent(item) || typeof item.id !== "string") return void 0;
    const { id, version, ...fields2 } = item;
    return { type, id, version: typeof version === "number" ? version : 0, data: fields2 };
  });
  const all = [...named2("nodes", "node"), ...named2("edges", "edge"), ...listOf(data, "results").map(itemOf)];
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
  async #begin({ ready: ready3, cursor, isLive }) {
    try {
      for (const message of await this.#missed(ready3, cursor)) this.#events.message(message);
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
  async #missed(ready3, cursor) {
    const [mine, theirs] = [this.#since === void 0 ? void 0 : parseCursor(this.#since), parseCursor(cursor)];
    const isKnown = mine !== void 0 && mine.epoch === theirs?.epoch;
    const after = isKnown ? mine.position : theirs?.position ?? 0;
    const isOther = mine !== void 0 && !isKnown;
    const resume = { from: "cursor", outcome: isOther ? "resync" : "honoured", after, missed: 0, missed_exact: false };
    const messages = [{ event_type: "session_ready", data: { ...ready3, resume } }];
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
    const ready3 = { ...this.#ready, instances: members2.map(wireOf), instances_total: total };
    return { ready: ready3, cursor, isLive, isSocket: connection.isSocket };
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
function follow(place2, change2) {
  return change2.splices.reduce((at, splice) => {
    if (splice.at + splice.deleted <= at && !(splice.deleted === 0 && splice.at === at && change2.by === "others")) {
      return at + splice.inserted.length - splice.deleted;
    }
    return Math.min(at, splice.at);
  }, place2);
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
function valueAt(value2, pointer) {
  let at = value2;
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
  const value2 = data === null ? void 0 : valueAt(data, path);
  return typeof value2 === "string" ? value2 : void 0;
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
  for (const [name, value2] of Object.entries(patch)) {
    if (value2 === null) result = without(result, name);
    else result = { ...result, [name]: mergePatch(Object.hasOwn(result, name) ? result[name] : void 0, value2) };
  }
  return result;
}
function without(value2, name) {
  const { [name]: _, ...rest } = value2;
  return rest;
}
function jsonPatch(base, ops) {
  let value2 = base;
  for (const op of ops) {
    if (value2 === void 0) return void 0;
    value2 = done(value2, op);
  }
  return value2;
}
function done(value2, op) {
  switch (op.op) {
    case "add":
      return put(value2, op.path, op.value, "add");
    case "replace":
      return valueAt(value2, op.path) === void 0 ? void 0 : put(value2, op.path, op.value, "replace");
    case "remove":
      return put(value2, op.path, void 0, "replace");
    case "test": {
      const there = valueAt(value2, op.path);
      return there !== void 0 && isEqual(there, op.value) ? value2 : void 0;
    }
    case "copy": {
      const from = valueAt(value2, op.from);
      return from === void 0 ? void 0 : put(value2, op.path, from, "add");
    }
    case "move": {
      const from = valueAt(value2, op.from);
      if (from === void 0 || op.path.startsWith(`${op.from}/`)) return void 0;
      const rest = put(value2, op.from, void 0, "replace");
      return rest === void 0 ? void 0 : put(rest, op.path, from, "add");
    }
    default:
      return void 0;
  }
}
function put(value2, pointer, item, how) {
  const names = parsePointer(pointer);
  return names === void 0 ? void 0 : putAt(value2, names, item, how);
}
function putAt(value2, names, item, how) {
  const [name, ...rest] = names;
  if (name === void 0) return item;
  if (Array.isArray(value2)) return putInList(value2, name, rest, item, how);
  if (!isContent(value2)) return void 0;
  const there = Object.hasOwn(value2, name) ? value2[name] : void 0;
  if (rest.length > 0) {
    const inner = there === void 0 ? void 0 : putAt(there, rest, item, how);
    return inner === void 0 ? void 0 : { ...value2, [name]: inner };
  }
  if (item !== void 0) return { ...value2, [name]: item };
  return there === void 0 ? void 0 : without(value2, name);
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
function putText(value2, pointer, text2) {
  return put(value2, pointer, text2, "replace");
}

// src/state/overlay.ts
function lay(base, body) {
  const action = field(body, "action");
  if (action === "delete") return null;
  if (action === "restore" || action === "resolve") return base === null ? void 0 : base;
  const isMade = action === "create" || action === "put" && base === null;
  if (base === null && !isMade) return void 0;
  const changed2 = change(isMade && action !== "create" ? {} : base ?? {}, body);
  return changed2 === void 0 || !isContent(changed2) ? void 0 : changed2;
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
  const value2 = field(edit, "value");
  if (typeof value2 === "string") return putText(base, path, value2);
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
    const stop = listeners.add(listener);
    return () => {
      stop();
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
    const shown4 = this.#shown.find((one) => one.id === id);
    if (shown4 === void 0) return;
    shown4.body = body;
    this.#changed();
  }
  /** A write's fate is known. One that was done is shown until the content that holds it is here. */
  settled(id, version, isDone) {
    const at = this.#shown.findIndex((one) => one.id === id);
    const shown4 = this.#shown[at];
    if (shown4 === void 0) return;
    if (isDone && this.#standing !== void 0 && version > this.#standing.version) {
      shown4.landed = version;
      return;
    }
    const looked = this.state.data;
    if (shown4.path !== void 0 && !isDone) this.#takeBack(at, shown4.path);
    this.#shown = this.#shown.filter((one) => one !== shown4);
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
      const own2 = layAll(before?.data ?? null, done2);
      others.set(path, [opsBetween(textAt(own2, path) ?? "", textAt(data, path) ?? "")]);
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
  #laid(shown4) {
    return layAll(this.#standing?.data ?? null, shown4);
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
function layAll(base, shown4) {
  return shown4.reduce((data, one) => {
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
      for (const stop of stops) stop();
    };
  }
  follow(place2, change2) {
    return follow(place2, change2);
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
    const stop = this.#core.listeners.add(listener);
    this.#entities.want(this.type, this.id);
    return stop;
  }
  async load({ signal } = {}) {
    const core = this.#core;
    return when(
      this,
      (state) => {
        const isFinal2 = state.error !== void 0 && state.status === "failed";
        if (isFinal2 && state.error !== void 0 && state.error.status !== void 0) throw state.error;
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
    const value2 = colon < 0 ? "" : line2.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#type = value2;
    if (name === "data") this.#data.push(value2);
    return void 0;
  }
  #done() {
    const [type, data] = [this.#type, this.#data];
    this.#type = "";
    this.#data = [];
    if (data.length === 0) return void 0;
    const value2 = parse(data.join("\n"));
    return Object.hasOwn(value2, "event_type") ? value2 : { event_type: type, data: value2 };
  }
};
function openEvents(http, who) {
  return (target, events) => {
    const ended = new AbortController();
    const writes = new HttpWrites(http, who, (message) => events.message(message));
    const close2 = () => {
      ended.abort();
      writes.close();
    };
    const { since } = target;
    const query = { since, types: target.query.types };
    follow2(http, query, ended.signal, events).catch((error) => {
      if (ended.signal.aborted) return;
      close2();
      events.lost({ code: void 0, reason: String(error.message ?? error), error: saidByNode(error) });
    });
    return { name: "events", isSocket: false, send: (message) => writes.send(message), close: close2 };
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
  for await (const bytes2 of chunks(response.body)) {
    const lines2 = (rest + decoder.decode(bytes2, { stream: true })).split("\n");
    rest = lines2.pop() ?? "";
    if (rest.length > MOST_CHARACTERS) throw new Malformed("a line of the event stream is too long");
    for (const line2 of lines2) {
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
    const close2 = () => {
      ended.abort();
      writes.close();
    };
    poll(http, target, ended.signal, events).catch((error) => {
      if (ended.signal.aborted) return;
      close2();
      events.lost({ code: void 0, reason: String(error.message ?? error), error: saidByNode(error) });
    });
    return { name: "polling", isSocket: false, send: (message) => writes.send(message), close: close2 };
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
  let parsed2;
  try {
    parsed2 = new URL(url);
  } catch {
    throw new ContinuumError("invalid_parameter", `'${url}' is no URL; write ws://host:8420`);
  }
  const scheme = parsed2.protocol;
  if (!["ws:", "wss:", "http:", "https:"].includes(scheme)) {
    throw new ContinuumError("invalid_parameter", "the URL must start with ws:, wss:, http: or https:");
  }
  if (parsed2.search !== "" || parsed2.hash !== "" || parsed2.username !== "") {
    throw new ContinuumError("invalid_parameter", "the URL must be the node's base, without '?', '#' and '@'");
  }
  const rest = parsed2.host + parsed2.pathname.replace(/(\/ws\/sync)?\/*$/, "");
  const isSecure = scheme === "wss:" || scheme === "https:";
  return { ws: `${isSecure ? "wss" : "ws"}://${rest}`, http: `${isSecure ? "https" : "http"}://${rest}` };
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
        ready: (ready3, wasSeen) => this.#joined(ready3, wasSeen),
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
    const listen2 = (listener) => this.on("record", listener);
    const missed = (reason) => this.#resumed(false, reason, void 0);
    const source = { http: this.#http, clock: this.#clock, cursor: () => this.cursor, listen: listen2, missed };
    return records({ ...source, closed: this.#closed.signal }, types, options);
  }
  history(options = {}) {
    return history2(this.#http, options);
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
  #joined(ready3, wasSeen) {
    const isOtherLog = wasSeen && this.#epoch !== "" && this.#epoch !== ready3.epoch;
    const isReset = ready3.resume.outcome !== "honoured";
    this.#epoch = ready3.epoch;
    this.#entities.online(isReset || !wasSeen, isOtherLog);
    this.#queue.connected(ready3);
    this.#roster.joined(ready3.instances, ready3.instancesTotal);
    this.#results.online(this.#connection.isSocket);
    this.#open.online();
    if (wasSeen && !isReset) this.#resumed(true, void 0, ready3);
  }
  #resumed(complete, reason, ready3) {
    const { missed, missedExact } = ready3?.resume ?? { missed: 0, missedExact: false };
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
    const { type, instance, timestamp, data, raw } = frame;
    this.#events.emit("signal", { type, instance, user: text(raw, "user_id"), timestamp, data });
  }
};

// console/metrics.ts
var KEPT = 300;
function parse2(text2) {
  const sample = /* @__PURE__ */ new Map();
  for (const line2 of text2.split("\n")) {
    const match = /^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)/.exec(line2);
    const value2 = Number(match?.[2]);
    if (match?.[1] !== void 0 && !Number.isNaN(value2)) sample.set(match[1], value2);
  }
  return sample;
}
function sum(sample, name) {
  let [total, isThere] = [0, false];
  for (const [series, value2] of sample) {
    if (series !== name && !series.startsWith(`${name}{`)) continue;
    total += value2;
    isThere = true;
  }
  return isThere ? total : void 0;
}
var Readings = class {
  #all = [];
  add(reading) {
    this.#all.push(reading);
    if (this.#all.length > KEPT) this.#all.shift();
  }
  get count() {
    return this.#all.length;
  }
  get last() {
    return this.#all.at(-1);
  }
  /** What a gauge says now. */
  gauge(name) {
    return this.last && sum(this.last.sample, name);
  }
  /** How fast a counter rose since the reading before. */
  rate(name) {
    const [before, now] = this.#lastTwo();
    if (before === void 0 || now === void 0) return void 0;
    const [from, to] = [sum(before.sample, name), sum(now.sample, name)];
    if (from === void 0 || to === void 0 || to < from || now.at <= before.at) return void 0;
    return (to - from) * 1e3 / (now.at - before.at);
  }
  /** Below which value a share of what was measured since the reading before lies; `undefined`: nothing was. */
  quantile(name, share) {
    const [before, now] = this.#lastTwo();
    if (before === void 0 || now === void 0) return void 0;
    const old = new Map(buckets(before.sample, name));
    const counts = buckets(now.sample, name).map(([bound, count3]) => [
      bound,
      count3 - (old.get(bound) ?? 0)
    ]);
    const all = counts.at(-1)?.[1] ?? 0;
    if (all <= 0) return void 0;
    let [lower, below] = [0, 0];
    for (const [bound, count3] of counts) {
      if (count3 >= all * share) {
        if (bound === Number.POSITIVE_INFINITY) return lower;
        return lower + (bound - lower) * (all * share - below) / Math.max(count3 - below, 1);
      }
      [lower, below] = [bound, count3];
    }
    return lower;
  }
  #lastTwo() {
    return [this.#all.at(-2), this.#all.at(-1)];
  }
};
function buckets(sample, name) {
  const found = /* @__PURE__ */ new Map();
  for (const [series, value2] of sample) {
    if (!series.startsWith(`${name}_bucket{`)) continue;
    const written = /[{,]le="([^"]+)"/.exec(series)?.[1];
    if (written === void 0) continue;
    const bound = written === "+Inf" ? Number.POSITIVE_INFINITY : Number(written);
    found.set(bound, (found.get(bound) ?? 0) + value2);
  }
  return [...found].sort(([a], [b]) => a - b);
}

// console/room.ts
var Room = class {
  tenant;
  client;
  ask;
  readings = new Readings();
  notices;
  /** Leads to an entity, from wherever it is named. */
  lead;
  constructor(access2, notices2, lead) {
    const base = new URL(".", location.href).href;
    this.tenant = access2.tenant;
    this.notices = notices2;
    this.lead = lead;
    this.ask = new Ask(base, access2.token);
    this.client = new ContinuumClient({
      url: base,
      tenant: access2.tenant,
      instance: access2.instance,
      capabilities: ["console"],
      ...access2.token !== "" && { token: access2.token },
      // What an operator chooses is chosen now or not at all: nothing is to be sent tomorrow from a forgotten tab.
      store: "memory",
      autoConnect: false
    });
  }
  /** A path below the tenant. */
  path(rest) {
    return `v1/tenants/${encodeURIComponent(this.tenant)}/${rest}`;
  }
  /** The path of an entity. */
  entityPath(type, id, rest = "") {
    return this.path(`entities/${encodeURIComponent(type)}/${encodeURIComponent(id)}${rest}`);
  }
};

// console/theme.ts
var KEY = "continuum-console-theme";
var THEMES = ["system", "dark", "light"];
function kept() {
  try {
    return THEMES.find((theme) => theme === localStorage.getItem(KEY)) ?? "system";
  } catch {
    return "system";
  }
}
function show(theme, shown4) {
  document.documentElement.dataset.theme = theme;
  shown4.textContent = `Colours: ${theme}`;
}
function begin2(shown4) {
  let theme = kept();
  show(theme, shown4);
  return () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "system";
    show(theme, shown4);
    try {
      localStorage.setItem(KEY, theme);
    } catch {
    }
  };
}

// console/diff.ts
var MOST3 = 200;
function differences(before, after) {
  const found = [];
  look("", before, after, found);
  return found;
}
function look(path, before, after, found) {
  if (found.length >= MOST3 || isEqual(before, after)) return;
  if (isContent(before) && isContent(after)) {
    const names = /* @__PURE__ */ new Set([...Object.keys(before), ...Object.keys(after)]);
    for (const name of names) look(`${path}/${escaped(name)}`, own(before, name), own(after, name), found);
    return;
  }
  if (Array.isArray(before) && Array.isArray(after)) {
    for (let at = 0; at < Math.max(before.length, after.length); at += 1) {
      look(`${path}/${at}`, before[at], after[at], found);
    }
    return;
  }
  const kind = before === void 0 ? "added" : after === void 0 ? "removed" : "changed";
  found.push({ path, kind, before, after });
}
function own(value2, name) {
  return Object.hasOwn(value2, name) ? value2[name] : void 0;
}
function escaped(name) {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}
function split(before, after) {
  const [a, b] = [[...before], [...after]];
  const shorter = Math.min(a.length, b.length);
  let head = 0;
  while (head < shorter && a[head] === b[head]) head += 1;
  const isEnd = (at) => at === 0 || isBlank(a[at - 1]) || isEdge(a[at]) && isEdge(b[at]);
  while (!isEnd(head)) head -= 1;
  let tail = 0;
  while (tail < shorter - head && a.at(-1 - tail) === b.at(-1 - tail)) tail += 1;
  const isStart = () => tail === 0 || isBlank(a.at(-tail)) || isEdge(a.at(-1 - tail)) && isEdge(b.at(-1 - tail));
  while (!isStart()) tail -= 1;
  return {
    head: a.slice(0, head).join(""),
    gone: a.slice(head, a.length - tail).join(""),
    came: b.slice(head, b.length - tail).join(""),
    tail: a.slice(a.length - tail).join("")
  };
}
function isBlank(character) {
  return character !== void 0 && /\s/.test(character);
}
function isEdge(character) {
  return character === void 0 || isBlank(character);
}

// console/format.ts
var UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
function count2(value2) {
  return value2 === void 0 ? "–" : Math.round(value2).toLocaleString("en-US");
}
function rate(perSecond) {
  if (perSecond === void 0) return "–";
  return `${perSecond >= 100 ? count2(perSecond) : perSecond.toFixed(1)}/s`;
}
function bytes(value2) {
  if (value2 === void 0) return "–";
  let [rest, unit] = [value2, 0];
  while (rest >= 1024 && unit < UNITS.length - 1) [rest, unit] = [rest / 1024, unit + 1];
  return `${unit === 0 || rest >= 100 ? Math.round(rest) : rest.toFixed(1)} ${UNITS[unit]}`;
}
function took(seconds2) {
  if (seconds2 === void 0) return "–";
  if (seconds2 < 1e-3) return `${Math.round(seconds2 * 1e6)} µs`;
  if (seconds2 < 1) return `${(seconds2 * 1e3).toFixed(seconds2 < 0.01 ? 1 : 0)} ms`;
  return `${seconds2.toFixed(seconds2 < 10 ? 1 : 0)} s`;
}
function percent(share) {
  return share === void 0 ? "–" : `${(share * 100).toFixed(0)} %`;
}
function span(seconds2) {
  if (seconds2 === void 0 || !Number.isFinite(seconds2)) return "–";
  const whole2 = Math.max(0, Math.floor(seconds2));
  if (whole2 < 60) return `${whole2} s`;
  if (whole2 < 600 && whole2 % 60 > 0) return `${Math.floor(whole2 / 60)} min ${whole2 % 60} s`;
  if (whole2 < 3600) return `${Math.floor(whole2 / 60)} min`;
  if (whole2 < 86400) return `${Math.floor(whole2 / 3600)} h ${Math.floor(whole2 % 3600 / 60)} min`;
  return `${Math.floor(whole2 / 86400)} d ${Math.floor(whole2 % 86400 / 3600)} h`;
}
function clock(time) {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return "–";
  const two = (value2) => String(value2).padStart(2, "0");
  const rest = String(at.getMilliseconds()).padStart(3, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${rest}`;
}
function moment(time) {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return "–";
  const two = (value2) => String(value2).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(time).slice(0, 8)}`;
}
function lines(value2) {
  const short = JSON.stringify(value2) ?? "nothing";
  return short.length <= 60 ? short : JSON.stringify(value2, null, 2);
}

// console/fields.ts
var LONGEST = 4e3;
function value(shown4) {
  const text2 = typeof shown4 === "string" ? shown4 : lines(shown4);
  return text2.length > LONGEST ? `${text2.slice(0, LONGEST)}… (${text2.length - LONGEST} more characters)` : text2;
}
function differenceList(found) {
  if (found.length === 0) return element("p", { className: "quiet" }, "Nothing differs.");
  const list = element("ul", { className: "differences" });
  for (const difference of found) list.append(line(difference));
  if (found.length >= MOST3) list.append(element("li", { className: "quiet" }, `Only the first ${MOST3} are shown.`));
  return list;
}
function line({ path, kind, before, after }) {
  const item = element("li", { className: kind });
  item.append(element("code", {}, path === "" ? "the whole" : path), element("span", { className: "tag" }, kind));
  const change2 = element("p", {});
  if (typeof before === "string" && typeof after === "string" && before.length + after.length < LONGEST) {
    const { head, gone, came, tail } = split(before, after);
    change2.append(head);
    if (gone !== "") change2.append(element("del", {}, gone));
    if (came !== "") change2.append(element("ins", {}, came));
    change2.append(tail);
  } else {
    if (before !== void 0) change2.append(element("del", {}, value(before)));
    if (before !== void 0 && after !== void 0) change2.append(" ");
    if (after !== void 0) change2.append(element("ins", {}, value(after)));
  }
  item.append(change2);
  return item;
}

// console/conflicts.ts
var SHOWN2 = 50;
var ConflictsView = class {
  root = copy("conflicts");
  #room;
  #cards = /* @__PURE__ */ new Map();
  #rows;
  #stops;
  #counted;
  #isLoaded = false;
  /** `counted` is told how many there are. */
  constructor(room, counted) {
    this.#room = room;
    this.#counted = counted;
    this.#rows = new Rows(named(this.root, "list"), (conflict) => {
      const card = new Card(room, conflict);
      this.#cards.set(conflict.conflictId, card);
      return card.root;
    });
    const { conflicts } = room.client;
    this.#stops = [
      conflicts.subscribe(() => this.#show()),
      conflicts.onConflict(({ type, id, kind }) => {
        if (!this.#isLoaded) return;
        const what = kind === "variant" ? "A variant was kept beside" : "A conflict waits for a choice:";
        room.notices.tell(`${what} ${type} ${id}.`, "bad");
      })
    ];
    void this.#load();
  }
  end() {
    for (const stop of this.#stops) stop();
    for (const card of this.#cards.values()) card.end();
  }
  async #load() {
    const { client } = this.#room;
    try {
      await client.online();
      await client.conflicts.list();
      this.#isLoaded = true;
      this.#show();
    } catch (error) {
      if (client.status.state === "closed") return;
      say(named(this.root, "note"), inWords(error, "what lies open in this room"));
      named(this.root, "note").hidden = false;
    }
  }
  #show() {
    const open2 = this.#room.client.conflicts.snapshot();
    this.#rows.show(open2.slice(0, SHOWN2), ({ conflictId }) => conflictId);
    const there = new Set(open2.map(({ conflictId }) => conflictId));
    for (const [name, card] of this.#cards) {
      if (there.has(name)) continue;
      card.end();
      this.#cards.delete(name);
    }
    named(this.root, "empty").hidden = open2.length > 0 || !this.#isLoaded;
    const more = open2.length > SHOWN2 ? `, the first ${SHOWN2} are shown` : "";
    say(named(this.root, "count"), open2.length === 0 ? "" : `${count2(open2.length)} open${more}`);
    this.#counted(open2.length);
  }
};
var Card = class {
  root = copy("conflict");
  #room;
  #conflict;
  #stop;
  #stands = /* @__PURE__ */ new Map();
  constructor(room, conflict) {
    this.#room = room;
    this.#conflict = conflict;
    const { type, id, kind, by } = conflict;
    const key = `${type}/${id}`;
    named(this.root, "title").append(button(`${type} ${id}`, () => room.lead(key), { className: "link" }));
    say(named(this.root, "kind"), kind === "variant" ? "kept beside it" : "waits for a choice");
    const who = [by?.instance_id, by?.user_name ?? by?.user_id].filter((name) => typeof name === "string");
    say(named(this.root, "by"), who.length === 0 ? "" : `proposed by ${who.join(" for ")}`);
    const rows = named(this.root, "rows");
    if (this.#isDeletion) rows.append(this.#row("", "the whole"));
    else for (const path of conflict.paths) rows.append(this.#row(path, path));
    const form = named(this.root, "form");
    form.onchange = () => this.#look();
    form.onsubmit = (event) => {
      event.preventDefault();
      this.#settle();
    };
    named(this.root, "all-current").onclick = () => this.#all("current");
    named(this.root, "all-proposed").onclick = () => this.#all("proposed");
    this.#stop = room.client.entity(type, id).subscribe(() => this.#follow());
    this.#follow();
    this.#look();
  }
  end() {
    this.#stop();
  }
  get #isDeletion() {
    return this.#conflict.proposed === null || this.#conflict.paths.length === 0;
  }
  get #radios() {
    return [...this.root.querySelectorAll("input[type=radio]")];
  }
  #row(path, name) {
    const { base, proposed, conflictId } = this.#conflict;
    const side = (choice, words2, content) => {
      const radio = element("input", { type: "radio", name: `${conflictId} ${path}`, value: choice });
      radio.dataset.path = path;
      const cell = element(
        "td",
        {},
        element("label", {}, radio, element("span", { className: "side" }, words2), content)
      );
      cell.dataset.side = choice;
      return cell;
    };
    const stands2 = element("span", { className: "value" });
    this.#stands.set(path, stands2);
    const other = element("span", { className: "value" }, shown3(proposed, path));
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, element("code", {}, name)),
      element("td", { className: "base" }, element("span", { className: "side" }, "was"), shown3(base, path)),
      side("current", "stands", stands2),
      side("proposed", "proposed", other)
    );
  }
  #follow() {
    const { type, id, current } = this.#conflict;
    const { data } = this.#room.client.entity(type, id).snapshot();
    for (const [path, cell] of this.#stands) say(cell, shown3(data ?? current, path));
  }
  #all(side) {
    for (const radio of this.#radios) radio.checked = radio.value === side;
    this.#look();
    named(this.root, "settle").focus();
  }
  get #chosen() {
    const checked = this.#radios.filter((radio) => radio.checked);
    return new Map(checked.map((radio) => [radio.dataset.path ?? "", radio.value]));
  }
  #look() {
    const left = this.#stands.size - this.#chosen.size;
    named(this.root, "settle").disabled = left > 0;
    say(named(this.root, "left"), left === 0 ? "" : left === 1 ? "one field to choose" : `${left} fields to choose`);
  }
  #settle() {
    const { client, notices: notices2 } = this.#room;
    const conflict = this.#conflict;
    const sides = new Set(this.#chosen.values());
    const [only2] = sides;
    if (only2 === void 0) return;
    for (const control of this.root.querySelectorAll("input, button")) control.toggleAttribute("disabled", true);
    const op = sides.size === 1 ? client.conflicts.resolve(conflict, only2) : client.conflicts.resolve(conflict, "merged", this.#merged());
    say(named(this.root, "left"), "sent, waits for the node");
    void op.settled.then(({ status, version, message, code }) => {
      const name = `${conflict.type} ${conflict.id}`;
      if (status === "confirmed" || status === "resolved") {
        notices2.tell(`Settled: ${name} stands in version ${version}.`, "good");
        return;
      }
      const why = status === "pending" ? "it was changed meanwhile; look again" : message ?? code ?? status;
      notices2.tell(`${name} was not settled: ${why}.`, "bad");
      for (const control of this.root.querySelectorAll("input, button")) control.toggleAttribute("disabled", false);
      this.#look();
    });
  }
  /** The proposed fields that were chosen, as a merge patch on what stands. */
  #merged() {
    const patch = {};
    for (const [path, side] of this.#chosen) {
      if (side === "proposed") put2(patch, path, valueAt(this.#conflict.proposed ?? null, path) ?? null);
    }
    return patch;
  }
};
function shown3(content, path) {
  if (content === null) return "not there (deleted)";
  if (content === void 0) return "–";
  const found = valueAt(content, path);
  return found === void 0 || found === null ? "no such field" : value(found);
}
function put2(patch, path, found) {
  const names = parsePointer(path) ?? [];
  const last = names.pop();
  if (last === void 0) return;
  let at = patch;
  for (const name of names) {
    const inner = at[name];
    const next = isContent(inner) ? inner : {};
    at[name] = next;
    at = next;
  }
  at[last] = found;
}

// console/records.ts
var known = /* @__PURE__ */ new WeakMap();
function told2(record) {
  let about = known.get(record);
  if (about === void 0) {
    about = tell(read(record.raw));
    known.set(record, about);
  }
  return about;
}
function ofRecord(record) {
  const about = told2(record);
  const kind = about.kind === "event" ? "event" : about.kind === "open" ? "conflict" : "change";
  const entity = about.kind === "event" ? void 0 : about.key;
  const { seq, timestamp: at, type, instance, raw } = record;
  return { key: String(seq), seq, order: seq, at, type, instance, kind, entity, words: words(about, record), raw };
}
function ofSignal(signal, order) {
  const { type, instance, timestamp: at, data } = signal;
  const raw = { event_type: type, instance_id: instance, timestamp: at, data };
  const key = `signal ${order}`;
  return { key, seq: void 0, order, at, type, instance, kind: "signal", entity: void 0, words: brief(data), raw };
}
function words(about, { data }) {
  if (about.kind === "event") return brief(isContent(data) && Object.keys(data).length === 0 ? "no data" : data);
  const name = splitKey(about.key).join(" ");
  if (about.kind === "open") return `${name}: the content is as it was`;
  if (about.data === null) return `${name}: gone`;
  const changes = field(data, "changes") ?? field(data, "ops") ?? field(data, "text");
  return `${name}: ${brief(changes ?? about.data)}`;
}

// console/roving.ts
var Roving = class {
  #list;
  #selector;
  constructor(list, selector) {
    this.#list = list;
    this.#selector = selector;
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("focusin", ({ target }) => {
      const item = target instanceof Element ? target.closest(selector) : null;
      if (item !== null) this.#stop(item);
    });
  }
  /** The items are others: one of them has to be reachable. */
  look() {
    const items = this.#items();
    const first = items[0];
    if (first !== void 0 && !items.some(({ tabIndex }) => tabIndex === 0)) first.tabIndex = 0;
  }
  focus() {
    this.look();
    this.#items().find(({ tabIndex }) => tabIndex === 0)?.focus();
  }
  #items() {
    return [...this.#list.querySelectorAll(this.#selector)];
  }
  #stop(item) {
    for (const other of this.#items()) if (other !== item && other.tabIndex === 0) other.tabIndex = -1;
    item.tabIndex = 0;
  }
  #key(event) {
    const items = this.#items();
    const here = event.target instanceof Element ? event.target.closest(this.#selector) : null;
    const at = here === null ? -1 : items.indexOf(here);
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = items.length - 1;
    const goals = {
      ArrowDown: Math.min(at + 1, last),
      ArrowUp: Math.max(at - 1, 0),
      PageDown: Math.min(at + 10, last),
      PageUp: Math.max(at - 10, 0),
      Home: 0,
      End: last
    };
    const goal = goals[event.key];
    if (goal === void 0) return;
    event.preventDefault();
    items[goal]?.focus();
  }
};

// console/versions.ts
var PAGE3 = 20;
var MOST4 = 200;
var CONTENTS = 50;
var SHORTLY_MS2 = 500;
var EntityPane = class {
  root = copy("entity");
  key;
  #room;
  #type;
  #id;
  #rows;
  #roving;
  #ended = new AbortController();
  #contents = /* @__PURE__ */ new Map();
  #versions = [];
  #before;
  #chosen;
  #turn = 0;
  #asksLater;
  constructor(room, key) {
    this.#room = room;
    this.key = key;
    [this.#type, this.#id] = splitKey(key);
    say(named(this.root, "title"), this.#id);
    say(named(this.root, "type"), this.#type);
    const list = named(this.root, "versions");
    this.#rows = new Rows(list, (version) => this.#row(version));
    this.#roving = new Roving(list, "button.row");
    named(this.root, "older").onclick = () => void this.#page(this.#before);
    void this.#begin();
  }
  end() {
    clearTimeout(this.#asksLater);
    this.#ended.abort();
  }
  /** There is another version. The history of a busy entity is asked for now and then, not for each of its versions. */
  changed() {
    if (this.#asksLater !== void 0) return;
    this.#asksLater = setTimeout(() => {
      this.#asksLater = void 0;
      const isAtHead = this.#chosen === void 0 || this.#chosen === this.#versions[0]?.version;
      if (isAtHead) this.#chosen = void 0;
      void this.#begin();
    }, SHORTLY_MS2);
  }
  async #begin() {
    await this.#page(void 0);
  }
  async #page(before) {
    this.#turn += 1;
    const turn = this.#turn;
    const query = new URLSearchParams({ limit: String(PAGE3), instance_id: this.#room.client.instance });
    if (before !== void 0) query.set("before", String(before));
    try {
      const path = this.#room.entityPath(this.#type, this.#id, `/versions?${query}`);
      const body = await this.#room.ask.json(path, this.#ended.signal);
      if (turn !== this.#turn) return;
      const found = field(body, "versions");
      const read3 = (Array.isArray(found) ? found.filter(isContent) : []).map(versionOf);
      const kept2 = before === void 0 ? [] : this.#versions;
      this.#versions = [...kept2, ...read3].slice(0, MOST4);
      const isMore = field(body, "more") === true && this.#versions.length < MOST4;
      this.#before = isMore ? count(body, "before") : void 0;
      named(this.root, "older").hidden = this.#before === void 0;
      named(this.root, "trimmed").hidden = field(body, "trimmed") !== true;
      this.#note("");
      this.#rows.show(this.#versions, ({ version }) => String(version));
      this.#roving.look();
      await this.#choose(this.#chosen ?? this.#versions[0]?.version);
    } catch (error) {
      if (!this.#ended.signal.aborted) this.#note(inWords(error, "this entity"));
    }
  }
  #note(words2) {
    named(this.root, "note").hidden = words2 === "";
    say(named(this.root, "note"), words2);
  }
  /** Shows a version, and what led from the one before to it. */
  async #choose(chosen) {
    if (chosen === void 0) return;
    this.#chosen = chosen;
    for (const row of this.root.querySelectorAll("button.row")) {
      row.setAttribute("aria-current", String(row.dataset.version === String(chosen)));
    }
    const at = this.#versions.findIndex(({ version }) => version === chosen);
    const before = this.#versions[at + 1]?.version;
    const isFirst = this.#versions[at]?.action === "create";
    const [now, then] = await Promise.all([
      this.#content(chosen),
      before === void 0 || isFirst ? void 0 : this.#content(before)
    ]);
    if (this.#chosen !== chosen || this.#ended.signal.aborted) return;
    const isHead = at === 0;
    say(
      named(this.root, "stands"),
      now === null ? `Deleted in version ${chosen}` : isHead ? `As it stands · version ${chosen}` : `Version ${chosen}`
    );
    named(this.root, "content").replaceChildren(...fields(now));
    const difference = named(this.root, "difference");
    if (now === void 0 || then === void 0 && !isFirst) {
      say(named(this.root, "against"), "What changed");
      difference.replaceChildren(element("p", { className: "quiet" }, "The log no longer holds what it was before."));
      return;
    }
    say(named(this.root, "against"), isFirst ? "What it began with" : `What changed since version ${before}`);
    difference.replaceChildren(differenceList(differences(isFirst ? {} : then ?? {}, now ?? {})));
  }
  /** A version's content: `null` if it was deleted then, `undefined` if the log does not hold it any more. */
  async #content(version) {
    const known2 = this.#contents.get(version);
    if (known2 !== void 0) return known2;
    const query = new URLSearchParams({ version: String(version), instance_id: this.#room.client.instance });
    let content;
    try {
      const path = this.#room.entityPath(this.#type, this.#id, `?${query}`);
      const data = field(await this.#room.ask.json(path, this.#ended.signal), "data");
      content = isContent(data) ? data : void 0;
    } catch (error) {
      if (error instanceof ContinuumError && error.code === "deleted") content = null;
      else if (!(error instanceof ContinuumError && error.code === "version_gone")) {
        if (!this.#ended.signal.aborted) this.#note(inWords(error, `version ${version}`));
        return void 0;
      }
    }
    if (content !== void 0) {
      this.#contents.set(version, content);
      const oldest = this.#contents.keys().next().value;
      if (this.#contents.size > CONTENTS && oldest !== void 0) this.#contents.delete(oldest);
    }
    return content;
  }
  #row({ version, action, at, by }) {
    const row = element(
      "button",
      { type: "button", className: "row", tabIndex: -1, onclick: () => void this.#choose(version) },
      element("span", { className: "seq" }, `v${version}`),
      element("span", { className: "tag" }, action.replaceAll("_", " ")),
      element("span", { className: "who" }, [by, moment(at)].filter(Boolean).join(" · "))
    );
    row.dataset.version = String(version);
    return element("li", {}, row);
  }
};
function versionOf(item) {
  const by = field(item, "by");
  const name = text(by, "user_name") ?? text(by, "user_id");
  return {
    version: count(item, "version") ?? 0,
    action: text(item, "action") ?? "update",
    at: text(item, "at") ?? "",
    by: [text(by, "instance_id"), name].filter(Boolean).join(" for ")
  };
}
function fields(content) {
  if (!isContent(content)) {
    const words2 = content === null ? "It is not there any more." : "The log no longer holds this version.";
    return [element("p", { className: "quiet" }, words2)];
  }
  const list = element("dl", { className: "fields" });
  for (const [name, shown4] of Object.entries(content)) {
    list.append(element("div", {}, element("dt", {}, name), element("dd", {}, value(shown4))));
  }
  return list.childElementCount === 0 ? [element("p", { className: "quiet" }, "It has no fields.")] : [list];
}

// console/entities.ts
var PAGE4 = 200;
var MOST5 = 2e3;
var EntitiesView = class {
  root = copy("entities");
  #room;
  #rows;
  #roving;
  #stops;
  #known = /* @__PURE__ */ new Map();
  #ended = new AbortController();
  #asking;
  #page;
  #isLoaded = false;
  #isDue = false;
  #pane;
  constructor(room) {
    this.#room = room;
    const list = named(this.root, "list");
    this.#rows = new Rows(
      list,
      ({ key }) => this.#row(key),
      (row, listed) => this.#update(row, listed)
    );
    this.#roving = new Roving(list, "button.row");
    this.#stops = [
      room.client.on("record", (record) => {
        const about = told2(record);
        if (about.kind === "event") return;
        const { seq: version, timestamp: at, instance: by } = record;
        if (about.kind === "entity" && about.data === null) this.#known.delete(about.key);
        else if (this.#known.has(about.key) || this.#isWanted(about.key)) {
          this.#known.set(about.key, { key: about.key, version, at, by });
        }
        if (about.key === this.#pane?.key) this.#pane.changed();
        this.#later();
      }),
      // What was missed cannot be told from records: the list is made anew.
      room.client.on("resumed", ({ complete }) => {
        if (!complete && this.#isLoaded) void this.#load();
      })
    ];
    named(this.root, "type").onchange = () => void this.#load();
    named(this.root, "text").oninput = () => this.#show();
    named(this.root, "filters").onsubmit = (event) => event.preventDefault();
    named(this.root, "more").onclick = () => void this.#next();
  }
  show() {
    if (!this.#isLoaded) void this.#load();
  }
  search() {
    named(this.root, "text").focus();
  }
  end() {
    this.#ended.abort();
    this.#asking?.abort();
    for (const stop of this.#stops) stop();
    this.#pane?.end();
  }
  /** Shows one entity, whether it is in the list or not. */
  choose(key) {
    if (this.#pane?.key !== key) {
      this.#pane?.end();
      this.#pane = new EntityPane(this.#room, key);
      named(this.root, "pane").replaceChildren(this.#pane.root);
    }
    for (const row of this.root.querySelectorAll("button.row")) {
      row.setAttribute("aria-current", String(row.dataset.key === key));
    }
    this.#pane.root.scrollIntoView({ block: "nearest" });
  }
  get #type() {
    return named(this.root, "type").value.trim();
  }
  #isWanted(key) {
    if (this.#known.size >= MOST5) return false;
    const [type] = splitKey(key);
    return this.#type === "" || this.#type.split(/[\s,]+/).includes(type);
  }
  async #load() {
    this.#isLoaded = true;
    this.#known.clear();
    this.#page = "";
    await this.#next();
  }
  async #next() {
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    const query = new URLSearchParams({ limit: String(PAGE4), instance_id: this.#room.client.instance });
    const types = this.#type.replace(/[\s,]+/g, ",");
    if (types !== "") query.set("types", types);
    if (this.#page) query.set("page", this.#page);
    try {
      const body = await this.#room.ask.json(this.#room.path(`snapshot?${query}`), asking.signal);
      const found = field(body, "entities");
      for (const item of Array.isArray(found) ? found.filter(isContent) : []) {
        const [type, id] = [text(item, "entity_type"), text(item, "entity_id")];
        const version = count(item, "version") ?? 0;
        if (type === void 0 || id === void 0) continue;
        const key = `${type}/${id}`;
        if ((this.#known.get(key)?.version ?? 0) > version) continue;
        const changed2 = field(item, "changed");
        const by = text(field(changed2, "by"), "instance_id") ?? "";
        this.#known.set(key, { key, version, at: text(changed2, "at") ?? "", by });
      }
      this.#page = text(body, "next");
      this.#note("");
    } catch (error) {
      if (asking.signal.aborted) return;
      this.#isLoaded = false;
      this.#note(inWords(error, "the entities of this room"));
    }
    this.#show();
  }
  #note(words2) {
    named(this.root, "note").hidden = words2 === "";
    say(named(this.root, "note"), words2);
  }
  #later() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (!this.#ended.signal.aborted) this.#show();
    });
  }
  #show() {
    const text2 = named(this.root, "text").value.trim().toLowerCase();
    const all = [...this.#known.values()];
    const found = all.filter(({ key, by }) => `${key} ${by}`.toLowerCase().includes(text2));
    found.sort((a, b) => b.version - a.version);
    this.#rows.show(found.slice(0, 500), ({ key }) => key);
    this.#roving.look();
    const types = new Set(all.map(({ key }) => splitKey(key)[0]));
    const isMore = this.#page !== void 0 && this.#page !== "" && all.length < MOST5;
    named(this.root, "more").hidden = !isMore;
    named(this.root, "empty").hidden = found.length > 0;
    say(named(this.root, "empty"), all.length === 0 ? "There is no entity here." : "No entity passes these filters.");
    const words2 = `${count2(Math.min(found.length, 500))} of ${count2(all.length)}${isMore ? " and more" : ""}`;
    say(named(this.root, "count"), all.length === 0 ? "" : `${words2} · of ${count2(types.size)} types`);
  }
  #row(key) {
    const [type, id] = splitKey(key);
    const row = element(
      "button",
      { type: "button", className: "row", tabIndex: -1, onclick: () => this.#room.lead(key) },
      element("span", { className: "type change" }, type),
      element("span", { className: "id" }, id),
      element("span", { className: "seq" }),
      element("span", { className: "who" })
    );
    row.dataset.key = key;
    row.setAttribute("aria-current", String(key === this.#pane?.key));
    return element("li", {}, row);
  }
  #update(row, { version, at, by }) {
    const [seq, who] = [row.querySelector(".seq"), row.querySelector(".who")];
    if (seq) say(seq, `v${version}`);
    if (who) say(who, [by, at && moment(at)].filter(Boolean).join(" · "));
  }
};

// console/chart.ts
var FIRST = 60;
var [WIDTH, HEIGHT, TOP] = [600, 120, 8];
var Chart = class {
  root;
  #options;
  #points = [];
  #paths;
  #values;
  #cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, x1: -9, x2: -9 });
  #top = element("span", { className: "top" });
  #when = element("span", { className: "when" });
  #picture;
  /** Which point is read, counted from the newest; `undefined`: the newest, as it comes. */
  #read;
  constructor(options) {
    this.#options = options;
    this.#paths = options.lines.map(({ colour }) => svg("path", { class: `line c${colour}`, d: "" }));
    this.#values = options.lines.map(() => element("dd", {}, "–"));
    this.#picture = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", tabindex: 0 },
      svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: TOP, y2: TOP }),
      svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: (HEIGHT + TOP) / 2, y2: (HEIGHT + TOP) / 2 }),
      ...this.#paths,
      this.#cursor
    );
    const legend = element("dl", { className: "legend" });
    options.lines.forEach(({ name, colour }, at) => {
      const value2 = this.#values[at];
      if (value2) legend.append(element("div", { className: `c${colour}` }, element("dt", {}, name), value2));
    });
    const head = element("header", {}, element("h3", {}, options.title), this.#when);
    const frame = element("div", { className: "frame" }, this.#top);
    frame.append(this.#picture);
    this.root = element("section", { className: "card chart" }, head, frame, legend);
    this.#listen();
    this.#draw();
  }
  add(at, values) {
    this.#points.push({ at, values });
    if (this.#points.length > KEPT) this.#points.shift();
    this.#draw();
  }
  #listen() {
    this.#picture.onpointermove = ({ clientX }) => {
      const { left, width } = this.#picture.getBoundingClientRect();
      this.#point(Math.round((1 - (clientX - left) / width) * (this.#wide - 1)));
    };
    this.#picture.onpointerleave = () => this.#point(void 0);
    this.#picture.onblur = () => this.#point(void 0);
    this.#picture.onkeydown = (event) => {
      const steps = { ArrowLeft: 1, ArrowRight: -1, PageUp: 30, PageDown: -30 };
      const step2 = steps[event.key];
      if (step2 === void 0) return;
      event.preventDefault();
      this.#point(Math.max(0, (this.#read ?? 0) + step2));
    };
  }
  #point(read3) {
    const most = this.#points.length - 1;
    this.#read = read3 === void 0 || most < 0 ? void 0 : Math.min(Math.max(read3, 0), most);
    this.#tell();
  }
  /** How many points the picture has room for. */
  get #wide() {
    return Math.max(FIRST, this.#points.length);
  }
  #x(back) {
    return WIDTH - back * WIDTH / (this.#wide - 1);
  }
  #draw() {
    const { least, format, lines: lines2 } = this.#options;
    const peak = Math.max(least, ...this.#points.flatMap(({ values }) => values.map((value2) => value2 ?? 0)));
    const top = this.#options.scale === "two" ? 2 ** Math.ceil(Math.log2(peak)) : rounded(peak);
    say(this.#top, format(top));
    const height = (value2) => HEIGHT - value2 / top * (HEIGHT - TOP);
    lines2.forEach((_, line2) => {
      let path = "";
      let isDrawing = false;
      this.#points.forEach(({ values }, at) => {
        const value2 = values[line2];
        if (value2 === void 0) {
          isDrawing = false;
          return;
        }
        const [x, y] = [this.#x(this.#points.length - 1 - at).toFixed(1), height(value2).toFixed(1)];
        path += isDrawing ? `L${x} ${y}` : `M${x} ${y}h0.01`;
        isDrawing = true;
      });
      const drawn = this.#paths[line2];
      if (drawn) mark(drawn, { d: path });
    });
    this.#tell();
  }
  #tell() {
    const { title, lines: lines2, format } = this.#options;
    const point = this.#points.at(-1 - (this.#read ?? 0));
    const x = this.#read === void 0 ? -9 : this.#x(this.#read);
    mark(this.#cursor, { x1: x, x2: x });
    const [first, last] = [this.#points[0], this.#points.at(-1)];
    const all = first === void 0 || last === void 0 ? "" : `the last ${span((last.at - first.at) / 1e3)}`;
    say(this.#when, this.#read === void 0 || point === void 0 ? all : clock(point.at).slice(0, 8));
    const words2 = lines2.map(({ name }, line2) => {
      const value2 = format(point?.values[line2]);
      const shown4 = this.#values[line2];
      if (shown4) say(shown4, value2);
      return `${name} ${value2}`;
    });
    mark(this.#picture, { "aria-label": `${title}: ${words2.join(", ")}` });
  }
};
function rounded(value2) {
  const power = 10 ** Math.floor(Math.log10(value2));
  return ([1, 2, 5, 10].find((step2) => step2 * power >= value2 * 0.999) ?? 10) * power;
}

// console/figures.ts
var APPEND = "continuum_append_seconds";
var CHARTS = [
  {
    title: "Throughput",
    least: 10,
    format: rate,
    lines: [
      { name: "stored", colour: 1, of: (readings) => readings.rate(`${APPEND}_count`) },
      { name: "delivered", colour: 2, of: (readings) => readings.rate("continuum_delivered_total") },
      { name: "signals", colour: 3, of: (readings) => readings.rate("continuum_signals_total") }
    ]
  },
  {
    title: "Latency of a publish, until the log has it",
    least: 5e-3,
    format: took,
    lines: [
      { name: "half of them below", colour: 1, of: (readings) => readings.quantile(APPEND, 0.5) },
      { name: "99 of 100 below", colour: 2, of: (readings) => readings.quantile(APPEND, 0.99) }
    ]
  },
  {
    title: "Connections",
    least: 10,
    format: count2,
    lines: [
      { name: "sockets", colour: 1, of: (readings) => readings.gauge("continuum_connections") },
      { name: "streams", colour: 2, of: (readings) => readings.gauge("continuum_streams") },
      { name: "rooms", colour: 3, of: (readings) => readings.gauge("continuum_rooms") }
    ]
  },
  {
    title: "Messages",
    least: 10,
    format: rate,
    lines: [
      { name: "received", colour: 1, of: (readings) => readings.rate("continuum_received_total") },
      { name: "sent", colour: 2, of: (readings) => readings.rate("continuum_sent_total") },
      { name: "refused", colour: 3, of: (readings) => readings.rate("continuum_refused_total") }
    ]
  },
  {
    title: "What waits for slow readers",
    least: 1024,
    scale: "two",
    format: bytes,
    lines: [{ name: "in outboxes", colour: 1, of: (readings) => readings.gauge("continuum_outbox_bytes") }]
  },
  {
    title: "Processor",
    least: 0.1,
    format: percent,
    lines: [{ name: "of one core", colour: 1, of: (readings) => readings.rate("process_cpu_seconds_total") }]
  },
  {
    title: "Memory",
    least: 2 ** 20,
    scale: "two",
    format: bytes,
    lines: [{ name: "resident", colour: 1, of: (readings) => readings.gauge("process_resident_memory_bytes") }]
  },
  {
    title: "Journal",
    least: 10,
    format: count2,
    lines: [
      { name: "waiting", colour: 1, of: (readings) => readings.gauge("continuum_journal_entries") },
      { name: "dead letters", colour: 2, of: (readings) => readings.gauge("continuum_journal_dead") }
    ]
  }
];
var FiguresView = class {
  root = copy("figures");
  #charts = CHARTS.map((drawn) => ({ drawn, chart: new Chart(drawn) }));
  constructor() {
    named(this.root, "charts").append(...this.#charts.map(({ chart }) => chart.root));
  }
  /** There is another reading. */
  read(readings) {
    const at = readings.last?.at;
    if (at === void 0) return;
    for (const { drawn, chart } of this.#charts) {
      chart.add(
        at,
        drawn.lines.map(({ of }) => of(readings))
      );
    }
  }
};

// console/graph/gonzai.ts
var KEPT2 = 20;
var DRAWN = 5;
function noticeOf(message, key) {
  const [type, data] = [text(message, "event_type"), field(message, "data")];
  if (type !== "gonzai.discover" && type !== "gonzai.suggestion") return void 0;
  const at = text(message, "timestamp") ?? "";
  const relevance = field(data, "relevance");
  const share = typeof relevance === "number" ? ` (${percent(relevance)})` : "";
  const why = `${text(data, "reason") ?? ""}${share}`;
  if (type === "gonzai.discover") {
    const event = field(data, "event");
    const node = text(event, "entity_type") === "node" ? text(event, "entity_id") : void 0;
    return { key, at, words: text(data, "suggestion") ?? "Something near changed.", why, proposal: void 0, node };
  }
  const said = field(data, "suggestion");
  const [from, to] = [text(said, "from") ?? text(said, "source"), text(said, "to") ?? text(said, "target")];
  const isEdge2 = from !== void 0 && to !== void 0;
  const words2 = text(said, "text") ?? text(said, "title") ?? (isEdge2 ? `Join ${from} and ${to}?` : "A suggestion.");
  const by = text(message, "user_id") ?? text(message, "instance_id") ?? "somebody";
  const proposal = isEdge2 ? { key, from, to } : void 0;
  return { key, at, words: `${by}: ${words2}`, why, proposal, node: from };
}
var Gonzai = class {
  #list;
  #act;
  #notices = [];
  #count = 0;
  constructor(list, act) {
    this.#list = list;
    this.#act = act;
  }
  get proposals() {
    return this.#notices.flatMap(({ proposal }) => proposal ?? []).slice(0, DRAWN);
  }
  /** Takes a message; gives the notice if it was one. */
  take(message) {
    this.#count += 1;
    const notice = isContent(message) ? noticeOf(message, `gonzai-${this.#count}`) : void 0;
    if (notice === void 0) return void 0;
    this.#notices = [notice, ...this.#notices].slice(0, KEPT2);
    this.#list.prepend(this.#item(notice));
    while (this.#list.childElementCount > KEPT2) this.#list.lastElementChild?.remove();
    return notice;
  }
  /** A suggestion was followed or is of no use. */
  drop(key) {
    this.#notices = this.#notices.filter((notice) => notice.key !== key);
    this.#list.querySelector(`[data-key="${key}"]`)?.remove();
  }
  #item({ key, at, words: words2, why, proposal, node }) {
    const item = element("li", {}, element("p", {}, words2), element("p", { className: "quiet" }, why));
    item.dataset.key = key;
    const acts = element("div", { className: "buttons" }, element("time", { dateTime: at }, clock(at).slice(0, 8)));
    if (node !== void 0) acts.append(button("Show", () => this.#act.lead(node)));
    if (proposal !== void 0) acts.append(button("Draw this edge", () => this.#act.draw(proposal)));
    item.append(acts);
    return item;
  }
};

// console/graph/layout.ts
var APART = 120;
var STEPS = 60;
var GOLDEN = Math.PI * (3 - Math.sqrt(5));
function ownPlace({ data }) {
  const [x, y] = [field(data, "x"), field(data, "y")];
  return Number.isFinite(x) && Number.isFinite(y) ? { x, y } : void 0;
}
function placed(nodes, edges, before) {
  const places = /* @__PURE__ */ new Map();
  const free = [];
  const fresh = [];
  for (const node of nodes) {
    const own2 = ownPlace(node);
    const old = before.get(node.id);
    if (own2 !== void 0) places.set(node.id, own2);
    else if (old !== void 0) places.set(node.id, old);
    else fresh.push(node.id);
    if (own2 === void 0) free.push(node.id);
  }
  const middle = center([...places.values()]);
  fresh.forEach((id, at) => {
    const [turn, far] = [(places.size + at) * GOLDEN, APART * Math.sqrt(places.size + at + 0.5)];
    places.set(id, { x: middle.x + far * Math.cos(turn), y: middle.y + far * Math.sin(turn) });
  });
  if (fresh.length > 0) settle(places, free, edges);
  return places;
}
function center(places) {
  if (places.length === 0) return { x: 0, y: 0 };
  const sum2 = places.reduce((sum3, { x, y }) => ({ x: sum3.x + x, y: sum3.y + y }), { x: 0, y: 0 });
  return { x: sum2.x / places.length, y: sum2.y / places.length };
}
function settle(places, free, edges) {
  for (let step2 = 0; step2 < STEPS; step2 += 1) {
    const reach = APART / 2 * (1 - step2 / STEPS);
    const moves = new Map(free.map((id) => [id, { x: 0, y: 0 }]));
    for (const id of free) {
      const [here, move] = [places.get(id), moves.get(id)];
      if (here === void 0 || move === void 0) continue;
      for (const [other, there] of places) {
        if (other === id) continue;
        const [dx, dy] = [here.x - there.x || 0.1, here.y - there.y || 0.1];
        const push = APART * APART / (dx * dx + dy * dy);
        move.x += dx * push;
        move.y += dy * push;
      }
    }
    for (const { from, to } of edges) {
      const [a, b] = [places.get(from), places.get(to)];
      if (a === void 0 || b === void 0 || from === to) continue;
      const [dx, dy] = [b.x - a.x, b.y - a.y];
      const pull = Math.hypot(dx, dy) / APART / 2;
      const [one, two] = [moves.get(from), moves.get(to)];
      if (one) [one.x, one.y] = [one.x + dx * pull, one.y + dy * pull];
      if (two) [two.x, two.y] = [two.x - dx * pull, two.y - dy * pull];
    }
    for (const [id, { x, y }] of moves) {
      const [here, far] = [places.get(id), Math.hypot(x, y)];
      if (here === void 0 || far < 0.01) continue;
      const by = Math.min(far, reach) / far;
      places.set(id, { x: here.x + x * by, y: here.y + y * by });
    }
  }
}

// console/graph/model.ts
var NODES = 400;
var EDGES = 800;
var GraphModel = class {
  nodes = /* @__PURE__ */ new Map();
  #edges = /* @__PURE__ */ new Map();
  /** What is gone, and since which version: what comes later from an older page stays gone. */
  #gone = /* @__PURE__ */ new Map();
  /** Whether there was more than is held. */
  isCut = false;
  /** The edges both of whose ends are there. */
  get edges() {
    return [...this.#edges.values()].filter(({ from, to }) => this.nodes.has(from) && this.nodes.has(to));
  }
  clear() {
    this.nodes.clear();
    this.#edges.clear();
    this.#gone.clear();
    this.isCut = false;
  }
  /** An item of a snapshot. */
  takeItem(item) {
    const [type, id, data] = [text(item, "entity_type"), text(item, "entity_id"), field(item, "data")];
    if (id !== void 0 && isContent(data)) this.take(`${type}/${id}`, data, count(item, "version") ?? 0);
  }
  /** How an entity stands from a version on; `null`: it is gone. `false`: it is no part of a graph, or no news. */
  take(key, data, version) {
    const [type, id] = splitKey(key);
    if (type !== "node" && type !== "edge") return false;
    const held = type === "node" ? this.nodes : this.#edges;
    if (Math.max(held.get(id)?.version ?? 0, this.#gone.get(key) ?? 0) > version) return false;
    if (data === null) {
      held.delete(id);
      this.#gone.set(key, version);
      const oldest = this.#gone.keys().next().value;
      if (this.#gone.size > NODES + EDGES && oldest !== void 0) this.#gone.delete(oldest);
      return true;
    }
    if (!held.has(id) && held.size >= (type === "node" ? NODES : EDGES)) {
      this.isCut = true;
      return false;
    }
    if (type === "node") {
      this.nodes.set(id, { id, version, data });
      return true;
    }
    const [from, to] = [text(data, "from") ?? text(data, "source"), text(data, "to") ?? text(data, "target")];
    if (from === void 0 || to === void 0) return false;
    this.#edges.set(id, { id, version, data, from, to });
    return true;
  }
};
function labelOf({ id, data }) {
  for (const name of ["label", "title", "name", "text"]) {
    const found = text(data, name);
    if (found !== void 0 && found !== "") return found.length > 28 ? `${found.slice(0, 27)}…` : found;
  }
  return id.length > 28 ? `${id.slice(0, 27)}…` : id;
}

// console/graph/people.ts
var MOST6 = 32;
var STILL_MS = 6e4;
var People = class {
  #all = /* @__PURE__ */ new Map();
  /** Takes a signal; `false`: it is none of these. */
  take({ type, instance, user, data }, now) {
    if (type !== "cursor.move" && type !== "selection.change") return false;
    const before = this.#all.get(instance);
    const fresh = { instance, name: user ?? instance, colour: colourOf(instance), movedAt: now };
    const known2 = before ?? { ...fresh, cursor: void 0, selected: [] };
    if (type === "cursor.move") {
      const [x, y] = [field(data, "x"), field(data, "y")];
      const isPlace = Number.isFinite(x) && Number.isFinite(y);
      const cursor = isPlace ? { x, y } : void 0;
      this.#put({ ...known2, cursor, movedAt: now });
    } else {
      const nodes = field(data, "nodes");
      const selected = Array.isArray(nodes) ? nodes.filter((id) => typeof id === "string").slice(0, 64) : [];
      this.#put({ ...known2, selected });
    }
    return true;
  }
  /** Who left takes cursor and selection along. */
  keep(instances) {
    for (const name of this.#all.keys()) if (!instances.has(name)) this.#all.delete(name);
  }
  seen(now) {
    return [...this.#all.values()].map(
      (person) => now - person.movedAt > STILL_MS ? { ...person, cursor: void 0 } : person
    );
  }
  #put(person) {
    this.#all.delete(person.instance);
    this.#all.set(person.instance, person);
    const oldest = this.#all.keys().next().value;
    if (this.#all.size > MOST6 && oldest !== void 0) this.#all.delete(oldest);
  }
};
function colourOf(name) {
  let sum2 = 0;
  for (const character of name) sum2 = (sum2 * 31 + (character.codePointAt(0) ?? 0)) % 9973;
  return sum2 % 6 + 1;
}

// console/graph/picture.ts
var [PACE, NEAR] = [0.25, 0.4];
var MARGIN = 90;
var Picture = class {
  #svg;
  #events;
  #edges;
  #proposals;
  #nodes;
  #rings;
  #cursors;
  #isCalm = matchMedia("(prefers-reduced-motion: reduce)");
  /** Where things are drawn just now, on their way to where they belong. */
  #shown = /* @__PURE__ */ new Map();
  #scene = { nodes: [], edges: [], places: /* @__PURE__ */ new Map(), people: [], proposals: [], selected: void 0 };
  #view = { x: -200, y: -150, width: 400, height: 300 };
  /** Whether the view follows what is drawn, until somebody moves it. */
  #isFitted = true;
  #frame = 0;
  #dragged;
  constructor(picture, events) {
    this.#svg = picture;
    this.#events = events;
    const layer = (name) => picture.appendChild(svg("g", { class: name }));
    this.#edges = new Rows(layer("edges"), () => svg("line", { class: "edge" }));
    this.#proposals = new Rows(layer("proposals"), () => svg("line", { class: "proposal" }));
    this.#rings = new Rows(layer("rings"), ({ id, person, at }) => {
      const name = svg("text", { y: -22 - 14 * at, "text-anchor": "middle" }, person.name);
      const ring = svg("g", { class: `ring p${person.colour}` }, sized(svg("circle", { r: 14 + 4 * at }), name));
      ring.dataset.id = id;
      return ring;
    });
    this.#nodes = new Rows(
      layer("nodes"),
      (node) => this.#node(node),
      (group, node) => this.#dress(group, node)
    );
    this.#cursors = new Rows(
      layer("cursors"),
      ({ name, colour }) => svg(
        "g",
        { class: `pointer p${colour}` },
        sized(svg("path", { d: "M0 0 L0 15 L4 11 L7 17 L10 16 L7 10 L12 10 Z" }), svg("text", { x: 14, y: 22 }, name))
      )
    );
    this.#listen();
  }
  end() {
    cancelAnimationFrame(this.#frame);
  }
  show(scene) {
    this.#scene = scene;
    this.#edges.show(scene.edges, ({ id }) => id);
    this.#nodes.show(scene.nodes, ({ id }) => id);
    this.#proposals.show(scene.proposals, ({ key }) => key);
    const counts = /* @__PURE__ */ new Map();
    const rings = scene.people.flatMap(
      (person) => person.selected.filter((id) => scene.places.has(id)).map((id) => {
        const at = counts.get(id) ?? 0;
        counts.set(id, at + 1);
        return { key: `${id} ${person.instance} ${at}`, id, person, at };
      })
    );
    this.#rings.show(rings, ({ key }) => key);
    this.#cursors.show(
      scene.people.filter(({ cursor }) => cursor !== void 0),
      ({ instance }) => instance
    );
    const stops = [...this.#svg.querySelectorAll("g.n")];
    if (!stops.some((group) => group.getAttribute("tabindex") === "0")) stops[0]?.setAttribute("tabindex", "0");
    if (this.#isFitted) this.fit();
    this.#go();
  }
  /** Shows all that there is. */
  fit() {
    this.#isFitted = true;
    const places = [...this.#scene.places.values()];
    const [xs, ys] = [places.map(({ x }) => x), places.map(({ y }) => y)];
    const box2 = this.#svg.getBoundingClientRect();
    const shape = box2.height > 0 ? box2.width / box2.height : 4 / 3;
    if (places.length === 0) return;
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const wide = Math.max(right - left + 2 * MARGIN, (bottom - top + 2 * MARGIN) * shape, 400);
    const high = wide / shape;
    this.#look({ x: (left + right - wide) / 2, y: (top + bottom - high) / 2, width: wide, height: high });
  }
  /** Nearer (below 1) or farther, around the middle. */
  zoom(by) {
    this.#isFitted = false;
    const { x, y, width, height } = this.#view;
    const wide = Math.min(Math.max(width * by, 80), 2e5);
    const high = height * wide / width;
    this.#look({ x: x + (width - wide) / 2, y: y + (height - high) / 2, width: wide, height: high });
  }
  focus(id) {
    this.#nodes.get(id)?.focus();
  }
  #look(view) {
    this.#view = view;
    const { x, y, width, height } = view;
    mark(this.#svg, { viewBox: `${x.toFixed(1)} ${y.toFixed(1)} ${width.toFixed(1)} ${height.toFixed(1)}` });
    const box2 = this.#svg.getBoundingClientRect();
    if (box2.width > 0) this.#svg.style.setProperty("--scale", String(Math.max(width / box2.width, 0.2)));
  }
  #node(node) {
    const group = svg(
      "g",
      { class: "n", tabindex: -1, role: "button" },
      sized(
        svg("circle", { class: "halo", r: 18 }),
        svg("circle", { class: "dot", r: 8 }),
        svg("text", { y: 24, "text-anchor": "middle" }, labelOf(node))
      )
    );
    group.dataset.id = node.id;
    group.onfocus = () => {
      for (const other of this.#svg.querySelectorAll('g.n[tabindex="0"]')) mark(other, { tabindex: -1 });
      mark(group, { tabindex: 0 });
    };
    return group;
  }
  #dress(group, node) {
    const isSelected = node.id === this.#scene.selected;
    group.classList.toggle("selected", isSelected);
    mark(group, { "aria-pressed": String(isSelected), "aria-label": `node ${labelOf(node)}` });
    const label = group.querySelector("text");
    if (label) say(label, labelOf(node));
    if (group.dataset.version !== void 0 && group.dataset.version !== String(node.version)) {
      group.classList.add("changed");
      group.addEventListener("animationend", () => group.classList.remove("changed"), { once: true });
    }
    group.dataset.version = String(node.version);
  }
  /** Moves everything on its way, until it is there. */
  #go() {
    cancelAnimationFrame(this.#frame);
    const isThere = this.#step();
    if (!isThere) this.#frame = requestAnimationFrame(() => this.#go());
  }
  #step() {
    const { edges, nodes, places, people, proposals } = this.#scene;
    let isThere = true;
    const at = (key, goal) => {
      const here = this.#shown.get(key);
      const far = here === void 0 ? 0 : Math.hypot(goal.x - here.x, goal.y - here.y);
      const isNear = here === void 0 || far < NEAR || this.#isCalm.matches;
      const place2 = isNear ? goal : { x: here.x + (goal.x - here.x) * PACE, y: here.y + (goal.y - here.y) * PACE };
      if (!isNear) isThere = false;
      this.#shown.set(key, place2);
      return place2;
    };
    const there = /* @__PURE__ */ new Map();
    for (const { id } of nodes) {
      const goal = places.get(id);
      if (goal === void 0) continue;
      const place2 = at(`n ${id}`, goal);
      there.set(id, place2);
      const group = this.#nodes.get(id);
      if (group) put3(group, place2);
    }
    const join = (line2, from, to) => {
      const [a, b] = [there.get(from), there.get(to)];
      if (line2 && a && b) {
        mark(line2, { x1: a.x.toFixed(1), y1: a.y.toFixed(1), x2: b.x.toFixed(1), y2: b.y.toFixed(1) });
      }
    };
    for (const { id, from, to } of edges) join(this.#edges.get(id), from, to);
    for (const { key, from, to } of proposals) join(this.#proposals.get(key), from, to);
    for (const ring of this.#svg.querySelectorAll("g.ring")) {
      const place2 = there.get(ring.dataset.id ?? "");
      if (place2) put3(ring, place2);
    }
    for (const { instance, cursor } of people) {
      const group = this.#cursors.get(instance);
      if (group && cursor) put3(group, at(`c ${instance}`, cursor));
    }
    if (this.#shown.size > 4 * (nodes.length + people.length + 16)) this.#shown.clear();
    return isThere;
  }
  #place({ clientX, clientY }) {
    const box2 = this.#svg.getBoundingClientRect();
    const { x, y, width, height } = this.#view;
    return { x: x + (clientX - box2.left) / box2.width * width, y: y + (clientY - box2.top) / box2.height * height };
  }
  #listen() {
    this.#svg.onpointermove = (event) => {
      this.#events.pointed(this.#place(event));
      const dragged = this.#dragged;
      if (dragged === void 0) return;
      const box2 = this.#svg.getBoundingClientRect();
      const [dx, dy] = [event.clientX - dragged.x, event.clientY - dragged.y];
      if (!dragged.isMoved && Math.hypot(dx, dy) < 5) return;
      dragged.isMoved = true;
      this.#isFitted = false;
      const { view } = dragged;
      this.#look({ ...view, x: view.x - dx / box2.width * view.width, y: view.y - dy / box2.height * view.height });
    };
    this.#svg.onpointerdown = ({ clientX: x, clientY: y }) => {
      this.#dragged = { x, y, view: this.#view, isMoved: false };
    };
    this.#svg.onpointerup = () => {
      setTimeout(() => {
        this.#dragged = void 0;
      });
    };
    this.#svg.onpointerleave = () => {
      this.#dragged = void 0;
    };
    this.#svg.onclick = ({ target }) => {
      if (this.#dragged?.isMoved) return;
      const group = target instanceof Element ? target.closest("g.n") : null;
      this.#events.chosen(group?.dataset.id);
    };
    this.#svg.onkeydown = (event) => this.#key(event);
  }
  #key(event) {
    const id = event.target instanceof SVGGElement ? event.target.dataset.id : void 0;
    const ways = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1]
    };
    const way = ways[event.key];
    if (event.key === "+" || event.key === "=") this.zoom(0.8);
    else if (event.key === "-") this.zoom(1.25);
    else if (event.key === "0") this.fit();
    else if (id !== void 0 && (event.key === "Enter" || event.key === " ")) this.#events.chosen(id);
    else if (event.key === "Escape" && this.#scene.selected !== void 0) this.#events.chosen(void 0);
    else if (id !== void 0 && way !== void 0) this.#next(id, way);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
  /** To the nearest node that lies that way. */
  #next(id, [wayX, wayY]) {
    const here = this.#scene.places.get(id);
    if (here === void 0) return;
    let best;
    for (const [other, { x, y }] of this.#scene.places) {
      const [dx, dy] = [x - here.x, y - here.y];
      const [ahead, aside] = [dx * wayX + dy * wayY, Math.abs(dx * wayY) + Math.abs(dy * wayX)];
      const cost = ahead + 2 * aside;
      if (other !== id && ahead > 0 && (best === void 0 || cost < best.cost)) best = { id: other, cost };
    }
    if (best) this.focus(best.id);
  }
};
function sized(...parts) {
  return svg("g", { class: "sized" }, ...parts);
}
function put3(group, { x, y }) {
  mark(group, { transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` });
}

// console/graph/view.ts
var PAGE5 = 400;
var CURSOR_MS = 60;
var GraphView = class {
  root = copy("graph");
  #room;
  #model = new GraphModel();
  #people = new People();
  #gonzai;
  #picture;
  #stops;
  #ended = new AbortController();
  #places = /* @__PURE__ */ new Map();
  #selected;
  #isShown = false;
  #isLoaded = false;
  #isDue = false;
  #toldAt = 0;
  #wasTold = false;
  constructor(room) {
    this.#room = room;
    this.#picture = new Picture(named(this.root, "picture"), {
      chosen: (id) => this.choose(id),
      pointed: (place2) => this.#pointed(place2)
    });
    this.#gonzai = new Gonzai(named(this.root, "notices"), {
      draw: (proposal) => this.#drawEdge(proposal),
      lead: (node) => this.choose(node)
    });
    const { client } = room;
    this.#stops = [
      client.on("record", (record) => {
        const about = told2(record);
        if (about.kind === "entity" && this.#model.take(about.key, about.data, record.seq)) this.#later();
      }),
      client.on("signal", (signal) => {
        if (this.#people.take(signal, Date.now())) this.#later();
      }),
      client.on("message", (message) => this.#heard(message)),
      client.on("resumed", ({ complete }) => {
        if (!complete && this.#isLoaded) void this.#load();
      }),
      client.presence.subscribe(() => {
        const { members: members2 } = client.presence.snapshot();
        if (members2.length > 0) this.#people.keep(new Set(members2.map(({ instance }) => instance)));
        this.#later();
      }),
      client.connection.subscribe(() => {
        if (client.status.state === "online") this.#tellFocus();
      })
    ];
    const ticking = setInterval(() => this.#later(), 5e3);
    this.#stops.push(() => clearInterval(ticking));
    named(this.root, "nearer").onclick = () => this.#picture.zoom(0.8);
    named(this.root, "farther").onclick = () => this.#picture.zoom(1.25);
    named(this.root, "fit").onclick = () => this.#picture.fit();
    named(this.root, "share").onchange = () => this.#tellSelection();
  }
  show() {
    this.#isShown = true;
    if (!this.#isLoaded) void this.#load();
    this.#draw();
  }
  hide() {
    this.#isShown = false;
  }
  end() {
    this.#ended.abort();
    for (const stop of this.#stops) stop();
    this.#picture.end();
  }
  choose(id) {
    this.#selected = id !== void 0 && this.#model.nodes.has(id) ? id : void 0;
    this.#tellFocus();
    this.#tellSelection();
    this.#draw();
    if (this.#selected !== void 0) this.#picture.focus(this.#selected);
  }
  /** The state of now; what changes meanwhile comes as records, and the later version counts. */
  async #load() {
    this.#isLoaded = true;
    const { ask, client } = this.#room;
    const { signal } = this.#ended;
    this.#model.clear();
    try {
      for (const [type, most] of [
        ["node", NODES],
        ["edge", EDGES]
      ]) {
        let page2 = "";
        for (let pages = 0; page2 !== void 0 && pages * PAGE5 < most; pages += 1) {
          const query = new URLSearchParams({ types: type, limit: String(PAGE5), instance_id: client.instance });
          if (page2 !== "") query.set("page", page2);
          const body = await ask.json(this.#room.path(`snapshot?${query}`), signal);
          const found = field(body, "entities");
          for (const item of Array.isArray(found) ? found.filter(isContent) : []) this.#model.takeItem(item);
          page2 = text(body, "next");
        }
        if (page2 !== void 0) this.#model.isCut = true;
      }
      named(this.root, "note").hidden = true;
    } catch (error) {
      if (signal.aborted) return;
      this.#isLoaded = false;
      say(named(this.root, "note"), inWords(error, "the graph of this room"));
      named(this.root, "note").hidden = false;
    }
    this.#draw();
  }
  #later() {
    if (this.#isDue || !this.#isShown) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (!this.#ended.signal.aborted) this.#draw();
    });
  }
  #draw() {
    if (!this.#isShown) return;
    const [nodes, edges] = [[...this.#model.nodes.values()], this.#model.edges];
    if (this.#selected !== void 0 && !this.#model.nodes.has(this.#selected)) this.#selected = void 0;
    this.#places = placed(nodes, edges, this.#places);
    const people = this.#people.seen(Date.now());
    const there = (proposal) => this.#places.has(proposal.from) && this.#places.has(proposal.to);
    const proposals = this.#gonzai.proposals.filter(there);
    this.#picture.show({ nodes, edges, places: this.#places, people, proposals, selected: this.#selected });
    named(this.root, "empty").hidden = nodes.length > 0;
    const cut = this.#model.isCut ? " · there are more than can be drawn" : "";
    say(named(this.root, "count"), `${count2(nodes.length)} nodes · ${count2(edges.length)} edges${cut}`);
    const busy = people.filter(({ cursor, selected }) => cursor !== void 0 || selected.length > 0);
    const names = busy.map(
      ({ name, selected }) => selected.length === 0 ? name : `${name} selected ${selected.map((id) => this.#name(id)).join(", ")}`
    );
    say(named(this.root, "people"), names.length === 0 ? "Nobody else points or selects here." : names.join(" · "));
    this.#details();
  }
  #name(id) {
    const node = this.#model.nodes.get(id);
    return node === void 0 ? id : labelOf(node);
  }
  /** The selected node in words. */
  #details() {
    const pane = named(this.root, "selected");
    const node = this.#selected === void 0 ? void 0 : this.#model.nodes.get(this.#selected);
    const shown4 = node === void 0 ? "" : `${node.id} ${node.version}`;
    if (pane.dataset.shown === shown4) return;
    pane.dataset.shown = shown4;
    if (node === void 0) {
      pane.replaceChildren(
        element("p", { className: "quiet" }, "Choose a node, and Gonzai tells what happens near it.")
      );
      return;
    }
    const list = element("dl", { className: "fields" });
    for (const [name, content] of Object.entries(node.data).slice(0, 30)) {
      list.append(element("div", {}, element("dt", {}, name), element("dd", {}, value(content))));
    }
    const key = `node/${node.id}`;
    pane.replaceChildren(
      element("h3", {}, labelOf(node)),
      element("p", { className: "quiet" }, `version ${node.version}`),
      list,
      button("History", () => this.#room.lead(key))
    );
  }
  #heard(message) {
    const notice = this.#gonzai.take(message);
    if (notice === void 0) return;
    named(this.root, "silent").hidden = true;
    if (!this.#isShown) this.#room.notices.tell(`Gonzai: ${notice.words}`, "gonzai");
    this.#later();
  }
  /** What we are busy with is how Gonzai's notices are asked for. */
  #tellFocus() {
    this.#room.client.signal("gonzai.focus", { nodes: this.#selected === void 0 ? [] : [this.#selected] });
  }
  get #isShared() {
    return named(this.root, "share").checked;
  }
  #tellSelection() {
    const nodes = this.#isShared && this.#selected !== void 0 ? [this.#selected] : [];
    if (nodes.length === 0 && !this.#wasTold) return;
    this.#wasTold = nodes.length > 0;
    this.#room.client.signal("selection.change", { nodes });
  }
  #pointed({ x, y }) {
    const now = Date.now();
    if (!this.#isShared || now - this.#toldAt < CURSOR_MS) return;
    this.#toldAt = now;
    this.#room.client.signal("cursor.move", { x: Math.round(x), y: Math.round(y) });
  }
  #drawEdge({ key, from, to }) {
    const { client, notices: notices2 } = this.#room;
    const op = client.entity("edge", uuid()).create({ from, to });
    void op.settled.then(({ status, message, code }) => {
      if (status === "confirmed" || status === "resolved") {
        this.#gonzai.drop(key);
        notices2.tell(`${this.#name(from)} and ${this.#name(to)} are joined.`, "good");
      } else {
        notices2.tell(`The edge was not drawn: ${message ?? code ?? status}.`, "bad");
      }
      this.#draw();
    });
  }
};

// console/journal.ts
var EVERY_MS = 3e3;
var Part = class {
  #root;
  #rows;
  #poll;
  constructor(root, room, path, what, show2) {
    this.#root = root;
    this.#rows = new Rows(
      named(root, "rows"),
      ({ name, cells }) => labelled(
        element(
          "tr",
          {},
          element("th", { scope: "row", className: "name" }, name),
          element("td", {}, lamp("grey", "")),
          ...cells.map(() => element("td", { className: "number" }))
        ),
        root
      ),
      (row, { light, words: words2, cells }) => {
        const shown4 = row.querySelector(".lamp");
        if (shown4) relight(shown4, light, words2);
        cells.forEach((text2, at) => {
          const cell = row.cells[at + 2];
          if (cell) say(cell, text2);
        });
      }
    );
    this.#poll = new Poll({
      ask: (signal) => room.ask.json(path, signal),
      everyMs: EVERY_MS,
      show: (answer) => {
        this.note("");
        show2(this, answer);
      },
      refused: (error) => this.note(inWords(error, what))
    });
  }
  start() {
    this.#poll.start();
  }
  stop() {
    this.#poll.stop();
  }
  note(words2) {
    named(this.#root, "note").hidden = words2 === "";
    say(named(this.#root, "note"), words2);
  }
  rows(rows) {
    this.#rows.show(rows, ({ name }) => name);
    named(this.#root, "table").hidden = rows.length === 0;
  }
  say(name, words2) {
    say(named(this.#root, name), words2);
  }
  light(light, words2) {
    relight(named(this.#root, "light"), light, words2);
  }
};
var JournalView = class {
  root = copy("journal");
  #parts;
  constructor(room) {
    this.#parts = [
      new Part(named(this.root, "journal"), room, "v1/admin/journal", "the journal", showJournal),
      new Part(named(this.root, "shards"), room, "v1/admin/shards", "the log's shards", showShards)
    ];
  }
  show() {
    for (const part2 of this.#parts) part2.start();
  }
  hide() {
    for (const part2 of this.#parts) part2.stop();
  }
  end() {
    this.hide();
  }
};
var STANDINGS = {
  none: ["grey", "not needed: the log is on this machine"],
  empty: ["green", "empty: the log has everything"],
  holding: ["yellow", "holding: publishes wait for the log"],
  full: ["red", "full: publishes are refused"]
};
function showJournal(part2, answer) {
  const standing = text(answer, "standing") ?? "";
  part2.light(...STANDINGS[standing] ?? ["grey", standing]);
  const total = field(answer, "total");
  const isTold = isContent(total);
  const figures = [
    ["entries", count2(count(total, "entries"))],
    ["bytes", isTold ? `${bytes(count(total, "bytes"))} of ${bytes(count(total, "max_bytes"))}` : "–"],
    ["oldest", span(seconds(total))],
    ["drained", count2(count(total, "drained"))],
    ["refused", count2(count(total, "refused"))],
    ["dead", count2(count(total, "dead"))]
  ];
  for (const [name, words2] of figures) part2.say(name, words2);
  const dead = count(total, "dead") ?? 0;
  part2.say(
    "dead-words",
    dead > 0 ? "The log will never take these. They are kept in the node's journal until somebody has looked at them; docs/operations.md says how." : isTold ? "There are no dead letters." : ""
  );
  const tenants = field(answer, "tenants");
  part2.rows(
    (Array.isArray(tenants) ? tenants.filter(isContent) : []).map((item) => {
      const [entries, oldest] = [count(item, "entries") ?? 0, seconds(item)];
      return {
        name: text(item, "tenant") ?? "",
        light: entries === 0 ? "green" : lightOf(oldest),
        words: entries === 0 ? "nothing waits" : `waits for ${span(oldest)}`,
        cells: [count2(entries), bytes(count(item, "bytes")), count2(count(item, "refused"))]
      };
    })
  );
}
function seconds(of) {
  const found = field(of, "oldest_seconds");
  return typeof found === "number" ? found : void 0;
}
function showShards(part2, answer) {
  const shards = field(answer, "shards");
  part2.rows(
    (Array.isArray(shards) ? shards.filter(isContent) : []).map((shard) => {
      const state = text(shard, "state") ?? "";
      return {
        name: `${count(shard, "shard") ?? "–"} · ${text(shard, "stream") ?? ""}`,
        light: state === "serving" ? "green" : state === "degraded" ? "yellow" : "red",
        words: [state, text(shard, "reason")].filter(Boolean).join(": "),
        cells: [
          count2(count(shard, "records")),
          bytes(count(shard, "bytes")),
          `${count2(count(shard, "first"))} to ${count2(count(shard, "last"))}`,
          count2(count(shard, "read_to")),
          count2(count(shard, "lag"))
        ]
      };
    })
  );
}

// console/lag.ts
function lagOf(lag) {
  const [records2, seconds2] = [count(lag, "records"), field(lag, "seconds")];
  if (records2 === void 0 || typeof seconds2 !== "number") return void 0;
  return { records: records2, seconds: seconds2, isMore: field(lag, "exact") === false };
}
function lightOfLag(lag) {
  if (lag === void 0) return ["grey", "not told"];
  const light = lightOf(lag.seconds);
  if (lag.records === 0) return [light, "in step"];
  const many = `${lag.isMore ? "more than " : ""}${count2(lag.records)} behind`;
  return [light, `${many}, ${span(lag.seconds)}`];
}

// console/instances.ts
var REMEMBERED_S = 1800;
var GONE = 100;
var ROWS = 500;
var EVERY_MS2 = 2e3;
function lightOfInstance({ leftAt, session }, now) {
  if (leftAt !== void 0) {
    const away = (now - leftAt) / 1e3;
    return [lightOf(away), `away for ${span(away)}`];
  }
  if (session?.lag === void 0) return ["green", "connected"];
  return lightOfLag(session.lag);
}
var InstancesPanel = class {
  root = copy("instances");
  #room;
  #stops;
  #rows;
  #gone = /* @__PURE__ */ new Map();
  /** When something of an instance came last. */
  #heard = /* @__PURE__ */ new Map();
  #poll;
  #sessions = /* @__PURE__ */ new Map();
  #isDue = false;
  constructor(room) {
    this.#room = room;
    const query = new URLSearchParams({ tenant: room.tenant, sort: "lag", limit: String(ROWS) });
    this.#poll = new Poll({
      ask: (signal) => room.ask.json(`v1/admin/sessions?${query}`, signal),
      everyMs: EVERY_MS2,
      show: (answer) => {
        this.#sessions = sessionsOf(answer);
        this.#note("");
        this.#show();
      },
      refused: (error) => {
        this.#sessions.clear();
        this.#note(inWords(error, "how far each is behind"));
      }
    });
    this.#rows = new Rows(
      named(this.root, "rows"),
      ({ instance }) => this.#row(instance),
      (row, seen) => this.#update(row, seen)
    );
    const { client } = room;
    const hear = ({ instance }) => {
      this.#heard.set(instance, Date.now());
      this.#later();
    };
    this.#stops = [
      client.presence.subscribe(() => this.#later()),
      client.presence.onJoin((member2) => {
        this.#gone.delete(member2.instance);
        this.#heard.set(member2.instance, Date.now());
      }),
      client.presence.onLeave((member2) => this.#left(member2)),
      client.on("record", hear),
      client.on("signal", hear)
    ];
    const ticking = setInterval(() => this.#show(), 1e3);
    this.#stops.push(() => clearInterval(ticking));
    this.#show();
  }
  start() {
    this.#poll.start();
  }
  end() {
    this.#poll.stop();
    for (const stop of this.#stops) stop();
  }
  #note(words2) {
    named(this.root, "note").hidden = words2 === "";
    say(named(this.root, "note"), words2);
  }
  #left(member2) {
    if (this.#room.client.status.state !== "online") return;
    this.#gone.set(member2.instance, this.#seen(member2, Date.now()));
    for (const name of this.#gone.keys()) {
      if (this.#gone.size > GONE) this.#gone.delete(name);
    }
  }
  #seen({ instance, user, userName, capabilities, connectedAt, data }, leftAt) {
    return {
      instance,
      user: userName ?? user,
      capabilities,
      connectedAt,
      leftAt,
      heardAt: this.#heard.get(instance),
      doing: data === void 0 ? "" : brief(data, 80),
      session: this.#sessions.get(instance)
    };
  }
  #later() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#show();
    });
  }
  #show() {
    const now = Date.now();
    for (const [name, { leftAt }] of this.#gone) {
      if (leftAt !== void 0 && now - leftAt > REMEMBERED_S * 1e3) this.#gone.delete(name);
    }
    const { members: members2, total } = this.#room.client.presence.snapshot();
    const here = members2.map((member2) => this.#seen(member2));
    const names = new Set(members2.map(({ instance }) => instance));
    const gone = [...this.#gone.values()].filter(({ instance }) => !names.has(instance));
    if (this.#heard.size > 4 * ROWS) this.#heard.clear();
    here.sort((a, b) => (b.session?.lag?.seconds ?? 0) - (a.session?.lag?.seconds ?? 0));
    const all = [...gone.reverse(), ...here].slice(0, ROWS);
    this.#rows.show(all, ({ instance }) => instance);
    named(this.root, "table").hidden = all.length === 0;
    named(this.root, "empty").hidden = all.length > 0;
    const more = total - 1 > members2.length ? ` · ${count2(members2.length)} of them are listed` : "";
    say(named(this.root, "count"), total === 0 ? "" : `${count2(total)} connected, this console included${more}`);
  }
  #row(instance) {
    const cells = ["number", "number", "number", "more"].map((className) => element("td", { className }));
    const head = element("th", { scope: "row", className: "name" }, instance);
    return labelled(element("tr", {}, head, element("td", {}, lamp("grey", "")), ...cells), this.root);
  }
  #update(row, seen) {
    const now = Date.now();
    const [, light, waits, heard, since, more] = row.cells;
    const shown4 = light?.querySelector(".lamp");
    if (shown4) relight(shown4, ...lightOfInstance(seen, now));
    const stuck = seen.session && seen.session.stuckMs > 0 ? `, stuck for ${span(seen.session.stuckMs / 1e3)}` : "";
    if (waits)
      say(
        waits,
        seen.session === void 0 || seen.leftAt !== void 0 ? "–" : `${bytes(seen.session.outbox)}${stuck}`
      );
    if (heard) say(heard, seen.heardAt === void 0 ? "–" : `${span((now - seen.heardAt) / 1e3)} ago`);
    if (since) say(since, seen.connectedAt === void 0 ? "–" : clock(seen.connectedAt).slice(0, 8));
    if (more) say(more, [seen.user, seen.capabilities.join(", "), seen.doing].filter(Boolean).join(" · "));
    row.className = seen.leftAt === void 0 ? "" : "gone";
  }
};
function sessionsOf(answer) {
  const listed = field(answer, "sessions");
  const sessions = /* @__PURE__ */ new Map();
  for (const item of Array.isArray(listed) ? listed.filter(isContent) : []) {
    const instance = text(item, "instance");
    if (instance === void 0) continue;
    sessions.set(instance, {
      instance,
      state: text(item, "state") ?? "",
      lag: lagOf(field(item, "lag")),
      outbox: count(item, "outbox_bytes") ?? 0,
      stuckMs: count(item, "stuck_ms") ?? 0
    });
  }
  return sessions;
}

// console/cluster.ts
var ODD_S = 7;
var GONE2 = 16;
function nodesOf(answer, before, now) {
  const listed = field(answer, "nodes");
  const seen = [];
  for (const node of Array.isArray(listed) ? listed.filter(isContent) : []) {
    const id = text(node, "id");
    if (id === void 0) continue;
    seen.push({
      id,
      name: text(node, "name") ?? id.slice(0, 8),
      isThis: field(node, "is_self") === true,
      isGone: false,
      heardAt: now - (count(node, "heard_ms_ago") ?? 0),
      version: text(node, "version"),
      since: text(node, "since"),
      status: text(node, "status"),
      reason: text(node, "reason"),
      link: linkOf(field(node, "link")),
      connections: count(node, "connections"),
      rooms: count(node, "rooms"),
      hears: count(node, "hears")
    });
  }
  const there = new Set(seen.map(({ id }) => id));
  const names = new Set(seen.map(({ name }) => name));
  const gone = before.filter(({ id, name }) => !there.has(id) && !names.has(name));
  gone.sort((a, b) => b.heardAt - a.heardAt);
  return [...seen, ...gone.slice(0, GONE2).map((node) => ({ ...node, isGone: true, isThis: false }))];
}
function linkOf(link) {
  const [kind, state] = [text(link, "kind"), text(link, "state")];
  if (kind === void 0 || state === void 0) return void 0;
  return { kind, state, reason: text(link, "reason"), server: text(link, "server") };
}
function lightOfNode(node, now) {
  const silent = (now - node.heardAt) / 1e3;
  if (node.isGone) return ["red", `gone, last heard ${span(silent)} ago`];
  if (node.isThis && silent >= ODD_S) return ["red", `no answer for ${span(silent)}`];
  if (silent >= ODD_S) return ["yellow", `silent for ${span(silent)}`];
  switch (node.status) {
    case void 0:
      return ["green", "heard"];
    case "ready":
      return ["green", "ready"];
    case "journal_full":
      return ["red", "journal full"];
    default:
      return ["yellow", node.status];
  }
}
function lightOfLink({ state }) {
  return state === "serving" ? "green" : state === "degraded" ? "yellow" : "red";
}
var LONGEST2 = 24;
function serverOf({ kind, server }) {
  if (kind === "embedded") return "log on this disk";
  if (server === void 0) return "no server";
  return server.length > LONGEST2 ? `${server.slice(0, 8)}…` : server;
}
function linkInWords(link) {
  if (link === void 0) return "–";
  return [serverOf(link), link.state, link.reason].filter(Boolean).join(" · ");
}

// console/nodes.ts
var EVERY_MS3 = 2e3;
var [WIDTH2, TOP2, BOTTOM] = [480, 62, 156];
var DRAWN2 = 12;
var NodesPanel = class {
  root = copy("nodes");
  #room;
  #poll;
  #rows;
  #nodes = [];
  constructor(room) {
    this.#room = room;
    this.#rows = new Rows(
      named(this.root, "rows"),
      ({ name, id, isThis }) => {
        const head = element("th", { scope: "row", className: "name", title: id }, name);
        if (isThis) head.append(" ", element("span", { className: "tag" }, "this one"));
        const cells = ["", "more", "number", "number", "number"].map((className) => element("td", { className }));
        return labelled(element("tr", {}, head, element("td", {}, lamp("grey", "")), ...cells), this.root);
      },
      (row, node) => this.#update(row, node)
    );
    this.#poll = new Poll({
      ask: (signal) => room.ask.json("v1/admin/nodes", signal),
      everyMs: EVERY_MS3,
      show: (answer) => this.#take(nodesOf(answer, this.#nodes, Date.now())),
      refused: (error) => {
        this.#note(inWords(error, "the nodes"));
        this.#show();
      }
    });
  }
  start() {
    this.#poll.start();
  }
  end() {
    this.#poll.stop();
  }
  #note(words2) {
    named(this.root, "note").hidden = words2 === "";
    say(named(this.root, "note"), words2);
  }
  #take(nodes) {
    const before = new Map(this.#nodes.map((node) => [node.id, node]));
    const { notices: notices2 } = this.#room;
    for (const node of this.#nodes.length === 0 ? [] : nodes) {
      const known2 = before.get(node.id);
      if (known2 === void 0) notices2.tell(`Node ${node.name} joined.`, "good");
      else if (node.isGone && !known2.isGone) notices2.tell(`Node ${node.name} fell silent and is gone.`, "bad");
      else if (known2.isGone && !node.isGone) notices2.tell(`Node ${node.name} is back.`, "good");
    }
    this.#nodes = nodes;
    this.#note("");
    this.#show();
  }
  #show() {
    named(this.root, "table").hidden = this.#nodes.length === 0;
    this.#rows.show(this.#nodes, ({ id }) => id);
    this.#draw();
    const alive = this.#nodes.filter(({ isGone }) => !isGone).length;
    say(named(this.root, "count"), alive === 0 ? "" : alive === 1 ? "one node" : `${alive} nodes`);
  }
  #update(row, node) {
    const now = Date.now();
    const [, light, hears, link, connections, rooms, up] = row.cells;
    const shown4 = light?.querySelector(".lamp");
    if (shown4) relight(shown4, ...lightOfNode(node, now));
    const others = this.#nodes.filter(({ isGone }) => !isGone).length - 1;
    const words2 = [
      [hears, node.isGone || node.hears === void 0 ? "–" : `${node.hears} of ${others}`],
      [link, node.isGone ? "–" : linkInWords(node.link)],
      [connections, node.isGone ? "–" : count2(node.connections)],
      [rooms, node.isGone ? "–" : count2(node.rooms)],
      [up, node.since === void 0 || node.isGone ? "–" : span((now - Date.parse(node.since)) / 1e3)]
    ];
    for (const [cell, text2] of words2) if (cell) say(cell, text2);
    row.className = node.isGone ? "gone" : "";
    row.title = [node.version && `version ${node.version}`, node.reason].filter(Boolean).join(" · ");
  }
  /** The nodes in a row, those that hear each other joined above, the log that links them below. */
  #draw() {
    const picture = named(this.root, "picture");
    const nodes = this.#nodes.slice(0, DRAWN2);
    picture.toggleAttribute("hidden", nodes.length === 0);
    const now = Date.now();
    const x = (at, of) => WIDTH2 * (at + 0.5) / of;
    const servers = /* @__PURE__ */ new Map();
    for (const { link, isGone } of nodes) if (link && !isGone) servers.set(serverOf(link), link);
    const names = [...servers.keys()].slice(0, DRAWN2);
    const [lines2, boxes] = [[], []];
    nodes.forEach((node, at) => {
      const [light, words3] = lightOfNode(node, now);
      const here = x(at, nodes.length);
      const next = nodes[at + 1];
      if (next !== void 0) {
        const tone = node.isGone || next.isGone ? "red" : lightOfNode(next, now)[0];
        const there = x(at + 1, nodes.length);
        lines2.push(
          svg("path", {
            class: `link ${tone}`,
            d: `M${here} ${TOP2 - 20} Q${(here + there) / 2} ${TOP2 - 76} ${there} ${TOP2 - 20}`
          })
        );
      }
      const to = node.link && !node.isGone ? names.indexOf(serverOf(node.link)) : -1;
      if (node.link && to >= 0) {
        const end = x(to, names.length);
        lines2.push(svg("line", { class: `link ${lightOfLink(node.link)}`, x1: here, y1: TOP2, x2: end, y2: BOTTOM }));
      }
      boxes.push(box(`node ${light}`, here, TOP2, Math.min(150, WIDTH2 / nodes.length - 8), node.name, words3));
    });
    names.forEach((name, at) => {
      const link = servers.get(name);
      if (link)
        boxes.push(
          box("server", x(at, names.length), BOTTOM, Math.min(190, WIDTH2 / names.length - 8), name, link.kind)
        );
    });
    picture.replaceChildren(...lines2, ...boxes);
    const words2 = nodes.map((node) => `${node.name}: ${lightOfNode(node, now)[1]}, ${linkInWords(node.link)}`).join("; ");
    mark(picture, { "aria-label": `How the nodes are linked. ${words2}` });
  }
};
function box(kind, x, y, width, name, words2) {
  const most = Math.max(4, Math.floor(width / 8));
  const cut = (text2) => text2.length > most ? `${text2.slice(0, most - 1)}…` : text2;
  return svg(
    "g",
    { class: `box ${kind}`, transform: `translate(${x.toFixed(1)} ${y})` },
    svg("rect", { x: -width / 2, y: -20, width, height: 40, rx: 6 }),
    svg("text", { "text-anchor": "middle", y: -3 }, cut(name)),
    svg("text", { "text-anchor": "middle", y: 12, class: "small" }, cut(words2))
  );
}

// console/rooms.ts
var EVERY_MS4 = 3e3;
var SHOWN3 = 100;
var RoomsPanel = class {
  root = copy("rooms");
  #room;
  #rows;
  #poll;
  #isNarrow = false;
  constructor(room, enter2) {
    this.#room = room;
    this.#rows = new Rows(
      named(this.root, "rows"),
      ({ tenant }) => {
        const head = element("th", { scope: "row", className: "name" });
        if (tenant === room.tenant) head.append(tenant, " ", element("span", { className: "tag" }, "you are here"));
        else head.append(button(tenant, () => enter2(tenant), { className: "link", title: `Go into ${tenant}` }));
        const cells = ["number", "number", "number", "more"].map((className) => element("td", { className }));
        return labelled(element("tr", {}, head, element("td", {}, lamp("grey", "")), ...cells), this.root);
      },
      (row, seen) => update(row, seen)
    );
    this.#poll = new Poll({
      ask: (signal) => this.#ask(signal),
      everyMs: EVERY_MS4,
      show: (rooms) => this.#show(rooms),
      refused: (error) => this.#note(inWords(error, "the rooms"))
    });
  }
  start() {
    this.#poll.start();
  }
  end() {
    this.#poll.stop();
  }
  async #ask(signal) {
    const { ask } = this.#room;
    if (!this.#isNarrow) {
      try {
        const body = await ask.json(`v1/admin/rooms?limit=${SHOWN3}`, signal);
        const rooms = field(body, "rooms");
        const more = text(body, "next") === void 0 ? "" : `The first ${SHOWN3} by name are shown.`;
        this.#note(more);
        return (Array.isArray(rooms) ? rooms.filter(isContent) : []).map(seenOf);
      } catch (error) {
        if (!(error instanceof ContinuumError) || error.code !== "forbidden") throw error;
        this.#isNarrow = true;
        this.#note(inWords(error, "the rooms of this node"));
      }
    }
    const stats = await ask.json(this.#room.path("stats"), signal);
    const [members2, position] = [count(stats, "total_connections"), count(stats, "position")];
    const unknown2 = { here: void 0, streams: void 0, lag: void 0, outbox: void 0, open: "" };
    return [{ tenant: this.#room.tenant, members: members2, position, ...unknown2 }];
  }
  #note(words2) {
    named(this.root, "note").hidden = words2 === "";
    say(named(this.root, "note"), words2);
  }
  #show(rooms) {
    this.#rows.show(rooms, ({ tenant }) => tenant);
    named(this.root, "table").hidden = rooms.length === 0;
    const words2 = rooms.length === 1 ? "one room" : `${count2(rooms.length)} rooms in memory`;
    say(named(this.root, "count"), this.#isNarrow ? "" : words2);
  }
};
function seenOf(room) {
  const open2 = field(room, "open");
  const parts = [
    [count(open2, "appends"), "appends"],
    [count(open2, "operations"), "operations"],
    [count(open2, "queued"), "queued"],
    [count(open2, "subscriptions"), "subscriptions"]
  ];
  return {
    tenant: text(room, "tenant") ?? "",
    members: count(room, "members_total"),
    here: count(room, "members_here"),
    streams: count(room, "streams_here"),
    position: count(room, "position"),
    lag: lagOf(field(room, "largest_lag")),
    outbox: count(room, "outbox_bytes"),
    open: parts.flatMap(([many, name]) => many ? `${count2(many)} ${name}` : []).join(" · ")
  };
}
function update(row, { members: members2, here, streams, position, lag, outbox, open: open2 }) {
  const [, light, all, place2, waits, more] = row.cells;
  const shown4 = light?.querySelector(".lamp");
  if (shown4) relight(shown4, ...lightOfLag(lag));
  const there = here === void 0 ? "" : ` (${count2(here)} here)`;
  if (all) say(all, `${count2(members2)}${there}`);
  if (place2) say(place2, count2(position));
  if (waits) say(waits, bytes(outbox));
  if (more) say(more, [streams ? `${count2(streams)} streams` : "", open2].filter(Boolean).join(" · "));
}

// console/overview.ts
var OverviewView = class {
  root = copy("overview");
  #panels;
  constructor(room, enter2) {
    this.#panels = [new NodesPanel(room), new RoomsPanel(room, enter2), new InstancesPanel(room)];
    named(this.root, "panels").append(...this.#panels.map(({ root }) => root));
    for (const panel of this.#panels) panel.start();
  }
  end() {
    for (const panel of this.#panels) panel.end();
  }
  read(readings) {
    const signs = [
      ["stored", rate(readings.rate("continuum_append_seconds_count"))],
      ["delivered", rate(readings.rate("continuum_delivered_total"))],
      ["latency", took(readings.quantile("continuum_append_seconds", 0.99))],
      ["connections", count2(readings.gauge("continuum_connections"))],
      ["waiting", count2(readings.gauge("continuum_journal_entries") ?? 0)]
    ];
    for (const [name, words2] of signs) say(named(this.root, name), words2);
  }
  conflicts(open2) {
    const sign = named(this.root, "conflicts");
    say(sign, count2(open2));
    sign.closest("div")?.classList.toggle("warn", open2 > 0);
  }
};

// console/stream.ts
var KEPT3 = 1e3;
var ROWS2 = 300;
var BACK = 500;
var SIGNAL_STEP = 1e-5;
var StreamView = class {
  root = copy("stream");
  #room;
  #stops;
  #rows;
  #roving;
  /** The newest first. */
  #kept = [];
  /** What came since the last look, and while the list stood still: made ready when it is shown. */
  #came = [];
  #isStopped = false;
  #isDue = false;
  /** The place of what came last: signals, which have none in the log, stand between the records. */
  #last = 0;
  #open = /* @__PURE__ */ new Set();
  #ended = new AbortController();
  constructor(room) {
    this.#room = room;
    const list = named(this.root, "records");
    this.#rows = new Rows(list, (shown4) => this.#row(shown4));
    this.#roving = new Roving(list, "button.row");
    const { client } = room;
    this.#stops = [
      client.on("record", (record) => {
        this.#last = record.seq;
        this.#take(() => ofRecord(record));
      }),
      client.on("signal", (signal) => {
        this.#last += SIGNAL_STEP;
        const order = this.#last;
        if (this.#box("signals").checked) this.#take(() => ofSignal(signal, order));
      })
    ];
    for (const name of ["types", "from", "text"]) this.#box(name).oninput = () => this.#show();
    this.#box("signals").onchange = () => {
      this.#kept = this.#kept.filter(({ kind }) => kind !== "signal");
      this.#show();
    };
    named(this.root, "stop").onclick = () => this.stop();
    named(this.root, "filters").onreset = () => {
      setTimeout(() => this.#show());
    };
    named(this.root, "filters").onsubmit = (event) => event.preventDefault();
    void this.#before();
  }
  /** Lets the list stand still, or go on. */
  stop() {
    this.#isStopped = !this.#isStopped;
    const button2 = named(this.root, "stop");
    button2.setAttribute("aria-pressed", String(this.#isStopped));
    say(button2, this.#isStopped ? "Go on" : "Stop");
    this.#show();
  }
  /** To the filters. */
  search() {
    this.#box("text").focus();
  }
  end() {
    this.#ended.abort();
    for (const stop of this.#stops) stop();
  }
  #box(name) {
    return named(this.root, name);
  }
  /** What the room said lately, so that nobody looks at an empty page. */
  async #before() {
    const { client } = this.#room;
    const { signal } = this.#ended;
    try {
      await client.online({ signal });
      const [epoch = "", position = "0"] = (client.cursor ?? "").split(".");
      let after = `${epoch}.${Math.max(0, Number(position) - BACK)}`;
      for (let pages = 0; pages < 4 && after !== void 0; pages += 1) {
        const page2 = await client.historyPage({ after, pageSize: BACK, signal });
        for (const record of page2.records) this.#take(() => ofRecord(record));
        after = page2.more ? page2.cursor : void 0;
      }
    } catch (error) {
      if (!signal.aborted && error instanceof ContinuumError && error.code !== "client_closed") {
        this.#note(inWords(error, "the room's stream"));
      }
    }
  }
  #note(words2) {
    const note = named(this.root, "note");
    note.hidden = words2 === "";
    say(note, words2);
  }
  #take(came) {
    this.#came.push(came);
    if (this.#came.length > 2 * KEPT3) this.#came.splice(0, KEPT3);
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (!this.#ended.signal.aborted) this.#show();
    });
  }
  /** Takes in what came. */
  #keep() {
    if (this.#came.length === 0) return;
    const came = this.#came.splice(0).map((make) => make());
    const known2 = new Set(this.#kept.map(({ key }) => key));
    const all = [...came.filter(({ key }) => !known2.has(key)), ...this.#kept];
    all.sort((a, b) => b.order - a.order);
    this.#kept = all.slice(0, KEPT3);
  }
  #show() {
    if (!this.#isStopped) this.#keep();
    const types = this.#box("types").value.split(/[\s,]+/).filter((type) => type !== "");
    const isWanted = matcher(types.length === 0 ? void 0 : types);
    const from = this.#box("from").value.trim().toLowerCase();
    const text2 = this.#box("text").value.trim().toLowerCase();
    const found = this.#kept.filter(
      (shown4) => isWanted(shown4.type) && shown4.instance.toLowerCase().includes(from) && (text2 === "" || JSON.stringify(shown4.raw).toLowerCase().includes(text2))
    );
    this.#rows.show(found.slice(0, ROWS2), ({ key }) => key);
    this.#roving.look();
    named(this.root, "empty").hidden = found.length > 0;
    say(
      named(this.root, "empty"),
      this.#kept.length === 0 ? "Nothing was said in this room yet." : "No record passes these filters."
    );
    const parts = [`${count2(Math.min(found.length, ROWS2))} of ${count2(this.#kept.length)} shown`];
    if (this.#isStopped) parts.push(`stopped, ${count2(this.#came.length)} more came`);
    say(named(this.root, "count"), parts.join(" · "));
  }
  #row(shown4) {
    const { key, seq, at, type, instance, kind, words: words2, raw } = shown4;
    const row = element(
      "button",
      { type: "button", className: "row", tabIndex: -1 },
      element("span", { className: "seq" }, seq === void 0 ? "signal" : `#${seq}`),
      element("time", { dateTime: at }, clock(at)),
      element("span", { className: `type ${kind}` }, type),
      element("span", { className: "who" }, instance),
      element("span", { className: "words" }, words2)
    );
    const item = element("li", {}, row);
    const isOpen = () => this.#open.has(key);
    const show2 = () => {
      row.setAttribute("aria-expanded", String(isOpen()));
      item.querySelector("pre")?.remove();
      if (isOpen()) item.append(element("pre", { tabIndex: 0 }, lines(raw)));
    };
    row.onclick = () => {
      if (isOpen()) this.#open.delete(key);
      else this.#open.add(key);
      show2();
    };
    show2();
    return item;
  }
};

// console/views.ts
var READ_MS = 2e3;
var Views = class {
  root = element("div", { className: "views" });
  #tenant;
  #stream;
  #entities;
  #all;
  #poll;
  #shown;
  constructor(room, enter2) {
    this.#tenant = room.tenant;
    const overview = new OverviewView(room, enter2);
    const figures = new FiguresView();
    this.#stream = new StreamView(room);
    this.#entities = new EntitiesView(room);
    const conflicts = new ConflictsView(room, (open2) => {
      overview.conflicts(open2);
      const mark2 = part(document, '[data-view="conflicts"] .count');
      mark2.hidden = open2 === 0;
      say(mark2, String(open2));
    });
    const [graph, journal] = [new GraphView(room), new JournalView(room)];
    this.#all = { overview, stream: this.#stream, entities: this.#entities, conflicts, graph, journal, figures };
    for (const name of VIEWS) {
      const { root } = this.#all[name];
      root.hidden = true;
      this.root.append(root);
    }
    this.#poll = new Poll({
      ask: (signal) => room.ask.text("metrics", signal),
      everyMs: READ_MS,
      show: (text2) => {
        room.readings.add({ at: Date.now(), sample: parse2(text2) });
        overview.read(room.readings);
        figures.read(room.readings);
      },
      refused: () => {
      }
    });
    this.#poll.start();
  }
  /** `focus`: who came by a key is led to what is new. */
  show({ view, entity }, then) {
    if (view !== this.#shown) {
      if (this.#shown !== void 0) {
        this.#all[this.#shown].root.hidden = true;
        this.#all[this.#shown].hide?.();
      }
      this.#shown = view;
      this.#all[view].root.hidden = false;
      this.#all[view].show?.();
      window.scrollTo(0, 0);
    }
    if (entity !== void 0) this.#entities.choose(entity);
    for (const link of document.querySelectorAll("nav a[data-view]")) {
      const name = VIEWS.find((known2) => known2 === link.dataset.view) ?? "overview";
      link.href = hashOf({ tenant: this.#tenant, view: name, entity: void 0 });
      if (name === view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (then === "focus") part(this.#all[view].root, "h2").focus();
  }
  search() {
    const view = this.#shown === void 0 ? void 0 : this.#all[this.#shown];
    view?.search?.();
  }
  /** Stops the stream, or lets it go on. */
  stop() {
    if (this.#shown === "stream") this.#stream.stop();
  }
  end() {
    this.#poll.stop();
    for (const name of VIEWS) this.#all[name].end?.();
    this.root.remove();
  }
};

// console/main.ts
var door = part(document, "#door");
var main = part(document, "main");
var help = part(document, "#help");
var notices = new Notices(part(document, "#notices"));
var turnTheme = begin2(named(document, "theme"));
var place = parsePlace(location.hash);
var access;
var open;
var OWN_NAME = `console-${uuid().slice(0, 4)}`;
door.onsubmit = (event) => {
  event.preventDefault();
  const fields2 = new FormData(door);
  const [tenant, token] = [String(fields2.get("tenant")), String(fields2.get("token")).trim()];
  const instance = String(fields2.get("instance")).trim() || OWN_NAME;
  void enter({ tenant, token, instance });
};
part(document, "#leave").onclick = () => leave("");
part(document, "#keys").onclick = () => help.showModal();
part(document, "#theme").onclick = turnTheme;
named(help, "close").onclick = () => help.close();
window.onhashchange = () => {
  const next = parsePlace(location.hash);
  if (access !== void 0 && next.tenant !== place.tenant) void enter({ ...access, tenant: next.tenant }, next);
  else go(next);
};
listen({
  view: (number) => {
    const view = VIEWS[number - 1];
    if (open === void 0 || view === void 0) return;
    location.hash = hashOf({ ...place, view, entity: void 0 });
    open.views.show({ ...place, view, entity: void 0 }, "focus");
  },
  search: () => open?.views.search(),
  stop: () => open?.views.stop(),
  theme: turnTheme,
  help: () => help.showModal()
});
void knock();
async function knock() {
  shut("");
  try {
    await new Ask(new URL(".", location.href).href, "").json("v1/stats");
  } catch (error) {
    const isAsked = error instanceof ContinuumError && ["unauthenticated", "forbidden"].includes(error.code);
    shut(isAsked ? "This node asks for a token." : inWords(error, "this node"));
    part(door, "[name=token]").focus();
    return;
  }
  await enter({ tenant: place.tenant, token: "", instance: OWN_NAME });
}
async function enter(wanted, at = { ...place, tenant: wanted.tenant }) {
  close();
  access = wanted;
  place = at;
  if (parsePlace(location.hash).tenant !== at.tenant) history.replaceState(null, "", hashOf(at));
  const lead = (entity) => {
    location.hash = hashOf({ ...place, view: "entities", entity });
  };
  const room = new Room(wanted, notices, lead);
  const views = new Views(room, (tenant) => {
    location.hash = hashOf({ tenant, view: "overview", entity: void 0 });
  });
  const stop = room.client.connection.subscribe(() => stands(room));
  open = { room, views, stop };
  door.hidden = true;
  for (const shown4 of document.querySelectorAll("[data-inside]")) shown4.hidden = false;
  main.append(views.root);
  say(named(document, "room"), wanted.tenant);
  go(at);
  stands(room);
  room.client.connect();
}
function go(at) {
  place = at;
  open?.views.show(at);
  document.title = `${at.tenant} · ${at.view} · Continuum console`;
}
function close() {
  if (open === void 0) return;
  open.stop();
  open.views.end();
  void open.room.client.close();
  open = void 0;
  notices.clear();
}
function leave(words2) {
  close();
  access = void 0;
  shut(words2);
}
function shut(words2) {
  door.hidden = false;
  for (const shown4 of document.querySelectorAll("[data-inside]")) shown4.hidden = true;
  part(door, "[name=tenant]").value = place.tenant;
  part(door, "[name=instance]").placeholder = OWN_NAME;
  say(named(door, "told"), words2);
}
function stands(room) {
  const status = room.client.status;
  if (status.state === "blocked" && ["unauthenticated", "token_expired", "token_revoked"].includes(status.code)) {
    leave(`The node does not take this token: ${status.message}`);
    return;
  }
  const [light, words2] = inLight(status);
  relight(named(document, "line"), light, words2);
  const banner = part(document, "#banner");
  banner.hidden = status.state !== "blocked";
  if (status.state === "blocked") {
    say(
      banner,
      `The room does not let the console in: ${status.message} (${status.code}). What needs no socket goes on.`
    );
  }
}
function inLight(status) {
  switch (status.state) {
    case "online":
      return ["green", status.transport === "websocket" ? "live" : `live over ${status.transport}`];
    case "connecting":
      return ["yellow", "connecting"];
    case "waiting":
      return ["red", "connection lost, tried again"];
    case "blocked":
      return ["red", "not let in"];
    default:
      return ["grey", "not connected"];
  }
}
