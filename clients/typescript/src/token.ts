/** The token that proves who we are. Owns: asking for one, and knowing the present one. Never shows it to anybody. */

import type { TokenSource } from "./api.js";

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

  replace(source: TokenSource): void {
    this.#source = source;
  }

  /** Asks for a token; rejects with whatever its source rejects with. */
  async ask(signal: AbortSignal): Promise<string | undefined> {
    this.#current = typeof this.#source === "function" ? await this.#source({ signal }) : this.#source;
    return this.#current;
  }
}
