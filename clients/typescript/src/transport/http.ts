/** Requests to the node. Owns: addresses, the token on them, and turning what is refused into typed errors. */

import { ContinuumError, LOCAL_CODES } from "../errors.js";
import { type Content, field, isContent, type Json } from "../json.js";
import type { Tokens } from "../token.js";
import { text } from "../wire/message.js";

export interface Request {
  readonly method?: "GET" | "POST" | undefined;
  readonly query?: Readonly<Record<string, string | number | undefined>> | undefined;
  readonly body?: Json | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export class Http {
  readonly #base: string;
  readonly #tenant: string;
  readonly #who: Readonly<Record<string, string>>;
  readonly #tokens: Tokens;
  readonly #fetch: typeof fetch;

  /** `who` are the parameters that say who asks: what is private to others is not shown. */
  constructor(
    base: string,
    tenant: string,
    who: Readonly<Record<string, string>>,
    tokens: Tokens,
    fetcher: typeof fetch,
  ) {
    this.#base = base;
    this.#tenant = tenant;
    this.#who = who;
    this.#tokens = tokens;
    // A browser's fetch wants to be called as the window's own.
    this.#fetch = (input, init) => fetcher(input, init);
  }

  /** Asks for something below the tenant; rejects with {@link ContinuumError}, or with the signal's reason. */
  async ask(path: string, request: Request = {}): Promise<unknown> {
    const { status, body } = await this.send(path, request);
    if (status >= 400) throw refusal(status, body);
    return body;
  }

  /** The same, and refusals are answers too. */
  async send(path: string, request: Request = {}): Promise<Answer> {
    const response = await this.open(path, request);
    const line = await response.text().catch((error) => {
      request.signal?.throwIfAborted();
      throw unreachable(error);
    });
    let body: unknown;
    try {
      body = line === "" ? undefined : JSON.parse(line);
    } catch {
      throw new ContinuumError(LOCAL_CODES.malformed, "the answer is no JSON: something else is at this address", {
        status: response.status,
      });
    }
    const after = Number(response.headers.get("retry-after"));
    const isHinted = response.status >= 400 && after > 0 && isContent(body) && !Object.hasOwn(body, "retry_after_ms");
    if (isHinted) body = { ...(body as Content), retry_after_ms: after * 1_000 };
    return { status: response.status, body };
  }

  /** The answer as it begins to come. */
  async open(path: string, { method = "GET", query = {}, body, signal }: Request): Promise<Response> {
    const parameters = new URLSearchParams(method === "GET" ? this.#who : {});
    for (const [name, value] of Object.entries(query)) if (value !== undefined) parameters.set(name, String(value));
    const rest = method === "GET" ? `?${parameters}` : "";
    const headers: Record<string, string> = {};
    if (this.#tokens.current !== undefined) headers.authorization = `Bearer ${this.#tokens.current}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    const init: RequestInit = { method, headers };
    if (body !== undefined) init.body = JSON.stringify(body);
    if (signal !== undefined) init.signal = signal;
    try {
      return await this.#fetch(`${this.#base}/v1/tenants/${encodeURIComponent(this.#tenant)}/${path}${rest}`, init);
    } catch (error) {
      signal?.throwIfAborted();
      throw unreachable(error);
    }
  }
}

function unreachable(error: unknown): ContinuumError {
  const reason =
    error instanceof Error ? (error.cause instanceof Error ? error.cause.message : error.message) : String(error);
  return new ContinuumError(LOCAL_CODES.unreachable, `the node cannot be reached: ${reason}`);
}

/** A problem document as an error. */
export function refusal(status: number, body: unknown): ContinuumError {
  const details = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
  const after = field(details, "retry_after_ms");
  return new ContinuumError(
    text(details, "code") ?? (status === 401 ? "unauthenticated" : status >= 500 ? "unavailable" : "refused"),
    text(details, "detail") ?? text(details, "message") ?? text(details, "title") ?? `HTTP ${status}`,
    { status, details, retryAfterMs: typeof after === "number" ? after : undefined },
  );
}

/** The error, if a node said it: what stands in front of one says other things. */
export function saidByNode(error: unknown): ContinuumError | undefined {
  return error instanceof ContinuumError && text(error.details, "code") !== undefined ? error : undefined;
}
