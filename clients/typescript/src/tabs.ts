/**
 * Several tabs of one browser as one instance: one of them has the connection and sends what all of them write.
 *
 * Owns: which tab leads (who has the lock; the browser gives it on when a tab is closed or dies), and what tabs tell each other.
 * Must not know: what messages mean.
 */

import type { Settled } from "./api.js";
import type { Content } from "./json.js";
import { field } from "./json.js";
import type { Entry } from "./outbox/store.js";
import { page } from "./room/history.js";
import { parseCursor } from "./tracker.js";
import type { Http } from "./transport/http.js";
import type { LinkEvents, OpenLink } from "./transport/link.js";
import type { Message } from "./wire/message.js";

/** What a tab says to the others. */
type Word =
  | { kind: "hello"; from: string }
  /** The leader joined the room. */
  | { kind: "joined" }
  /** It stands there. */
  | ({ kind: "welcome"; to: string } & Standing)
  | { kind: "message"; message: Message }
  | { kind: "lost"; reason: string }
  | { kind: "send"; from: string; message: Message }
  | { kind: "stored"; entry: Entry }
  | { kind: "settled"; id: string; settled: Settled }
  | { kind: "dropped"; id: string };

/** How the leader stands, for who joins it. */
export interface Standing {
  readonly ready: Content;
  readonly cursor: string;
  readonly isLive: boolean;
  readonly isSocket: boolean;
}

export interface TabsEvents {
  /** This tab leads from now on. */
  lead(): void;
  /** The browser forbids tabs to know of each other. */
  alone(): void;
  /** A follower wants this sent. */
  send(message: Message): void;
  stored(entry: Entry): void;
  settled(id: string, settled: Settled): void;
  /** A refused write was taken away. */
  dropped(id: string): void;
  /** There is a leader, who knows what became of what is in the store. */
  led(): void;
  /** It joined the room: what would be tried later is tried at once. */
  joined(): void;
  /** A follower came or went, and may have written what its word of did not reach us. */
  look(): void;
  standing(): Standing | undefined;
}

/** Its making throws where the browser forbids it. */
export class Tabs {
  readonly #name: string;
  readonly #id: string;
  readonly #events: TabsEvents;
  readonly #channel: BroadcastChannel;
  readonly #locks: LockManager;
  readonly #ended = new AbortController();
  #isLeader = false;
  #link: FollowerLink | undefined;
  /** What each follower follows, so that it ends with it. */
  readonly #followed = new Map<string, Set<string>>();

  constructor(name: string, id: string, locks: LockManager, events: TabsEvents) {
    this.#name = name;
    this.#id = id;
    this.#locks = locks;
    this.#events = events;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }: MessageEvent<Word>) => this.#hear(data);
    const { signal } = this.#ended;
    // Held for as long as this tab lives: the leader learns of its end by getting it.
    void this.#hold(`${name}:${id}`, signal, () => {});
    void this.#hold(name, signal, () => {
      this.#isLeader = true;
      this.#events.lead();
    });
  }

  get isLeader(): boolean {
    return this.#isLeader;
  }

  /** A way to the node that leads over the tab that leads. */
  link(http: Http): OpenLink {
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
          if (this.#link === link) this.#link = undefined;
        },
      };
    };
  }

  /** The leader joined the room. */
  joined(): void {
    if (this.#isLeader) this.#say({ kind: "joined" });
  }

  /** The leader got a message. */
  relay(message: Message): void {
    if (this.#isLeader) this.#say({ kind: "message", message });
  }

  lost(reason: string): void {
    if (this.#isLeader) this.#say({ kind: "lost", reason });
  }

  stored(entry: Entry): void {
    if (!this.#isLeader) this.#say({ kind: "stored", entry });
  }

  settled(id: string, settled: Settled): void {
    if (this.#isLeader) this.#say({ kind: "settled", id, settled });
  }

  dropped(id: string): void {
    this.#say({ kind: "dropped", id });
  }

  close(): void {
    this.#ended.abort();
    this.#channel.close();
  }

  async #hold(name: string, signal: AbortSignal, granted: () => void): Promise<void> {
    try {
      await this.#locks.request(name, { signal }, () => {
        granted();
        return new Promise<void>((release) => signal.addEventListener("abort", () => release(), { once: true }));
      });
    } catch {
      if (signal.aborted) return;
      this.close();
      this.#events.alone();
    }
  }

  #say(word: Word): void {
    if (!this.#ended.signal.aborted) this.#channel.postMessage(word);
  }

  #hear(word: Word): void {
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

  #welcome(to: string): void {
    const standing = this.#events.standing();
    if (standing !== undefined) this.#say({ kind: "welcome", to, ...standing });
  }

  /** Remembers what a follower follows. */
  #note(from: string, message: Message): void {
    const [subscription, ended] = [field(message.data, "subscription"), field(message.data, "subscriptions")];
    if (message.event_type === "unsubscribe" && Array.isArray(ended)) {
      for (const name of ended) this.#followed.get(from)?.delete(name);
    }
    if (message.event_type !== "subscribe" || typeof subscription !== "string") return;
    const names = this.#followed.get(from) ?? new Set();
    this.#followed.set(from, names.add(subscription));
  }

  /** When a follower is gone, what it followed is followed no more. */
  #mourn(from: string): void {
    if (this.#followed.has(from)) return;
    this.#followed.set(from, new Set());
    const { signal } = this.#ended;
    const bury = () => {
      const names = [...(this.#followed.get(from) ?? [])];
      this.#followed.delete(from);
      this.#events.look();
      if (names.length > 0) this.#events.send({ event_type: "unsubscribe", data: { subscriptions: names } });
    };
    this.#locks.request(`${this.#name}:${from}`, { signal }, bury).catch(() => {
      // This tab is closed itself.
    });
  }
}

/** What a follower hears of its leader, as a link. */
class FollowerLink {
  readonly #http: Http;
  readonly #since: string | undefined;
  readonly #events: LinkEvents;
  readonly #hello: () => void;
  readonly #ended = new AbortController();
  isSocket = true;
  /** What came while what was missed is read. */
  #waiting: Message[] | undefined = [];
  #isWelcome = false;

  constructor(http: Http, since: string | undefined, events: LinkEvents, hello: () => void) {
    this.#http = http;
    this.#since = since;
    this.#events = events;
    this.#hello = hello;
  }

  close(): void {
    this.#ended.abort();
  }

  hear(word: Word): void {
    if (this.#ended.signal.aborted) return;
    if (word.kind === "welcome" && !this.#isWelcome) {
      this.#isWelcome = true;
      this.isSocket = word.isSocket;
      void this.#begin(word);
    } else if (word.kind === "joined" && !this.#isWelcome) {
      // There was nobody yet to hear it.
      this.#hello();
    } else if (word.kind === "joined" || word.kind === "lost") {
      // The leader's connection is another one than it was: begun anew, nothing is missed.
      if (this.#isWelcome) this.#end(word.kind === "lost" ? word.reason : "the leading tab joined the room again");
    } else if (word.kind === "message" && this.#isWelcome) {
      if (this.#waiting === undefined) this.#events.message(word.message);
      else this.#waiting.push(word.message);
    }
  }

  #end(reason: string): void {
    this.#ended.abort();
    this.#events.lost({ code: undefined, reason, error: undefined });
  }

  async #begin({ ready, cursor, isLive }: Standing): Promise<void> {
    try {
      for (const message of await this.#missed(ready, cursor)) this.#events.message(message);
    } catch (error) {
      if (!this.#ended.signal.aborted) this.#end(`what was missed could not be read: ${String(error)}`);
      return;
    }
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const message of waiting) if (!this.#ended.signal.aborted) this.#events.message(message);
    if (isLive && !this.#ended.signal.aborted) {
      this.#events.message({ event_type: "caught_up", data: { position: parseCursor(cursor)?.position ?? 0 } });
    }
  }

  /** What a node would say first: where we stand, and what lies between that and where the leader stands. */
  async #missed(ready: Content, cursor: string): Promise<Message[]> {
    const [mine, theirs] = [this.#since === undefined ? undefined : parseCursor(this.#since), parseCursor(cursor)];
    const isKnown = mine !== undefined && mine.epoch === theirs?.epoch;
    const after = isKnown ? mine.position : (theirs?.position ?? 0);
    const isOther = mine !== undefined && !isKnown;
    const resume = { from: "cursor", outcome: isOther ? "resync" : "honoured", after, missed: 0, missed_exact: false };
    const messages: Message[] = [{ event_type: "session_ready", data: { ...ready, resume } }];
    if (isOther) messages.push({ event_type: "resync", data: { reason: "other_epoch", cursor, after } });
    const { signal } = this.#ended;
    let at = isKnown ? this.#since : undefined;
    while (at !== undefined && (parseCursor(at)?.position ?? 0) < (theirs?.position ?? 0)) {
      const found = await page(this.#http, { after: at, pageSize: 500, signal });
      if (found.resync !== undefined) messages.push({ event_type: "resync", data: found.resync });
      messages.push(...found.messages);
      at = found.cursor === at ? undefined : found.cursor;
    }
    return messages;
  }
}
