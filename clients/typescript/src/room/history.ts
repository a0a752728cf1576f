/**
 * Records of the past, and records as an iterator.
 * Owns: that who reads slowly misses nothing and costs no more than a bounded buffer.
 */

import type { EventRecord, HistoryOptions, HistoryPage, Unsubscribe, Waiting } from "../api.js";
import { CAP_MS, followed } from "../backoff.js";
import type { Clock } from "../clock.js";
import { ContinuumError, isPassing } from "../errors.js";
import { field, isContent, type Json } from "../json.js";
import { parseCursor } from "../tracker.js";
import type { Http } from "../transport/http.js";
import { abortable, deferred, either } from "../waiting.js";
import { type Frame, type Message, read, text } from "../wire/message.js";
import { matcher } from "./patterns.js";

/** Records that wait for a slow reader, no more than a page of the log has; beyond it they are read from there. */
export const MOST_WAITING = 1_000;
/** The pause after a page that could not be had; twice as long after each further one. */
const PAUSE_MS = 1_000;

/** A record as it is handed out. */
export function recordOf(
  { type, instance, timestamp, data, raw, meaning }: Frame,
  epoch: string,
): EventRecord | undefined {
  if (meaning.kind !== "record") return undefined;
  const { seq, prev, eventId } = meaning.place;
  const fingerprint = eventId === "" ? "" : `.${eventId.slice(0, 8).toLowerCase()}`;
  return { type, seq, prev, id: eventId, instance, timestamp, data, cursor: `${epoch}.${seq}${fingerprint}`, raw };
}

/** A page of history. */
export interface Page {
  readonly records: readonly EventRecord[];
  readonly messages: readonly Message[];
  /** Where to go on. */
  readonly cursor: string;
  readonly more: boolean;
  /** Why and from where the log goes on, if it could not go on behind `after`. */
  readonly resync: { readonly [key: string]: Json } | undefined;
}

export interface PageQuery extends HistoryOptions {
  readonly wait?: string | undefined;
}

export async function page(http: Http, { after, types, pageSize, wait, signal }: PageQuery): Promise<Page> {
  const query = { after: after ?? "earliest", limit: pageSize ?? 100, types: types?.join(","), wait };
  const body = await http.ask("events", { query, signal });
  const [events, cursor, resync] = [field(body, "events"), text(body, "cursor") ?? "", field(body, "resync")];
  const messages = Array.isArray(events) ? events.filter(isContent) : [];
  const epoch = parseCursor(cursor)?.epoch ?? "";
  const records = messages.map((message) => recordOf(read(message), epoch)).filter((record) => record !== undefined);
  return {
    records,
    messages,
    cursor,
    more: field(body, "more") === true,
    resync: isContent(resync) ? resync : undefined,
  };
}

export async function historyPage(http: Http, options: HistoryOptions): Promise<HistoryPage> {
  const { records, cursor, more, resync } = await page(http, options);
  return { records, cursor, more, resync: resync === undefined ? undefined : (text(resync, "reason") ?? "unknown") };
}

export async function* history(http: Http, options: HistoryOptions): AsyncIterableIterator<EventRecord> {
  let after = options.after;
  for (let more = true; more; ) {
    const found = await page(http, { ...options, after });
    yield* found.records;
    after = found.cursor;
    more = found.more;
  }
}

/** What an iterator needs of a client. */
export interface Source {
  readonly http: Http;
  readonly clock: Clock;
  readonly cursor: () => string | undefined;
  readonly listen: (listener: (record: EventRecord) => void) => Unsubscribe;
  /** Some records could not be told: the log has them no more. */
  readonly missed: (reason: string) => void;
  /** Aborts when the client is closed. */
  readonly closed: AbortSignal;
}

/** Live records from the call on, until the waiting is ended or the client is closed. */
export function records(
  source: Source,
  types: string | readonly string[] | undefined,
  { signal }: Waiting,
): AsyncIterableIterator<EventRecord> {
  const reader = new Reader(source, matcher(types), either(signal, source.closed));
  const told = reader.read(() => source.closed.aborted && signal?.aborted !== true);
  return {
    next: () => told.next(),
    // One that was never asked has not begun, and would not be told that it is over.
    return: (value) => {
      reader.stop();
      return told.return(value);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

class Reader {
  readonly stop: Unsubscribe;
  readonly #source: Source;
  readonly #isWanted: (type: string) => boolean;
  readonly #ended: AbortSignal;
  readonly #waiting: EventRecord[] = [];
  #news = deferred<void>();
  /** Where this reader fell behind, if it did: from there the log is read. */
  #behind: string | undefined;
  /** What a page of the log told already. */
  #told = 0;

  constructor(source: Source, isWanted: (type: string) => boolean, ended: AbortSignal) {
    this.#source = source;
    this.#isWanted = isWanted;
    this.#ended = ended;
    this.stop = source.listen((record) => this.#hear(record));
  }

  async *read(isClosed: () => boolean): AsyncGenerator<EventRecord, undefined> {
    try {
      while (true) {
        for (let record = this.#waiting.shift(); record !== undefined; record = this.#waiting.shift()) yield record;
        if (this.#behind !== undefined) {
          for (const record of await this.#page(this.#behind)) if (this.#isWanted(record.type)) yield record;
          continue;
        }
        this.#news = deferred<void>();
        await abortable(this.#news.promise, this.#ended);
      }
    } catch (error) {
      if (isClosed()) return undefined;
      throw error;
    } finally {
      this.stop();
    }
  }

  #hear(record: EventRecord): void {
    if (!this.#isWanted(record.type) || this.#behind !== undefined || record.seq <= this.#told) return;
    if (this.#waiting.length >= MOST_WAITING) this.#behind = this.#waiting.at(-1)?.cursor;
    else this.#waiting.push(record);
    this.#news.resolve();
  }

  /** A page of the log; a network that is away for a while is waited for. */
  async #page(after: string): Promise<readonly EventRecord[]> {
    const { http, clock, cursor, missed } = this.#source;
    for (let pause = PAUSE_MS; ; pause = Math.min(pause * 2, CAP_MS)) {
      try {
        const found = await page(http, { after, pageSize: MOST_WAITING, signal: this.#ended });
        if (found.resync !== undefined) missed(text(found.resync, "reason") ?? "unknown");
        // What came while we asked is in the log behind this page, or is told live from here on.
        this.#behind = isBefore(found.cursor, cursor()) ? found.cursor : undefined;
        this.#told = found.records.at(-1)?.seq ?? (found.resync === undefined ? this.#told : 0);
        return found.records;
      } catch (error) {
        this.#ended.throwIfAborted();
        if (!(error instanceof ContinuumError)) throw error;
        if (error.status !== undefined && !isPassing(error.code, error.retryAfterMs)) throw error;
        const rested = deferred<void>();
        const cancel = clock.after(followed(error.retryAfterMs ?? pause), rested.resolve);
        await abortable(rested.promise, this.#ended).finally(cancel);
      }
    }
  }
}

function isBefore(cursor: string, other: string | undefined): boolean {
  const [a, b] = [parseCursor(cursor), other === undefined ? undefined : parseCursor(other)];
  return a !== undefined && b !== undefined && a.epoch === b.epoch && a.position < b.position;
}
