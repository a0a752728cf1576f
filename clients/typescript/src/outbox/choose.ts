/** Which store is meant. Owns: what is there on this platform, and saying why nothing better is. */

import type { ClientOptions } from "../api.js";
import { ContinuumError } from "../errors.js";
import { FileStore } from "./file.js";
import { IndexedDbStore } from "./indexeddb.js";
import { MemoryStore } from "./memory.js";
import type { Store } from "./store.js";

export interface Chosen {
  readonly store: Store;
  /** Why writes wait in memory only, though it was not asked for. */
  readonly reason: string | undefined;
  /** Several tabs may have it: one of them sends. */
  readonly isShared: boolean;
}

/** `name` is of one node, room and instance. */
export function chooseStore(
  { store = "auto", directory, instance }: ClientOptions,
  tenant: string,
  name: string,
): Chosen {
  if (typeof store === "object") return { store, reason: undefined, isShared: false };
  if (store === "memory") return memory(undefined);
  if (directory !== undefined) {
    if (instance === undefined) {
      throw new ContinuumError("invalid_parameter", "a 'directory' is of one instance: name the 'instance'");
    }
    return { store: new FileStore(directory, tenant, instance), reason: undefined, isShared: false };
  }
  let factory: IDBFactory | undefined;
  try {
    factory = globalThis.indexedDB;
  } catch {
    // Some browsers forbid even to look at it.
  }
  if (factory === undefined) return memory("there is no IndexedDB here, and no 'directory' was given");
  if (instance === undefined) return memory("without an 'instance' what waits could not be found again");
  if (globalThis.navigator?.locks === undefined)
    return memory("there are no Web Locks here: the page is not secure (https)");
  return { store: new IndexedDbStore(factory, name), reason: undefined, isShared: true };
}

function memory(reason: string | undefined): Chosen {
  return { store: new MemoryStore(), reason, isShared: false };
}
