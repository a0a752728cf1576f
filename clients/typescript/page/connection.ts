/** A client's connection, shown, with the switch that cuts its network. Owns: how statuses are worded. */

import type { Client, ConnectionStatus, Resumed, SyncStatus } from "../src/index.js";
import { badge, half, part, type Tone } from "./dom.js";
import type { Network } from "./network.js";

export class ConnectionHalf {
  #card: HTMLElement;
  #client: Client;
  #network: Network;
  #stops: (() => void)[];

  constructor(client: Client, network: Network, side: "a" | "b", name: string) {
    this.#client = client;
    this.#network = network;
    this.#card = half("connection", "connection", side, name);
    this.#cut.onclick = () => (network.isCut ? this.restore() : this.cut());
    this.#stops = [
      client.connection.subscribe(() => this.#show()),
      client.sync.subscribe(() => this.#show()),
      client.presence.subscribe(() => this.#show()),
      client.on("resumed", (resumed) => this.#part("resumed").replaceChildren(ofResumed(resumed))),
    ];
    // Ages and waits go on by themselves.
    const ticking = setInterval(() => this.#show(), 1000);
    this.#stops.push(() => clearInterval(ticking));
    this.#show();
  }

  cut(): void {
    this.#network.cut();
    this.#show();
  }

  restore(): void {
    this.#network.restore();
    this.#client.connect();
    this.#show();
  }

  end(): void {
    for (const stop of this.#stops) stop();
    this.#card.remove();
  }

  get #cut(): HTMLButtonElement {
    return part(this.#card, '[data-part="cut"]');
  }

  #part(name: string): HTMLElement {
    return part(this.#card, `[data-part="${name}"]`);
  }

  #show(): void {
    const client = this.#client;
    const [tone, word, more] = ofConnection(client.connection.snapshot());
    badge(this.#part("badge"), tone, word);
    const text = (name: string, words: string) => {
      // What a screen reader reads out is told only when it is something else.
      if (this.#part(name).textContent !== words) this.#part(name).textContent = words;
    };
    const sync = client.sync.snapshot();
    text("more", more);
    text("sync", ofSync(sync));
    text("pending", String(sync.pending));
    text(
      "storage",
      sync.storage === "disk" ? "in this browser's storage" : `in memory only: ${sync.storageReason ?? ""}`,
    );
    const others = client.presence.snapshot().members.map(({ instance }) => instance);
    text("others", others.join(", ") || "nobody");
    this.#cut.classList.toggle("is-cut", this.#network.isCut);
    const words = this.#network.isCut ? "Restore the network" : "Cut the network";
    if (this.#cut.textContent !== words) this.#cut.textContent = words;
  }
}

function ofConnection(status: ConnectionStatus): [Tone, string, string] {
  switch (status.state) {
    case "online":
      return ["good", "online", `over ${status.transport}`];
    case "waiting": {
      const left = Math.max(0, status.since + status.retryInMs - Date.now());
      return ["warn", "waiting", `${status.reason}; tries again within ${Math.ceil(left / 1000)} s`];
    }
    case "blocked":
      return ["bad", "blocked", `${status.code}: ${status.message}`];
    default:
      return ["", status.state, ""];
  }
}

function ofSync({ status, ageS, conflicted, refused }: SyncStatus): string {
  const age = ageS === undefined ? "nothing was here yet" : `all was here ${Math.floor(ageS)} s ago`;
  const more = [conflicted && `${conflicted} in conflict`, refused && `${refused} refused`].filter(Boolean);
  return [status, age, ...more].join(" · ");
}

function ofResumed({ complete, reason, missed, exact }: Resumed): string {
  if (!complete) return `not complete (${reason ?? "no reason"}): the state was loaded anew`;
  return missed === 0
    ? "complete, nothing was missed"
    : `complete, ${exact ? "" : "more than "}${missed} missed and caught up`;
}
