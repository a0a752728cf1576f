/**
 * The connection to a room: opened again whenever it is lost, by whatever way gets through.
 *
 * Owns: the connection's status, when to try again, which way to take, tokens on the wire, silence, and that a gap in the room's
 * order ends a link. Must not know: what messages are about.
 */

import type { ConnectionStatus } from "./api.js";
import { Backoff, followed } from "./backoff.js";
import type { Clock } from "./clock.js";
import { FINAL, hint, OF_TOKENS } from "./closing.js";
import { ContinuumError, isPassing } from "./errors.js";
import { Cell } from "./observe.js";
import { Renewal } from "./renewal.js";
import { Timers } from "./timers.js";
import type { Tokens } from "./token.js";
import type { Tracker } from "./tracker.js";
import type { Link, LinkEvents, Lost, OpenLink } from "./transport/link.js";
import { type Frame, Malformed, type Message, type Ready, read } from "./wire/message.js";

/** Longest time from opening a link to its first message. */
const JOIN_MS = 20_000;
/** A socket that worked before is given up for another way after so many failures in a row. */
const PATIENCE = 3;
/** How long to stay on another way before the first one is tried again; twice as long each time that it fails. */
const UPGRADE_MS = 15_000;
const LONGEST_UPGRADE_MS = 900_000;
/** The shortest pause between signs of life of ours. */
const SHORTEST_KEEPALIVE_MS = 1_000;

export interface ConnectionOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly tokens: Tokens;
  readonly tracker: Tracker;
  readonly query: Readonly<Record<string, string>>;
  /** Where to begin, before anything was seen. */
  readonly since: string | undefined;
  /** The ways to the node, the best first. */
  readonly ladder: readonly OpenLink[];
}

export interface ConnectionEvents {
  /** The room was joined. */
  ready(ready: Ready, wasSeen: boolean): void;
  /** A message that is new. */
  frame(frame: Frame): void;
  /** The link is gone. */
  lost(): void;
  error(error: ContinuumError): void;
}

export class Connection {
  readonly status = new Cell<ConnectionStatus>({ state: "idle" });
  readonly #options: ConnectionOptions;
  readonly #events: ConnectionEvents;
  readonly #backoff: Backoff;
  #ladder: readonly OpenLink[];
  #rung = 0;
  /** Failures in a row of the way that is tried. */
  #failures = 0;
  #hasWorked = false;
  #link: Link | undefined;
  #ready: Ready | undefined;
  #attempt = 0;
  #readyAt = 0;
  #heardAt = 0;
  #lostAt: number | undefined;
  #upgradeMs = UPGRADE_MS;
  #keepaliveMs: number | undefined;
  /** What the node says before it closes. */
  #announced: { retryAfterMs?: number | undefined; error?: ContinuumError } = {};
  #isTokenTried = false;
  #asking: AbortController | undefined;
  /** The node said for how long to stay away; and that this was overstepped already. */
  #isHinted = false;
  #hasHurried = false;
  readonly #timers: Timers;
  readonly #renewal: Renewal;
  constructor(options: ConnectionOptions, events: ConnectionEvents) {
    this.#options = options;
    this.#events = events;
    this.#ladder = options.ladder;
    this.#timers = new Timers(options.clock);
    this.#backoff = new Backoff(options.random);
    this.#renewal = new Renewal(options.clock, options.tokens, this.#timers, () => this.#renew());
  }

  /** What the node said when the room was joined; `undefined` while there is no connection. */
  get ready(): Ready | undefined {
    return this.#ready;
  }

  get isSocket(): boolean {
    return this.#ready !== undefined && this.#link?.isSocket === true;
  }

  connect(): void {
    const { state } = this.status.snapshot();
    if (state === "idle" || state === "waiting") void this.#open();
  }

  /** Tries at once what would be tried later: the machine woke up, or the network is back. */
  hurry(): void {
    if (this.status.snapshot().state === "waiting") {
      // What the node said is overstepped once, not each time that somebody looks at the page.
      if (this.#isHinted && this.#hasHurried) return;
      this.#hasHurried = this.#isHinted;
      void this.#open();
    } else if (this.#ready !== undefined) this.#listen();
  }

  /** Goes other ways from now on. */
  change(ladder: readonly OpenLink[]): void {
    this.#ladder = ladder;
    this.#rung = 0;
    this.#hasWorked = false;
    const { state } = this.status.snapshot();
    if (state === "idle" || state === "closed" || state === "blocked") return;
    this.#leave();
    void this.#open();
  }

  /** There may be a better token now. */
  renew(): void {
    this.#isTokenTried = false;
    if (this.status.snapshot().state === "blocked") void this.#open();
    else this.#renew();
  }

  close(): void {
    this.#leave();
    this.status.set({ state: "closed" });
  }

  /** Sends a message; `false`: there is no connection. */
  send(message: Message): boolean {
    if (this.#link === undefined || this.#ready === undefined) return false;
    this.#link.send(message);
    return true;
  }

  async #open(): Promise<void> {
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
    let token: string | undefined;
    try {
      token = await this.#options.tokens.ask(asking.signal);
    } catch (error) {
      if (asking.signal.aborted) return;
      this.#timers.stop("join");
      const isFinal =
        error instanceof ContinuumError && !isPassing(error.code, error.retryAfterMs) && error.status !== undefined;
      if (isFinal) this.#block(error.code, error.message);
      else this.#wait(`no token could be had: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    if (asking.signal.aborted) return;
    this.#start(token);
  }

  #start(token: string | undefined): void {
    const { query, tracker, since } = this.#options;
    const open = this.#ladder[this.#rung];
    if (open === undefined) {
      this.#wait("there is no way to the node here");
      return;
    }
    this.#announced = {};
    this.#timers.set("join", JOIN_MS, () => this.#drop("the node did not answer in time"));
    let link: Link | undefined;
    const isPresent = () => link === undefined || this.#link === link;
    const events: LinkEvents = {
      message: (message) => {
        if (isPresent()) this.#take(message);
      },
      lost: (why) => {
        if (isPresent()) this.#ended(why);
      },
    };
    try {
      link = open({ query, since: tracker.cursor ?? since, token }, events);
      this.#link = link;
    } catch (error) {
      // A browser throws at once what its policies do not allow.
      this.#ended({ code: undefined, reason: String(error), error: undefined });
    }
  }

  #take(message: Message): void {
    let frame: Frame;
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
    const wasSeen = tracker.cursor !== undefined;
    const novelty = tracker.see(frame.meaning);
    if (novelty === "repeated") return;
    if (novelty !== "new") {
      this.#drop(
        `a record is missing: after ${novelty.last} came ${novelty.seq}, whose predecessor is ${novelty.prev}`,
      );
      return;
    }
    this.#mind(frame, wasSeen);
    this.#events.frame(frame);
  }

  /** What the connection itself has to know of a message. */
  #mind(frame: Frame, wasSeen: boolean): void {
    const { meaning } = frame;
    switch (meaning.kind) {
      case "ready":
        this.#joined(meaning.ready, wasSeen);
        break;
      case "heartbeat":
        this.#sayAlive();
        break;
      case "draining":
        this.#announced.retryAfterMs = meaning.retryAfterMs;
        break;
      case "authenticated":
        this.#renewal.expect(meaning.expiresAt === undefined ? undefined : Date.parse(meaning.expiresAt));
        break;
      case "error":
        if (meaning.about === undefined) {
          const { retryAfterMs } = meaning;
          this.#announced.error = new ContinuumError(meaning.code, meaning.text, { retryAfterMs });
        }
        break;
      default:
    }
  }

  #joined(ready: Ready, wasSeen: boolean): void {
    const link = this.#link;
    if (link === undefined) return;
    this.#timers.stop("join");
    this.#ready = ready;
    this.#readyAt = this.#options.clock.now();
    this.#lostAt = undefined;
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
    this.#events.ready(ready, wasSeen);
    this.#renewal.expect(this.#options.tokens.endsAt);
    this.#listen();
    this.#keepAlive();
  }

  /** Tries the best way again. */
  #upgrade(): void {
    this.#upgradeMs = Math.min(this.#upgradeMs * 2, LONGEST_UPGRADE_MS);
    this.#rung = 0;
    this.#hasWorked = false;
    this.#leave();
    void this.#open();
  }

  /** Ends the link when nothing is heard for as long as the node itself would wait. */
  #listen(): void {
    const { clock } = this.#options;
    const timeout = this.#ready?.heartbeat.timeoutMs ?? JOIN_MS;
    const left = timeout - (clock.now() - this.#heardAt);
    if (left <= 0) this.#drop(`nothing was heard from the node for ${timeout} ms`);
    else this.#timers.set("silence", left, () => this.#listen());
  }

  #sayAlive(): void {
    this.send({ event_type: "heartbeat", data: { position: this.#options.tracker.position } });
  }

  /** Where something cuts connections that are idle, they are kept busy. */
  #keepAlive(): void {
    if (this.#keepaliveMs === undefined || this.#link?.isSocket !== true) return;
    this.#timers.set("keepalive", this.#keepaliveMs, () => {
      this.#sayAlive();
      this.#keepAlive();
    });
  }

  /** There may be a better token than the present one. */
  #renew(): void {
    const link = this.#link;
    if (link === undefined || this.#ready === undefined) return;
    const asking = new AbortController();
    this.#asking = asking;
    const tell = (token: string) => {
      if (link.isSocket) link.send({ event_type: "auth", data: { token } });
    };
    void this.#renewal.renew({ signal: asking.signal, tell, failed: (error) => this.#events.error(error) });
  }

  /** Gives a link up. */
  #drop(reason: string): void {
    this.#link?.close();
    this.#ended({ code: undefined, reason, error: undefined });
  }

  #leave(): void {
    this.#asking?.abort();
    this.#timers.stopAll();
    const { ready } = this;
    this.#link?.close();
    this.#link = undefined;
    this.#ready = undefined;
    this.#options.tracker.lost();
    if (ready !== undefined) this.#events.lost();
  }

  #ended(why: Lost): void {
    const { clock } = this.#options;
    const wasJoined = this.#ready !== undefined;
    const idle = clock.now() - this.#heardAt;
    const link = this.#link;
    this.#leave();
    this.#lostAt ??= clock.wall();
    if (wasJoined) {
      this.#backoff.lived(clock.now() - this.#readyAt);
      // Cut in silence, and more than once: something between us does that.
      if (why.code === 1006 && link?.isSocket === true && idle >= 2 * SHORTEST_KEEPALIVE_MS) {
        this.#keepaliveMs = Math.max(SHORTEST_KEEPALIVE_MS, Math.min(this.#keepaliveMs ?? idle, idle) / 2);
      }
    }
    const error = why.error ?? this.#announced.error;
    const isNoWay = this.#isNoWay(error);
    if (!isNoWay && this.#isRefused(why, error)) return;
    if (!wasJoined && (error === undefined || isNoWay) && this.#canStepDown(why)) {
      this.#rung += 1;
      this.#failures = 0;
      void this.#open();
      return;
    }
    if (this.#rung > 0 && !wasJoined) this.#rung = 0;
    this.#wait(error?.message ?? why.reason, hint(why) ?? error?.retryAfterMs ?? this.#announced.retryAfterMs);
  }

  /** Whether the node does not let us in, and what follows. */
  #isRefused(why: Lost, error: ContinuumError | undefined): boolean {
    const closed = why.code === undefined ? undefined : FINAL[why.code];
    const isHttp = error?.status !== undefined && error.status >= 400 && error.status < 500;
    const isFinal = closed !== undefined || (isHttp && !isPassing(error.code, error.retryAfterMs));
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
  #isNoWay(error: ContinuumError | undefined): boolean {
    return this.#rung > 0 && this.#hasWorked && (error?.status === 404 || error?.status === 405);
  }

  /** Whether another way is worth a try: this one does not seem to get through. */
  #canStepDown(why: Lost): boolean {
    this.#failures += 1;
    const isTried = !this.#hasWorked || this.#failures >= PATIENCE;
    return isTried && why.code !== 1012 && this.#rung + 1 < this.#ladder.length;
  }

  #block(code: string, message: string): void {
    this.#leave();
    this.status.set({ state: "blocked", code, message });
  }

  #wait(reason: string, hintMs?: number): void {
    const { clock } = this.#options;
    this.#isHinted = hintMs !== undefined;
    const retryInMs = this.#backoff.failed(hintMs === undefined ? undefined : followed(hintMs));
    this.status.set({ state: "waiting", since: this.#lostAt ?? clock.wall(), retryInMs, reason });
    this.#timers.set("retry", retryInMs, () => void this.#open());
  }
}
