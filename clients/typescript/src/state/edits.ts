/** Text edits inside operations, and how those that wait make way for those of others. Pure. */

import { type Content, field, isContent, type Json } from "../json.js";
import { isTextOps, type TextOps, transformPair } from "../text/ops.js";
import { valueAt } from "./pointer.js";

/** Which text an operation edits by its parts. */
export function pathOf(body: Json): string | undefined {
  const edit = field(body, "text");
  const path = field(edit, "path");
  return typeof path === "string" && isTextOps(field(edit, "ops")) ? path : undefined;
}

export function opsOfBody(body: Json): TextOps {
  const ops = field(field(body, "text"), "ops");
  return isTextOps(ops) ? ops : [];
}

/** The operation with another edit. */
export function withOps(body: Json, ops: TextOps): Json {
  if (!isContent(body)) return body;
  return { ...body, text: { path: pathOf(body) ?? "", ops: [...ops] } };
}

/** The text at a pointer; `undefined`: there is none. */
export function textAt(data: Content | null, path: string): string | undefined {
  const value = data === null ? undefined : valueAt(data, path);
  return typeof value === "string" ? value : undefined;
}

/**
 * Carries edits that wait past those of others, one by one, as the log has them and as the node does it. Gives what the waiting
 * ones are on the log's text, and what the others' are on the text that is shown.
 */
export function makeWay(
  others: readonly TextOps[],
  waiting: readonly TextOps[],
): { waiting: TextOps[]; here: TextOps[] } {
  let left = [...waiting];
  const here: TextOps[] = [];
  for (const other of others) {
    let way = other;
    left = left.map((ops) => {
      const [after, carried] = transformPair(way, ops);
      way = after;
      return carried;
    });
    here.push(way);
  }
  return { waiting: left, here };
}
