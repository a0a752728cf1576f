/**
 * What the client shows, read by React: safe under StrictMode, concurrent rendering and on a server.
 *
 * Owns: which state is shown where nothing can be known yet, and when a followed result is opened and closed. Must not know: how
 * the client comes to its state.
 */

import { useCallback, useMemo, useSyncExternalStore } from "react";
import type { Client, ConnectionStatus, EntityState, Interest, Observable, ResultState, SyncStatus } from "../index.js";

/**
 * Reads what changes. `first` is what a server renders and what a page hydrates with: the same object in both places, whatever
 * the client has come to know meanwhile, so that the two agree.
 */
export function useObserved<T>(observable: Observable<T>, first: T): T {
  const subscribe = useCallback((listener: () => void) => observable.subscribe(listener), [observable]);
  return useSyncExternalStore(
    subscribe,
    () => observable.snapshot(),
    () => first,
  );
}

/** The same object for as long as the key says that it is the same thing. */
export function useKept<T>(make: () => T, client: Client, key: string): T {
  // What `make` is made of is in the key.
  // biome-ignore lint/correctness/useExhaustiveDependencies: see above
  return useMemo(make, [client, key]);
}

/** A result that is followed while somebody looks at it: opening one asks the node, which rendering must not do. */
export function followed(client: Client, interest: Interest): Observable<ResultState> {
  let result: ReturnType<Client["follow"]> | undefined;
  let listeners = 0;
  return {
    snapshot: () => result?.snapshot() ?? FIRST.result,
    subscribe(listener) {
      result ??= client.follow(interest);
      listeners += 1;
      const stop = result.subscribe(listener);
      return () => {
        stop();
        listeners -= 1;
        if (listeners > 0) return;
        result?.close();
        result = undefined;
      };
    },
  };
}

/** What is shown before anything is known. */
export const FIRST = {
  connection: { state: "idle" } as ConnectionStatus,
  sync: {
    status: "stale",
    ageS: undefined,
    pending: 0,
    conflicted: 0,
    refused: 0,
    storage: "memory",
    storageReason: undefined,
  } as SyncStatus,
  entity: {
    status: "loading",
    data: null,
    confirmed: null,
    version: 0,
    pending: 0,
    error: undefined,
  } as EntityState,
  result: { status: "loading", items: [], error: undefined } as ResultState,
  presence: { members: [], total: 0 },
  conflicts: [],
} as const;
