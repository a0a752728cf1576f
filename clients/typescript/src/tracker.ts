/** The cursor, and the proof that nothing is missing between what was seen and what came. Pure. */

import type { Meaning } from "./wire/message.js";

/** A record between what was seen and what came is missing: go back to the cursor. */
export interface Gap {
  readonly last: number;
  readonly seq: number;
  readonly prev: number;
}

/** What a message means for the reader: drop what was seen already. */
export type Novelty = "new" | "repeated" | Gap;

interface Cursor {
  readonly epoch: string;
  readonly position: number;
  readonly fingerprint: string | undefined;
}

/** Reads a cursor; `undefined`: it is none. */
export function parseCursor(text: string): Cursor | undefined {
  const parts = /^([0-9a-f]{16})\.(\d{1,16})(?:\.([0-9a-f]{8}))?$/.exec(text);
  if (parts === null) return undefined;
  return { epoch: parts[1] ?? "", position: Number(parts[2]), fingerprint: parts[3] };
}

function write(cursor: Cursor): string {
  const { epoch, position, fingerprint } = cursor;
  return fingerprint === undefined ? `${epoch}.${position}` : `${epoch}.${position}.${fingerprint}`;
}

/** Follows one room over any number of connections. */
export class Tracker {
  readonly #hasEcho: boolean;
  #cursor: Cursor | undefined;
  // Own records that were answered close the chain, but move the cursor only where that cannot skip anything.
  #acknowledged = 0;
  // Between `caught_up` and `lagging` an ack comes behind every record before it.
  #isLive = false;

  constructor(options: { echo: boolean; cursor?: string | undefined }) {
    this.#hasEcho = options.echo;
    this.#cursor = options.cursor === undefined ? undefined : parseCursor(options.cursor);
  }

  get cursor(): string | undefined {
    return this.#cursor && write(this.#cursor);
  }

  get position(): number {
    return this.#cursor?.position ?? 0;
  }

  get isLive(): boolean {
    return this.#isLive;
  }

  /** Takes one message in the order in which it came. */
  see(meaning: Meaning): Novelty {
    switch (meaning.kind) {
      case "ready":
        this.#start(meaning.ready.epoch, meaning.ready.resume.after);
        return "new";
      case "resync":
        this.#acknowledged = 0;
        this.#cursor = parseCursor(meaning.cursor) ?? this.#cursor;
        return "new";
      case "record": {
        const { seq, prev, eventId } = meaning.place;
        if (seq <= this.position) return "repeated";
        const gap = this.#gap(prev, seq);
        if (gap === undefined) this.#set(seq, eventId);
        return gap ?? "new";
      }
      case "advance": {
        const gap = this.#gap(meaning.from, meaning.to);
        if (gap === undefined) this.#move(meaning.to);
        return gap ?? "new";
      }
      case "caught_up":
        this.#isLive = true;
        this.#move(meaning.position);
        return "new";
      case "lagging":
        this.#isLive = false;
        return "new";
      case "ack":
      case "stored":
        this.#acknowledged = Math.max(this.#acknowledged, meaning.seq);
        // With echo the record itself moves the cursor; a repeat's ack may overtake what is still to come.
        if (this.#isLive && !meaning.duplicate && !this.#hasEcho && meaning.seq > this.position) {
          this.#set(meaning.seq, meaning.eventId);
        }
        return "new";
      case "fate":
        // An answer to an operation stands in its record's place, like an ack.
        this.#acknowledged = Math.max(this.#acknowledged, meaning.fate.version);
        return "new";
      default:
        // A heartbeat's position must not move the cursor: it would cover a lost record.
        return "new";
    }
  }

  /** The connection is gone. */
  lost(): void {
    this.#isLive = false;
  }

  #start(epoch: string, after: number): void {
    this.#isLive = false;
    this.#acknowledged = 0;
    if (this.#cursor?.epoch === epoch && this.#cursor.position === after) return;
    this.#cursor = { epoch, position: after, fingerprint: undefined };
  }

  #gap(prev: number, seq: number): Gap | undefined {
    const last = Math.max(this.position, this.#acknowledged);
    return prev <= last ? undefined : { last, seq, prev };
  }

  #move(position: number): void {
    if (position > this.position) this.#set(position, undefined);
  }

  #set(position: number, eventId: string | undefined): void {
    if (this.#cursor === undefined) return;
    const fingerprint = eventId?.slice(0, 8).toLowerCase();
    this.#cursor = { epoch: this.#cursor.epoch, position, fingerprint: fingerprint || undefined };
  }
}
