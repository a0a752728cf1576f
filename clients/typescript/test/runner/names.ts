/** Expected values with names in them: a text that begins with `$` is bound where it occurs first and stands for that from then on. */

import { isContent, isEqual, type Json } from "../../src/json.js";

export class Names {
  readonly #bound = new Map<string, Json>();

  get(name: string): Json | undefined {
    return this.#bound.get(name);
  }

  bind(name: string, value: Json): void {
    this.#bound.set(name, value);
  }

  /** Whether a value is what is expected; binds what is new only if all of it is. */
  matches(expected: Json, actual: Json | undefined): boolean {
    const fresh = new Map<string, Json>();
    if (!this.#matches(expected, actual, fresh)) return false;
    for (const [name, value] of fresh) this.#bound.set(name, value);
    return true;
  }

  #matches(expected: Json, actual: Json | undefined, fresh: Map<string, Json>): boolean {
    if (actual === undefined) return false;
    if (typeof expected === "string" && expected.startsWith("$")) {
      const bound = this.#bound.get(expected) ?? fresh.get(expected);
      if (bound === undefined) fresh.set(expected, actual);
      return bound === undefined || isEqual(bound, actual);
    }
    if (Array.isArray(expected)) {
      return (
        Array.isArray(actual) &&
        expected.length === actual.length &&
        expected.every((item, at) => this.#matches(item, actual[at], fresh))
      );
    }
    if (isContent(expected)) {
      if (!isContent(actual)) return false;
      const names = Object.keys(expected);
      return (
        names.length === Object.keys(actual).length &&
        names.every((name) => Object.hasOwn(actual, name) && this.#matches(expected[name] ?? null, actual[name], fresh))
      );
    }
    return isEqual(expected, actual);
  }
}
