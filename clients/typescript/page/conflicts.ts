/** What lies open, with the choices. Owns: that a choice is made once. Must not know: how the conflict came to be. */

import type { Client, Conflict } from "../src/index.js";
import { brief, element, half, part } from "./dom.js";

export class ConflictsHalf {
  #card: HTMLElement;
  #client: Client;
  #stops: (() => void)[];

  constructor(client: Client, side: "a" | "b", name: string, told: () => void) {
    this.#client = client;
    this.#card = half("conflicts", "conflicts-half", side, name);
    const show = () => {
      this.#show();
      told();
    };
    // What stands is shown beside what was proposed, and may change meanwhile.
    this.#stops = [client.conflicts.subscribe(show), client.entity("task", "shared").subscribe(() => this.#show())];
    this.#show();
  }

  get count(): number {
    return this.#client.conflicts.snapshot().length;
  }

  end(): void {
    for (const stop of this.#stops) stop();
    this.#card.remove();
  }

  #show(): void {
    const conflicts = this.#client.conflicts.snapshot();
    part(this.#card, '[data-part="none"]').hidden = conflicts.length > 0;
    const list = part(this.#card, '[data-part="list"]');
    const shown = JSON.stringify(conflicts.map((conflict) => [conflict, this.#current(conflict)]));
    if (list.dataset.shown === shown) return;
    list.dataset.shown = shown;
    list.replaceChildren(...conflicts.map((conflict) => this.#item(conflict)));
  }

  #item(conflict: Conflict): HTMLLIElement {
    const current = this.#current(conflict);
    const rows: [string, unknown][] = [
      ["Entity", `${conflict.type} ${conflict.id}`],
      ["Stands", current],
      [conflict.kind === "variant" ? "Kept beside it" : "Proposed", conflict.proposed],
      ["By", conflict.by?.instance_id],
    ];
    const table = element("dl");
    for (const [name, value] of rows) {
      if (value !== undefined)
        table.append(element("div", {}, element("dt", {}, name), element("dd", {}, brief(value))));
    }
    const choices = element("div", { className: "buttons" });
    const choose = (words: string, choice: string, act: () => unknown) => {
      const button = element("button", { type: "button", onclick: () => void act() }, words);
      button.dataset.choice = choice;
      choices.append(button);
    };
    const once = (act: () => unknown) => () => {
      for (const button of choices.querySelectorAll("button")) button.disabled = true;
      act();
    };
    const { conflicts } = this.#client;
    choose(
      "Keep what stands",
      "current",
      once(() => conflicts.resolve(conflict, "current")),
    );
    choose(
      "Take the other",
      "proposed",
      once(() => conflicts.resolve(conflict, "proposed")),
    );
    const both = titles(current, conflict.proposed);
    if (both)
      choose(
        "Take both",
        "merged",
        once(() => conflicts.resolve(conflict, "merged", { title: both })),
      );
    return element("li", {}, table, choices);
  }

  /** Of what stands, what the conflict is about. */
  #current(conflict: Conflict): unknown {
    const { data } = this.#client.entity(conflict.type, conflict.id).snapshot();
    const names = conflict.paths.map((path) => path.split("/")[1] ?? "");
    return data ? Object.fromEntries(names.map((name) => [name, data[name] ?? null])) : conflict.current;
  }
}

function titles(current: unknown, proposed: unknown): string | undefined {
  const title = (value: unknown) => (value as { title?: unknown } | null | undefined)?.title;
  const [one, other] = [title(current), title(proposed)];
  return typeof one === "string" && typeof other === "string" ? `${one} / ${other}` : undefined;
}
