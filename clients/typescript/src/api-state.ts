/** The public types of what is shared: writes, entities, texts, results. Owns: no behaviour. */

import type { Unsubscribe, Waiting } from "./api.js";
import type { ContinuumError } from "./errors.js";
import type { Content, Json } from "./json.js";
import type { TextOps } from "./text/ops.js";

/** What became of a write. */
export interface Settled {
  /**
   * `confirmed`: as it was sent. `resolved`: done, and others had written too: see `resolution` and `overwritten`.
   * `pending`: it waits for somebody's choice, under `conflictId`. `rolled_back`: it was tried and nothing was done, see `code`.
   * `refused`: it was not even tried. `unknown`: nobody here will learn it: the client was closed before (`code` is
   * `client_closed`, and `message` says whether it waits on disk), or it is gone from the browser's storage (`gone`).
   */
  readonly status: "confirmed" | "resolved" | "pending" | "rolled_back" | "refused" | "unknown";
  /** The entity's version, or an event's position; 0: not known. */
  readonly version: number;
  readonly duplicate: boolean;
  /** An event that only the node's journal has as yet. */
  readonly queued: boolean;
  readonly code: string | undefined;
  readonly message: string | undefined;
  readonly resolution: string | undefined;
  readonly overwritten: readonly Overwritten[];
  readonly conflictId: string | undefined;
  readonly variantId: string | undefined;
  /** What stands, where the node showed it. */
  readonly current: Content | null | undefined;
}

export interface Overwritten {
  readonly path: string;
  readonly value: Json;
  readonly version: number;
  readonly by: string;
}

/** A write: shown at once, kept in the outbox, sent in its turn, settled once. */
export interface Op<T = Content | null> {
  readonly id: string;
  /** What the write leads to here, at once. */
  readonly optimistic: T;
  /** Where it waits, once it does. A write that is to survive the end of this program is awaited so far. */
  readonly stored: Promise<"disk" | "memory">;
  /** What became of it; never rejects, and is open until that is known or the client is closed. */
  readonly settled: Promise<Settled>;
  /** The same, and the waiting can be ended. */
  wait(options?: Waiting): Promise<Settled>;
}

export type Strategy = "merge" | "last_write_wins" | "version" | "manual";

export interface WriteOptions {
  /** What to do when it clashes. Default: `merge`. */
  strategy?: Strategy | undefined;
  /** The version that it was made on. Default: the one that is shown. */
  baseVersion?: number | undefined;
}

/** Something that is shown, in the form that `useSyncExternalStore` takes: the snapshot is the same object until it changes. */
export interface Observable<T> {
  snapshot(): T;
  subscribe(listener: () => void): Unsubscribe;
}

export interface EntityState {
  /** `loading`: nothing is known yet. `absent`: there is none, or none any more. */
  readonly status: "loading" | "present" | "absent" | "failed";
  /** The content with what waits laid over it; `null`: there is none. */
  readonly data: Content | null;
  /** The content as the log has it. */
  readonly confirmed: Content | null;
  /** The log's version; 0: none. */
  readonly version: number;
  /** Writes to it that wait. */
  readonly pending: number;
  /** Why it could not be loaded. */
  readonly error: ContinuumError | undefined;
}

/** One entity. It is followed while somebody subscribes; writes need no subscription. */
export interface Entity extends Observable<EntityState> {
  readonly type: string;
  readonly id: string;
  /** Its state once it is known. */
  load(options?: Waiting): Promise<EntityState>;
  create(data: Content, options?: WriteOptions): Op;
  /** The whole content, whatever stands. */
  put(data: Content, options?: WriteOptions): Op;
  /** A merge patch: fields to set, `null` to remove. */
  update(patch: Content, options?: WriteOptions): Op;
  /** The same, and an entity that is not there is made of it. */
  upsert(patch: Content, options?: WriteOptions): Op;
  /** A JSON patch. */
  patch(ops: readonly JsonPatchOp[], options?: WriteOptions): Op;
  delete(options?: WriteOptions): Op;
  restore(options?: WriteOptions): Op;
  /** The text at a JSON pointer, e.g. `/body`. */
  text(path: string): TextField;
  versions(options?: Waiting & { limit?: number; before?: number }): Promise<VersionPage>;
}

export type JsonPatchOp =
  | { op: "add" | "replace" | "test"; path: string; value: Json }
  | { op: "remove"; path: string }
  | { op: "move" | "copy"; path: string; from: string };

export interface VersionPage {
  readonly versions: readonly Readonly<Record<string, Json>>[];
  readonly more: boolean;
  readonly before: number | undefined;
  readonly trimmed: boolean;
}

/** A change of a text in UTF-16 units, as `setRangeText` and selections count: `deleted` units at `at` become `inserted`. */
export interface Splice {
  readonly at: number;
  readonly deleted: number;
  readonly inserted: string;
}

export interface TextChange {
  /** From the last to the first, so that they can be applied one after the other. */
  readonly splices: readonly Splice[];
  readonly by: "here" | "others";
}

/** A text that several people edit at once. */
export interface TextField extends Observable<string> {
  /** The text must come to be so: what differs is sent, as the smallest edit around the caret (in UTF-16 units), if one is given. */
  set(text: string, caret?: number): Op | undefined;
  /** One splice in UTF-16 units. */
  splice(splice: Splice): Op | undefined;
  /** An edit in code points, as on the wire. */
  edit(ops: TextOps): Op | undefined;
  /** Calls with each change, whoever's, so that carets and selections can follow it. */
  onChange(listener: (change: TextChange) => void): Unsubscribe;
  /** Brings a place in the text of before over a change. */
  follow(place: number, change: TextChange): number;
}

/** What is followed. */
export type Interest =
  | { region: { x: number; y: number; width: number; height: number } }
  | { region: { node: string; hops?: number } }
  | { ids: readonly (string | { entity_type: string; entity_id: string })[] }
  | { query: { entity_type: string; where?: string } };

export interface Found {
  readonly type: string;
  readonly id: string;
  readonly version: number;
  /** With what waits here laid over it. */
  readonly data: Content;
}

export interface ResultState {
  /** `loading` until the result is whole, again after a lost connection; what was there before is shown meanwhile. */
  readonly status: "loading" | "live" | "failed" | "closed";
  readonly items: readonly Found[];
  readonly error: ContinuumError | undefined;
}

/** The entities of a region, of ids or of a query, followed until it is closed. */
export interface Result extends Observable<ResultState> {
  /** Its state once it is whole. */
  live(options?: Waiting): Promise<ResultState>;
  close(): void;
}
