/** The panel of tenants and their rooms on this node. Owns: that a room can be gone into; without the grant it shows the own room alone. */

import { ContinuumError } from "../src/errors.js";
import { field, isContent } from "../src/json.js";
import { count as number, text } from "../src/wire/message.js";
import { inWords, Poll } from "./ask.js";
import { button, copy, element, labelled, named, Rows, say } from "./dom.js";
import { bytes, count } from "./format.js";
import { lagOf, lightOfLag } from "./lag.js";
import { lamp, relight } from "./lights.js";
import type { Room } from "./room.js";

const EVERY_MS = 3_000;
const SHOWN = 100;

interface RoomSeen {
  readonly tenant: string;
  readonly members: number | undefined;
  readonly here: number | undefined;
  readonly streams: number | undefined;
  readonly position: number | undefined;
  readonly lag: ReturnType<typeof lagOf>;
  readonly outbox: number | undefined;
  readonly open: string;
}

export class RoomsPanel {
  readonly root = copy("rooms");
  readonly #room: Room;
  readonly #rows: Rows<RoomSeen, HTMLTableRowElement>;
  readonly #poll: Poll<readonly RoomSeen[]>;
  #isNarrow = false;

  constructor(room: Room, enter: (tenant: string) => void) {
    this.#room = room;
    this.#rows = new Rows(
      named(this.root, "rows"),
      ({ tenant }) => {
        const head = element("th", { scope: "row", className: "name" });
        if (tenant === room.tenant) head.append(tenant, " ", element("span", { className: "tag" }, "you are here"));
        else head.append(button(tenant, () => enter(tenant), { className: "link", title: `Go into ${tenant}` }));
        const cells = ["number", "number", "number", "more"].map((className) => element("td", { className }));
        return labelled(element("tr", {}, head, element("td", {}, lamp("grey", "")), ...cells), this.root);
      },
      (row, seen) => update(row, seen),
    );
    this.#poll = new Poll({
      ask: (signal) => this.#ask(signal),
      everyMs: EVERY_MS,
      show: (rooms) => this.#show(rooms),
      refused: (error) => this.#note(inWords(error, "the rooms")),
    });
  }

  start(): void {
    this.#poll.start();
  }

  end(): void {
    this.#poll.stop();
  }

  async #ask(signal: AbortSignal): Promise<readonly RoomSeen[]> {
    const { ask } = this.#room;
    if (!this.#isNarrow) {
      try {
        const body = await ask.json(`v1/admin/rooms?limit=${SHOWN}`, signal);
        const rooms = field(body, "rooms");
        const more = text(body, "next") === undefined ? "" : `The first ${SHOWN} by name are shown.`;
        this.#note(more);
        return (Array.isArray(rooms) ? rooms.filter(isContent) : []).map(seenOf);
      } catch (error) {
        if (!(error instanceof ContinuumError) || error.code !== "forbidden") throw error;
        this.#isNarrow = true;
        this.#note(inWords(error, "the rooms of this node"));
      }
    }
    const stats = await ask.json(this.#room.path("stats"), signal);
    const [members, position] = [number(stats, "total_connections"), number(stats, "position")];
    const unknown = { here: undefined, streams: undefined, lag: undefined, outbox: undefined, open: "" };
    return [{ tenant: this.#room.tenant, members, position, ...unknown }];
  }

  #note(words: string): void {
    named(this.root, "note").hidden = words === "";
    say(named(this.root, "note"), words);
  }

  #show(rooms: readonly RoomSeen[]): void {
    this.#rows.show(rooms, ({ tenant }) => tenant);
    named(this.root, "table").hidden = rooms.length === 0;
    const words = rooms.length === 1 ? "one room" : `${count(rooms.length)} rooms in memory`;
    say(named(this.root, "count"), this.#isNarrow ? "" : words);
  }
}

function seenOf(room: unknown): RoomSeen {
  const open = field(room, "open");
  const parts = [
    [number(open, "appends"), "appends"],
    [number(open, "operations"), "operations"],
    [number(open, "queued"), "queued"],
    [number(open, "subscriptions"), "subscriptions"],
  ] as const;
  return {
    tenant: text(room, "tenant") ?? "",
    members: number(room, "members_total"),
    here: number(room, "members_here"),
    streams: number(room, "streams_here"),
    position: number(room, "position"),
    lag: lagOf(field(room, "largest_lag")),
    outbox: number(room, "outbox_bytes"),
    open: parts.flatMap(([many, name]) => (many ? `${count(many)} ${name}` : [])).join(" · "),
  };
}

function update(row: HTMLTableRowElement, { members, here, streams, position, lag, outbox, open }: RoomSeen): void {
  const [, light, all, place, waits, more] = row.cells;
  const shown = light?.querySelector<HTMLElement>(".lamp");
  if (shown) relight(shown, ...lightOfLag(lag));
  const there = here === undefined ? "" : ` (${count(here)} here)`;
  if (all) say(all, `${count(members)}${there}`);
  if (place) say(place, count(position));
  if (waits) say(waits, bytes(outbox));
  if (more) say(more, [streams ? `${count(streams)} streams` : "", open].filter(Boolean).join(" · "));
}
