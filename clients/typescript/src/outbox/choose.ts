/** Which store is meant. Owns: what is there on this platform, and saying why nothing better is. */

import type { ClientOptions } from "../api.js";
import { MemoryStore } from "./memory.js";
import type { Store } from "./store.js";

export interface Chosen {
  readonly store: Store;
  /** Why writes wait in memory only, though it was not asked for. */
  readonly reason: string | undefined;
}

export function chooseStore({ store = "auto" }: ClientOptions): Chosen {
  if (typeof store === "object") return { store, reason: undefined };
  if (store === "memory") return { store: new MemoryStore(), reason: undefined };
  return { store: new MemoryStore(), reason: "no place to keep writes was given" };
}
