/**
 * The room's entities: the list, and of one of them its content, its history and what changed in it.
 *
 * Owns: how many are listed, and that the list follows the room. Must not know: how a history is shown (`versions.ts`).
 */

import { field, isContent } from "../src/json.js";
import { splitKey } from "../src/state/told.js";
import { count as number, text } from "../src/wire/message.js";
import { inWords } from "./ask.js";
import { copy, element, named, Rows, say } from "./dom.js";
import { count, moment } from "./format.js";
import { told } from "./records.js";
import type { Room } from "./room.js";
import { Roving } from "./roving.js";
import { EntityPane } from "./versions.js";

/** Entities a page, and most that are listed. */
const PAGE = 200;
const MOST = 2_000;

interface Listed {
  readonly key: string;
  readonly version: number;
  readonly at: string;
  readonly by: string;
}

export class EntitiesView {
  readonly root = copy("entities");
  readonly #room: Room;
  readonly #rows: Rows<Listed, HTMLLIElement>;
  readonly #roving: Roving;
  readonly #stops: (() => void)[];
  readonly #known = new Map<string, Listed>();
  readonly #ended = new AbortController();
  #asking: AbortController | undefined;
  #page: string | undefined;
  #isLoaded = false;
  #isDue = false;
  #pane: EntityPane | undefined;

  constructor(room: Room) {
    this.#room = room;
    const list = named(this.root, "list");
    this.#rows = new Rows(
      list,
      ({ key }) => this.#row(key),
      (row, listed) => this.#update(row, listed),
    );
    this.#roving = new Roving(list, "button.row");
    this.#stops = [
      room.client.on("record", (record) => {
        const about = told(record);
        if (about.kind === "event") return;
        const { seq: version, timestamp: at, instance: by } = record;
        if (about.kind === "entity" && about.data === null) this.#known.delete(about.key);
        else if (this.#known.has(about.key) || this.#isWanted(about.key)) {
          this.#known.set(about.key, { key: about.key, version, at, by });
        }
        if (about.key === this.#pane?.key) this.#pane.changed();
        this.#later();
      }),
      // What was missed cannot be told from records: the list is made anew.
      room.client.on("resumed", ({ complete }) => {
        if (!complete && this.#isLoaded) void this.#load();
      }),
    ];
    named<HTMLInputElement>(this.root, "type").onchange = () => void this.#load();
    named<HTMLInputElement>(this.root, "text").oninput = () => this.#show();
    named<HTMLFormElement>(this.root, "filters").onsubmit = (event) => event.preventDefault();
    named<HTMLButtonElement>(this.root, "more").onclick = () => void this.#next();
  }

  show(): void {
    if (!this.#isLoaded) void this.#load();
  }

  search(): void {
    named<HTMLInputElement>(this.root, "text").focus();
  }

  end(): void {
    this.#ended.abort();
    this.#asking?.abort();
    for (const stop of this.#stops) stop();
    this.#pane?.end();
  }

  /** Shows one entity, whether it is in the list or not. */
  choose(key: string): void {
    if (this.#pane?.key !== key) {
      this.#pane?.end();
      this.#pane = new EntityPane(this.#room, key);
      named(this.root, "pane").replaceChildren(this.#pane.root);
    }
    for (const row of this.root.querySelectorAll<HTMLElement>("button.row")) {
      row.setAttribute("aria-current", String(row.dataset.key === key));
    }
    this.#pane.root.scrollIntoView({ block: "nearest" });
  }

  get #type(): string {
    return named<HTMLInputElement>(this.root, "type").value.trim();
  }

  #isWanted(key: string): boolean {
    if (this.#known.size >= MOST) return false;
    const [type] = splitKey(key);
    return this.#type === "" || this.#type.split(/[\s,]+/).includes(type);
  }

  async #load(): Promise<void> {
    this.#isLoaded = true;
    this.#known.clear();
    this.#page = "";
    await this.#next();
  }

  async #next(): Promise<void> {
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    const query = new URLSearchParams({ limit: String(PAGE), instance_id: this.#room.client.instance });
    const types = this.#type.replace(/[\s,]+/g, ",");
    if (types !== "") query.set("types", types);
    if (this.#page) query.set("page", this.#page);
    try {
      const body = await this.#room.ask.json(this.#room.path(`snapshot?${query}`), asking.signal);
      const found = field(body, "entities");
      for (const item of Array.isArray(found) ? found.filter(isContent) : []) {
        const [type, id] = [text(item, "entity_type"), text(item, "entity_id")];
        const version = number(item, "version") ?? 0;
        if (type === undefined || id === undefined) continue;
        const key = `${type}/${id}`;
        // What the stream told meanwhile may be newer.
        if ((this.#known.get(key)?.version ?? 0) > version) continue;
        const changed = field(item, "changed");
        const by = text(field(changed, "by"), "instance_id") ?? "";
        this.#known.set(key, { key, version, at: text(changed, "at") ?? "", by });
      }
      this.#page = text(body, "next");
      this.#note("");
    } catch (error) {
      if (asking.signal.aborted) return;
      this.#isLoaded = false;
      this.#note(inWords(error, "the entities of this room"));
    }
    this.#show();
  }

  #note(words: string): void {
    named(this.root, "note").hidden = words === "";
    say(named(this.root, "note"), words);
  }

  #later(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (!this.#ended.signal.aborted) this.#show();
    });
  }

  #show(): void {
    const text = named<HTMLInputElement>(this.root, "text").value.trim().toLowerCase();
    const all = [...this.#known.values()];
    const found = all.filter(({ key, by }) => `${key} ${by}`.toLowerCase().includes(text));
    found.sort((a, b) => b.version - a.version);
    this.#rows.show(found.slice(0, 500), ({ key }) => key);
    this.#roving.look();
    const types = new Set(all.map(({ key }) => splitKey(key)[0]));
    const isMore = this.#page !== undefined && this.#page !== "" && all.length < MOST;
    named(this.root, "more").hidden = !isMore;
    named(this.root, "empty").hidden = found.length > 0;
    say(named(this.root, "empty"), all.length === 0 ? "There is no entity here." : "No entity passes these filters.");
    const words = `${count(Math.min(found.length, 500))} of ${count(all.length)}${isMore ? " and more" : ""}`;
    say(named(this.root, "count"), all.length === 0 ? "" : `${words} · of ${count(types.size)} types`);
  }

  #row(key: string): HTMLLIElement {
    const [type, id] = splitKey(key);
    const row = element(
      "button",
      { type: "button", className: "row", tabIndex: -1, onclick: () => this.#room.lead(key) },
      element("span", { className: "type change" }, type),
      element("span", { className: "id" }, id),
      element("span", { className: "seq" }),
      element("span", { className: "who" }),
    );
    row.dataset.key = key;
    row.setAttribute("aria-current", String(key === this.#pane?.key));
    return element("li", {}, row);
  }

  #update(row: HTMLLIElement, { version, at, by }: Listed): void {
    const [seq, who] = [row.querySelector(".seq"), row.querySelector(".who")];
    if (seq) say(seq, `v${version}`);
    if (who) say(who, [by, at && moment(at)].filter(Boolean).join(" · "));
  }
}
