/**
 * What goes to the node where there is no socket: each message as the request that means the same, and its answer as the message
 * that a socket would have brought. Owns: their order.
 */

import { ContinuumError, isPassing } from "../errors.js";
import { type Content, field, isContent, type Json } from "../json.js";
import { count, type Message, text } from "../wire/message.js";
import { type Http, refusal } from "./http.js";

/** When to repeat what met a node that could not be reached. */
const AGAIN_MS = 1_000;

export class HttpWrites {
  readonly #http: Http;
  readonly #who: Content;
  readonly #answer: (message: Message) => void;
  readonly #ended = new AbortController();
  #turn = Promise.resolve();
  #sent = 0;
  /** What a request met that failed for a while, and the last one that was sent by then: those behind it wait as it does. */
  #failure: { readonly data: Content; readonly upTo: number } | undefined;

  /** `who` are the fields that say who writes. */
  constructor(http: Http, who: Content, answer: (message: Message) => void) {
    this.#http = http;
    this.#who = who;
    this.#answer = answer;
  }

  send(message: Message): void {
    const id = text(message, "event_id");
    // Signs of life, signals and subscriptions are of sockets alone.
    if (id === undefined) return;
    this.#sent += 1;
    const number = this.#sent;
    this.#turn = this.#turn.then(() => this.#do(id, number, message));
  }

  close(): void {
    this.#ended.abort();
  }

  async #do(id: string, number: number, message: Message): Promise<void> {
    const failure = this.#failure;
    if (this.#ended.signal.aborted) return;
    if (failure !== undefined && number <= failure.upTo) {
      this.#answer({ event_type: "error", data: { ...failure.data, event_id: id } });
      return;
    }
    const answer = await this.#request(id, message);
    if (this.#ended.signal.aborted) return;
    const { data } = answer;
    const isPassed = answer.event_type === "error" && count(data, "retry_after_ms") !== undefined;
    if (isPassed && isContent(data)) this.#failure = { data, upTo: this.#sent };
    this.#answer(answer);
  }

  async #request(id: string, message: Message): Promise<Message> {
    const event = field(field(message, "data"), "event");
    const isOperation = message.event_type === "sync_event";
    const [path, body] = isOperation
      ? ["operations", { ...this.#who, ...(isContent(event) ? event : {}) }]
      : ["events", { ...message, ...this.#who }];
    const { signal } = this.#ended;
    try {
      const { status, body: said } = await this.#http.send(path, { method: "POST", body, signal });
      return isOperation ? ofOperation(id, status, said) : ofEvent(id, status, said);
    } catch (error) {
      return failed(id, "unavailable", error instanceof Error ? error.message : String(error), AGAIN_MS);
    }
  }
}

function failed(id: string, code: string, message: string, retryAfterMs: number | undefined): Message {
  const data: Content = { code, message, event_id: id };
  if (retryAfterMs !== undefined) data.retry_after_ms = retryAfterMs;
  return { event_type: "error", data };
}

function ofError(id: string, error: ContinuumError): Message {
  const isPassed = isPassing(error.code, error.retryAfterMs);
  return failed(id, error.code, error.message, error.retryAfterMs ?? (isPassed ? AGAIN_MS : undefined));
}

function ofEvent(id: string, status: number, said: unknown): Message {
  if (status >= 400) return ofError(id, refusal(status, said));
  if (text(said, "status") === "queued") return { event_type: "queued", data: { event_id: id } };
  const seq = count(said, "seq");
  if (seq === undefined) return ofError(id, new ContinuumError("malformed", "the answer names no position"));
  return { event_type: "ack", data: { event_id: id, seq, duplicate: field(said, "duplicate") === true } };
}

function ofOperation(id: string, status: number, said: unknown): Message {
  const data: { [key: string]: Json } = { ...(isContent(said) ? said : {}), updateId: id };
  const [outcome, code] = [text(said, "outcome"), text(said, "code")];
  if (status < 400 && outcome !== undefined) return { event_type: `update.${outcome}`, data };
  if (code === "conflict_pending") return { event_type: "update.conflict_pending", data };
  if (code === "contended") return { event_type: "update.retry", data };
  // What was tried and not done names the operation; what was not even tried does not.
  const isTried =
    text(said, "updateId") !== undefined && code !== undefined && !isPassing(code, count(said, "retry_after_ms"));
  const reason = text(said, "reason") ?? text(said, "detail") ?? "";
  return isTried ? { event_type: "update.rollback", data: { ...data, reason } } : ofError(id, refusal(status, said));
}
