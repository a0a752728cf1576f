/** The view of what waits for the log, what it will never take, and how the log stands. Owns: when that is good or bad. */

import { field, isContent } from "../src/json.js";
import { count as number, text } from "../src/wire/message.js";
import { inWords, Poll } from "./ask.js";
import { copy, element, labelled, named, Rows, say } from "./dom.js";
import { bytes, count, span } from "./format.js";
import { type Light, lamp, lightOf, relight } from "./lights.js";
import type { Room } from "./room.js";

const EVERY_MS = 3_000;

interface Row {
  readonly name: string;
  readonly light: Light;
  readonly words: string;
  readonly cells: readonly string[];
}

/** One table with its note and its questions. */
class Part {
  readonly #root: HTMLElement;
  readonly #rows: Rows<Row, HTMLTableRowElement>;
  readonly #poll: Poll<unknown>;

  constructor(root: HTMLElement, room: Room, path: string, what: string, show: (part: Part, answer: unknown) => void) {
    this.#root = root;
    this.#rows = new Rows(
      named(root, "rows"),
      ({ name, cells }) =>
        labelled(
          element(
            "tr",
            {},
            element("th", { scope: "row", className: "name" }, name),
            element("td", {}, lamp("grey", "")),
            ...cells.map(() => element("td", { className: "number" })),
          ),
          root,
        ),
      (row, { light, words, cells }) => {
        const shown = row.querySelector<HTMLElement>(".lamp");
        if (shown) relight(shown, light, words);
        cells.forEach((text, at) => {
          const cell = row.cells[at + 2];
          if (cell) say(cell, text);
        });
      },
    );
    this.#poll = new Poll({
      ask: (signal) => room.ask.json(path, signal),
      everyMs: EVERY_MS,
      show: (answer) => {
        this.note("");
        show(this, answer);
      },
      refused: (error) => this.note(inWords(error, what)),
    });
  }

  start(): void {
    this.#poll.start();
  }

  stop(): void {
    this.#poll.stop();
  }

  note(words: string): void {
    named(this.#root, "note").hidden = words === "";
    say(named(this.#root, "note"), words);
  }

  rows(rows: readonly Row[]): void {
    this.#rows.show(rows, ({ name }) => name);
    named(this.#root, "table").hidden = rows.length === 0;
  }

  say(name: string, words: string): void {
    say(named(this.#root, name), words);
  }

  light(light: Light, words: string): void {
    relight(named(this.#root, "light"), light, words);
  }
}

export class JournalView {
  readonly root = copy("journal");
  readonly #parts: Part[];

  constructor(room: Room) {
    this.#parts = [
      new Part(named(this.root, "journal"), room, "v1/admin/journal", "the journal", showJournal),
      new Part(named(this.root, "shards"), room, "v1/admin/shards", "the log's shards", showShards),
    ];
  }

  show(): void {
    for (const part of this.#parts) part.start();
  }

  hide(): void {
    for (const part of this.#parts) part.stop();
  }

  end(): void {
    this.hide();
  }
}

const STANDINGS: Record<string, [Light, string]> = {
  none: ["grey", "not needed: the log is on this machine"],
  empty: ["green", "empty: the log has everything"],
  holding: ["yellow", "holding: publishes wait for the log"],
  full: ["red", "full: publishes are refused"],
};

function showJournal(part: Part, answer: unknown): void {
  const standing = text(answer, "standing") ?? "";
  part.light(...(STANDINGS[standing] ?? ["grey", standing]));
  const total = field(answer, "total");
  const isTold = isContent(total);
  const figures: [string, string][] = [
    ["entries", count(number(total, "entries"))],
    ["bytes", isTold ? `${bytes(number(total, "bytes"))} of ${bytes(number(total, "max_bytes"))}` : "–"],
    ["oldest", span(seconds(total))],
    ["drained", count(number(total, "drained"))],
    ["refused", count(number(total, "refused"))],
    ["dead", count(number(total, "dead"))],
  ];
  for (const [name, words] of figures) part.say(name, words);
  const dead = number(total, "dead") ?? 0;
  part.say(
    "dead-words",
    dead > 0
      ? "The log will never take these. They are kept in the node's journal until somebody has looked at them; docs/operations.md says how."
      : isTold
        ? "There are no dead letters."
        : "",
  );
  const tenants = field(answer, "tenants");
  part.rows(
    (Array.isArray(tenants) ? tenants.filter(isContent) : []).map((item) => {
      const [entries, oldest] = [number(item, "entries") ?? 0, seconds(item)];
      return {
        name: text(item, "tenant") ?? "",
        light: entries === 0 ? "green" : lightOf(oldest),
        words: entries === 0 ? "nothing waits" : `waits for ${span(oldest)}`,
        cells: [count(entries), bytes(number(item, "bytes")), count(number(item, "refused"))],
      };
    }),
  );
}

function seconds(of: unknown): number | undefined {
  const found = field(of, "oldest_seconds");
  return typeof found === "number" ? found : undefined;
}

function showShards(part: Part, answer: unknown): void {
  const shards = field(answer, "shards");
  part.rows(
    (Array.isArray(shards) ? shards.filter(isContent) : []).map((shard) => {
      const state = text(shard, "state") ?? "";
      return {
        name: `${number(shard, "shard") ?? "–"} · ${text(shard, "stream") ?? ""}`,
        light: state === "serving" ? "green" : state === "degraded" ? "yellow" : "red",
        words: [state, text(shard, "reason")].filter(Boolean).join(": "),
        cells: [
          count(number(shard, "records")),
          bytes(number(shard, "bytes")),
          `${count(number(shard, "first"))} to ${count(number(shard, "last"))}`,
          count(number(shard, "read_to")),
          count(number(shard, "lag")),
        ],
      };
    }),
  );
}
