/** JSON pointers (RFC 6901). */

import type { Json } from "../json.js";

/** The names that a pointer is made of; `undefined`: it is none. */
export function parsePointer(pointer: string): string[] | undefined {
  if (pointer === "") return [];
  if (!pointer.startsWith("/") || /~(?![01])/.test(pointer)) return undefined;
  return pointer
    .slice(1)
    .split("/")
    .map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/** A place in a list; `undefined`: it is none, or `-`. */
export function indexOf(name: string): number | undefined {
  return /^(0|[1-9][0-9]*)$/.test(name) ? Number(name) : undefined;
}

/** What stands at a pointer; `undefined`: nothing does. */
export function valueAt(value: Json, pointer: string): Json | undefined {
  let at: Json | undefined = value;
  for (const name of parsePointer(pointer) ?? [""]) {
    if (Array.isArray(at)) {
      const index = indexOf(name);
      at = index === undefined ? undefined : at[index];
    } else if (typeof at === "object" && at !== null) {
      at = Object.hasOwn(at, name) ? at[name] : undefined;
    } else {
      return undefined;
    }
  }
  return at;
}
