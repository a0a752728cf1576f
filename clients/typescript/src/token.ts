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
  get endsAt(): number | undefined {
    const ends = this.#claim("exp");
    return ends === undefined ? undefined : ends * 1_000;
  }

  /** How long the present token lasts from its making to its end, whatever our clock says. */
  get lifeMs(): number | undefined {
    const [made, ends] = [this.#claim("iat"), this.#claim("exp")];
    return made === undefined || ends === undefined ? undefined : (ends - made) * 1_000;
  }

  replace(source: TokenSource): void {
    this.#source = source;
  }

  /** Asks for a token; rejects with whatever its source rejects with. */
  async ask(signal: AbortSignal): Promise<string | undefined> {
    this.#current = typeof this.#source === "function" ? await this.#source({ signal }) : this.#source;
    return this.#current;
  }

  #claim(name: string): number | undefined {
    const claims = this.#current?.split(".")[1];
    if (claims === undefined) return undefined;
    try {
      const said = field(JSON.parse(atob(claims.replaceAll("-", "+").replaceAll("_", "/"))), name);
      return typeof said === "number" ? said : undefined;
    } catch {
      // An API key, or a token of another form.
      return undefined;
    }
  }
}
