/**
 * One entity: its content as it stands or stood, its versions, and what differs between two of them.
 *
 * Owns: which two versions are compared. Must not know: how the entity was found.
 */

import { ContinuumError } from "../src/errors.js";
import { type Content, field, isContent, type Json } from "../src/json.js";
import { splitKey } from "../src/state/told.js";
import { count as number, text } from "../src/wire/message.js";
import { inWords } from "./ask.js";
import { differences } from "./diff.js";
import { copy, element, named, Rows, say } from "./dom.js";
import { differenceList, value } from "./fields.js";
import { moment } from "./format.js";
import type { Room } from "./room.js";
import { Roving } from "./roving.js";

/** Versions a page, and most that are shown. */
const PAGE = 20;
const MOST = 200;
/** Contents of versions that are kept; they never change. */
const CONTENTS = 50;
/** What changes within this time is asked for at once. */
const SHORTLY_MS = 500;

interface Version {
  readonly version: number;
  readonly action: string;
  readonly at: string;
  readonly by: string;
}

export class EntityPane {
  readonly root = copy("entity");
  readonly key: string;
  readonly #room: Room;
  readonly #type: string;
  readonly #id: string;
  readonly #rows: Rows<Version, HTMLLIElement>;
  readonly #roving: Roving;
  readonly #ended = new AbortController();
  readonly #contents = new Map<number, Json>();
  #versions: Version[] = [];
  #before: number | undefined;
  #chosen: number | undefined;
  #turn = 0;
  #asksLater: ReturnType<typeof setTimeout> | undefined;

  constructor(room: Room, key: string) {
    this.#room = room;
    this.key = key;
    [this.#type, this.#id] = splitKey(key);
    say(named(this.root, "title"), this.#id);
    say(named(this.root, "type"), this.#type);
    const list = named(this.root, "versions");
    this.#rows = new Rows(list, (version) => this.#row(version));
    this.#roving = new Roving(list, "button.row");
    named<HTMLButtonElement>(this.root, "older").onclick = () => void this.#page(this.#before);
    void this.#begin();
  }

  end(): void {
    clearTimeout(this.#asksLater);
    this.#ended.abort();
  }

  /** There is another version. The history of a busy entity is asked for now and then, not for each of its versions. */
  changed(): void {
    if (this.#asksLater !== undefined) return;
    this.#asksLater = setTimeout(() => {
      this.#asksLater = undefined;
      // Who looks at an older version goes on looking at it.
      const isAtHead = this.#chosen === undefined || this.#chosen === this.#versions[0]?.version;
      if (isAtHead) this.#chosen = undefined;
      void this.#begin();
    }, SHORTLY_MS);
  }

  async #begin(): Promise<void> {
    await this.#page(undefined);
  }

  async #page(before: number | undefined): Promise<void> {
    this.#turn += 1;
    const turn = this.#turn;
    const query = new URLSearchParams({ limit: String(PAGE), instance_id: this.#room.client.instance });
    if (before !== undefined) query.set("before", String(before));
    try {
      const path = this.#room.entityPath(this.#type, this.#id, `/versions?${query}`);
      const body = await this.#room.ask.json(path, this.#ended.signal);
      if (turn !== this.#turn) return;
      const found = field(body, "versions");
      const read = (Array.isArray(found) ? found.filter(isContent) : []).map(versionOf);
      const kept = before === undefined ? [] : this.#versions;
      this.#versions = [...kept, ...read].slice(0, MOST);
      const isMore = field(body, "more") === true && this.#versions.length < MOST;
      this.#before = isMore ? number(body, "before") : undefined;
      named(this.root, "older").hidden = this.#before === undefined;
      named(this.root, "trimmed").hidden = field(body, "trimmed") !== true;
      this.#note("");
      this.#rows.show(this.#versions, ({ version }) => String(version));
      this.#roving.look();
      await this.#choose(this.#chosen ?? this.#versions[0]?.version);
    } catch (error) {
      if (!this.#ended.signal.aborted) this.#note(inWords(error, "this entity"));
    }
  }

  #note(words: string): void {
    named(this.root, "note").hidden = words === "";
    say(named(this.root, "note"), words);
  }

  /** Shows a version, and what led from the one before to it. */
  async #choose(chosen: number | undefined): Promise<void> {
    if (chosen === undefined) return;
    this.#chosen = chosen;
    for (const row of this.root.querySelectorAll<HTMLElement>("button.row")) {
      row.setAttribute("aria-current", String(row.dataset.version === String(chosen)));
    }
    const at = this.#versions.findIndex(({ version }) => version === chosen);
    const before = this.#versions[at + 1]?.version;
    const isFirst = this.#versions[at]?.action === "create";
    const [now, then] = await Promise.all([
      this.#content(chosen),
      before === undefined || isFirst ? undefined : this.#content(before),
    ]);
    if (this.#chosen !== chosen || this.#ended.signal.aborted) return;
    const isHead = at === 0;
    say(
      named(this.root, "stands"),
      now === null ? `Deleted in version ${chosen}` : isHead ? `As it stands · version ${chosen}` : `Version ${chosen}`,
    );
    named(this.root, "content").replaceChildren(...fields(now));
    const difference = named(this.root, "difference");
    if (now === undefined || (then === undefined && !isFirst)) {
      say(named(this.root, "against"), "What changed");
      difference.replaceChildren(element("p", { className: "quiet" }, "The log no longer holds what it was before."));
      return;
    }
    say(named(this.root, "against"), isFirst ? "What it began with" : `What changed since version ${before}`);
    difference.replaceChildren(differenceList(differences(isFirst ? {} : (then ?? {}), now ?? {})));
  }

  /** A version's content: `null` if it was deleted then, `undefined` if the log does not hold it any more. */
  async #content(version: number): Promise<Json | undefined> {
    const known = this.#contents.get(version);
    if (known !== undefined) return known;
    const query = new URLSearchParams({ version: String(version), instance_id: this.#room.client.instance });
    let content: Json | undefined;
    try {
      const path = this.#room.entityPath(this.#type, this.#id, `?${query}`);
      const data = field(await this.#room.ask.json(path, this.#ended.signal), "data");
      content = isContent(data) ? data : undefined;
    } catch (error) {
      if (error instanceof ContinuumError && error.code === "deleted") content = null;
      else if (!(error instanceof ContinuumError && error.code === "version_gone")) {
        if (!this.#ended.signal.aborted) this.#note(inWords(error, `version ${version}`));
        return undefined;
      }
    }
    if (content !== undefined) {
      this.#contents.set(version, content);
      const oldest = this.#contents.keys().next().value;
      if (this.#contents.size > CONTENTS && oldest !== undefined) this.#contents.delete(oldest);
    }
    return content;
  }

  #row({ version, action, at, by }: Version): HTMLLIElement {
    const row = element(
      "button",
      { type: "button", className: "row", tabIndex: -1, onclick: () => void this.#choose(version) },
      element("span", { className: "seq" }, `v${version}`),
      element("span", { className: "tag" }, action.replaceAll("_", " ")),
      element("span", { className: "who" }, [by, moment(at)].filter(Boolean).join(" · ")),
    );
    row.dataset.version = String(version);
    return element("li", {}, row);
  }
}

function versionOf(item: Content): Version {
  const by = field(item, "by");
  const name = text(by, "user_name") ?? text(by, "user_id");
  return {
    version: number(item, "version") ?? 0,
    action: text(item, "action") ?? "update",
    at: text(item, "at") ?? "",
    by: [text(by, "instance_id"), name].filter(Boolean).join(" for "),
  };
}

/** A content's fields, one a line. */
function fields(content: Json | undefined): HTMLElement[] {
  if (!isContent(content)) {
    const words = content === null ? "It is not there any more." : "The log no longer holds this version.";
    return [element("p", { className: "quiet" }, words)];
  }
  const list = element("dl", { className: "fields" });
  for (const [name, shown] of Object.entries(content)) {
    list.append(element("div", {}, element("dt", {}, name), element("dd", {}, value(shown))));
  }
  return list.childElementCount === 0 ? [element("p", { className: "quiet" }, "It has no fields.")] : [list];
}
