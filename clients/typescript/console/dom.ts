/** The few steps between state and page. Owns: that what did not change is not touched, so that focus and selections stay. */

import { element } from "../page/dom.js";

export { brief, element, part } from "../page/dom.js";

const SVG = "http://www.w3.org/2000/svg";

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string | number>> = {},
  ...children: (Node | string)[]
): SVGElementTagNameMap[K] {
  const made = document.createElementNS(SVG, tag);
  mark(made, attributes);
  made.append(...children);
  return made;
}

/** Sets attributes; those that say so already are left alone. */
export function mark(target: Element, attributes: Readonly<Record<string, string | number>>): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (target.getAttribute(name) !== String(value)) target.setAttribute(name, String(value));
  }
}

/** What a screen reader reads out is told only when it is something else. */
export function say(target: Node, words: string): void {
  if (target.textContent !== words) target.textContent = words;
}

/** The copy of a template, as one element. */
export function copy(name: string): HTMLElement {
  const template = document.querySelector<HTMLTemplateElement>(`template#${name}`);
  const first = template?.content.firstElementChild;
  if (!(first instanceof HTMLElement)) throw new Error(`the page has no template ${name}`);
  return first.cloneNode(true) as HTMLElement;
}

/** The element that a part of a view is called. */
export function named<T extends Element = HTMLElement>(within: ParentNode, name: string): T {
  const found = within.querySelector<T>(`[data-part="${name}"]`);
  if (!found) throw new Error(`the page has no part ${name}`);
  return found;
}

export function button(words: string, act: () => void, fields: Partial<HTMLButtonElement> = {}): HTMLButtonElement {
  return element("button", { type: "button", onclick: act, ...fields }, words);
}

/** Elements for a list's items, by key: kept, moved, made and taken away as the items are. */
export class Rows<T, E extends Element> {
  readonly #parent: Element;
  readonly #make: (item: T) => E;
  readonly #update: (row: E, item: T) => void;
  readonly #rows = new Map<string, E>();

  constructor(parent: Element, make: (item: T) => E, update: (row: E, item: T) => void = () => {}) {
    this.#parent = parent;
    this.#make = make;
    this.#update = update;
  }

  get(key: string): E | undefined {
    return this.#rows.get(key);
  }

  show(items: readonly T[], key: (item: T) => string): void {
    const gone = new Set(this.#rows.keys());
    let before: Element | null = null;
    for (const item of items) {
      const name = key(item);
      let row = this.#rows.get(name);
      if (row === undefined) {
        row = this.#make(item);
        this.#rows.set(name, row);
      }
      gone.delete(name);
      this.#update(row, item);
      // Moving an element takes the focus from it: only what stands elsewhere is moved.
      const next: Element | null = before === null ? this.#parent.firstElementChild : before.nextElementSibling;
      if (next !== row) this.#parent.insertBefore(row, next);
      before = row;
    }
    for (const name of gone) {
      this.#rows.get(name)?.remove();
      this.#rows.delete(name);
    }
  }
}

/** Names each cell of a row after its column, for where rows are shown as cards. */
export function labelled(row: HTMLTableRowElement, table: ParentNode): HTMLTableRowElement {
  const heads = [...table.querySelectorAll("thead th")];
  [...row.cells].forEach((cell, at) => {
    if (at > 0) cell.dataset.label = heads[at]?.textContent ?? "";
  });
  return row;
}
