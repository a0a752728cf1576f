/**
 * A network that can be cut: what a client is given in the place of the browser's WebSocket and fetch.
 *
 * Owns: that nothing passes while it is cut, and that sockets end then as on a lost network. Must not know: what passes.
 */

import type { WebSocketConstructor, WebSocketLike } from "../src/index.js";

/** How a socket ends of which nothing was heard any more. */
const LOST = 1006;

export class Network {
  #isCut = false;
  #lines = new Set<Line>();
  readonly WebSocket: WebSocketConstructor;
  readonly fetch: typeof fetch;

  constructor() {
    const join = (line: Line) => this.#lines.add(line);
    const leave = (line: Line) => this.#lines.delete(line);
    const isCut = () => this.#isCut;
    this.WebSocket = class extends Line {
      constructor(url: string) {
        super(url, isCut(), leave);
        join(this);
      }
    };
    this.fetch = (input, init) =>
      this.#isCut ? Promise.reject(new TypeError("the network is cut")) : globalThis.fetch(input, init);
  }

  get isCut(): boolean {
    return this.#isCut;
  }

  cut(): void {
    this.#isCut = true;
    for (const line of this.#lines) line.lose();
  }

  restore(): void {
    this.#isCut = false;
  }
}

class Line implements WebSocketLike {
  onopen: WebSocketLike["onopen"] = null;
  onmessage: WebSocketLike["onmessage"] = null;
  onclose: WebSocketLike["onclose"] = null;
  onerror: WebSocketLike["onerror"] = null;
  #socket: WebSocket | undefined;
  #leave: (line: Line) => void;

  constructor(url: string, isCut: boolean, leave: (line: Line) => void) {
    this.#leave = leave;
    if (isCut) {
      queueMicrotask(() => this.lose());
      return;
    }
    const socket = new WebSocket(url);
    this.#socket = socket;
    socket.onopen = (event) => this.onopen?.(event as never);
    socket.onmessage = (event) => this.onmessage?.(event as never);
    socket.onerror = (event) => this.onerror?.(event as never);
    socket.onclose = (event) => {
      leave(this);
      this.onclose?.(event as never);
    };
  }

  get readyState(): number {
    return this.#socket?.readyState ?? WebSocket.CLOSED;
  }

  send(text: string): void {
    this.#socket?.send(text);
  }

  close(code?: number, reason?: string): void {
    this.#socket?.close(code, reason);
  }

  /** Ends it for the client without a word; the node is spared the wait. */
  lose(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#leave(this);
    if (socket) {
      socket.onopen = socket.onmessage = socket.onerror = socket.onclose = null;
      socket.close();
    }
    this.onclose?.(new CloseEvent("close", { code: LOST, reason: "the network is cut", wasClean: false }) as never);
  }
}
