/** What Gonzai has to say about what one is busy with. Owns: how many notices are kept, and what of them can be drawn. */

import { type Content, field, isContent } from "../../src/json.js";
import { text } from "../../src/wire/message.js";
import { button, element } from "../dom.js";
import { clock, percent } from "../format.js";
import type { Proposal } from "./picture.js";

const KEPT = 20;
/** Suggested edges that are drawn. */
const DRAWN = 5;

export interface Notice {
  readonly key: string;
  readonly at: string;
  readonly words: string;
  readonly why: string;
  readonly proposal: Proposal | undefined;
  /** The node that it is about. */
  readonly node: string | undefined;
}

/** Reads a message of the node; `undefined`: it is no notice of Gonzai's. */
export function noticeOf(message: Readonly<Content>, key: string): Notice | undefined {
  const [type, data] = [text(message, "event_type"), field(message, "data")];
  if (type !== "gonzai.discover" && type !== "gonzai.suggestion") return undefined;
  const at = text(message, "timestamp") ?? "";
  const relevance = field(data, "relevance");
  const share = typeof relevance === "number" ? ` (${percent(relevance)})` : "";
  const why = `${text(data, "reason") ?? ""}${share}`;
  if (type === "gonzai.discover") {
    const event = field(data, "event");
    const node = text(event, "entity_type") === "node" ? text(event, "entity_id") : undefined;
    return { key, at, words: text(data, "suggestion") ?? "Something near changed.", why, proposal: undefined, node };
  }
  const said = field(data, "suggestion");
  const [from, to] = [text(said, "from") ?? text(said, "source"), text(said, "to") ?? text(said, "target")];
  const isEdge = from !== undefined && to !== undefined;
  const words = text(said, "text") ?? text(said, "title") ?? (isEdge ? `Join ${from} and ${to}?` : "A suggestion.");
  const by = text(message, "user_id") ?? text(message, "instance_id") ?? "somebody";
  const proposal = isEdge ? { key, from, to } : undefined;
  return { key, at, words: `${by}: ${words}`, why, proposal, node: from };
}

export class Gonzai {
  readonly #list: HTMLElement;
  readonly #act: { draw(proposal: Proposal): void; lead(node: string): void };
  #notices: Notice[] = [];
  #count = 0;

  constructor(list: HTMLElement, act: { draw(proposal: Proposal): void; lead(node: string): void }) {
    this.#list = list;
    this.#act = act;
  }

  get proposals(): Proposal[] {
    return this.#notices.flatMap(({ proposal }) => proposal ?? []).slice(0, DRAWN);
  }

  /** Takes a message; gives the notice if it was one. */
  take(message: Readonly<Content>): Notice | undefined {
    this.#count += 1;
    const notice = isContent(message) ? noticeOf(message, `gonzai-${this.#count}`) : undefined;
    if (notice === undefined) return undefined;
    this.#notices = [notice, ...this.#notices].slice(0, KEPT);
    this.#list.prepend(this.#item(notice));
    while (this.#list.childElementCount > KEPT) this.#list.lastElementChild?.remove();
    return notice;
  }

  /** A suggestion was followed or is of no use. */
  drop(key: string): void {
    this.#notices = this.#notices.filter((notice) => notice.key !== key);
    this.#list.querySelector(`[data-key="${key}"]`)?.remove();
  }

  #item({ key, at, words, why, proposal, node }: Notice): HTMLLIElement {
    const item = element("li", {}, element("p", {}, words), element("p", { className: "quiet" }, why));
    item.dataset.key = key;
    const acts = element("div", { className: "buttons" }, element("time", { dateTime: at }, clock(at).slice(0, 8)));
    if (node !== undefined) acts.append(button("Show", () => this.#act.lead(node)));
    if (proposal !== undefined) acts.append(button("Draw this edge", () => this.#act.draw(proposal)));
    item.append(acts);
    return item;
  }
}
