/** What is told in passing, to eyes and to screen readers. Owns: how many are shown, and for how long. */

import { button, element } from "./dom.js";

const SHOWN = 4;
const FOR_MS = 8_000;

export type Tone = "plain" | "good" | "bad" | "gonzai";

export class Notices {
  readonly #list: HTMLElement;

  /** `list` is a live region. */
  constructor(list: HTMLElement) {
    this.#list = list;
  }

  tell(words: string, tone: Tone = "plain"): void {
    const item = element("li", { className: tone }, element("span", {}, words));
    const away = () => item.remove();
    item.append(button("×", away, { ariaLabel: "Dismiss", className: "away" }));
    this.#list.append(item);
    while (this.#list.childElementCount > SHOWN) this.#list.firstElementChild?.remove();
    let timer = setTimeout(away, FOR_MS);
    // Nothing goes away under the eyes or the hand of who reads it.
    item.onpointerenter = () => clearTimeout(timer);
    item.onpointerleave = () => {
      timer = setTimeout(away, FOR_MS);
    };
  }

  clear(): void {
    this.#list.replaceChildren();
  }
}
