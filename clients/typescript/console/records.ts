/** A record or a signal as the console tells it. Owns: the words for it. Pure. */

import { brief } from "../page/dom.js";
import type { EventRecord, Signal } from "../src/index.js";
import { type Content, field, isContent } from "../src/json.js";
import { splitKey, type Told, tell } from "../src/state/told.js";
import { read } from "../src/wire/message.js";

export type Kind = "event" | "change" | "conflict" | "signal";

export interface Shown {
  /** One of its own for as long as it is shown. */
  readonly key: string;
  /** A signal has none. */
  readonly seq: number | undefined;
  /** By which it is sorted. */
  readonly order: number;
  readonly at: string;
  readonly type: string;
  readonly instance: string;
  readonly kind: Kind;
  /** `type/id` of the entity that it is about. */
  readonly entity: string | undefined;
  readonly words: string;
  readonly raw: Content;
}

/** Several views ask the same of each record. */
const known = new WeakMap<EventRecord, Told>();

/** What a record says of an entity. */
export function told(record: EventRecord): Told {
  let about = known.get(record);
  if (about === undefined) {
    about = tell(read(record.raw));
    known.set(record, about);
  }
  return about;
}

export function ofRecord(record: EventRecord): Shown {
  const about = told(record);
  const kind: Kind = about.kind === "event" ? "event" : about.kind === "open" ? "conflict" : "change";
  const entity = about.kind === "event" ? undefined : about.key;
  const { seq, timestamp: at, type, instance, raw } = record;
  return { key: String(seq), seq, order: seq, at, type, instance, kind, entity, words: words(about, record), raw };
}

export function ofSignal(signal: Signal, order: number): Shown {
  const { type, instance, timestamp: at, data } = signal;
  const raw = { event_type: type, instance_id: instance, timestamp: at, data };
  const key = `signal ${order}`;
  return { key, seq: undefined, order, at, type, instance, kind: "signal", entity: undefined, words: brief(data), raw };
}

function words(about: Told, { data }: EventRecord): string {
  if (about.kind === "event") return brief(isContent(data) && Object.keys(data).length === 0 ? "no data" : data);
  const name = splitKey(about.key).join(" ");
  if (about.kind === "open") return `${name}: the content is as it was`;
  if (about.data === null) return `${name}: gone`;
  const changes = field(data, "changes") ?? field(data, "ops") ?? field(data, "text");
  return `${name}: ${brief(changes ?? about.data)}`;
}
