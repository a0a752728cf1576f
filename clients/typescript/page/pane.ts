/** One of the page's two clients with all that is shown of it. Owns: its name in the room, which it keeps over reloads. */

import { ContinuumClient } from "../src/index.js";
import { ConflictsHalf } from "./conflicts.js";
import { ConnectionHalf } from "./connection.js";
import { Network } from "./network.js";
import { StreamHalf } from "./stream.js";
import { TaskHalf } from "./task.js";
import { TextHalf } from "./text.js";

export class Pane {
  readonly client: ContinuumClient;
  readonly connection: ConnectionHalf;
  readonly stream: StreamHalf;
  readonly task: TaskHalf;
  readonly conflicts: ConflictsHalf;
  #text: TextHalf;

  constructor(side: "a" | "b", name: string, room: { tenant: string; token: string }, told: () => void) {
    const network = new Network();
    this.client = new ContinuumClient({
      url: new URL(".", location.href).href,
      tenant: room.tenant,
      instance: instance(name),
      userName: name,
      ...(room.token && { token: room.token }),
      // The page is about sockets; without this it would go on over HTTP after some cuts.
      transport: "websocket",
      WebSocket: network.WebSocket,
      fetch: network.fetch,
    });
    this.connection = new ConnectionHalf(this.client, network, side, name);
    this.conflicts = new ConflictsHalf(this.client, side, name, told);
    this.task = new TaskHalf(this.client, side, name);
    this.#text = new TextHalf(this.client, side, name);
    this.stream = new StreamHalf(this.client, side, name);
  }

  async end(): Promise<void> {
    for (const half of [this.connection, this.conflicts, this.task, this.#text, this.stream]) half.end();
    await this.client.close();
  }
}

/** A name that this tab keeps, so that what it left behind unsent is sent when it is back. */
function instance(name: string): string {
  const key = `continuum-page-${name}`;
  const made = `${name.toLowerCase()}-${crypto.randomUUID().slice(0, 4)}`;
  try {
    const kept = sessionStorage.getItem(key);
    if (kept) return kept;
    sessionStorage.setItem(key, made);
  } catch {
    // Storage is forbidden: a new name each time does as well.
  }
  return made;
}
