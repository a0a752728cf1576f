/** The public types: what a client is made with, what it shows, and what it gives back. Owns: no behaviour. */

import type { Entity, Interest, Observable, Op, Result } from "./api-state.js";
import type { Clock } from "./clock.js";
import type { ContinuumError } from "./errors.js";
import type { Content, Json } from "./json.js";
import type { Store } from "./outbox/store.js";

export type * from "./api-state.js";

/** Stops listening. */
export type Unsubscribe = () => void;

/** What everything that waits takes. Aborting ends the waiting, never what is already on its way. */
export interface Waiting {
  signal?: AbortSignal | undefined;
}

export type TokenSource = string | ((context: { signal: AbortSignal }) => string | Promise<string>);

/** `auto`: WebSocket, and where that does not get through server-sent events, and where those do not long polling. */
export type TransportChoice = "auto" | "websocket" | "events" | "polling";

export interface ClientOptions {
  /** The node's base: `ws://host:8420`, or with `wss:`, `http:`, `https:`. */
  url: string;
  /** The room. Default: `default`. */
  tenant?: string | undefined;
  /** Who you are in it: one name for one person's browser (another person's is another) or one process. Default: a new name each time. */
  instance?: string | undefined;
  /** For whom you act. */
  user?: string | undefined;
  userName?: string | undefined;
  /** A token or API key, or what gets one: asked at each connection, and before the present one ends. */
  token?: TokenSource | undefined;
  /** Words that the others see of you. */
  capabilities?: readonly string[] | undefined;
  /** Where to begin: `latest` (default), `earliest`, a cursor, or an RFC 3339 time. */
  since?: string | undefined;
  /** Types of records to receive. Default: all. Changes of entities have types too (`node.*`, `sync_event`…). */
  types?: readonly string[] | undefined;
  /** Where writes wait. `auto` (default): IndexedDB in a browser, `directory` under Node if it is given, else memory. */
  store?: Store | "auto" | "memory" | undefined;
  /** Under Node: the directory in which writes wait. */
  directory?: string | undefined;
  /** Most bytes that may wait. Default: 64 MiB. */
  outboxBytes?: number | undefined;
  transport?: TransportChoice | undefined;
  /** Connect at once. Default: true. */
  autoConnect?: boolean | undefined;
  clock?: Clock | undefined;
  /** From 0 to 1. Default: `Math.random`. */
  random?: (() => number) | undefined;
  /** Default: the global one. Node before 22 has none; without one the client goes on over HTTP. */
  WebSocket?: WebSocketConstructor | undefined;
  fetch?: typeof fetch | undefined;
}

/** What the platform's WebSocket and its likenesses have in common. */
export type WebSocketConstructor = new (url: string) => WebSocketLike;

export interface WebSocketLike {
  readonly readyState: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

/** Where the connection stands. */
export type ConnectionStatus =
  | { readonly state: "idle" }
  | { readonly state: "connecting"; readonly attempt: number }
  | { readonly state: "online"; readonly transport: Exclude<TransportChoice, "auto"> | "tab" }
  /** Lost; tried again by itself. `since` is when it was lost, in milliseconds since 1970. */
  | { readonly state: "waiting"; readonly since: number; readonly retryInMs: number; readonly reason: string }
  /** The node does not let us in: a new token, or a person, has to change that. */
  | { readonly state: "blocked"; readonly code: string; readonly message: string }
  | { readonly state: "closed" };

/** How fresh what is shown is, and what waits. */
export interface SyncStatus {
  /** `synced`: all was here less than a minute ago; `recent`: less than five; `stale`: longer ago, or never. */
  readonly status: "synced" | "recent" | "stale";
  /** Seconds since all was here; `undefined`: it never was. */
  readonly ageS: number | undefined;
  /** Writes on their way. */
  readonly pending: number;
  /** Conflicts that wait for somebody's choice, and variants that are kept. */
  readonly conflicted: number;
  /** Writes that were refused for good and wait for a person. */
  readonly refused: number;
  /** Where writes wait. */
  readonly storage: "disk" | "memory";
  /** Why they wait in memory only. */
  readonly storageReason: string | undefined;
}

/** A record of the room's log. */
export interface EventRecord<T = Json> {
  readonly type: string;
  readonly seq: number;
  readonly prev: number;
  readonly id: string;
  readonly instance: string;
  readonly timestamp: string;
  readonly data: T;
  /** The place behind it, to read on from. */
  readonly cursor: string;
  /** The whole message as it came. */
  readonly raw: Readonly<Record<string, Json>>;
}

/** A message that is passed on and kept nowhere. */
export interface Signal<T = Json> {
  readonly type: string;
  readonly instance: string;
  readonly user: string | undefined;
  readonly timestamp: string;
  readonly data: T;
}

/** What resuming led to. */
export interface Resumed {
  /** Every record since the last one seen comes or came. If not, `reason` says why, and the state was loaded anew. */
  readonly complete: boolean;
  readonly reason: string | undefined;
  /** How many records were missed; `exact` is false beyond what the node counts. */
  readonly missed: number;
  readonly exact: boolean;
}

/** An acknowledged publish. */
export interface Published {
  readonly id: string;
  /** `stored`: the log has it. `queued`: the node's journal has it and brings it to the log by itself. */
  readonly durability: "stored" | "queued";
  /** Its position; `undefined` while it is queued. */
  readonly seq: number | undefined;
  readonly duplicate: boolean;
}

export interface Member {
  readonly instance: string;
  readonly connectedAt: string;
  readonly capabilities: readonly string[];
  readonly user: string | undefined;
  readonly userName: string | undefined;
  /** What it said of itself last. */
  readonly data: Json | undefined;
}

export interface PresenceState {
  /** The others, by name. At most as many as the node tells. */
  readonly members: readonly Member[];
  /** Everybody, you included. */
  readonly total: number;
}

export interface Presence extends Observable<PresenceState> {
  /** What the others see of you; told again after each connection. */
  update(data: Json): void;
  onJoin(listener: (member: Member) => void): Unsubscribe;
  onLeave(listener: (member: Member) => void): Unsubscribe;
}

export interface Conflict {
  readonly type: string;
  readonly id: string;
  readonly version: number;
  readonly kind: "conflict" | "variant";
  readonly conflictId: string;
  readonly base: Json | undefined;
  readonly proposed: Json | undefined;
  /** What stands, where the node showed it. */
  readonly current: Json | undefined;
  readonly paths: readonly string[];
  /** The entity's version that it is shown with: a choice is made on it, so that what others write meanwhile is not written over. */
  readonly shownVersion: number;
  readonly by: Readonly<Record<string, Json>> | undefined;
}

/** A conflict as it was shown, or what names it; without `shownVersion` it is the one that lies open now. */
export type NamedConflict = Pick<Conflict, "type" | "id" | "conflictId"> & Partial<Pick<Conflict, "shownVersion">>;

export interface Conflicts extends Observable<readonly Conflict[]> {
  /** What lies open, asked anew. */
  list(options?: Waiting): Promise<readonly Conflict[]>;
  resolve(conflict: NamedConflict, choice: "current" | "proposed"): Op;
  resolve(conflict: NamedConflict, choice: "merged", data: Content): Op;
  onConflict(listener: (conflict: Conflict) => void): Unsubscribe;
}

/** A write that was refused for good. */
export interface RefusedWrite {
  readonly id: string;
  readonly write: Readonly<Record<string, Json>>;
  readonly code: string;
  readonly message: string;
  readonly current: Content | null | undefined;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** What waits and what was refused. */
export interface Outbox extends Observable<{ readonly pending: number; readonly refused: readonly RefusedWrite[] }> {
  /** Sends a refused write again, as a new one: on the version that it was made on, unless it was refused for that. */
  retry(id: string): Op | undefined;
  /** Forgets a refused write, or one that waits: that may have reached the node already. */
  drop(id: string): Promise<void>;
  /** When nothing waits any more. */
  flushed(options?: Waiting): Promise<void>;
}

export interface HistoryOptions extends Waiting {
  /** A cursor, an RFC 3339 time, or `earliest` (default). */
  after?: string | undefined;
  types?: readonly string[] | undefined;
  /** Records a page. Default: 100. */
  pageSize?: number | undefined;
}

/** A page of history. */
export interface HistoryPage {
  readonly records: readonly EventRecord[];
  /** Where to go on. */
  readonly cursor: string;
  /** Whether there may be another page: one of few types may be short, even empty, and not the last. */
  readonly more: boolean;
  /** Why the log could not go on behind `after`; then it went on where it begins. */
  readonly resync: string | undefined;
}

/** What a client tells. */
export interface ClientEvents {
  status: ConnectionStatus;
  sync: SyncStatus;
  /** Every record that comes, once, in the room's order. */
  record: EventRecord;
  signal: Signal;
  resumed: Resumed;
  conflict: Conflict;
  /** A write was refused for good. */
  refused: RefusedWrite;
  /** Refusals that are about no write of ours, and messages that could not be read. */
  error: ContinuumError;
  /** Every message of the node, as it came. */
  message: Readonly<Record<string, Json>>;
}

/** A client of one room, as the class `ContinuumClient` is. */
export interface Client {
  readonly tenant: string;
  readonly instance: string;
  readonly connection: Observable<ConnectionStatus>;
  readonly sync: Observable<SyncStatus>;
  readonly presence: Presence;
  readonly conflicts: Conflicts;
  readonly outbox: Outbox;
  /** The same as `connection.snapshot()`. */
  readonly status: ConnectionStatus;
  /** Where this client stands in the room's history; `undefined` before the first connection. */
  readonly cursor: string | undefined;
  on<K extends keyof ClientEvents>(name: K, listener: (event: ClientEvents[K]) => void): Unsubscribe;
  /** Connects; what would be tried again later is tried at once. */
  connect(): void;
  /** When the room was joined. Rejects when that is `blocked` or the client is closed. */
  online(options?: Waiting): Promise<void>;
  /** Leaves cleanly. What waits stays in the outbox; who waits for it hears that the client is closed. */
  close(): Promise<void>;
  /** Another token, or the same source asked again: also what ends `blocked`. */
  renew(token?: TokenSource): void;
  /** Publishes an event and waits for its acknowledgement; what was given up waiting for is sent all the same. */
  publish(type: string, data?: Json, options?: Waiting & { id?: string }): Promise<Published>;
  /** The same without waiting. */
  send(type: string, data?: Json, options?: { id?: string }): Op<Json>;
  /** Calls with each record of these types (`*` in one stands for any run of characters). */
  subscribe(types: string | readonly string[], listener: (record: EventRecord) => void): Unsubscribe;
  /** The same as an iterator. Whoever reads slowly misses nothing: what does not fit is read from the history. */
  records(types?: string | readonly string[], options?: Waiting): AsyncIterableIterator<EventRecord>;
  /** The room's records of the past, page by page as they are read. */
  history(options?: HistoryOptions): AsyncIterableIterator<EventRecord>;
  historyPage(options?: HistoryOptions): Promise<HistoryPage>;
  /** Passed on to who is here and kept nowhere; `false`: there is no socket to send it on. */
  signal(type: string, data?: Json): boolean;
  /** Calls with each signal of these types. */
  onSignal(types: string | readonly string[], listener: (signal: Signal) => void): Unsubscribe;
  entity(type: string, id: string): Entity;
  follow(interest: Interest): Result;
  /** Who is connected, asked anew. */
  members(options?: Waiting): Promise<readonly Member[]>;
}
