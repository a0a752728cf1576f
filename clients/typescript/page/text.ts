/**
 * A text field in a textarea: what is typed becomes edits, what others type comes in, and the caret stays where its person put it.
 *
 * Owns: that nothing comes in between the keystrokes of an input method. Must not know: how edits are merged.
 */

import type { Client, TextChange, TextField } from "../src/index.js";
import { half, part } from "./dom.js";

export class TextHalf {
  #card: HTMLElement;
  #area: HTMLTextAreaElement;
  #field: TextField;
  #stops: (() => void)[];
  /** While an input method composes: the text of before, and what came from others since. */
  #composing: { before: string; changes: TextChange[] } | undefined;

  constructor(client: Client, side: "a" | "b", name: string) {
    this.#card = half("text", "text", side, name);
    this.#area = part(this.#card, "textarea");
    this.#area.setAttribute("aria-label", `The text, as ${name} has it`);
    const entity = client.entity("task", "shared");
    this.#field = entity.text("/notes");
    this.#area.oninput = () => {
      // Some input methods type an emoji in two halves: the second one is a moment behind.
      const isWhole = !/\p{Surrogate}/u.test(this.#area.value);
      if (!this.#composing && isWhole) this.#field.set(this.#area.value, this.#area.selectionEnd);
    };
    this.#area.addEventListener("compositionstart", () => {
      this.#composing = { before: this.#area.value, changes: [] };
    });
    this.#area.addEventListener("compositionend", () => this.#composed());
    const show = () => {
      // There is nothing to write into until the entity is there.
      this.#area.disabled = entity.snapshot().status !== "present";
      if (!this.#composing) this.#show([]);
    };
    this.#stops = [
      this.#field.onChange((change) => {
        if (this.#composing) this.#composing.changes.push(change);
        else this.#show([change]);
      }),
      entity.subscribe(show),
    ];
    show();
  }

  end(): void {
    for (const stop of this.#stops) stop();
    this.#card.remove();
  }

  /** What was composed is one splice in the text of before: it is brought over what came since. */
  #composed(): void {
    const { before, changes } = this.#composing ?? { before: "", changes: [] };
    this.#composing = undefined;
    const after = this.#area.value;
    let head = 0;
    while (head < Math.min(before.length, after.length) && before[head] === after[head]) head += 1;
    let tail = 0;
    while (tail < Math.min(before.length, after.length) - head && before.at(-1 - tail) === after.at(-1 - tail))
      tail += 1;
    const over = (place: number) => changes.reduce((place, change) => this.#field.follow(place, change), place);
    const at = over(head);
    const deleted = Math.max(0, over(before.length - tail) - at);
    const inserted = after.slice(head, after.length - tail);
    if (deleted > 0 || inserted) this.#field.splice({ at, deleted, inserted });
    this.#show(changes);
  }

  #show(changes: readonly TextChange[]): void {
    const area = this.#area;
    const text = this.#field.snapshot();
    if (area.value === text) return;
    const over = (place: number) =>
      changes.reduce((place, change) => (change.by === "here" ? place : this.#field.follow(place, change)), place);
    const [start, end] = [over(area.selectionStart), over(area.selectionEnd)];
    area.value = text;
    area.setSelectionRange(start, end);
  }
}
