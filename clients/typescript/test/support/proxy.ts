/** Something between clients and a node that behaves as badly as such things do. */

import type { AddressInfo } from "node:net";
import { createServer, connect as dial, type Server, type Socket } from "node:net";
import type { TestContext } from "node:test";

export interface Manners {
  /** Requests whose head holds one of these are answered 502. */
  refuse?: readonly string[];
  /** Requests whose head holds this are taken and answered with nothing. */
  swallow?: string;
  /** A connection on which nothing came or went for so long is reset. */
  cutIdleMs?: number;
  /** Nothing gets through, and no connection is closed. */
  isStuck?: boolean;
  /** What the node says does not get through. */
  isDeaf?: boolean;
  /** No connection comes about. */
  isDown?: boolean;
}

export class BadProxy {
  manners: Manners;
  /** Heads of requests that came. */
  readonly heads: string[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(target: number, manners: Manners) {
    this.manners = manners;
    this.#server = createServer((socket) => this.#accept(socket, target));
  }

  static async start(test: TestContext, target: number, manners: Manners = {}): Promise<BadProxy> {
    const proxy = new BadProxy(target, manners);
    await new Promise<void>((listening) => proxy.#server.listen(0, "127.0.0.1", listening));
    test.after(() => {
      proxy.cut();
      proxy.#server.close();
    });
    return proxy;
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Every connection breaks. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  #accept(client: Socket, target: number): void {
    if (this.manners.isDown) {
      client.resetAndDestroy();
      return;
    }
    this.#sockets.add(client);
    const node = dial(target, "127.0.0.1");
    const end = () => {
      clearTimeout(idle);
      this.#sockets.delete(client);
      client.destroy();
      node.destroy();
    };
    let idle: NodeJS.Timeout | undefined;
    const touch = () => {
      clearTimeout(idle);
      if (this.manners.cutIdleMs !== undefined)
        idle = setTimeout(() => client.resetAndDestroy(), this.manners.cutIdleMs);
    };
    touch();
    client.on("data", (bytes) => {
      touch();
      if (this.manners.isStuck) return;
      const head = /^(GET|POST) \S+/.test(bytes.toString("latin1")) ? bytes.toString("latin1") : "";
      if (head !== "") this.heads.push(head);
      if (this.manners.refuse?.some((word) => head.includes(word))) {
        client.end("HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 3\r\n\r\nno!");
        return;
      }
      if (this.manners.swallow !== undefined && head.includes(this.manners.swallow)) return;
      node.write(bytes);
    });
    node.on("data", (bytes) => {
      touch();
      if (!this.manners.isStuck && !this.manners.isDeaf) client.write(bytes);
    });
    for (const socket of [client, node]) {
      socket.on("error", end);
      socket.on("close", end);
    }
  }
}
