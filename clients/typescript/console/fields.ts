/** Contents and differences as elements. Owns: that whatever stands in them is text. */

import type { Json } from "../src/json.js";
import type { Difference } from "./diff.js";
import { MOST, split } from "./diff.js";
import { element } from "./dom.js";
import { lines } from "./format.js";

/** Longest text that is shown of a value. */
const LONGEST = 4_000;

export function value(shown: Json | undefined): string {
  const text = typeof shown === "string" ? shown : lines(shown);
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}… (${text.length - LONGEST} more characters)` : text;
}

/** What differs, a line for each field, with what went and what came marked in words, not by colour alone. */
export function differenceList(found: readonly Difference[]): HTMLElement {
  if (found.length === 0) return element("p", { className: "quiet" }, "Nothing differs.");
  const list = element("ul", { className: "differences" });
  for (const difference of found) list.append(line(difference));
  if (found.length >= MOST) list.append(element("li", { className: "quiet" }, `Only the first ${MOST} are shown.`));
  return list;
}

function line({ path, kind, before, after }: Difference): HTMLLIElement {
  const item = element("li", { className: kind });
  item.append(element("code", {}, path === "" ? "the whole" : path), element("span", { className: "tag" }, kind));
  const change = element("p", {});
  if (typeof before === "string" && typeof after === "string" && before.length + after.length < LONGEST) {
    const { head, gone, came, tail } = split(before, after);
    change.append(head);
    if (gone !== "") change.append(element("del", {}, gone));
    if (came !== "") change.append(element("ins", {}, came));
    change.append(tail);
  } else {
    if (before !== undefined) change.append(element("del", {}, value(before)));
    if (before !== undefined && after !== undefined) change.append(" ");
    if (after !== undefined) change.append(element("ins", {}, value(after)));
  }
  item.append(change);
  return item;
}
