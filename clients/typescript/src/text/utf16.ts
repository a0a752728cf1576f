/**
 * Texts as JavaScript counts them (UTF-16 units) and edits as the wire counts them (code points).
 * Owns: that no surrogate pair is ever cut, and which of several edits that explain a change is meant.
 */

import type { Splice, TextChange } from "../api.js";
import { advance, canonical, lengthOf, type TextOps } from "./ops.js";

const isHigh = (unit: number) => unit >= 0xd800 && unit <= 0xdbff;
const isLow = (unit: number) => unit >= 0xdc00 && unit <= 0xdfff;

/** The text with U+FFFD for every half of a surrogate pair, which no node takes. */
export function wellFormed(text: string): string {
  return text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd");
}

/** A place that does not lie in the middle of a pair; one that does is moved to its front. */
function whole(text: string, at: number): number {
  return at > 0 && at < text.length && isHigh(text.charCodeAt(at - 1)) && isLow(text.charCodeAt(at)) ? at - 1 : at;
}

/**
 * What turned `before` into `after`, as one splice. With the caret as it stands after the change (in UTF-16 units), what was
 * inserted ends there if it can: of "aa" after "a" it is not known otherwise which one is new.
 */
export function spliceBetween(before: string, after: string, caret?: number): Splice | undefined {
  if (before === after) return undefined;
  const shorter = Math.min(before.length, after.length);
  const mostTail = caret === undefined ? shorter : Math.min(shorter, Math.max(0, after.length - caret));
  let head = 0;
  let tail = 0;
  const growTail = (most: number) => {
    while (tail < most && before.charCodeAt(before.length - 1 - tail) === after.charCodeAt(after.length - 1 - tail))
      tail += 1;
  };
  if (caret !== undefined) growTail(mostTail);
  while (head < shorter - tail && before.charCodeAt(head) === after.charCodeAt(head)) head += 1;
  growTail(shorter - head);
  // Pairs whose halves differ in one unit only would be cut.
  head = Math.min(whole(before, head), whole(after, head));
  while (
    tail > 0 &&
    (whole(before, before.length - tail) !== before.length - tail ||
      whole(after, after.length - tail) !== after.length - tail)
  )
    tail -= 1;
  return { at: head, deleted: before.length - tail - head, inserted: after.slice(head, after.length - tail) };
}

/** A splice of `text` as an edit. */
export function opsOf(splice: Splice, text: string): TextOps {
  const from = whole(text, splice.at);
  const end = splice.at + splice.deleted;
  const to = splice.deleted === 0 ? from : whole(text, end) === end ? end : end + 1;
  // Letters that share a half are told apart by the other one alone: what stands around it belongs to the new letter.
  const { inserted } = splice;
  const before = splice.deleted > 0 && isLow(inserted.charCodeAt(0)) ? text.slice(from, splice.at) : "";
  const after = isHigh(inserted.charCodeAt(inserted.length - 1)) ? text.slice(end, to) : "";
  return canonical([
    lengthOf(text.slice(0, from)),
    wellFormed(before + inserted + after),
    -lengthOf(text.slice(from, to)),
  ]);
}

/** What turns `before` into `after`, as an edit. */
export function opsBetween(before: string, after: string, caret?: number): TextOps {
  const splice = spliceBetween(before, after, caret);
  return splice === undefined ? [] : opsOf(splice, before);
}

/** An edit of `text` as splices, from the last to the first. It has to fit the text. */
export function splicesOf(ops: TextOps, text: string): Splice[] {
  const splices: Splice[] = [];
  let at = 0;
  let inserted = "";
  let deleted = 0;
  const flush = () => {
    if (inserted !== "" || deleted > 0) splices.unshift({ at: at - deleted, deleted, inserted });
    inserted = "";
    deleted = 0;
  };
  for (const part of canonical(ops)) {
    if (typeof part === "string") {
      inserted += part;
      continue;
    }
    const next = advance(text, at, Math.abs(part));
    if (part > 0) {
      flush();
      at = next;
    } else {
      deleted += next - at;
      at = next;
    }
  }
  flush();
  return splices;
}

/** A place in the text of before a change, in the text of after it. What others insert right there goes behind the caret. */
export function follow(place: number, change: TextChange): number {
  return change.splices.reduce((at, splice) => {
    if (splice.at + splice.deleted <= at && !(splice.deleted === 0 && splice.at === at && change.by === "others")) {
      return at + splice.inserted.length - splice.deleted;
    }
    return Math.min(at, splice.at);
  }, place);
}
