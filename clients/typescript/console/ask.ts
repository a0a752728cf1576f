/**
 * Questions to the node over HTTP, and asking again and again.
 *
 * Owns: the token on requests, that one question is under way at a time, that nobody is asked while the page is not looked at, and
 * what a refusal is called in plain words. Must not know: what is asked.
 */

import { ContinuumError } from "../src/errors.js";
import { refusal } from "../src/transport/http.js";

/** What was refused for good is asked again so much later: a grant may have been widened. */
const PATIENCE_MS = 30_000;
/** The longest pause while the node cannot be reached. */
const LONGEST_MS = 15_000;
/** Longest time that an answer may take. */
const DEADLINE_MS = 20_000;

export class Ask {
  readonly #base: string;
  readonly #token: string;

  /** `base` ends with a slash. */
  constructor(base: string, token: string) {
    this.#base = base;
    this.#token = token;
  }

  async json(path: string, signal?: AbortSignal): Promise<unknown> {
    const text = await this.text(path, signal);
    try {
      return JSON.parse(text);
    } catch {
      throw new ContinuumError("malformed", "the answer is no JSON: something else is at this address");
    }
  }

  /** Rejects with what the node refuses, or with `unreachable`. */
  async text(path: string, signal?: AbortSignal): Promise<string> {
    const deadline = AbortSignal.timeout(DEADLINE_MS);
    const ended = signal === undefined ? deadline : AbortSignal.any([signal, deadline]);
    let response: Response;
    let text: string;
    try {
      const headers: Record<string, string> = this.#token === "" ? {} : { authorization: `Bearer ${this.#token}` };
      response = await fetch(`${this.#base}${path}`, { headers, signal: ended });
      text = await response.text();
    } catch (error) {
      signal?.throwIfAborted();
      throw new ContinuumError("unreachable", `the node does not answer: ${(error as Error).message}`);
    }
    if (!response.ok) throw refusal(response.status, parsed(text));
    return text;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Whether it will be refused the same way until somebody changes something. */
export function isFinal(error: unknown): boolean {
  if (!(error instanceof ContinuumError)) return false;
  return ["forbidden", "unauthenticated", "switched_off", "not_found", "method_not_allowed"].includes(error.code);
}

/** A refusal as an operator wants to read it. */
export function inWords(error: unknown, what: string): string {
  if (!(error instanceof ContinuumError)) return `${what} cannot be shown: ${(error as Error).message}`;
  switch (error.code) {
    case "forbidden":
      return `This token is good, but not for ${what}: ${error.message}. Everything else here goes on working.`;
    case "unauthenticated":
    case "token_expired":
    case "token_revoked":
      return `The node wants another token for ${what}: ${error.message}.`;
    case "switched_off":
      return `This node does not offer ${what}: ${error.message}.`;
    case "not_found":
    case "method_not_allowed":
      return `This node knows nothing of ${what}; it may be of an older version.`;
    case "rate_limited":
      return `The node asks for a pause (too many requests of this user); ${what} come again by themselves.`;
    case "unreachable":
      return `The node does not answer at this moment; it is asked again by itself.`;
    default:
      return `${what} cannot be shown: ${error.message} (${error.code}). It is tried again by itself.`;
  }
}

export interface PollOptions<T> {
  readonly ask: (signal: AbortSignal) => Promise<T>;
  readonly everyMs: number;
  readonly show: (answer: T) => void;
  readonly refused: (error: unknown) => void;
}

/** Asks, shows, and asks again, for as long as it runs and the page is looked at. */
export class Poll<T> {
  readonly #options: PollOptions<T>;
  #running: AbortController | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  readonly #looked = () => {
    if (!document.hidden && this.#timer !== undefined) this.now();
  };

  constructor(options: PollOptions<T>) {
    this.#options = options;
  }

  start(): void {
    if (this.#running !== undefined) return;
    this.#running = new AbortController();
    document.addEventListener("visibilitychange", this.#looked);
    void this.#round(this.#running.signal);
  }

  stop(): void {
    this.#running?.abort();
    this.#running = undefined;
    document.removeEventListener("visibilitychange", this.#looked);
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Asks at once what would be asked later. */
  now(): void {
    if (this.#running === undefined || this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    void this.#round(this.#running.signal);
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { ask, everyMs, show, refused } = this.#options;
    let pause = everyMs;
    if (!document.hidden) {
      try {
        const answer = await ask(signal);
        if (signal.aborted) return;
        this.#failures = 0;
        show(answer);
      } catch (error) {
        if (signal.aborted) return;
        this.#failures += 1;
        pause = isFinal(error) ? PATIENCE_MS : Math.min(LONGEST_MS, everyMs * 2 ** Math.min(this.#failures, 5));
        refused(error);
      }
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#round(signal);
    }, pause);
  }
}
