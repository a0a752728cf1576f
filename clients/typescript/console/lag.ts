/** How far somebody is behind. Owns: how it is worded. Pure. */

import { field } from "../src/json.js";
import { count as number } from "../src/wire/message.js";
import { count, span } from "./format.js";
import { type Light, lightOf } from "./lights.js";

export interface Lag {
  readonly records: number;
  readonly seconds: number;
  /** Whether it is more than the room remembers. */
  readonly isMore: boolean;
}

export function lagOf(lag: unknown): Lag | undefined {
  const [records, seconds] = [number(lag, "records"), field(lag, "seconds")];
  if (records === undefined || typeof seconds !== "number") return undefined;
  return { records, seconds, isMore: field(lag, "exact") === false };
}

/** The light of who is so far behind. */
export function lightOfLag(lag: Lag | undefined): [Light, string] {
  if (lag === undefined) return ["grey", "not told"];
  const light = lightOf(lag.seconds);
  if (lag.records === 0) return [light, "in step"];
  const many = `${lag.isMore ? "more than " : ""}${count(lag.records)} behind`;
  return [light, `${many}, ${span(lag.seconds)}`];
}
