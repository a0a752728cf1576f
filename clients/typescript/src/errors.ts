/** Why something was refused, typed. Owns: which of the node's codes pass by themselves. Must not know: who asked. */

/** A refusal of the node (`code` is one of the protocol's) or of this client (its codes are listed at {@link LOCAL_CODES}). */
export class ContinuumError extends Error {
  override readonly name = "ContinuumError";
  /** Stable, for programs. One that this client does not know is passed on as it came. */
  readonly code: string;
  /** When the same may be tried again, if the node said so. */
  readonly retryAfterMs: number | undefined;
  /** The HTTP status, where it came over HTTP. */
  readonly status: number | undefined;
  /** Everything else that the node said with it (`current`, `version`, `error_id`…). */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: string, message: string, more: ErrorDetails = {}) {
    super(message);
    this.code = code;
    this.retryAfterMs = more.retryAfterMs;
    this.status = more.status;
    this.details = more.details ?? {};
  }
}

export interface ErrorDetails {
  retryAfterMs?: number | undefined;
  status?: number | undefined;
  details?: Readonly<Record<string, unknown>> | undefined;
}

/** Codes that no node sends. */
export const LOCAL_CODES = {
  /** The client was closed. */
  closed: "client_closed",
  /** There is no connection, and this cannot wait for one. */
  offline: "offline",
  /** A message or answer has not the form that the protocol gives it. */
  malformed: "malformed",
  /** The outbox holds as much as it may. */
  full: "outbox_full",
  /** Only a socket has this, and there is none here. */
  socketOnly: "socket_only",
  /** Something else answers at this address, or nothing does. */
  unreachable: "unreachable",
  /** A person took the write out of the outbox. */
  dropped: "dropped",
  /** Another write with this id waits. */
  duplicate: "duplicate_id",
  /** The write is in the browser's storage no more, and nobody said what became of it. */
  gone: "gone",
} as const;

/** Refusals that speak of the node and not of what was sent: the same may go through later. */
const PASSING: ReadonlySet<string> = new Set([
  "rate_limited",
  "busy",
  "log_full",
  "journal_full",
  "unavailable",
  "unknown",
  "draining",
  "internal",
  "contended",
]);

/** Whether the same may go through later: the code says so, or a time does. */
export function isPassing(code: string, retryAfterMs: number | undefined): boolean {
  return retryAfterMs !== undefined || PASSING.has(code);
}
