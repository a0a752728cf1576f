/** What options and members are called on the wire. */

import type { ClientOptions, Member } from "../api.js";
import type { Content } from "../json.js";

/** What is passed on and kept nowhere. */
const SIGNAL = /^(cursor\.move|selection\.change|user\.presence|typing|signal\..+|gonzai\.suggestion|chaos\.trigger)$/;

/** What a node takes for a message of the session or a change, and never answers as it answers an event. */
const RESERVED =
  /^(ping|pong|auth|ack|heartbeat|sync_(request|reconnect|event)|graph\.sync|subscribe|unsubscribe|gonzai\.focus|(node|edge)\.(create|update|delete|restore)|memory\.(created|updated|deleted|restore)|context\.(update|delete|restore)|batch\.update|conflict\.resolve|conflict_resolution)$/;

/** Somebody in the room, as a node says it. */
export function wireOf({ instance, connectedAt, capabilities, user, userName }: Member): Content {
  const member: Content = { instance_id: instance, connected_at: connectedAt, capabilities: [...capabilities] };
  if (user !== undefined) member.user_id = user;
  if (userName !== undefined) member.user_name = userName;
  return member;
}

/** What of the options goes into the handshake. */
export function queryOf(options: ClientOptions): Record<string, string> {
  const query: Record<string, string> = {};
  if (options.types !== undefined && options.types.length > 0) query.types = options.types.join(",");
  if (options.capabilities !== undefined && options.capabilities.length > 0) {
    query.capabilities = options.capabilities.join(",");
  }
  return query;
}

/** Whether a type is no event's. What else may be none the node says. */
export function isReserved(type: string): boolean {
  return isSignal(type) || RESERVED.test(type);
}

export function isSignal(type: string): boolean {
  return SIGNAL.test(type);
}
