/** The room's records as they come, and publishing. Owns: how many are shown. */

import type { Client, EventRecord, Op } from "../src/index.js";
import { brief, element, half, part } from "./dom.js";

const SHOWN = 50;

export class StreamHalf {
  #card: HTMLElement;
  #client: Client;
  #name: string;
  #stop: () => void;

  constructor(client: Client, side: "a" | "b", name: string) {
    this.#client = client;
    this.#name = name;
    this.#card = half("stream", "stream", side, name);
    this.#stop = client.on("record", (record) => this.#show(line(record)));
    part<HTMLFormElement>(this.#card, "form").onsubmit = (event) => {
      event.preventDefault();
      const say = part<HTMLInputElement>(this.#card, '[data-part="say"]');
      this.publish(part<HTMLSelectElement>(this.#card, '[data-part="type"]').value, say.value);
      say.value = "";
    };
  }

  /** Publishes, and shows what is on its way until it is acknowledged. */
  publish(type: string, text: string): Op<unknown> {
    const op = this.#client.send(type, { text });
    const seq = element("span", { className: "seq" }, "…");
    const fate = element("span", { className: "who" }, `${this.#name}, on its way`);
    const item = element(
      "li",
      { className: "waits" },
      seq,
      type,
      element("span", { className: "what" }, fate, ` ${text}`),
    );
    this.#show(item);
    void op.settled.then(({ status, version, queued, code }) => {
      item.className = "";
      seq.textContent = version > 0 ? `#${version}` : "…";
      fate.textContent =
        status === "rolled_back" ? `refused: ${code}` : `${this.#name}, ${queued ? "queued" : "stored"}`;
    });
    return op;
  }

  end(): void {
    this.#stop();
    this.#card.remove();
  }

  #show(item: HTMLLIElement): void {
    const records = part(this.#card, '[data-part="records"]');
    records.prepend(item);
    while (records.childElementCount > SHOWN) records.lastElementChild?.remove();
  }
}

function line({ seq, type, instance, data }: EventRecord): HTMLLIElement {
  return element(
    "li",
    {},
    element("span", { className: "seq" }, `#${seq}`),
    type,
    element("span", { className: "what" }, element("span", { className: "who" }, instance), ` ${brief(data)}`),
  );
}
