/** What a close says: whether to come back, and when. */

import type { ConnectionStatus } from "./api.js";
import { ContinuumError, LOCAL_CODES } from "./errors.js";
import type { Lost } from "./transport/link.js";

/** Close codes after which coming back can only end the same way, and what they are called. */
export const FINAL: Readonly<Record<number, string>> = {
  1002: "broken_framing",
  1007: "invalid_encoding",
  4001: "unauthenticated",
  4003: "too_many_invalid",
  4009: "replaced",
  4012: "rule_refused",
  4013: "tenant_erased",
};
/** What makes a token no good; another one may do. */
export const OF_TOKENS: ReadonlySet<string> = new Set(["unauthenticated", "token_expired", "token_revoked"]);

/** How long to stay away, as a node that restarts says it in its close. */
export function hint(why: Lost): number | undefined {
  const said = why.code === 1012 ? /retry in (\d+) ms/.exec(why.reason) : null;
  return said === null ? undefined : Number(said[1]);
}

/** Whether a room is joined; throws what says that it will not be by itself. */
export function isOnline(status: ConnectionStatus): boolean {
  if (status.state === "blocked") throw new ContinuumError(status.code, status.message);
  if (status.state === "closed") throw new ContinuumError(LOCAL_CODES.closed, "the client is closed");
  return status.state === "online";
}
