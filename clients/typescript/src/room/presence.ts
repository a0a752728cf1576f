/** Who is in the room. Owns: the roster, and that what the others are to see of us is told again after each connection. */

import type { Member, Presence, PresenceState, Unsubscribe } from "../api.js";
import type { Json } from "../json.js";
import { Cell, Listeners } from "../observe.js";
import type { Http } from "../transport/http.js";
import { type Frame, type Meaning, type Message, members, type WireMember } from "../wire/message.js";

/** The signal that carries what somebody says of itself. */
const PRESENCE = "user.presence";

function shown(member: WireMember, data: Json | undefined): Member {
  return { ...member, data };
}

/** Who is connected, asked anew. */
export async function membersOf(http: Http, signal: AbortSignal | undefined): Promise<readonly Member[]> {
  return members(await http.ask("instances", { signal })).map((member) => shown(member, undefined));
}

export class Roster implements Presence {
  readonly #state = new Cell<PresenceState>({ members: [], total: 0 });
  readonly #joins = new Listeners<Member>();
  readonly #leaves = new Listeners<Member>();
  readonly #members = new Map<string, Member>();
  readonly #instance: string;
  readonly #send: (message: Message) => boolean;
  #total = 0;
  #own: Json | undefined;

  constructor(instance: string, send: (message: Message) => boolean) {
    this.#instance = instance;
    this.#send = send;
  }

  snapshot(): PresenceState {
    return this.#state.snapshot();
  }

  subscribe(listener: () => void): Unsubscribe {
    return this.#state.subscribe(listener);
  }

  onJoin(listener: (member: Member) => void): Unsubscribe {
    return this.#joins.add(listener);
  }

  onLeave(listener: (member: Member) => void): Unsubscribe {
    return this.#leaves.add(listener);
  }

  update(data: Json): void {
    this.#own = data;
    this.#tellOwn();
  }

  /** The room was joined: these are there. Who is new and who is gone since is told. */
  joined(members: readonly WireMember[], total: number): void {
    const before = new Map(this.#members);
    this.#members.clear();
    for (const member of members) {
      if (member.instance === this.#instance) continue;
      this.#members.set(member.instance, shown(member, before.get(member.instance)?.data));
    }
    this.#total = total;
    this.#changed();
    for (const [name, member] of this.#members) if (!before.has(name)) this.#joins.tell(member);
    for (const [name, member] of before) if (!this.#members.has(name)) this.#leaves.tell(member);
    this.#tellOwn();
  }

  lost(): void {
    this.#members.clear();
    this.#total = 0;
    this.#changed();
  }

  take(meaning: Meaning): void {
    if (meaning.kind === "joined") this.#came(meaning.member);
    if (meaning.kind === "left") this.#went(meaning.instance);
    if (meaning.kind === "crowd") {
      this.#total = meaning.total;
      this.#changed();
    }
  }

  /** What somebody says of itself. */
  signal(frame: Frame): void {
    const member = this.#members.get(frame.instance);
    if (frame.type !== PRESENCE || member === undefined) return;
    this.#members.set(frame.instance, { ...member, data: frame.data });
    this.#changed();
  }

  #came(member: WireMember): void {
    if (member.instance === this.#instance) return;
    const before = this.#members.get(member.instance);
    const now = shown(member, before?.data);
    this.#members.set(member.instance, now);
    if (before === undefined) this.#total += 1;
    this.#changed();
    if (before === undefined) this.#joins.tell(now);
  }

  #went(instance: string): void {
    const member = this.#members.get(instance);
    if (member === undefined) return;
    this.#members.delete(instance);
    this.#total -= 1;
    this.#changed();
    this.#leaves.tell(member);
  }

  #tellOwn(): void {
    if (this.#own !== undefined) this.#send({ event_type: PRESENCE, data: this.#own });
  }

  #changed(): void {
    const members = [...this.#members.values()].sort((a, b) => (a.instance < b.instance ? -1 : 1));
    this.#state.set({ members, total: this.#total });
  }
}
