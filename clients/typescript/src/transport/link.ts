/** What every way to the node has in common. Owns: the contract; and what a base address means. */

import type { TransportChoice } from "../api.js";
import { ContinuumError } from "../errors.js";
import type { Message } from "../wire/message.js";

/** Where to connect, and as whom. */
export interface Target {
  /** Parameters of the handshake: tenant, instance, user, types… */
  readonly query: Readonly<Record<string, string>>;
  /** Where to go on. */
  readonly since: string | undefined;
  readonly token: string | undefined;
}

/** Why a link ended. */
export interface Lost {
  /** Close code of a socket. */
  readonly code: number | undefined;
  readonly reason: string;
  /** What the node refused it with, where it said so. */
  readonly error: ContinuumError | undefined;
}

export interface LinkEvents {
  message(message: Message): void;
  /** Once, and nothing comes after it. */
  lost(why: Lost): void;
}

/** A way to the node that stands, or is being opened. */
export interface Link {
  readonly name: Exclude<TransportChoice, "auto"> | "tab";
  /** Signals, subscriptions and tokens can be sent on it. */
  readonly isSocket: boolean;
  send(message: Message): void;
  /** Ends it without a word to `lost`. */
  close(): void;
}

export type OpenLink = (target: Target, events: LinkEvents) => Link;

/** A node's base addresses. */
export interface Base {
  readonly ws: string;
  readonly http: string;
}

/** Reads a base address: `ws:`, `wss:`, `http:` or `https:`, with whatever path lies in front of the node's. */
export function parseBase(url: string): Base {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new ContinuumError("invalid_parameter", `'${url}' is no URL; write ws://host:8420`);
  }
  const scheme = parsed.protocol;
  if (!["ws:", "wss:", "http:", "https:"].includes(scheme)) {
    throw new ContinuumError("invalid_parameter", "the URL must start with ws:, wss:, http: or https:");
  }
  if (parsed.search !== "" || parsed.hash !== "" || parsed.username !== "") {
    throw new ContinuumError("invalid_parameter", "the URL must be the node's base, without '?', '#' and '@'");
  }
  const rest = parsed.host + parsed.pathname.replace(/(\/ws\/sync)?\/*$/, "");
  const isSecure = scheme === "wss:" || scheme === "https:";
  return { ws: `${isSecure ? "wss" : "ws"}://${rest}`, http: `${isSecure ? "https" : "http"}://${rest}` };
}
