/** A socket to the node. Owns: turning the platform's socket into a link. */

import type { WebSocketConstructor } from "../api.js";
import { Malformed, parse } from "../wire/message.js";
import type { Base, OpenLink } from "./link.js";

const OPEN = 1;

export function openWebSocket(base: Base, Socket: WebSocketConstructor): OpenLink {
  return (target, events) => {
    const query = new URLSearchParams(target.query);
    if (target.since !== undefined) query.set("since", target.since);
    // All records come, one's own too: what is shown needs to know nothing of who wrote what.
    query.set("echo", "1");
    const socket = new Socket(`${base.ws}/ws/sync?${query}`);
    let isOver = false;
    let hasOpened = false;
    const end = (code: number | undefined, reason: string) => {
      if (isOver) return;
      isOver = true;
      events.lost({ code, reason, error: undefined });
    };
    socket.onopen = () => {
      hasOpened = true;
      // As the first message and not in the handshake: a page does not see why a handshake was refused.
      if (target.token !== undefined) {
        socket.send(JSON.stringify({ event_type: "auth", data: { token: target.token } }));
      }
    };
    socket.onmessage = (event: { data: unknown }) => {
      if (isOver || typeof event.data !== "string") return;
      try {
        events.message(parse(event.data));
      } catch (error) {
        if (!(error instanceof Malformed)) throw error;
        socket.close();
        end(undefined, error.message);
      }
    };
    socket.onerror = () => {
      // Not every platform says `close` of a socket that never opened.
      if (!hasOpened) end(1006, "no socket could be opened");
    };
    socket.onclose = (event: { code: number; reason: string }) => {
      end(event.code, event.reason === "" ? `closed with code ${event.code}` : event.reason);
    };
    return {
      name: "websocket",
      isSocket: true,
      send(message) {
        if (socket.readyState === OPEN) socket.send(JSON.stringify(message));
      },
      close() {
        isOver = true;
        socket.close(1000);
      },
    };
  };
}
