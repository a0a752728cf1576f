/** Merge patches (RFC 7396) and JSON patches (RFC 6902) on values that are never changed in place. Pure. */

import type { JsonPatchOp } from "../api.js";
import { isContent, isEqual, type Json } from "../json.js";
import { indexOf, parsePointer, valueAt } from "./pointer.js";

export function mergePatch(base: Json | undefined, patch: Json): Json {
  if (!isContent(patch)) return patch;
  let result = isContent(base) ? base : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) result = without(result, name);
    else result = { ...result, [name]: mergePatch(Object.hasOwn(result, name) ? result[name] : undefined, value) };
  }
  return result;
}

function without(value: { [key: string]: Json }, name: string): { [key: string]: Json } {
  const { [name]: _, ...rest } = value;
  return rest;
}

/** The value after a JSON patch; `undefined`: it cannot be done, or a test failed. */
export function jsonPatch(base: Json, ops: readonly JsonPatchOp[]): Json | undefined {
  let value: Json | undefined = base;
  for (const op of ops) {
    if (value === undefined) return undefined;
    value = done(value, op);
  }
  return value;
}

function done(value: Json, op: JsonPatchOp): Json | undefined {
  switch (op.op) {
    case "add":
      return put(value, op.path, op.value, "add");
    case "replace":
      return valueAt(value, op.path) === undefined ? undefined : put(value, op.path, op.value, "replace");
    case "remove":
      return put(value, op.path, undefined, "replace");
    case "test": {
      const there = valueAt(value, op.path);
      return there !== undefined && isEqual(there, op.value) ? value : undefined;
    }
    case "copy": {
      const from = valueAt(value, op.from);
      return from === undefined ? undefined : put(value, op.path, from, "add");
    }
    case "move": {
      const from = valueAt(value, op.from);
      if (from === undefined || op.path.startsWith(`${op.from}/`)) return undefined;
      const rest = put(value, op.from, undefined, "replace");
      return rest === undefined ? undefined : put(rest, op.path, from, "add");
    }
    default:
      return undefined;
  }
}

/** Puts a value at a pointer, or removes what is there (`undefined`). */
function put(value: Json, pointer: string, item: Json | undefined, how: "add" | "replace"): Json | undefined {
  const names = parsePointer(pointer);
  return names === undefined ? undefined : putAt(value, names, item, how);
}

function putAt(
  value: Json,
  names: readonly string[],
  item: Json | undefined,
  how: "add" | "replace",
): Json | undefined {
  const [name, ...rest] = names;
  if (name === undefined) return item;
  if (Array.isArray(value)) return putInList(value, name, rest, item, how);
  if (!isContent(value)) return undefined;
  const there = Object.hasOwn(value, name) ? value[name] : undefined;
  if (rest.length > 0) {
    const inner = there === undefined ? undefined : putAt(there, rest, item, how);
    return inner === undefined ? undefined : { ...value, [name]: inner };
  }
  if (item !== undefined) return { ...value, [name]: item };
  return there === undefined ? undefined : without(value, name);
}

function putInList(
  list: Json[],
  name: string,
  rest: readonly string[],
  item: Json | undefined,
  how: "add" | "replace",
): Json[] | undefined {
  const index = name === "-" ? list.length : indexOf(name);
  if (index === undefined || index > list.length) return undefined;
  if (rest.length > 0) {
    const there = list[index];
    const inner = there === undefined ? undefined : putAt(there, rest, item, how);
    return inner === undefined ? undefined : list.with(index, inner);
  }
  if (item === undefined) return index < list.length ? list.toSpliced(index, 1) : undefined;
  if (how === "replace") return index < list.length ? list.with(index, item) : undefined;
  return list.toSpliced(index, 0, item);
}

/** What a text edit makes of the value at its pointer. */
export function putText(value: Json, pointer: string, text: string): Json | undefined {
  return put(value, pointer, text, "replace");
}
