/** What lies open in the room. Owns: when it is asked for, and telling what is new. */

import type { Conflict, Conflicts, NamedConflict, Op, Unsubscribe, Waiting } from "../api.js";
import type { Clock } from "../clock.js";
import { type Content, field, isContent, type Json } from "../json.js";
import { Cell, Listeners } from "../observe.js";
import { keyOf } from "../state/told.js";
import type { Http } from "../transport/http.js";
import { count, text } from "../wire/message.js";

/** Asked once for what comes at about the same time. */
const SHORTLY_MS = 50;
/** The pause after a question that failed. */
const PAUSE_MS = 5_000;
/** The same after an answer that is older than what was told here. */
const BEHIND_MS = 1_000;
/** Entries a page, and most that are kept. */
const PAGE = 200;
const MOST = 2_000;

export interface ConflictsOptions {
  readonly http: Http;
  readonly clock: Clock;
  /** The version of an entity that is shown; `undefined`: none is known. */
  readonly shown: (type: string, id: string) => number | undefined;
  readonly write: (entity: { type: string; id: string }, base: number | undefined, body: Json) => Op;
  readonly found: (conflict: Conflict) => void;
  readonly changed: () => void;
}

export class OpenConflicts implements Conflicts {
  readonly #options: ConflictsOptions;
  readonly #list = new Cell<readonly Conflict[]>([]);
  readonly #found = new Listeners<Conflict>();
  #cancel: (() => void) | undefined;
  #asking: AbortController | undefined;
  #isOnline = false;
  /** The last record that opened or settled something, and while questions are on their way, those that may have. */
  #openAt = 0;
  #asked = 0;
  readonly #changed = new Map<string, number>();

  constructor(options: ConflictsOptions) {
    this.#options = options;
  }

  snapshot(): readonly Conflict[] {
    return this.#list.snapshot();
  }

  subscribe(listener: () => void): Unsubscribe {
    return this.#list.subscribe(listener);
  }

  onConflict(listener: (conflict: Conflict) => void): Unsubscribe {
    return this.#found.add(listener);
  }

  async list({ signal }: Waiting = {}): Promise<readonly Conflict[]> {
    this.#asked += 1;
    try {
      const { all, position } = await this.#pages(signal);
      this.#take(all, position);
    } finally {
      this.#asked -= 1;
      if (this.#asked === 0) this.#changed.clear();
    }
    return this.#list.snapshot();
  }

  resolve(conflict: NamedConflict, choice: "current" | "proposed" | "merged", data?: Content): Op {
    const body: Content = { action: "resolve", conflict_id: conflict.conflictId, choice };
    const { type, id, conflictId } = conflict;
    const listed = this.#list.snapshot().find((one) => one.conflictId === conflictId);
    const base = conflict.shownVersion ?? listed?.shownVersion;
    return this.#options.write({ type, id }, base, data === undefined ? body : { ...body, data });
  }

  /** A record opened or settled something. */
  opened(seq: number): void {
    this.#openAt = seq;
    this.ask();
  }

  /** An entity was changed: if something lies open with it, that may have settled it. */
  changed(key: string, seq: number): void {
    if (this.#list.snapshot().some((conflict) => keyOf(conflict.type, conflict.id) === key)) this.opened(seq);
    else if (this.#asked > 0) this.#changed.set(key, seq);
  }

  online(): void {
    this.#isOnline = true;
    this.ask();
  }

  offline(): void {
    this.#isOnline = false;
    this.#openAt = 0;
    this.#cancel?.();
    this.#cancel = undefined;
    this.#asking?.abort();
  }

  /** Something was opened or settled: what lies open is asked for shortly. */
  ask(afterMs = SHORTLY_MS): void {
    if (!this.#isOnline || this.#cancel !== undefined) return;
    this.#cancel = this.#options.clock.after(afterMs, () => {
      this.#cancel = undefined;
      void this.#refresh();
    });
  }

  async #refresh(): Promise<void> {
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    try {
      await this.list({ signal: asking.signal });
    } catch {
      if (!asking.signal.aborted) this.ask(PAUSE_MS);
    }
  }

  /** What is open, and up to where in the log that is counted. */
  async #pages(signal: AbortSignal | undefined): Promise<{ all: readonly Conflict[]; position: number }> {
    const all: Conflict[] = [];
    let position = 0;
    let page: string | undefined;
    const shown = (conflict: Conflict) => {
      // What is shown beside it, as far as this list may know of it.
      const version = this.#options.shown(conflict.type, conflict.id) ?? 0;
      return { ...conflict, shownVersion: version > position ? conflict.version : Math.max(conflict.version, version) };
    };
    do {
      const body = await this.#options.http.ask("conflicts", { query: { limit: PAGE, page }, signal });
      const found = field(body, "conflicts");
      for (const item of Array.isArray(found) ? found : []) {
        const conflict = read(item);
        if (conflict !== undefined) all.push(conflict);
      }
      position = count(body, "position") ?? 0;
      page = text(body, "next");
    } while (page !== undefined && all.length < MOST);
    return { all: all.map(shown), position };
  }

  #take(all: readonly Conflict[], position: number): void {
    const latest = all.map(({ type, id }) => this.#changed.get(keyOf(type, id)) ?? 0);
    if (Math.max(this.#openAt, ...latest) > position) this.ask(BEHIND_MS);
    const before = new Set(this.#list.snapshot().map((conflict) => conflict.conflictId));
    if (all.length === 0 && before.size === 0) return;
    this.#list.set(all);
    this.#options.changed();
    for (const conflict of all) {
      if (before.has(conflict.conflictId)) continue;
      this.#options.found(conflict);
      this.#found.tell(conflict);
    }
  }
}

function read(item: unknown): Conflict | undefined {
  const [type, id, conflictId] = [text(item, "entity_type"), text(item, "entity_id"), text(item, "conflict_id")];
  if (type === undefined || id === undefined || conflictId === undefined) return undefined;
  const paths = field(item, "paths");
  const by = field(item, "by");
  return {
    type,
    id,
    conflictId,
    version: count(item, "version") ?? 0,
    shownVersion: count(item, "version") ?? 0,
    kind: text(item, "kind") === "variant" ? "variant" : "conflict",
    base: field(item, "base") as Json | undefined,
    proposed: field(item, "proposed") as Json | undefined,
    current: field(item, "current") as Json | undefined,
    paths: Array.isArray(paths) ? paths.filter((path) => typeof path === "string") : [],
    by: isContent(by) ? by : undefined,
  };
}
