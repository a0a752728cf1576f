/**
 * A client of one room: what comes is told to who wants it, what is written goes into the outbox.
 * Owns: how the parts fit together. Must not know: how any of them works.
 */

import type {
  Client,
  ClientEvents,
  ClientOptions,
  Conflicts,
  ConnectionStatus,
  Entity,
  EventRecord,
  HistoryOptions,
  HistoryPage,
  Interest,
  Member,
  Observable,
  Op,
  Outbox,
  Presence,
  Published,
  Result,
  Settled,
  Signal,
  SyncStatus,
  TokenSource,
  Unsubscribe,
  Waiting,
} from "./api.js";
import { type Clock, systemClock } from "./clock.js";
import { isOnline } from "./closing.js";
import { Connection } from "./connection.js";
import { ContinuumError, LOCAL_CODES } from "./errors.js";
import { type Content, copied, type Json } from "./json.js";
import { Emitter } from "./observe.js";
import { chooseStore } from "./outbox/choose.js";
import { OutboxHandle } from "./outbox/handle.js";
import { reservedText } from "./outbox/message.js";
import { Queue } from "./outbox/queue.js";
import { shown } from "./outbox/refusals.js";
import type { Entry } from "./outbox/store.js";
import { OpenConflicts } from "./room/conflicts.js";
import { Freshness } from "./room/freshness.js";
import { history, historyPage, recordOf, records } from "./room/history.js";
import { matcher, only } from "./room/patterns.js";
import { membersOf, Roster } from "./room/presence.js";
import { Results } from "./room/results.js";
import { isReserved, isSignal, queryOf } from "./room/words.js";
import { Sharing } from "./sharing.js";
import { Entities } from "./state/entities.js";
import { EntityHandle } from "./state/handle.js";
import { keyOf } from "./state/told.js";
import { Writes } from "./state/writes.js";
import { Tokens } from "./token.js";
import { parseCursor, Tracker } from "./tracker.js";
import { Http } from "./transport/http.js";
import { ladderOf } from "./transport/ladder.js";
import { parseBase } from "./transport/link.js";
import { uuid } from "./uuid.js";
import { when } from "./waiting.js";
import { onWaking } from "./waking.js";
import { type Frame, type Meaning, type Ready, text } from "./wire/message.js";

/** Most bytes that wait, unless it is said otherwise. */
const OUTBOX_BYTES = 64 * 2 ** 20;

export class ContinuumClient implements Client {
  readonly tenant: string;
  readonly instance: string;
  readonly connection: Observable<ConnectionStatus>;
  readonly sync: Observable<SyncStatus>;
  readonly presence: Presence;
  readonly conflicts: Conflicts;
  readonly outbox: Outbox;
  readonly #clock: Clock;
  readonly #events = new Emitter<ClientEvents>();
  readonly #closed = new AbortController();
  readonly #tokens: Tokens;
  readonly #tracker: Tracker;
  readonly #http: Http;
  readonly #connection: Connection;
  readonly #queue: Queue;
  readonly #entities: Entities;
  readonly #writes: Writes;
  readonly #results: Results;
  readonly #roster: Roster;
  readonly #open: OpenConflicts;
  readonly #freshness: Freshness;
  readonly #sharing: Sharing;
  readonly #isWanted: (type: string) => boolean;
  #hasBegun = false;
  #epoch = "";

  constructor(options: ClientOptions) {
    const base = parseBase(options.url);
    this.tenant = options.tenant ?? "default";
    this.instance = options.instance ?? uuid();
    this.#clock = options.clock ?? systemClock;
    this.#tokens = new Tokens(options.token);
    const since = options.since ?? "latest";
    this.#tracker = new Tracker({ echo: true, cursor: parseCursor(since) === undefined ? undefined : since });
    const who: Record<string, string> = { instance_id: this.instance };
    if (options.user !== undefined) who.user_id = options.user;
    if (options.userName !== undefined) who.user_name = options.userName;
    this.#http = new Http(base.http, this.tenant, who, this.#tokens, options.fetch ?? fetch);
    const ladder = ladderOf(options, base, this.#http, who);
    const name = ["continuum", base.http, this.tenant, this.instance, ...(options.user ? [options.user] : [])].join(
      " ",
    );
    const { store, reason, isShared } = chooseStore(options, this.tenant, name);
    // What one tab does not want another may: then each takes its own out of all.
    const types = isShared ? undefined : options.types;
    this.#isWanted = matcher(options.types);
    this.#connection = new Connection(
      {
        clock: this.#clock,
        random: options.random ?? Math.random,
        tokens: this.#tokens,
        tracker: this.#tracker,
        query: { tenant_id: this.tenant, ...who, ...queryOf({ ...options, types }) },
        since,
        ladder,
      },
      {
        ready: (ready, wasSeen) => this.#joined(ready, wasSeen),
        frame: (frame) => this.#take(frame),
        lost: () => this.#lost(),
        error: (error) => this.#events.emit("error", error),
      },
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
        refused: (refusal) => this.#events.emit("refused", shown(refusal)),
        dropped: (id) => this.#sharing.dropped(id),
        changed: () => this.#freshness.look(),
      },
    );
    this.#writes = new Writes(this.#queue, (type, id) => this.#entities.get(type, id));
    this.#entities = new Entities({
      http: this.#http,
      closed: this.#closed.signal,
      clock: this.#clock,
      replica,
      instance: this.instance,
      rewrite: (id, version, body) => this.#queue.carry(id, version, body),
      flying: (key) => this.#queue.flying(key),
    });
    const over = (key: string, data: Content) => this.#entities.over(key, data);
    this.#results = new Results({ clock: this.#clock, uuid, send, over });
    this.#open = new OpenConflicts({
      http: this.#http,
      clock: this.#clock,
      shown: (type, id) => this.#entities.find(keyOf(type, id))?.version,
      write: (entity, version, body) => this.#writes.write(entity, version, body),
      found: (conflict) => this.#events.emit("conflict", conflict),
      changed: () => this.#freshness.look(),
    });
    this.#freshness = new Freshness(this.#clock, () => {
      const { where, reason } = this.#queue.storage;
      const [conflicted, refused] = [this.#open.snapshot().length, this.#queue.refusals.list.snapshot().length];
      return { pending: this.#queue.size, conflicted, refused, storage: where, storageReason: reason };
    });
    this.connection = this.#connection.status;
    this.sync = this.#freshness.status;
    this.presence = this.#roster;
    this.conflicts = this.#open;
    this.outbox = new OutboxHandle(this.#queue, this.sync, this.#writes, this.#closed.signal);
    this.connection.subscribe(() => this.#events.emit("status", this.connection.snapshot()));
    this.sync.subscribe(() => this.#events.emit("sync", this.sync.snapshot()));
    this.#sharing = new Sharing({
      name: isShared ? name : undefined,
      replica,
      queue: this.#queue,
      connection: this.#connection,
      tracker: this.#tracker,
      roster: this.#roster,
      http: this.#http,
      ladder,
    });
    onWaking(() => this.#connection.hurry(), this.#closed.signal);
    if (options.autoConnect !== false) this.connect();
  }

  get status(): ConnectionStatus {
    return this.connection.snapshot();
  }

  get cursor(): string | undefined {
    return this.#tracker.cursor;
  }

  on<K extends keyof ClientEvents>(name: K, listener: (event: ClientEvents[K]) => void): Unsubscribe {
    return this.#events.on(name, listener);
  }

  connect(): void {
    if (this.#closed.signal.aborted) return;
    // Not before it is asked to connect: a client may be made and thrown away.
    if (!this.#hasBegun) this.#sharing.begin();
    this.#hasBegun = true;
    this.#connection.connect();
  }

  async online({ signal }: Waiting = {}): Promise<void> {
    await when(this.connection, isOnline, signal);
  }

  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#results.close();
    this.#connection.close();
    this.#closed.abort(new ContinuumError(LOCAL_CODES.closed, "the client is closed"));
    this.#freshness.close();
    // What is still put into the store is told to the others.
    await this.#queue.close();
    this.#sharing.close();
  }

  renew(token?: TokenSource): void {
    if (token !== undefined) this.#tokens.replace(token);
    this.#connection.renew();
  }

  send(type: string, data: Json = {}, { id }: { id?: string } = {}): Op<Json> {
    if (isReserved(type)) throw new ContinuumError("reserved_type", reservedText(type));
    const body = copied(data);
    return this.#queue.add({ id, kind: "event", type, entity: undefined, base: undefined, body }, body);
  }

  async publish(type: string, data: Json = {}, { id, signal }: Waiting & { id?: string } = {}): Promise<Published> {
    signal?.throwIfAborted();
    const op = this.send(type, data, id === undefined ? {} : { id });
    const settled = await op.wait({ signal });
    if (settled.status !== "confirmed") throw new ContinuumError(settled.code ?? "unknown", settled.message ?? "");
    const { queued, version, duplicate } = settled;
    return { id: op.id, durability: queued ? "queued" : "stored", seq: queued ? undefined : version, duplicate };
  }

  subscribe(types: string | readonly string[], listener: (record: EventRecord) => void): Unsubscribe {
    return this.on("record", only(types, listener));
  }

  records(types?: string | readonly string[], options: Waiting = {}): AsyncIterableIterator<EventRecord> {
    const listen = (listener: (record: EventRecord) => void) => this.on("record", listener);
    const missed = (reason: string) => this.#resumed(false, reason, undefined);
    const source = { http: this.#http, clock: this.#clock, cursor: () => this.cursor, listen, missed };
    return records({ ...source, closed: this.#closed.signal }, types, options);
  }

  history(options: HistoryOptions = {}): AsyncIterableIterator<EventRecord> {
    return history(this.#http, options);
  }

  historyPage(options: HistoryOptions = {}): Promise<HistoryPage> {
    return historyPage(this.#http, options);
  }

  signal(type: string, data: Json = {}): boolean {
    return this.#connection.isSocket && this.#connection.send({ event_type: type, data });
  }

  onSignal(types: string | readonly string[], listener: (signal: Signal) => void): Unsubscribe {
    return this.on("signal", only(types, listener));
  }

  entity(type: string, id: string): Entity {
    return new EntityHandle(type, id, this.#entities, this.#http, this.#writes);
  }

  follow(interest: Interest): Result {
    return this.#results.follow(interest);
  }

  members({ signal }: Waiting = {}): Promise<readonly Member[]> {
    return membersOf(this.#http, signal);
  }

  #joined(ready: Ready, wasSeen: boolean): void {
    const isOtherLog = wasSeen && this.#epoch !== "" && this.#epoch !== ready.epoch;
    const isReset = ready.resume.outcome !== "honoured";
    this.#epoch = ready.epoch;
    this.#entities.online(isReset || !wasSeen, isOtherLog);
    this.#queue.connected(ready);
    this.#roster.joined(ready.instances, ready.instancesTotal);
    this.#results.online(this.#connection.isSocket);
    this.#open.online();
    if (wasSeen && !isReset) this.#resumed(true, undefined, ready);
  }

  #resumed(complete: boolean, reason: string | undefined, ready: Ready | undefined): void {
    const { missed, missedExact } = ready?.resume ?? { missed: 0, missedExact: false };
    this.#events.emit("resumed", { complete, reason, missed, exact: missedExact });
  }

  #lost(): void {
    this.#queue.lost();
    this.#entities.offline();
    this.#results.offline();
    this.#open.offline();
    this.#roster.lost();
    this.#freshness.look();
    this.#sharing.lost();
  }

  #settled(entry: Entry, settled: Settled): void {
    const isDone = settled.status === "confirmed" || settled.status === "resolved";
    if (entry.kind === "operation") this.#entities.settled(entry, settled.version, isDone);
    this.#results.changed(keyOf(entry.type, entry.entity ?? ""));
    this.#sharing.settled(entry.id, settled);
    if (settled.status === "pending" || settled.variantId !== undefined) this.#open.ask();
  }

  /** What a message leads to. */
  #take(frame: Frame): void {
    const { meaning } = frame;
    this.#sharing.take(frame);
    switch (meaning.kind) {
      case "caught_up":
        this.#queue.caughtUp();
        break;
      case "record":
        this.#record(frame);
        break;
      case "resync":
        this.#entities.online(true, meaning.reason === "other_epoch");
        this.#resumed(false, meaning.reason, this.#connection.ready);
        break;
      case "ack":
      case "stored":
        this.#queue.acknowledged(meaning.eventId, meaning.seq, meaning.duplicate);
        break;
      case "queued":
        this.#queue.acknowledged(meaning.eventId, undefined, false);
        break;
      case "fate":
        this.#queue.decided(meaning.fate);
        break;
      case "error":
        this.#refused(meaning);
        break;
      case "joined":
      case "left":
      case "crowd":
        this.#roster.take(meaning);
        break;
      case "interest":
        this.#results.take(meaning.subscription, frame);
        break;
      case "other":
        this.#other(frame);
        break;
      default:
    }
    this.#events.emit("message", frame.raw);
    if (this.#tracker.isLive) this.#freshness.fresh();
  }

  #record(frame: Frame): void {
    const told = this.#entities.record(frame);
    if (frame.meaning.kind === "record" && told.kind !== "event") {
      const { seq } = frame.meaning.place;
      if (told.kind === "open") this.#open.opened(seq);
      else this.#open.changed(told.key, seq);
    }
    const record = recordOf(frame, this.#epoch);
    if (record === undefined) return;
    if (told.kind === "event" && record.instance === this.instance) this.#queue.recorded(record.id, record.seq);
    if (this.#isWanted(record.type)) this.#events.emit("record", record);
  }

  #refused({ about, code, text, retryAfterMs }: Extract<Meaning, { kind: "error" }>): void {
    if (about !== undefined && this.#queue.failed(about, code, text, retryAfterMs)) return;
    const error = new ContinuumError(code, text, { retryAfterMs });
    if (about !== undefined && this.#results.refused(about, error)) return;
    this.#events.emit("error", error);
  }

  /** A signal, an answer that nobody waits for, or a message of a later version. */
  #other(frame: Frame): void {
    if (!isSignal(frame.type) || frame.instance === this.instance) return;
    this.#roster.signal(frame);
    const { type, instance, timestamp, data, raw } = frame;
    this.#events.emit("signal", { type, instance, user: text(raw, "user_id"), timestamp, data });
  }
}
