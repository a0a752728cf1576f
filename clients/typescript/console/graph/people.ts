/** Where the others are in the graph: their cursors and what they selected. Owns: how many are remembered, and for how long. Pure. */

import type { Signal } from "../../src/index.js";
import { field } from "../../src/json.js";

/** Most people that are drawn. */
const MOST = 32;
/** A cursor that did not move for so long is not drawn any more. */
const STILL_MS = 60_000;

export interface Person {
  readonly instance: string;
  readonly name: string;
  /** One of six. */
  readonly colour: number;
  readonly cursor: { readonly x: number; readonly y: number } | undefined;
  readonly movedAt: number;
  readonly selected: readonly string[];
}

export class People {
  readonly #all = new Map<string, Person>();

  /** Takes a signal; `false`: it is none of these. */
  take({ type, instance, user, data }: Signal, now: number): boolean {
    if (type !== "cursor.move" && type !== "selection.change") return false;
    const before = this.#all.get(instance);
    const fresh = { instance, name: user ?? instance, colour: colourOf(instance), movedAt: now };
    const known = before ?? { ...fresh, cursor: undefined, selected: [] };
    if (type === "cursor.move") {
      const [x, y] = [field(data, "x"), field(data, "y")];
      const isPlace = Number.isFinite(x) && Number.isFinite(y);
      const cursor = isPlace ? { x: x as number, y: y as number } : undefined;
      this.#put({ ...known, cursor, movedAt: now });
    } else {
      const nodes = field(data, "nodes");
      const selected = Array.isArray(nodes) ? nodes.filter((id) => typeof id === "string").slice(0, 64) : [];
      this.#put({ ...known, selected });
    }
    return true;
  }

  /** Who left takes cursor and selection along. */
  keep(instances: ReadonlySet<string>): void {
    for (const name of this.#all.keys()) if (!instances.has(name)) this.#all.delete(name);
  }

  seen(now: number): Person[] {
    return [...this.#all.values()].map((person) =>
      now - person.movedAt > STILL_MS ? { ...person, cursor: undefined } : person,
    );
  }

  #put(person: Person): void {
    // Who moved last is the last one to be forgotten.
    this.#all.delete(person.instance);
    this.#all.set(person.instance, person);
    const oldest = this.#all.keys().next().value;
    if (this.#all.size > MOST && oldest !== undefined) this.#all.delete(oldest);
  }
}

/** The same colour for the same name, everywhere. */
export function colourOf(name: string): number {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) % 9973;
  return (sum % 6) + 1;
}
