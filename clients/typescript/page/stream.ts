/** The room's records as they come, and publishing. Owns: how many are shown. */

import type { Client, EventRecord, Op } from "../src/index.js";
import { isContent } from "../src/json.js";
import { brief, element, half, part } from "./dom.js";

const SHOWN = 50;

export class StreamHalf {
  #card: HTMLElement;
  #client: Client;
  #name: string;
  #stop: () => void;
  /** What was published here is shown already when its record comes. */
  #own = new Set<string>();

  constructor(client: Client, side: "a" | "b", name: string) {
    this.#client = client;
    this.#name = name;
    this.#card = half("stream", "stream", side, name);
    this.#stop = client.on("record", (record) => {
      if (!this.#own.delete(record.id)) this.#show(line(record));
    });
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
    this.#own.add(op.id);
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

function line(record: EventRecord): HTMLLIElement {
  return element(
    "li",
    {},
    element("span", { className: "seq" }, `#${record.seq}`),
    record.type,
    element("span", { className: "what" }, element("span", { className: "who" }, record.instance), ` ${words(record)}`),
  );
}

/** What a record is about, of a change only what changed. */
function words({ data }: EventRecord): string {
  const { event, entity_type, entity_id, changes, text } = isContent(data) ? data : {};
  const of = isContent(event) ? event : { entity_type, entity_id };
  const name = of.entity_type === undefined ? "" : `${of.entity_type} ${of.entity_id}: `;
  const said = changes ?? (isContent(event) ? (event.data ?? event.action) : undefined);
  if (name) return name + brief(said ?? text ?? "nothing of it changed");
  return brief(text ?? data);
}
