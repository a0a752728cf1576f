/** The ways to the node, the best first. */

import type { ClientOptions, WebSocketConstructor } from "../api.js";
import type { Content } from "../json.js";
import { openEvents } from "./events.js";
import type { Http } from "./http.js";
import type { Base, OpenLink } from "./link.js";
import { openPolling } from "./polling.js";
import { openWebSocket } from "./websocket.js";

export function ladderOf(options: ClientOptions, base: Base, http: Http, who: Content): readonly OpenLink[] {
  const Socket = options.WebSocket ?? (globalThis.WebSocket as WebSocketConstructor | undefined);
  const { transport = "auto" } = options;
  const ladder: OpenLink[] = [];
  if (Socket !== undefined && (transport === "auto" || transport === "websocket"))
    ladder.push(openWebSocket(base, Socket));
  if (transport === "auto" || transport === "events") ladder.push(openEvents(http, who));
  if (transport === "auto" || transport === "polling") ladder.push(openPolling(http, who));
  return ladder;
}
