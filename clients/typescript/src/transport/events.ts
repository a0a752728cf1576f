/** A room as server-sent events, where sockets do not get through. Writes go as requests. */

import { Malformed, type Message, parse } from "../wire/message.js";
import { type Http, refusal, saidByNode } from "./http.js";
import type { LinkEvents, OpenLink } from "./link.js";
import { HttpWrites } from "./writes.js";

/** Longest line; a record is at most half as long. */
const MOST_CHARACTERS = 4 * 2 ** 20;

/** Puts lines of an event stream together to messages as they are on a socket. */
export class EventReader {
  #type = "";
  #data: string[] = [];

  /** Takes a line; gives a message when one is whole. A comment is a sign of life. */
  line(line: string): Message | undefined {
    if (line.startsWith(":")) return { event_type: "heartbeat", data: {} };
    if (line === "") return this.#done();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#type = value;
    if (name === "data") this.#data.push(value);
    return undefined;
  }

  #done(): Message | undefined {
    const [type, data] = [this.#type, this.#data];
    this.#type = "";
    this.#data = [];
    if (data.length === 0) return undefined;
    const value = parse(data.join("\n"));
    // A record comes whole; of everything else the stream has the content.
    return Object.hasOwn(value, "event_type") ? value : { event_type: type, data: value };
  }
}

export function openEvents(http: Http, who: Message): OpenLink {
  return (target, events) => {
    const ended = new AbortController();
    const writes = new HttpWrites(http, who, (message) => events.message(message));
    const close = () => {
      ended.abort();
      writes.close();
    };
    const { since } = target;
    const query = { since, types: target.query.types };
    follow(http, query, ended.signal, events).catch((error) => {
      if (ended.signal.aborted) return;
      close();
      events.lost({ code: undefined, reason: String(error.message ?? error), error: saidByNode(error) });
    });
    return { name: "events", isSocket: false, send: (message) => writes.send(message), close };
  };
}

async function follow(
  http: Http,
  query: Record<string, string | undefined>,
  signal: AbortSignal,
  events: LinkEvents,
): Promise<never> {
  const response = await http.open("stream", { query, signal });
  if (!response.ok) throw refusal(response.status, await response.json().catch(() => undefined));
  if (response.body === null || !response.headers.get("content-type")?.startsWith("text/event-stream")) {
    throw new Malformed("the answer is no event stream: something else is at this address");
  }
  const reader = new EventReader();
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of chunks(response.body)) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > MOST_CHARACTERS) throw new Malformed("a line of the event stream is too long");
    for (const line of lines) {
      const message = reader.line(line.replace(/\r$/, ""));
      if (message !== undefined && !signal.aborted) events.message(message);
    }
  }
  throw new Error("the event stream ended");
}

/** A stream's pieces; not every browser iterates over streams. */
async function* chunks(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) yield piece.value;
  } finally {
    await reader.cancel().catch(() => {
      // It is over either way.
    });
  }
}
