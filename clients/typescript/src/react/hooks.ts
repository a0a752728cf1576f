/** The hooks. Owns: their names and what they give back. Must not know: the wire. */

import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type {
  Client,
  Conflict,
  Conflicts,
  ConnectionStatus,
  Entity,
  EntityState,
  Interest,
  Json,
  Op,
  PresenceState,
  ResultState,
  Settled,
  SyncStatus,
} from "../index.js";
import { FIRST, followed, useKept, useObserved } from "./observed.js";
import { useClient } from "./provider.js";

/** Where the connection stands. */
export function useConnection(): ConnectionStatus {
  return useObserved(useClient().connection, FIRST.connection);
}

/** How fresh what is shown is, and what waits. */
export function useSyncStatus(): SyncStatus {
  return useObserved(useClient().sync, FIRST.sync);
}

/** An entity's state, with what waits laid over it, and the entity to write to. */
export type UsedEntity = EntityState & { readonly entity: Entity };

/** One entity, followed while the component is shown. */
export function useEntity(type: string, id: string): UsedEntity {
  const client = useClient();
  const entity = useKept(() => client.entity(type, id), client, JSON.stringify([type, id]));
  const state = useObserved(entity, FIRST.entity);
  return useMemo(() => ({ ...state, entity }), [state, entity]);
}

/**
 * The entities of a type (`where` is written in CEL), or of any other interest, kept up to date while the component is shown.
 * An interest may be written anew with each rendering.
 */
export function useQuery(type: string, where?: string): ResultState;
export function useQuery(interest: Interest): ResultState;
export function useQuery(what: string | Interest, where?: string): ResultState {
  const client = useClient();
  const query = where === undefined ? {} : { where };
  const interest = typeof what === "string" ? { query: { entity_type: what, ...query } } : what;
  const result = useKept(() => followed(client, interest), client, JSON.stringify(interest));
  return useObserved(result, FIRST.result);
}

/** A write and what became of its newest call. */
export interface Mutation<Values extends readonly unknown[]> {
  /** Writes. What it leads to is shown at once wherever the entity is. */
  readonly mutate: (...values: Values) => Op<unknown> | undefined;
  /** `idle`: nothing was written yet. `writing`: the newest write waits. Else what became of it. */
  readonly status: "idle" | "writing" | Settled["status"];
  readonly settled: Settled | undefined;
  /** Writes of this component that wait. */
  readonly writing: number;
  /** Forgets what became of it. */
  readonly reset: () => void;
}

const UNUSED = { op: undefined, settled: undefined, writing: 0 };

/** A write in a component's words, as `useMutation((client, title: string) => client.entity("task", "t1").update({ title }))`. */
export function useMutation<Values extends readonly unknown[]>(
  write: (client: Client, ...values: Values) => Op<unknown> | undefined,
): Mutation<Values> {
  const client = useClient();
  const [state, setState] = useState<{ op: Op<unknown> | undefined; settled: Settled | undefined; writing: number }>(
    UNUSED,
  );
  // The function may be written anew with each rendering: the newest is called.
  const newest = useRef(write);
  useEffect(() => {
    newest.current = write;
  });
  const mutate = useCallback(
    (...values: Values) => {
      const op = newest.current(client, ...values);
      if (!op) return op;
      setState(({ writing }) => ({ op, settled: undefined, writing: writing + 1 }));
      void op.settled.then((settled) =>
        setState((now) => ({ ...now, ...(now.op === op && { settled }), writing: Math.max(0, now.writing - 1) })),
      );
      return op;
    },
    [client],
  );
  const reset = useCallback(() => setState(({ writing }) => ({ ...UNUSED, writing })), []);
  return useMemo(() => {
    const status = state.settled?.status ?? (state.op ? "writing" : "idle");
    return { mutate, status, settled: state.settled, writing: state.writing, reset };
  }, [mutate, reset, state]);
}

/** Who is here, and how to say what the others see of you. */
export type UsedPresence = PresenceState & { readonly update: (data: Json) => void };

/** Who is here. With `data`, that is what the others see of you. */
export function usePresence(data?: Json): UsedPresence {
  const { presence } = useClient();
  const state = useObserved<PresenceState>(presence, FIRST.presence);
  const update = useCallback((data: Json) => presence.update(data), [presence]);
  const said = data === undefined ? undefined : JSON.stringify(data);
  useEffect(() => {
    if (said !== undefined) update(JSON.parse(said));
  }, [said, update]);
  return useMemo(() => ({ ...state, update }), [state, update]);
}

/** What lies open, and how to choose. */
export interface UsedConflicts {
  readonly conflicts: readonly Conflict[];
  readonly resolve: Conflicts["resolve"];
}

/** Conflicts that wait for somebody's choice, and variants that are kept. */
export function useConflicts(): UsedConflicts {
  const { conflicts: source } = useClient();
  const conflicts = useObserved<readonly Conflict[]>(source, FIRST.conflicts);
  return useMemo(
    () => ({ conflicts, resolve: source.resolve.bind(source) as Conflicts["resolve"] }),
    [conflicts, source],
  );
}
