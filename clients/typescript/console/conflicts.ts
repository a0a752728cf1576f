/**
 * What lies open in the room, side by side, to be settled field by field.
 *
 * Owns: that a choice is whole before it is sent, and sent once. Must not know: how conflicts come to be.
 */

import type { Conflict, Content, Json } from "../src/index.js";
import { isContent } from "../src/json.js";
import { parsePointer, valueAt } from "../src/state/pointer.js";
import { inWords } from "./ask.js";
import { button, copy, element, named, Rows, say } from "./dom.js";
import { value } from "./fields.js";
import { count } from "./format.js";
import type { Room } from "./room.js";

const SHOWN = 50;

type Side = "current" | "proposed";

export class ConflictsView {
  readonly root = copy("conflicts");
  readonly #room: Room;
  readonly #cards = new Map<string, Card>();
  readonly #rows: Rows<Conflict, HTMLElement>;
  readonly #stops: (() => void)[];
  readonly #counted: (open: number) => void;
  #isLoaded = false;

  /** `counted` is told how many there are. */
  constructor(room: Room, counted: (open: number) => void) {
    this.#room = room;
    this.#counted = counted;
    this.#rows = new Rows(named(this.root, "list"), (conflict) => {
      const card = new Card(room, conflict);
      this.#cards.set(conflict.conflictId, card);
      return card.root;
    });
    const { conflicts } = room.client;
    this.#stops = [
      conflicts.subscribe(() => this.#show()),
      conflicts.onConflict(({ type, id, kind }) => {
        // What lay open when the console came is no news.
        if (!this.#isLoaded) return;
        const what = kind === "variant" ? "A variant was kept beside" : "A conflict waits for a choice:";
        room.notices.tell(`${what} ${type} ${id}.`, "bad");
      }),
    ];
    void this.#load();
  }

  end(): void {
    for (const stop of this.#stops) stop();
    for (const card of this.#cards.values()) card.end();
  }

  async #load(): Promise<void> {
    const { client } = this.#room;
    try {
      await client.online();
      await client.conflicts.list();
      this.#isLoaded = true;
      this.#show();
    } catch (error) {
      if (client.status.state === "closed") return;
      say(named(this.root, "note"), inWords(error, "what lies open in this room"));
      named(this.root, "note").hidden = false;
    }
  }

  #show(): void {
    const open = this.#room.client.conflicts.snapshot();
    this.#rows.show(open.slice(0, SHOWN), ({ conflictId }) => conflictId);
    const there = new Set(open.map(({ conflictId }) => conflictId));
    for (const [name, card] of this.#cards) {
      if (there.has(name)) continue;
      card.end();
      this.#cards.delete(name);
    }
    named(this.root, "empty").hidden = open.length > 0 || !this.#isLoaded;
    const more = open.length > SHOWN ? `, the first ${SHOWN} are shown` : "";
    say(named(this.root, "count"), open.length === 0 ? "" : `${count(open.length)} open${more}`);
    this.#counted(open.length);
  }
}

/** One conflict or variant. */
class Card {
  readonly root = copy("conflict");
  readonly #room: Room;
  readonly #conflict: Conflict;
  readonly #stop: () => void;
  readonly #stands = new Map<string, HTMLElement>();

  constructor(room: Room, conflict: Conflict) {
    this.#room = room;
    this.#conflict = conflict;
    const { type, id, kind, by } = conflict;
    const key = `${type}/${id}`;
    named(this.root, "title").append(button(`${type} ${id}`, () => room.lead(key), { className: "link" }));
    say(named(this.root, "kind"), kind === "variant" ? "kept beside it" : "waits for a choice");
    const who = [by?.instance_id, by?.user_name ?? by?.user_id].filter((name) => typeof name === "string");
    say(named(this.root, "by"), who.length === 0 ? "" : `proposed by ${who.join(" for ")}`);
    const rows = named(this.root, "rows");
    if (this.#isDeletion) rows.append(this.#row("", "the whole"));
    else for (const path of conflict.paths) rows.append(this.#row(path, path));
    const form = named<HTMLFormElement>(this.root, "form");
    form.onchange = () => this.#look();
    form.onsubmit = (event) => {
      event.preventDefault();
      this.#settle();
    };
    named<HTMLButtonElement>(this.root, "all-current").onclick = () => this.#all("current");
    named<HTMLButtonElement>(this.root, "all-proposed").onclick = () => this.#all("proposed");
    // What stands may change while it is looked at.
    this.#stop = room.client.entity(type, id).subscribe(() => this.#follow());
    this.#follow();
    this.#look();
  }

  end(): void {
    this.#stop();
  }

  get #isDeletion(): boolean {
    return this.#conflict.proposed === null || this.#conflict.paths.length === 0;
  }

  get #radios(): HTMLInputElement[] {
    return [...this.root.querySelectorAll<HTMLInputElement>("input[type=radio]")];
  }

  #row(path: string, name: string): HTMLTableRowElement {
    const { base, proposed, conflictId } = this.#conflict;
    const side = (choice: Side, words: string, content: HTMLElement) => {
      const radio = element("input", { type: "radio", name: `${conflictId} ${path}`, value: choice });
      radio.dataset.path = path;
      const cell = element(
        "td",
        {},
        element("label", {}, radio, element("span", { className: "side" }, words), content),
      );
      cell.dataset.side = choice;
      return cell;
    };
    const stands = element("span", { className: "value" });
    this.#stands.set(path, stands);
    const other = element("span", { className: "value" }, shown(proposed, path));
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, element("code", {}, name)),
      element("td", { className: "base" }, element("span", { className: "side" }, "was"), shown(base, path)),
      side("current", "stands", stands),
      side("proposed", "proposed", other),
    );
  }

  #follow(): void {
    const { type, id, current } = this.#conflict;
    const { data } = this.#room.client.entity(type, id).snapshot();
    for (const [path, cell] of this.#stands) say(cell, shown(data ?? current, path));
  }

  #all(side: Side): void {
    for (const radio of this.#radios) radio.checked = radio.value === side;
    this.#look();
    named<HTMLButtonElement>(this.root, "settle").focus();
  }

  get #chosen(): Map<string, Side> {
    const checked = this.#radios.filter((radio) => radio.checked);
    return new Map(checked.map((radio) => [radio.dataset.path ?? "", radio.value as Side]));
  }

  #look(): void {
    const left = this.#stands.size - this.#chosen.size;
    named<HTMLButtonElement>(this.root, "settle").disabled = left > 0;
    say(named(this.root, "left"), left === 0 ? "" : left === 1 ? "one field to choose" : `${left} fields to choose`);
  }

  #settle(): void {
    const { client, notices } = this.#room;
    const conflict = this.#conflict;
    const sides = new Set(this.#chosen.values());
    const [only] = sides;
    if (only === undefined) return;
    for (const control of this.root.querySelectorAll("input, button")) control.toggleAttribute("disabled", true);
    const op =
      sides.size === 1
        ? client.conflicts.resolve(conflict, only)
        : client.conflicts.resolve(conflict, "merged", this.#merged());
    say(named(this.root, "left"), "sent, waits for the node");
    void op.settled.then(({ status, version, message, code }) => {
      const name = `${conflict.type} ${conflict.id}`;
      if (status === "confirmed" || status === "resolved") {
        notices.tell(`Settled: ${name} stands in version ${version}.`, "good");
        return;
      }
      const why = status === "pending" ? "it was changed meanwhile; look again" : (message ?? code ?? status);
      notices.tell(`${name} was not settled: ${why}.`, "bad");
      for (const control of this.root.querySelectorAll("input, button")) control.toggleAttribute("disabled", false);
      this.#look();
    });
  }

  /** The proposed fields that were chosen, as a merge patch on what stands. */
  #merged(): Content {
    const patch: Content = {};
    for (const [path, side] of this.#chosen) {
      if (side === "proposed") put(patch, path, valueAt(this.#conflict.proposed ?? null, path) ?? null);
    }
    return patch;
  }
}

function shown(content: Json | undefined, path: string): string {
  if (content === null) return "not there (deleted)";
  if (content === undefined) return "–";
  const found = valueAt(content, path);
  return found === undefined || found === null ? "no such field" : value(found);
}

function put(patch: Content, path: string, found: Json): void {
  const names = parsePointer(path) ?? [];
  const last = names.pop();
  if (last === undefined) return;
  let at = patch;
  for (const name of names) {
    const inner = at[name];
    const next: Content = isContent(inner) ? inner : {};
    at[name] = next;
    at = next;
  }
  at[last] = found;
}
