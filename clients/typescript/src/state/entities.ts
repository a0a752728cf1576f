/**
 * The entities that are looked at or written here.
 *
 * Owns: which of them are kept and followed, and when one is asked for. Must not know: how one is put together from what came
 * and what waits (`core.ts`).
 */

import type { Clock } from "../clock.js";
import { ContinuumError, isPassing } from "../errors.js";
import { type Content, field, isContent, type Json } from "../json.js";
import type { Entry } from "../outbox/store.js";
import type { Http } from "../transport/http.js";
import { count, type Frame } from "../wire/message.js";
import { Core, type Standing } from "./core.js";
import { keyOf, splitKey, type Told, tell } from "./told.js";

/** Entities that nobody looks at any more are followed on until there are so many. */
const MOST_IDLE = 1_000;
/** Questions at a time. */
const MOST_ASKED = 8;
/** The pause after a question that the node could not answer. */
const PAUSE_MS = 1_000;

export interface EntitiesOptions {
  readonly http: Http;
  /** Aborts when the client is closed. */
  readonly closed: AbortSignal;
  readonly clock: Clock;
  readonly replica: string;
  readonly instance: string;
  readonly rewrite: (id: string, base: number, body: Json) => void;
  /** Our write to this entity that is on its way. */
  readonly flying: (key: string) => string | undefined;
}

export class Entities {
  readonly #options: EntitiesOptions;
  readonly #cores = new Map<string, Core>();
  readonly #asked = new Map<string, AbortController>();
  #isOnline = false;

  constructor(options: EntitiesOptions) {
    this.#options = options;
  }

  /** The entity, followed from now on if there is a place for it. */
  get(type: string, id: string): Core {
    const key = keyOf(type, id);
    let core = this.#cores.get(key);
    if (core === undefined) {
      core = new Core(this.#options.rewrite);
      this.#tidy();
    } else {
      // The last one that was asked for is the last one to be forgotten.
      this.#cores.delete(key);
    }
    this.#cores.set(key, core);
    return core;
  }

  get closed(): AbortSignal {
    return this.#options.closed;
  }

  find(key: string): Core | undefined {
    return this.#cores.get(key);
  }

  /** How some content of an entity looks with what waits here; `null`: it is not there then. */
  over(key: string, data: Content): Content | null {
    const core = this.#cores.get(key);
    return core === undefined ? data : core.over(data);
  }

  /** Asks for what is not known of an entity, now or once there is a connection. */
  want(type: string, id: string): void {
    const core = this.get(type, id);
    if (!core.isKnown) void this.#ask(keyOf(type, id), core);
  }

  /** The room was joined. `isReset`: what was known may be of the past. `isOtherLog`: versions too. */
  online(isReset: boolean, isOtherLog: boolean): void {
    this.#isOnline = true;
    for (const [key, core] of this.#cores) {
      if (isReset) core.age(isOtherLog);
      if (!core.isKnown && (core.isWatched || core.hasShown)) void this.#ask(key, core);
    }
  }

  offline(): void {
    this.#isOnline = false;
    for (const asking of this.#asked.values()) asking.abort();
    this.#asked.clear();
  }

  /** Takes a record; gives what it says. */
  record(frame: Frame): Told {
    const told = tell(frame);
    if (told.kind === "event" || frame.meaning.kind !== "record") return told;
    const { seq, eventId } = frame.meaning.place;
    const core = this.#cores.get(told.key);
    if (core === undefined) return told;
    if (told.kind === "open") {
      core.raise(seq);
    } else {
      const { data, base, edits, key } = told;
      core.record({ version: seq, data, base, edits, mine: this.#mine(frame, key, eventId) });
    }
    return told;
  }

  /** Our writes that a record holds. */
  #mine(frame: Frame, key: string, eventId: string): string[] {
    const flying = this.#options.flying(key);
    const all = field(frame.data, "changed_by_all");
    const isAmong = Array.isArray(all) && JSON.stringify(all).includes(JSON.stringify(this.#options.instance));
    return isAmong && flying !== undefined ? [eventId, flying] : [eventId];
  }

  added(entry: Entry): void {
    if (entry.kind !== "operation" || entry.entity === undefined) return;
    this.get(entry.type, entry.entity).add(entry, entry.replica === this.#options.replica);
  }

  settled(entry: Entry, version: number, isDone: boolean): void {
    this.#cores.get(keyOf(entry.type, entry.entity ?? ""))?.settled(entry.id, version, isDone);
  }

  async #ask(key: string, core: Core): Promise<void> {
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
      ([other, one]) => !one.isKnown && one.isWatched && !this.#asked.has(other) && !one.hasFailed,
    );
    if (next !== undefined) void this.#ask(...next);
  }

  #refused(key: string, core: Core, error: unknown): void {
    const why = error instanceof ContinuumError ? error : new ContinuumError("malformed", String(error));
    core.failed(why);
    if (!isPassing(why.code, why.retryAfterMs) && why.status !== undefined) return;
    this.#options.clock.after(why.retryAfterMs ?? PAUSE_MS, () => {
      if (!core.isKnown) void this.#ask(key, core);
    });
  }

  async #standing(key: string, signal: AbortSignal): Promise<Standing> {
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
  #tidy(): void {
    if (this.#cores.size < MOST_IDLE) return;
    for (const [key, core] of this.#cores) {
      if (core.isWatched || core.hasShown) continue;
      this.#cores.delete(key);
      return;
    }
  }
}
