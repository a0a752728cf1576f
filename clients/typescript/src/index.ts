/** The package's public face: nothing else is meant to be imported. */

export type * from "./api.js";
export { ContinuumClient } from "./client.js";
export { type Clock, systemClock } from "./clock.js";
export { ContinuumError, type ErrorDetails, isPassing, LOCAL_CODES } from "./errors.js";
export type { Content, Json } from "./json.js";
export type { Draft, Entry, Held, Refusal, Rewritten, Store } from "./outbox/store.js";
export type { TextOps } from "./text/ops.js";
export { PROTOCOL } from "./version.js";
