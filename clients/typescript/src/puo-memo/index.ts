/**
 * The class that users of PUO Memo know, over this client: their code runs with another import.
 *
 * Owns: its names, and which message of theirs is what here. Must not know: connections, retries and outboxes, which are the
 * client's.
 */

import { type Content, ContinuumClient, type Json } from "../index.js";
import { field, isContent } from "../json.js";

/** Called with a message's `data`. */
// What is in it follows from the type, which the printed code does not name.
// biome-ignore lint/suspicious/noExplicitAny: see above
export type Handler = (data: any) => void;

/** The channels that it hears from the start. */
const CHANNELS = ["memories", "tenant.updates"];
/** What a session or the moment is about: it goes out at once or not at all. */
const OF_THE_MOMENT =
  /^(ping|pong|subscribe|unsubscribe|typing|cursor\.move|selection\.change|user\.presence|signal\..+|gonzai\..+|chaos\.trigger)$/;
const CHANGES = /^(memory|node|edge)\.(?:(create)d?|(update)d?|(delete)d?|(restore)d?)$/;

export class PuoMemoWebSocket {
  /** Where to connect when the second argument is left out: the host of the page, else a node on this machine. */
  static defaultUrl = typeof location === "undefined" ? "ws://127.0.0.1:8420/ws" : new URL("/ws", location.href).href;

  readonly #token: string;
  readonly #url: string;
  readonly #handlers = new Map<string, Handler[]>();
  /** What is heard, told again after each connection. */
  readonly #channels = new Set(CHANNELS);
  #client: ContinuumClient | undefined;

  constructor(token: string, url: string = PuoMemoWebSocket.defaultUrl) {
    this.#token = token;
    this.#url = url;
  }

  connect(): void {
    this.#made().connect();
  }

  /** Leaves. What was not sent yet is given up. */
  disconnect(): void {
    void this.#client?.close();
    this.#client = undefined;
  }

  /**
   * Sends a message. What changes a memory, and events, wait while there is no connection; what is of the moment is lost then,
   * with a warning.
   */
  send(type: string, data?: Json): void {
    const client = this.#made();
    if (OF_THE_MOMENT.test(type)) {
      if (type === "subscribe") for (const channel of channels(data)) this.#channels.add(channel);
      if (type === "unsubscribe") for (const channel of channels(data)) this.#channels.delete(channel);
      // biome-ignore lint/suspicious/noConsole: as users of the class know it
      if (!client.signal(type, data ?? {})) console.warn("WebSocket not connected");
    } else if (!this.#changes(client, type, data)) {
      client.send(type, data);
    }
  }

  on(event: string, handler: Handler): void {
    const handlers = this.#handlers.get(event);
    if (handlers) handlers.push(handler);
    else this.#handlers.set(event, [handler]);
  }

  off(event: string, handler: Handler): void {
    const handlers = this.#handlers.get(event) ?? [];
    const at = handlers.indexOf(handler);
    if (at > -1) handlers.splice(at, 1);
  }

  #made(): ContinuumClient {
    if (this.#client) return this.#client;
    const client = new ContinuumClient({
      url: this.#url.replace(/\/ws\/?$/, ""),
      token: this.#token,
      store: "memory",
      autoConnect: false,
    });
    this.#client = client;
    client.on("status", ({ state }) => {
      if (this.#client !== client) return;
      if (state === "online") client.signal("subscribe", { channels: [...this.#channels] });
      if (state === "waiting" || state === "blocked") this.#tell("disconnected", {});
    });
    client.on("message", (message) => {
      // Of one's own records one hears nothing, as ever; answers and everybody else's come.
      const isOwn = field(message, "seq") !== undefined && message.instance_id === client.instance;
      if (!isOwn && this.#client === client) this.#hear(String(message.event_type), message.data ?? {});
    });
    return client;
  }

  /** Whether it is a change of an entity, which is then on its way. */
  #changes(client: ContinuumClient, type: string, data: Json | undefined): boolean {
    const [, kind = "", create, update, remove, restore] = CHANGES.exec(type) ?? [];
    if (kind === "") return false;
    const given = field(data, kind);
    const { id, ...content } = (isContent(given) ? given : {}) as Content;
    const name = field(data, `${kind}_id`) ?? id;
    if (typeof name !== "string")
      throw new TypeError(`'${type}' names no ${kind}: 'data.${kind}_id' or 'data.${kind}.id'`);
    const entity = client.entity(kind, name);
    const patch = field(data, "changes") ?? field(data, "patch") ?? content;
    if (create) entity.create(content);
    else if (update) entity.update(patch as Content);
    else if (remove) entity.delete();
    else if (restore) entity.restore();
    return true;
  }

  /** The node tells of instances here; users are what PUO Memo knows. */
  #hear(type: string, data: Json): void {
    this.#tell(type, data);
    if (type !== "instance_joined" && type !== "instance_left") return;
    const instance = field(data, "instance_id") ?? "";
    this.#tell(type === "instance_joined" ? "tenant.user_joined" : "tenant.user_left", {
      user_id: field(data, "user_id") ?? instance,
      user_name: field(data, "user_name") ?? field(data, "user_id") ?? instance,
      connection_id: field(data, "connection_id"),
      instance_id: instance,
    });
  }

  #tell(type: string, data: unknown): void {
    for (const handler of [...(this.#handlers.get(type) ?? [])]) {
      try {
        handler(data);
      } catch (error) {
        // biome-ignore lint/suspicious/noConsole: as users of the class know it
        console.error("Message handler error:", error);
      }
    }
  }
}

function channels(data: Json | undefined): string[] {
  const found = field(data, "channels");
  return Array.isArray(found) ? found.filter((name) => typeof name === "string") : [];
}
