/** JSON as values. Owns: the types, and telling equal values. Numbers beyond 2^53 lose digits here, as everywhere in JavaScript. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** An entity's content: one JSON object. */
export type Content = { [key: string]: Json };

export function isContent(value: unknown): value is Content {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A field that a member of the object itself, never its prototype, may have. */
export function field(value: unknown, name: string): unknown {
  return isContent(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

/** A value as it is written down: what changes it later does not change the write. */
export function copied<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

export function isEqual(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, at) => isEqual(item, b[at]));
  }
  if (!isContent(a) || !isContent(b)) return false;
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && isEqual(a[name], b[name]))
  );
}
