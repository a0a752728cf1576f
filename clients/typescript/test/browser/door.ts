/**
 * One address in front of several nodes, as a load balancer is: each connection goes to the first node that is there. It can be shut,
 * and is a network without a node behind it then.
 */

import type { AddressInfo } from "node:net";
import { connect, createServer, type Socket } from "node:net";
import type { Ending } from "../support/node.js";

export interface Door {
  readonly url: string;
  shut(): void;
  open(): void;
}

export async function openDoor(test: Ending, ports: readonly number[]): Promise<Door> {
  const sockets = new Set<Socket>();
  let isShut = false;
  const hold = (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
  };
  const lead = (client: Socket, [port, ...others]: readonly number[]) => {
    if (port === undefined) {
      client.destroy();
      return;
    }
    const node = connect(port, "127.0.0.1");
    hold(node);
    node.once("connect", () => {
      // What either end says ends for both.
      client.pipe(node).pipe(client);
      client.once("close", () => node.destroy());
      node.once("close", () => client.destroy());
    });
    node.once("error", () => {
      if (node.bytesRead === 0 && node.bytesWritten === 0) lead(client, others);
    });
  };
  const server = createServer((client) => {
    hold(client);
    if (isShut) client.destroy();
    else lead(client, ports);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const end = () => {
    for (const socket of sockets) socket.destroy();
  };
  test.after(async () => {
    end();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    shut() {
      isShut = true;
      end();
    },
    open() {
      isShut = false;
    },
  };
}
