/**
 * The room's records as they come, with filters.
 *
 * Owns: how many are kept and shown, what a filter lets through, and that a stopped list stands still. Must not know: what records mean.
 */

import { ContinuumError } from "../src/errors.js";
import { matcher } from "../src/room/patterns.js";
import { inWords } from "./ask.js";
import { copy, element, named, Rows, say } from "./dom.js";
import { clock, count, lines } from "./format.js";
import { ofRecord, ofSignal, type Shown } from "./records.js";
import type { Room } from "./room.js";
import { Roving } from "./roving.js";

/** Records that are kept to be filtered, and rows that are shown of them. */
const KEPT = 1_000;
const ROWS = 300;
/** How far back is looked for what was before, in positions of the log. */
const BACK = 500;
/** Less than what lies between two records. */
const SIGNAL_STEP = 1e-5;

export class StreamView {
  readonly root = copy("stream");
  readonly #room: Room;
  readonly #stops: (() => void)[];
  readonly #rows: Rows<Shown, HTMLLIElement>;
  readonly #roving: Roving;
  /** The newest first. */
  #kept: Shown[] = [];
  /** What came since the last look, and while the list stood still: made ready when it is shown. */
  #came: (() => Shown)[] = [];
  #isStopped = false;
  #isDue = false;
  /** The place of what came last: signals, which have none in the log, stand between the records. */
  #last = 0;
  #open = new Set<string>();
  #ended = new AbortController();

  constructor(room: Room) {
    this.#room = room;
    const list = named<HTMLOListElement>(this.root, "records");
    this.#rows = new Rows(list, (shown) => this.#row(shown));
    this.#roving = new Roving(list, "button.row");
    const { client } = room;
    this.#stops = [
      client.on("record", (record) => {
        this.#last = record.seq;
        this.#take(() => ofRecord(record));
      }),
      client.on("signal", (signal) => {
        this.#last += SIGNAL_STEP;
        const order = this.#last;
        if (this.#box("signals").checked) this.#take(() => ofSignal(signal, order));
      }),
    ];
    for (const name of ["types", "from", "text"]) this.#box(name).oninput = () => this.#show();
    this.#box("signals").onchange = () => {
      this.#kept = this.#kept.filter(({ kind }) => kind !== "signal");
      this.#show();
    };
    named<HTMLButtonElement>(this.root, "stop").onclick = () => this.stop();
    named<HTMLFormElement>(this.root, "filters").onreset = () => {
      // The fields are emptied behind this event.
      setTimeout(() => this.#show());
    };
    named<HTMLFormElement>(this.root, "filters").onsubmit = (event) => event.preventDefault();
    void this.#before();
  }

  /** Lets the list stand still, or go on. */
  stop(): void {
    this.#isStopped = !this.#isStopped;
    const button = named<HTMLButtonElement>(this.root, "stop");
    button.setAttribute("aria-pressed", String(this.#isStopped));
    say(button, this.#isStopped ? "Go on" : "Stop");
    this.#show();
  }

  /** To the filters. */
  search(): void {
    this.#box("text").focus();
  }

  end(): void {
    this.#ended.abort();
    for (const stop of this.#stops) stop();
  }

  #box(name: string): HTMLInputElement {
    return named<HTMLInputElement>(this.root, name);
  }

  /** What the room said lately, so that nobody looks at an empty page. */
  async #before(): Promise<void> {
    const { client } = this.#room;
    const { signal } = this.#ended;
    try {
      await client.online({ signal });
      const [epoch = "", position = "0"] = (client.cursor ?? "").split(".");
      let after: string | undefined = `${epoch}.${Math.max(0, Number(position) - BACK)}`;
      for (let pages = 0; pages < 4 && after !== undefined; pages += 1) {
        const page = await client.historyPage({ after, pageSize: BACK, signal });
        for (const record of page.records) this.#take(() => ofRecord(record));
        after = page.more ? page.cursor : undefined;
      }
    } catch (error) {
      if (!signal.aborted && error instanceof ContinuumError && error.code !== "client_closed") {
        this.#note(inWords(error, "the room's stream"));
      }
    }
  }

  #note(words: string): void {
    const note = named(this.root, "note");
    note.hidden = words === "";
    say(note, words);
  }

  #take(came: () => Shown): void {
    this.#came.push(came);
    if (this.#came.length > 2 * KEPT) this.#came.splice(0, KEPT);
    if (this.#isDue) return;
    this.#isDue = true;
    // All that comes within a frame is shown at once.
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (!this.#ended.signal.aborted) this.#show();
    });
  }

  /** Takes in what came. */
  #keep(): void {
    if (this.#came.length === 0) return;
    const came = this.#came.splice(0).map((make) => make());
    const known = new Set(this.#kept.map(({ key }) => key));
    const all = [...came.filter(({ key }) => !known.has(key)), ...this.#kept];
    all.sort((a, b) => b.order - a.order);
    this.#kept = all.slice(0, KEPT);
  }

  #show(): void {
    if (!this.#isStopped) this.#keep();
    const types = this.#box("types")
      .value.split(/[\s,]+/)
      .filter((type) => type !== "");
    const isWanted = matcher(types.length === 0 ? undefined : types);
    const from = this.#box("from").value.trim().toLowerCase();
    const text = this.#box("text").value.trim().toLowerCase();
    const found = this.#kept.filter(
      (shown) =>
        isWanted(shown.type) &&
        shown.instance.toLowerCase().includes(from) &&
        (text === "" || JSON.stringify(shown.raw).toLowerCase().includes(text)),
    );
    this.#rows.show(found.slice(0, ROWS), ({ key }) => key);
    this.#roving.look();
    named(this.root, "empty").hidden = found.length > 0;
    say(
      named(this.root, "empty"),
      this.#kept.length === 0 ? "Nothing was said in this room yet." : "No record passes these filters.",
    );
    const parts = [`${count(Math.min(found.length, ROWS))} of ${count(this.#kept.length)} shown`];
    if (this.#isStopped) parts.push(`stopped, ${count(this.#came.length)} more came`);
    say(named(this.root, "count"), parts.join(" · "));
  }

  #row(shown: Shown): HTMLLIElement {
    const { key, seq, at, type, instance, kind, words, raw } = shown;
    const row = element(
      "button",
      { type: "button", className: "row", tabIndex: -1 },
      element("span", { className: "seq" }, seq === undefined ? "signal" : `#${seq}`),
      element("time", { dateTime: at }, clock(at)),
      element("span", { className: `type ${kind}` }, type),
      element("span", { className: "who" }, instance),
      element("span", { className: "words" }, words),
    );
    const item = element("li", {}, row);
    const isOpen = () => this.#open.has(key);
    const show = () => {
      row.setAttribute("aria-expanded", String(isOpen()));
      item.querySelector("pre")?.remove();
      if (isOpen()) item.append(element("pre", { tabIndex: 0 }, lines(raw)));
    };
    row.onclick = () => {
      if (isOpen()) this.#open.delete(key);
      else this.#open.add(key);
      show();
    };
    show();
    return item;
  }
}
