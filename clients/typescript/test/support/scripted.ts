/** A socket whose other side is the test. */

import type { WebSocketLike } from "../../src/index.js";

export class ScriptedSocket implements WebSocketLike {
  static last: ScriptedSocket | undefined;
  readonly url: string;
  readonly sent: Record<string, unknown>[] = [];
  readyState = 0;
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;

  constructor(url: string) {
    this.url = url;
    ScriptedSocket.last = this;
    queueMicrotask(() => {
      this.readyState = 1;
      this.onopen?.({} as never);
    });
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(): void {
    this.readyState = 3;
  }

  /** The node says this. */
  say(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) } as never);
  }

  /** The node closes. */
  end(code: number, reason: string): void {
    this.readyState = 3;
    this.onclose?.({ code, reason } as never);
  }
}
