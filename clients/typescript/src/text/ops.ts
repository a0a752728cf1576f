/**
 * Edits of a text that several people change at once: how they apply, follow each other and make way for each other.
 *
 * Owns: convergence (two edits of one text lead to the same text in either order, once each was transformed against the other)
 * and the rule for two insertions at one place: the earlier in the log stands to the left. All counts are code points.
 * Must not know: who made an edit, where it is kept.
 */

/** A list in which a positive number keeps so many code points, a negative one removes so many, and a string is inserted. */
export type TextOps = readonly (number | string)[];

/** Puts parts into the one canonical form: neighbours joined, an insertion before a removal, nothing empty, nothing kept at the end. */
class Builder {
  readonly #parts: (number | string)[] = [];

  keep(count: number): void {
    if (count > 0) this.#join(count);
  }

  remove(count: number): void {
    if (count > 0) this.#join(-count);
  }

  insert(text: string): void {
    if (text === "") return;
    const parts = this.#parts;
    const last = parts.at(-1);
    const at = typeof last === "number" && last < 0 ? parts.length - 1 : parts.length;
    const before = parts[at - 1];
    if (typeof before === "string") parts[at - 1] = before + text;
    else parts.splice(at, 0, text);
  }

  done(): TextOps {
    const last = this.#parts.at(-1);
    if (typeof last === "number" && last > 0) this.#parts.pop();
    return this.#parts;
  }

  #join(part: number): void {
    const last = this.#parts.at(-1);
    if (typeof last === "number" && last > 0 === part > 0) this.#parts[this.#parts.length - 1] = last + part;
    else this.#parts.push(part);
  }
}

/** Gives an edit part by part, in pieces of any size. Behind its end everything is kept. */
class Reader {
  readonly #ops: TextOps;
  #at = 0;
  #rest: number | string | undefined;

  constructor(ops: TextOps) {
    this.#ops = ops;
    this.#rest = ops[0];
  }

  get isDone(): boolean {
    return this.#rest === undefined;
  }

  /** The text that is inserted here, if one is. */
  takeInsert(): string | undefined {
    if (typeof this.#rest !== "string") return undefined;
    const text = this.#rest;
    this.#next();
    return text;
  }

  /** How many code points are kept (positive) or removed (negative) here; `Infinity` behind the end. */
  get run(): number {
    return typeof this.#rest === "number" ? this.#rest : Number.POSITIVE_INFINITY;
  }

  takeRun(count: number): void {
    if (typeof this.#rest !== "number") return;
    const left = Math.abs(this.#rest) - count;
    if (left === 0) this.#next();
    else this.#rest = this.#rest > 0 ? left : -left;
  }

  /** How many code points are inserted here. */
  get inserted(): number | undefined {
    return typeof this.#rest === "string" ? lengthOf(this.#rest) : undefined;
  }

  /** The first of the code points that are inserted here. */
  takeInserted(count: number): string {
    const text = this.#rest as string;
    const end = advance(text, 0, count);
    if (end === text.length) this.#next();
    else this.#rest = text.slice(end);
    return text.slice(0, end);
  }

  #next(): void {
    this.#at += 1;
    this.#rest = this.#ops[this.#at];
  }
}

/** Length in code points. */
export function lengthOf(text: string): number {
  let count = 0;
  for (let at = 0; at < text.length; at = step(text, at)) count += 1;
  return count;
}

/** The UTF-16 place that lies `count` code points behind `at`; -1: the text ends before. */
export function advance(text: string, at: number, count: number): number {
  let place = at;
  for (let left = count; left > 0; left -= 1) {
    if (place >= text.length) return -1;
    place = step(text, place);
  }
  return place;
}

function step(text: string, at: number): number {
  return at + ((text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1);
}

/** Whether this is an edit as it may come over the wire. */
export function isTextOps(value: unknown): value is TextOps {
  return (
    Array.isArray(value) &&
    value.every((part) => typeof part === "string" || (Number.isSafeInteger(part) && part !== 0))
  );
}

/** The same edit in its one form. */
export function canonical(ops: TextOps): TextOps {
  const builder = new Builder();
  for (const part of ops) {
    if (typeof part === "string") builder.insert(part);
    else if (part > 0) builder.keep(part);
    else builder.remove(-part);
  }
  return builder.done();
}

/** The text after the edit; `undefined`: it reaches beyond the text's end. */
export function apply(ops: TextOps, text: string): string | undefined {
  // What is kept at the end need not be there.
  let at = 0;
  let result = "";
  for (const part of canonical(ops)) {
    if (typeof part === "string") {
      result += part;
      continue;
    }
    const next = advance(text, at, Math.abs(part));
    if (next < 0) return undefined;
    if (part > 0) result += text.slice(at, next);
    at = next;
  }
  return result + text.slice(at);
}

/**
 * Both sides of one transformation of two edits of the same text: `earlier` in the form that applies after `later`, and
 * `later` in the form that applies after `earlier`. Where both insert at one place, `earlier` stands to the left.
 */
export function transformPair(earlier: TextOps, later: TextOps): [earlier: TextOps, later: TextOps] {
  const [a, b] = [new Reader(canonical(earlier)), new Reader(canonical(later))];
  const [aAfter, bAfter] = [new Builder(), new Builder()];
  while (!a.isDone || !b.isDone) {
    const left = a.takeInsert();
    if (left !== undefined) {
      aAfter.insert(left);
      bAfter.keep(lengthOf(left));
      continue;
    }
    const right = b.takeInsert();
    if (right !== undefined) {
      aAfter.keep(lengthOf(right));
      bAfter.insert(right);
      continue;
    }
    const count = Math.min(Math.abs(a.run), Math.abs(b.run));
    const [doesKeepA, doesKeepB] = [a.run > 0, b.run > 0];
    if (doesKeepA && doesKeepB) {
      aAfter.keep(count);
      bAfter.keep(count);
    } else if (doesKeepB) {
      aAfter.remove(count);
    } else if (doesKeepA) {
      bAfter.remove(count);
    }
    a.takeRun(count);
    b.takeRun(count);
  }
  return [aAfter.done(), bAfter.done()];
}

/** One edit that does what `first` and then `second`, made on the text that `first` leaves, do. */
export function compose(first: TextOps, second: TextOps): TextOps {
  const [a, b] = [new Reader(canonical(first)), new Reader(canonical(second))];
  const both = new Builder();
  while (!a.isDone || !b.isDone) {
    if (a.inserted === undefined && a.run < 0) {
      both.remove(-a.run);
      a.takeRun(-a.run);
      continue;
    }
    const inserted = b.takeInsert();
    if (inserted !== undefined) {
      both.insert(inserted);
      continue;
    }
    const count = Math.min(a.inserted ?? a.run, Math.abs(b.run));
    if (a.inserted !== undefined) {
      const text = a.takeInserted(Math.min(count, a.inserted));
      if (b.run > 0) both.insert(text);
      b.takeRun(count);
      continue;
    }
    if (b.run > 0) both.keep(count);
    else both.remove(count);
    a.takeRun(count);
    b.takeRun(count);
  }
  return both.done();
}
