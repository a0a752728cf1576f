/**
 * Regions, ids and queries that are followed.
 * Owns: putting a result together from its parts and changes, and asking again after each connection. Must not know: how an
 * entity looks with what waits.
 */

import type { Found, Interest, Result, ResultState, Unsubscribe, Waiting } from "../api.js";
import type { Clock } from "../clock.js";
import { ContinuumError, isPassing, LOCAL_CODES } from "../errors.js";
import { type Content, field, isContent, type Json } from "../json.js";
import { Listeners } from "../observe.js";
import { keyOf } from "../state/told.js";
import { when } from "../waiting.js";
import { count, type Frame, type Message, text } from "../wire/message.js";

/** The pause after a refusal that passes and names no time. */
const PAUSE_MS = 1_000;

export interface ResultsOptions {
  readonly clock: Clock;
  readonly uuid: () => string;
  readonly send: (message: Message) => boolean;
  /** How an entity looks with what waits here; `null`: it is not there then. */
  readonly over: (key: string, data: Content) => Content | null;
}

export class Results {
  readonly #options: ResultsOptions;
  readonly #all = new Map<string, FollowedResult>();
  #isSocket = false;
  #isClosed = false;

  constructor(options: ResultsOptions) {
    this.#options = options;
  }

  follow(interest: Interest): Result {
    const name = this.#options.uuid();
    const result = new FollowedResult(name, interest, this.#options, () => {
      this.#all.delete(name);
      if (this.#isSocket) this.#options.send({ event_type: "unsubscribe", data: { subscriptions: [name] } });
    });
    this.#all.set(name, result);
    if (this.#isClosed) result.close();
    else if (this.#isSocket) result.ask();
    return result;
  }

  online(isSocket: boolean): void {
    this.#isSocket = isSocket;
    for (const result of this.#all.values()) {
      if (isSocket) result.ask();
      else
        result.refused(
          new ContinuumError(LOCAL_CODES.socketOnly, "what is followed needs a socket, and there is none"),
        );
    }
  }

  offline(): void {
    this.#isSocket = false;
    for (const result of this.#all.values()) result.lost();
  }

  take(name: string, frame: Frame): void {
    this.#all.get(name)?.take(frame);
  }

  /** `false`: it is about no result of ours. */
  refused(name: string, error: ContinuumError): boolean {
    const result = this.#all.get(name);
    result?.refused(error);
    return result !== undefined;
  }

  /** What waits for an entity changed. */
  changed(key: string): void {
    for (const result of this.#all.values()) result.touched(key);
  }

  close(): void {
    this.#isClosed = true;
    for (const result of [...this.#all.values()]) result.close();
  }
}

interface Item {
  readonly type: string;
  readonly id: string;
  readonly version: number;
  readonly data: Content;
}

class FollowedResult implements Result {
  readonly #name: string;
  readonly #interest: Interest;
  readonly #options: ResultsOptions;
  readonly #closed: () => void;
  readonly #listeners = new Listeners<void>();
  #items = new Map<string, Item>();
  /** The result that is coming, before it is whole. */
  #coming: Map<string, Item> | undefined;
  #status: ResultState["status"] = "loading";
  #error: ContinuumError | undefined;
  #state: ResultState | undefined;

  constructor(name: string, interest: Interest, options: ResultsOptions, closed: () => void) {
    this.#name = name;
    this.#interest = interest;
    this.#options = options;
    this.#closed = closed;
  }

  snapshot(): ResultState {
    this.#state ??= { status: this.#status, items: this.#shown(), error: this.#error };
    return this.#state;
  }

  subscribe(listener: () => void): Unsubscribe {
    return this.#listeners.add(listener);
  }

  live({ signal }: Waiting = {}): Promise<ResultState> {
    return when(
      this,
      ({ status, error }) => {
        if (status === "failed" && error !== undefined) throw error;
        if (status === "closed") throw new ContinuumError(LOCAL_CODES.closed, "it is not followed any more");
        return status === "live";
      },
      signal,
    );
  }

  close(): void {
    if (this.#status === "closed") return;
    this.#status = "closed";
    this.#changed();
    this.#closed();
  }

  ask(): void {
    this.#status = "loading";
    this.#error = undefined;
    this.#changed();
    // Muted, records of nodes and edges would not come, and entities that are looked at by themselves need them.
    const data = { subscription: this.#name, ...(this.#interest as Content), mute: false };
    this.#options.send({ event_type: "subscribe", data });
  }

  lost(): void {
    this.#coming = undefined;
    if (this.#status === "live") this.#status = "loading";
    this.#changed();
  }

  refused(error: ContinuumError): void {
    if (this.#status === "closed") return;
    this.#error = error;
    this.#status = "failed";
    this.#changed();
    if (!isPassing(error.code, error.retryAfterMs)) return;
    this.#options.clock.after(error.retryAfterMs ?? PAUSE_MS, () => {
      if (this.#status === "failed") this.ask();
    });
  }

  touched(key: string): void {
    if (this.#items.has(key)) this.#changed();
  }

  take({ type, data }: Frame): void {
    if (type.endsWith(".update")) this.#change(data);
    else this.#part(data);
  }

  #part(data: Json): void {
    if (count(data, "part") === 1) this.#coming = new Map();
    const coming = this.#coming;
    // The rest of a result that began before this connection.
    if (coming === undefined) return;
    for (const item of itemsOf(data)) coming.set(keyOf(item.type, item.id), item);
    if (field(data, "done") !== true) return;
    this.#items = coming;
    this.#coming = undefined;
    this.#status = "live";
    this.#error = undefined;
    this.#changed();
  }

  #change(data: Json): void {
    const items = this.#coming ?? this.#items;
    for (const name of ["entered", "changed"]) {
      for (const item of listOf(data, name)) {
        const read = itemOf(item);
        if (read !== undefined) items.set(keyOf(read.type, read.id), read);
      }
    }
    for (const item of listOf(data, "left"))
      items.delete(keyOf(text(item, "entity_type") ?? "", text(item, "entity_id") ?? ""));
    this.#changed();
  }

  #shown(): Found[] {
    const shown: Found[] = [];
    for (const [key, item] of this.#items) {
      const data = this.#options.over(key, item.data);
      if (data !== null) shown.push({ ...item, data });
    }
    return shown;
  }

  #changed(): void {
    this.#state = undefined;
    this.#listeners.tell();
  }
}

function listOf(data: unknown, name: string): unknown[] {
  const list = field(data, name);
  return Array.isArray(list) ? list : [];
}

function itemsOf(data: Json): Item[] {
  const named = (name: string, type: string) =>
    listOf(data, name).map((item) => {
      if (!isContent(item) || typeof item.id !== "string") return undefined;
      const { id, version, ...fields } = item;
      return { type, id, version: typeof version === "number" ? version : 0, data: fields };
    });
  const all = [...named("nodes", "node"), ...named("edges", "edge"), ...listOf(data, "results").map(itemOf)];
  return all.filter((item) => item !== undefined);
}

function itemOf(item: unknown): Item | undefined {
  const [type, id, data] = [text(item, "entity_type"), text(item, "entity_id"), field(item, "data")];
  if (type === undefined || id === undefined || !isContent(data)) return undefined;
  return { type, id, version: count(item, "version") ?? 0, data };
}
