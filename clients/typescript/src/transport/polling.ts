/** A room by long polls, where neither sockets nor streams get through. Writes go as requests. */

import { ContinuumError, LOCAL_CODES } from "../errors.js";
import { type Page, page } from "../room/history.js";
import { parseCursor } from "../tracker.js";
import { count, type Message, text } from "../wire/message.js";
import { type Http, saidByNode } from "./http.js";
import type { LinkEvents, OpenLink, Target } from "./link.js";
import { HttpWrites } from "./writes.js";

/** How long the node may keep a poll, and how long it is waited for in all. */
const WAIT_S = 25;
/** Records a page. */
const PAGE = 500;

export function openPolling(http: Http, who: Message): OpenLink {
  return (target, events) => {
    const ended = new AbortController();
    const writes = new HttpWrites(http, who, (message) => events.message(message));
    const close = () => {
      ended.abort();
      writes.close();
    };
    poll(http, target, ended.signal, events).catch((error) => {
      if (ended.signal.aborted) return;
      close();
      events.lost({ code: undefined, reason: String(error.message ?? error), error: saidByNode(error) });
    });
    return { name: "polling", isSocket: false, send: (message) => writes.send(message), close };
  };
}

async function poll(http: Http, target: Target, signal: AbortSignal, events: LinkEvents): Promise<never> {
  const types = target.query.types?.split(",");
  const tell = (event_type: string, data: Message) => {
    if (!signal.aborted) events.message({ event_type, data });
  };
  const since = target.since === undefined || target.since === "latest" ? await latest(http, signal) : target.since;
  let found = await page(http, { after: since, types, pageSize: PAGE, signal });
  let at = begin(since, found);
  tell("session_ready", ready(at, found));
  let isLive = false;
  while (true) {
    const { resync } = found;
    if (resync !== undefined) {
      tell("resync", resync);
      at = parseCursor(text(resync, "cursor") ?? "")?.position ?? 0;
      isLive = false;
    }
    for (const message of found.messages) if (!signal.aborted) events.message(message);
    const cursor = must(found.cursor);
    // Records of other types close the chain like those that came.
    const last = Math.max(at, ...found.records.map((record) => record.seq));
    if (cursor.position > last) tell("advance", { from: last, to: cursor.position });
    at = Math.max(last, cursor.position);
    if (!found.more && !isLive) tell("caught_up", { position: at });
    if (!found.more) isLive = true;
    const wait = isLive ? `${WAIT_S}s` : undefined;
    found = await page(http, { after: found.cursor, types, pageSize: PAGE, wait, signal });
    tell("heartbeat", {});
  }
}

/** Where the room stands. */
async function latest(http: Http, signal: AbortSignal): Promise<string> {
  return must(text(await http.ask("stats", { signal }), "cursor")).text;
}

function must(cursor: string | undefined): { text: string; epoch: string; position: number } {
  const read = cursor === undefined ? undefined : parseCursor(cursor);
  if (cursor === undefined || read === undefined)
    throw new ContinuumError(LOCAL_CODES.malformed, "the answer has no cursor");
  return { text: cursor, epoch: read.epoch, position: read.position };
}

/** Behind which position the first page begins. */
function begin(since: string, { resync, records, cursor }: Page): number {
  if (resync !== undefined) return count(resync, "after") ?? 0;
  return parseCursor(since)?.position ?? records[0]?.prev ?? must(cursor).position;
}

function ready(after: number, { cursor, resync }: Page): Message {
  const { epoch, position } = must(cursor);
  return {
    epoch,
    position: Math.max(after, position),
    resume: {
      from: "cursor",
      outcome: resync === undefined ? "honoured" : "resync",
      after,
      missed: 0,
      missed_exact: false,
    },
    heartbeat: { interval_ms: WAIT_S * 1_000, timeout_ms: WAIT_S * 3_000 },
  };
}
