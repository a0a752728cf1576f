/** What differs between two contents. Owns: a bound on how much is told. Pure. */

import { isContent, isEqual, type Json } from "../src/json.js";

export interface Difference {
  /** A JSON pointer; empty: the whole. */
  readonly path: string;
  readonly kind: "added" | "removed" | "changed";
  readonly before: Json | undefined;
  readonly after: Json | undefined;
}

/** Most differences that are told. */
export const MOST = 200;

/** From one content to another, field by field, in the order of the fields; `undefined` is none at all. */
export function differences(before: Json | undefined, after: Json | undefined): Difference[] {
  const found: Difference[] = [];
  look("", before, after, found);
  return found;
}

function look(path: string, before: Json | undefined, after: Json | undefined, found: Difference[]): void {
  if (found.length >= MOST || isEqual(before, after)) return;
  if (isContent(before) && isContent(after)) {
    const names = new Set([...Object.keys(before), ...Object.keys(after)]);
    for (const name of names) look(`${path}/${escaped(name)}`, own(before, name), own(after, name), found);
    return;
  }
  if (Array.isArray(before) && Array.isArray(after)) {
    for (let at = 0; at < Math.max(before.length, after.length); at += 1) {
      look(`${path}/${at}`, before[at], after[at], found);
    }
    return;
  }
  const kind = before === undefined ? "added" : after === undefined ? "removed" : "changed";
  found.push({ path, kind, before, after });
}

function own(value: { [key: string]: Json }, name: string): Json | undefined {
  return Object.hasOwn(value, name) ? value[name] : undefined;
}

export function escaped(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}

/** Two texts as what they begin with, what differs, and what they end with, in whole words. */
export function split(before: string, after: string): { head: string; gone: string; came: string; tail: string } {
  const [a, b] = [[...before], [...after]];
  const shorter = Math.min(a.length, b.length);
  let head = 0;
  while (head < shorter && a[head] === b[head]) head += 1;
  const isEnd = (at: number) => at === 0 || isBlank(a[at - 1]) || (isEdge(a[at]) && isEdge(b[at]));
  while (!isEnd(head)) head -= 1;
  let tail = 0;
  while (tail < shorter - head && a.at(-1 - tail) === b.at(-1 - tail)) tail += 1;
  const isStart = () => tail === 0 || isBlank(a.at(-tail)) || (isEdge(a.at(-1 - tail)) && isEdge(b.at(-1 - tail)));
  while (!isStart()) tail -= 1;
  return {
    head: a.slice(0, head).join(""),
    gone: a.slice(head, a.length - tail).join(""),
    came: b.slice(head, b.length - tail).join(""),
    tail: a.slice(a.length - tail).join(""),
  };
}

function isBlank(character: string | undefined): boolean {
  return character !== undefined && /\s/.test(character);
}

/** Whether a word ends here. */
function isEdge(character: string | undefined): boolean {
  return character === undefined || isBlank(character);
}
