/** Where writes wait until their fate is known. Owns: the contract that every store keeps. Must not know: connections. */

import type { Json } from "../json.js";

/** A write that waits. */
export interface Entry {
  /** Under which the node applies it once, a UUID. */
  readonly id: string;
  /** Its place: writes go out by it. Given by the store, rising. */
  readonly number: number;
  /** The program or tab that wrote it, and which of its writes it is: by them the node knows a repeat. */
  readonly replica: string;
  readonly opNumber: number;
  /** `operation`: a change of the entity `type`, `entity`. `event`: an event of this type. */
  readonly kind: "operation" | "event";
  readonly type: string;
  readonly entity: string | undefined;
  /** The version that it was made on; `undefined`: what stands when it arrives. */
  readonly base: number | undefined;
  /** The epoch of the log that this is a version of; `undefined`: none was known. */
  readonly log?: string | undefined;
  /** An operation's other fields, or an event's content. */
  readonly body: Json;
  /** It may have been sent: from then on it is repeated as it stands. */
  readonly sent: boolean;
  /** Milliseconds since 1970. */
  readonly writtenAt: number;
}

export type Draft = Omit<Entry, "number" | "sent">;

/** What of a write may change until it is sent. */
export type Rewritten = Pick<Entry, "id" | "base" | "log" | "body">;

/** A write that the node refused for good. */
export interface Refusal {
  readonly entry: Entry;
  readonly code: string;
  readonly message: string;
  readonly current: Json | undefined;
  readonly at: number;
}

/** What a store holds. */
export interface Held {
  readonly entries: readonly Entry[];
  readonly refusals: readonly Refusal[];
}

/**
 * A store. What it resolves is flushed as far as the platform lets it. Every call may reject; then nothing of it was done.
 * One store belongs to one room and one instance.
 */
export interface Store {
  /** What survives the end of this program: `disk`. */
  readonly durability: "disk" | "memory";
  /** Opens it and gives what it holds, in order. */
  open(): Promise<Held>;
  /** Puts a write behind the others. One that is there already (another tab put it there) is given as it stands. */
  append(draft: Draft): Promise<Entry>;
  /** Puts another content into a write that was not sent yet; `false`: it was, or is gone. */
  rewrite(entry: Rewritten): Promise<boolean>;
  /** Marks what is about to be sent and gives it as it stands now, without what is gone. */
  claim(ids: readonly string[]): Promise<readonly Entry[]>;
  /** Its fate is known; with a refusal it is kept among the refused. */
  settle(id: string, refusal?: Refusal): Promise<void>;
  /** Forgets a refused write. */
  forget(id: string): Promise<void>;
  close(): Promise<void>;
}
