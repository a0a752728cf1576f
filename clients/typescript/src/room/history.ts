/**
 * Records of the past, and records as an iterator.
 * Owns: that who reads slowly misses nothing and costs no more than a bounded buffer.
 */

import type { EventRecord, HistoryOptions, HistoryPage, Unsubscribe, Waiting } from "../api.js";
import { field, isContent, type Json } from "../json.js";
import { parseCursor } from "../tracker.js";
import type { Http } from "../transport/http.js";
import { abortable, deferred } from "../waiting.js";
import { type Frame, type Message, read, text } from "../wire/message.js";
import { matcher } from "./patterns.js";

/** Records that wait for a slow reader, no more than a page of the log has; beyond it they are read from there. */
export const MOST_WAITING = 1_000;

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
  readonly cursor: () => string | undefined;
  readonly listen: (listener: (record: EventRecord) => void) => Unsubscribe;
  /** Aborts when the client is closed. */
  readonly closed: AbortSignal;
}

/** Live records from now on, until the waiting is ended or the client is closed. */
export async function* records(
  source: Source,
  types: string | readonly string[] | undefined,
  { signal }: Waiting,
): AsyncIterableIterator<EventRecord> {
  const isWanted = matcher(types);
  const waiting: EventRecord[] = [];
  let news = deferred<void>();
  // Where this reader fell behind, if it did: from there the log is read.
  let behind: string | undefined;
  // What a page of the log told already.
  let told = 0;
  const stop = source.listen((record) => {
    if (!isWanted(record.type) || behind !== undefined || record.seq <= told) return;
    if (waiting.length >= MOST_WAITING) behind = waiting.at(-1)?.cursor;
    else waiting.push(record);
    news.resolve();
  });
  const ended = signal === undefined ? source.closed : AbortSignal.any([signal, source.closed]);
  try {
    while (true) {
      for (let record = waiting.shift(); record !== undefined; record = waiting.shift()) {
        yield record;
      }
      if (behind !== undefined) {
        const found = await page(source.http, { after: behind, pageSize: MOST_WAITING, signal: ended });
        // What came while we asked is in the log behind this page, or is told live from here on.
        behind = isBefore(found.cursor, source.cursor()) ? found.cursor : undefined;
        told = found.records.at(-1)?.seq ?? told;
        for (const record of found.records) {
          if (!isWanted(record.type)) continue;
          yield record;
        }
        continue;
      }
      news = deferred<void>();
      if (waiting.length === 0) await abortable(news.promise, ended);
    }
  } catch (error) {
    if (source.closed.aborted && signal?.aborted !== true) return;
    throw error;
  } finally {
    stop();
  }
}

function isBefore(cursor: string, other: string | undefined): boolean {
  const [a, b] = [parseCursor(cursor), other === undefined ? undefined : parseCursor(other)];
  return a !== undefined && b !== undefined && a.epoch === b.epoch && a.position < b.position;
}
