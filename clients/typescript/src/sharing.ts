/**
 * A client among the tabs of its browser: one of them has the connection and sends what all of them write. Elsewhere it is alone.
 * Owns: what leading and following means for the connection and the outbox. Must not know: how tabs find each other.
 */

import type { Settled } from "./api.js";
import type { Connection } from "./connection.js";
import { type Content, isContent } from "./json.js";
import type { Queue } from "./outbox/queue.js";
import type { Entry } from "./outbox/store.js";
import type { Roster } from "./room/presence.js";
import { wireOf } from "./room/words.js";
import { type Standing, Tabs, type TabsEvents } from "./tabs.js";
import type { Tracker } from "./tracker.js";
import type { Http } from "./transport/http.js";
import type { OpenLink } from "./transport/link.js";
import type { Frame } from "./wire/message.js";

export interface SharingOptions {
  /** One name for all tabs that are one instance; `undefined`: there are no others. */
  readonly name: string | undefined;
  readonly replica: string;
  readonly queue: Queue;
  readonly connection: Connection;
  readonly tracker: Tracker;
  readonly roster: Roster;
  readonly http: Http;
  /** The ways to the node, for who leads. */
  readonly ladder: readonly OpenLink[];
}

export class Sharing {
  readonly #options: SharingOptions;
  #tabs: Tabs | undefined;
  /** `session_ready` as it came. */
  #ready: Content | undefined;

  constructor(options: SharingOptions) {
    this.#options = options;
  }

  /** Takes part among the tabs, and sends. */
  begin(): void {
    const { name, replica, queue, connection, http } = this.#options;
    if (name === undefined) {
      void queue.lead();
      return;
    }
    const events: TabsEvents = {
      lead: () => this.#lead(),
      alone: () => this.#alone(),
      send: (message) => connection.send(message),
      stored: (entry) => queue.adopt(entry),
      settled: (id, settled) => queue.learn(id, settled),
      dropped: (id) => queue.forget(id),
      led: () => void queue.follow(),
      joined: () => connection.hurry(),
      look: () => void queue.reconcile(),
      standing: () => this.#standing(),
    };
    try {
      const tabs = new Tabs(name, replica, navigator.locks, events);
      this.#tabs = tabs;
      connection.change([tabs.link(http)]);
    } catch {
      this.#alone();
    }
  }

  /** A message came: the others get it too. What is said of one write is told when it is settled. */
  take({ meaning, data, raw }: Frame): void {
    if (meaning.kind === "ready") {
      this.#ready = isContent(data) ? data : undefined;
      this.#tabs?.joined();
    } else if (meaning.kind !== "error" || this.#options.queue.get(meaning.about ?? "") === undefined) {
      this.#tabs?.relay(raw);
    }
  }

  lost(): void {
    this.#tabs?.lost("the leading tab lost its connection");
  }

  stored(entry: Entry): void {
    this.#tabs?.stored(entry);
  }

  settled(id: string, settled: Settled): void {
    this.#tabs?.settled(id, settled);
  }

  dropped(id: string): void {
    this.#tabs?.dropped(id);
  }

  close(): void {
    this.#tabs?.close();
  }

  #lead(): void {
    const { queue, connection, ladder } = this.#options;
    void queue.lead();
    connection.change(ladder);
  }

  /** The browser forbids tabs to know of each other. */
  #alone(): void {
    this.#tabs = undefined;
    this.#lead();
  }

  /** How this tab stands, for the others. */
  #standing(): Standing | undefined {
    const { connection, tracker, roster } = this.#options;
    const { cursor, isLive } = tracker;
    if (connection.ready === undefined || this.#ready === undefined || cursor === undefined) return undefined;
    const { members, total } = roster.snapshot();
    const ready = { ...this.#ready, instances: members.map(wireOf), instances_total: total };
    return { ready, cursor, isLive, isSocket: connection.isSocket };
  }
}
