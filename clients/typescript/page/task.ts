/** A shared entity in a form: what is shown at once, what the log has, what became of each write. Owns: the fields' names. */

import type { Client, Content, Entity, Json, Op, Settled, Strategy } from "../src/index.js";
import { badge, brief, element, half, part } from "./dom.js";

/** How many fates are shown. */
const SHOWN = 5;

export class TaskHalf {
  readonly entity: Entity;
  #card: HTMLElement;
  #stop: () => void;
  /** The version that the title was of when somebody began to write into it: it is not taken from under their hands then. */
  #typedOn: number | undefined;

  constructor(client: Client, side: "a" | "b", name: string) {
    this.#card = half("task", "task", side, name);
    this.entity = client.entity("task", "shared");
    this.#stop = this.entity.subscribe(() => this.#show());
    this.#title.oninput = () => {
      this.#typedOn ??= this.entity.snapshot().version;
    };
    part<HTMLFormElement>(this.#card, "form").onsubmit = (event) => {
      event.preventDefault();
      this.write({ title: this.#title.value }, undefined, this.#typedOn);
    };
    this.#done.onchange = () => this.write({ done: this.#done.checked });
    this.#show();
  }

  /** Changes the task, or makes it where there is none; on the version that was seen, where that is not the one that is shown. */
  write(
    patch: Content,
    strategy = part<HTMLSelectElement>(this.#card, '[data-part="strategy"]').value as Strategy,
    baseVersion?: number,
  ): Op {
    if ("title" in patch) this.#typedOn = undefined;
    const isThere = this.entity.snapshot().status === "present";
    const op = isThere
      ? this.entity.update(patch, { strategy, baseVersion })
      : this.entity.create({ notes: "", ...patch });
    this.#tell(patch, op.settled);
    return op;
  }

  end(): void {
    this.#stop();
    this.#card.remove();
  }

  get #title(): HTMLInputElement {
    return part(this.#card, '[data-part="title"]');
  }

  get #done(): HTMLInputElement {
    return part(this.#card, '[data-part="done"]');
  }

  #show(): void {
    const { status, data, confirmed, version, pending, error } = this.entity.snapshot();
    const title = String(data?.title ?? "");
    if (this.#typedOn === undefined && this.#title.value !== title) this.#title.value = title;
    this.#done.checked = data?.done === true;
    const state = part(this.#card, '[data-part="state"]');
    if (error) badge(state, "bad", error.code);
    else if (pending > 0) badge(state, "warn", pending === 1 ? "1 write waits" : `${pending} writes wait`);
    else if (status === "present") badge(state, "good", `version ${version}`);
    else badge(state, "", status === "absent" ? "not there yet" : "loading");
    const words = pending > 0 ? `The log still has: ${confirmed ? brief(without(confirmed, "notes")) : "nothing"}` : "";
    part(this.#card, '[data-part="confirmed"]').textContent = words;
  }

  #tell(patch: Content, settled: Promise<Settled>): void {
    const fate = element("span", { className: "fate" }, "optimistic…");
    const fates = part(this.#card, '[data-part="fates"]');
    fates.prepend(element("li", {}, brief(patch, 60), fate));
    while (fates.childElementCount > SHOWN) fates.lastElementChild?.remove();
    void settled.then((settled) => {
      fate.textContent = ofSettled(settled);
    });
  }
}

function without(content: Content, name: string): Json {
  return Object.fromEntries(Object.entries(content).filter(([field]) => field !== name));
}

function ofSettled({ status, version, resolution, overwritten, code }: Settled): string {
  switch (status) {
    case "confirmed":
      return `confirmed, version ${version}`;
    case "resolved": {
      const lost = overwritten.map(({ value, by }) => `${brief(value, 30)} of ${by}`).join(", ");
      return `${resolution ?? "resolved"}, version ${version}${lost && `, over ${lost}`}`;
    }
    case "pending":
      return "in conflict: somebody has to choose";
    default:
      return `rolled back: ${code}`;
  }
}
