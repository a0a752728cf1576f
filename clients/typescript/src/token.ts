/** The token that proves who we are. Owns: asking for one, and knowing the present one. Never shows it to anybody. */

import type { TokenSource } from "./api.js";
import { field } from "./json.js";

export class Tokens {
  #source: TokenSource | undefined;
  #current: string | undefined;

  constructor(source: TokenSource | undefined) {
    this.#source = source;
  }

  get current(): string | undefined {
    return this.#current;
  }

  /** Whether asking again may give another one. */
  get isRenewable(): boolean {
    return typeof this.#source === "function";
  }

  /** When the present token ends, as it says itself: a node tells it of a renewed one only. */
  get expiresAt(): string | undefined {
    const claims = this.#current?.split(".")[1];
    if (claims === undefined) return undefined;
    try {
      const ends = field(JSON.parse(atob(claims.replaceAll("-", "+").replaceAll("_", "/"))), "exp");
      return typeof ends === "number" ? new Date(ends * 1_000).toISOString() : undefined;
    } catch {
      // An API key, or a token of another form.
      return undefined;
    }
  }

  replace(source: TokenSource): void {
    this.#source = source;
  }

  /** Asks for a token; rejects with whatever its source rejects with. */
  async ask(signal: AbortSignal): Promise<string | undefined> {
    this.#current = typeof this.#source === "function" ? await this.#source({ signal }) : this.#source;
    return this.#current;
  }
}
