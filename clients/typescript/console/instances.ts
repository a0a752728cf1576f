/**
 * Who is in the room, in step or not.
 *
 * Owns: what is remembered of instances that left, and their lights. How far somebody is behind is told by the node that it is
 * connected to, to who may administer; the others see who is there.
 */

import type { Member } from "../src/index.js";
import { field, isContent } from "../src/json.js";
import { count as number, text } from "../src/wire/message.js";
import { inWords, Poll } from "./ask.js";
import { brief, copy, element, labelled, named, Rows, say } from "./dom.js";
import { bytes, clock, count, span } from "./format.js";
import { type Lag, lagOf, lightOfLag } from "./lag.js";
import { type Light, lamp, lightOf, relight } from "./lights.js";
import type { Room } from "./room.js";

/** Who left is shown for so long, and so many of them. */
const REMEMBERED_S = 1_800;
const GONE = 100;
/** Rows that are shown; the node is asked for as many sessions, the slowest first. */
const ROWS = 500;
const EVERY_MS = 2_000;

export interface Seen {
  readonly instance: string;
  readonly user: string | undefined;
  readonly capabilities: readonly string[];
  readonly connectedAt: string | undefined;
  /** When it left, in milliseconds since 1970. */
  readonly leftAt: number | undefined;
  /** When something of it came last. */
  readonly heardAt: number | undefined;
  readonly doing: string;
  /** Its session on this node, where the grant lets us look. */
  readonly session: Session | undefined;
}

/** What the node that serves this page knows of a connection of its own. */
export interface Session {
  readonly instance: string;
  readonly state: string;
  readonly lag: Lag | undefined;
  readonly outbox: number;
  readonly stuckMs: number;
}

/** By how long an instance is out of step: what it was not sent yet, or since when it is away. */
export function lightOfInstance({ leftAt, session }: Seen, now: number): [Light, string] {
  if (leftAt !== undefined) {
    const away = (now - leftAt) / 1000;
    return [lightOf(away), `away for ${span(away)}`];
  }
  if (session?.lag === undefined) return ["green", "connected"];
  return lightOfLag(session.lag);
}

export class InstancesPanel {
  readonly root = copy("instances");
  readonly #room: Room;
  readonly #stops: (() => void)[];
  readonly #rows: Rows<Seen, HTMLTableRowElement>;
  readonly #gone = new Map<string, Seen>();
  /** When something of an instance came last. */
  readonly #heard = new Map<string, number>();
  readonly #poll: Poll<unknown>;
  #sessions = new Map<string, Session>();
  #isDue = false;

  constructor(room: Room) {
    this.#room = room;
    const query = new URLSearchParams({ tenant: room.tenant, sort: "lag", limit: String(ROWS) });
    this.#poll = new Poll({
      ask: (signal) => room.ask.json(`v1/admin/sessions?${query}`, signal),
      everyMs: EVERY_MS,
      show: (answer) => {
        this.#sessions = sessionsOf(answer);
        this.#note("");
        this.#show();
      },
      refused: (error) => {
        this.#sessions.clear();
        this.#note(inWords(error, "how far each is behind"));
      },
    });
    this.#rows = new Rows(
      named(this.root, "rows"),
      ({ instance }) => this.#row(instance),
      (row, seen) => this.#update(row, seen),
    );
    const { client } = room;
    const hear = ({ instance }: { instance: string }) => {
      this.#heard.set(instance, Date.now());
      this.#later();
    };
    this.#stops = [
      client.presence.subscribe(() => this.#later()),
      client.presence.onJoin((member) => {
        this.#gone.delete(member.instance);
        this.#heard.set(member.instance, Date.now());
      }),
      client.presence.onLeave((member) => this.#left(member)),
      client.on("record", hear),
      client.on("signal", hear),
    ];
    // Ages go on by themselves.
    const ticking = setInterval(() => this.#show(), 1_000);
    this.#stops.push(() => clearInterval(ticking));
    this.#show();
  }

  start(): void {
    this.#poll.start();
  }

  end(): void {
    this.#poll.stop();
    for (const stop of this.#stops) stop();
  }

  #note(words: string): void {
    named(this.root, "note").hidden = words === "";
    say(named(this.root, "note"), words);
  }

  #left(member: Member): void {
    // Our own connection was lost: that says nothing of the others.
    if (this.#room.client.status.state !== "online") return;
    this.#gone.set(member.instance, this.#seen(member, Date.now()));
    for (const name of this.#gone.keys()) {
      if (this.#gone.size > GONE) this.#gone.delete(name);
    }
  }

  #seen({ instance, user, userName, capabilities, connectedAt, data }: Member, leftAt?: number): Seen {
    return {
      instance,
      user: userName ?? user,
      capabilities,
      connectedAt,
      leftAt,
      heardAt: this.#heard.get(instance),
      doing: data === undefined ? "" : brief(data, 80),
      session: this.#sessions.get(instance),
    };
  }

  #later(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#show();
    });
  }

  #show(): void {
    const now = Date.now();
    for (const [name, { leftAt }] of this.#gone) {
      if (leftAt !== undefined && now - leftAt > REMEMBERED_S * 1_000) this.#gone.delete(name);
    }
    const { members, total } = this.#room.client.presence.snapshot();
    const here = members.map((member) => this.#seen(member));
    const names = new Set(members.map(({ instance }) => instance));
    const gone = [...this.#gone.values()].filter(({ instance }) => !names.has(instance));
    if (this.#heard.size > 4 * ROWS) this.#heard.clear();
    // Who needs somebody comes first.
    here.sort((a, b) => (b.session?.lag?.seconds ?? 0) - (a.session?.lag?.seconds ?? 0));
    const all = [...gone.reverse(), ...here].slice(0, ROWS);
    this.#rows.show(all, ({ instance }) => instance);
    named(this.root, "table").hidden = all.length === 0;
    named(this.root, "empty").hidden = all.length > 0;
    const more = total - 1 > members.length ? ` · ${count(members.length)} of them are listed` : "";
    say(named(this.root, "count"), total === 0 ? "" : `${count(total)} connected, this console included${more}`);
  }

  #row(instance: string): HTMLTableRowElement {
    const cells = ["number", "number", "number", "more"].map((className) => element("td", { className }));
    const head = element("th", { scope: "row", className: "name" }, instance);
    return labelled(element("tr", {}, head, element("td", {}, lamp("grey", "")), ...cells), this.root);
  }

  #update(row: HTMLTableRowElement, seen: Seen): void {
    const now = Date.now();
    const [, light, waits, heard, since, more] = row.cells;
    const shown = light?.querySelector<HTMLElement>(".lamp");
    if (shown) relight(shown, ...lightOfInstance(seen, now));
    const stuck = seen.session && seen.session.stuckMs > 0 ? `, stuck for ${span(seen.session.stuckMs / 1000)}` : "";
    if (waits)
      say(
        waits,
        seen.session === undefined || seen.leftAt !== undefined ? "–" : `${bytes(seen.session.outbox)}${stuck}`,
      );
    if (heard) say(heard, seen.heardAt === undefined ? "–" : `${span((now - seen.heardAt) / 1000)} ago`);
    if (since) say(since, seen.connectedAt === undefined ? "–" : clock(seen.connectedAt).slice(0, 8));
    if (more) say(more, [seen.user, seen.capabilities.join(", "), seen.doing].filter(Boolean).join(" · "));
    row.className = seen.leftAt === undefined ? "" : "gone";
  }
}

function sessionsOf(answer: unknown): Map<string, Session> {
  const listed = field(answer, "sessions");
  const sessions = new Map<string, Session>();
  for (const item of Array.isArray(listed) ? listed.filter(isContent) : []) {
    const instance = text(item, "instance");
    if (instance === undefined) continue;
    sessions.set(instance, {
      instance,
      state: text(item, "state") ?? "",
      lag: lagOf(field(item, "lag")),
      outbox: number(item, "outbox_bytes") ?? 0,
      stuckMs: number(item, "stuck_ms") ?? 0,
    });
  }
  return sessions;
}
