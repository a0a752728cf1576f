/** The ways to the node, the best first. */

import type { ClientOptions, WebSocketConstructor } from "../api.js";
import type { Base, OpenLink } from "./link.js";
import { openWebSocket } from "./websocket.js";

export function ladderOf(options: ClientOptions, base: Base): readonly OpenLink[] {
  const Socket = options.WebSocket ?? (globalThis.WebSocket as WebSocketConstructor | undefined);
  const ladder: OpenLink[] = [];
  if (Socket !== undefined) ladder.push(openWebSocket(base, Socket));
  return ladder;
}
