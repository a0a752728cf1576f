/**
 * What waits, laid over what the log has: the entity as its author wants to see it.
 * Owns: what an operation leads to where nothing of others is in its way, as the node will do it. Pure.
 */

import type { JsonPatchOp } from "../api.js";
import { type Content, field, isContent, type Json } from "../json.js";
import { apply, isTextOps } from "../text/ops.js";
import { jsonPatch, mergePatch, putText } from "./patch.js";
import { valueAt } from "./pointer.js";

/** What an operation makes of an entity (`null`: not there); `undefined`: it cannot be done here. */
export function lay(base: Content | null, body: Json): Content | null | undefined {
  const action = field(body, "action");
  if (action === "delete") return null;
  // What stood before the deletion is the log's to know.
  if (action === "restore" || action === "resolve") return base === null ? undefined : base;
  const isMade = action === "create" || (action === "put" && base === null);
  if (base === null && !isMade) return undefined;
  const changed = change(isMade && action !== "create" ? {} : (base ?? {}), body);
  return changed === undefined || !isContent(changed) ? undefined : changed;
}

function change(base: Content, body: Json): Json | undefined {
  const patch = field(body, "patch");
  if (patch !== undefined) return mergePatch(base, patch as Json);
  const ops = field(body, "ops");
  if (Array.isArray(ops)) return jsonPatch(base, ops as JsonPatchOp[]);
  const text = field(body, "text");
  if (text !== undefined) return changeText(base, text);
  const data = field(body, "data");
  return isContent(data) ? data : undefined;
}

function changeText(base: Content, edit: unknown): Json | undefined {
  const path = field(edit, "path");
  if (typeof path !== "string") return undefined;
  const value = field(edit, "value");
  if (typeof value === "string") return putText(base, path, value);
  const ops = field(edit, "ops");
  const there = valueAt(base, path);
  if (typeof there !== "string" || !isTextOps(ops)) return undefined;
  const after = apply(ops, there);
  return after === undefined ? undefined : putText(base, path, after);
}
