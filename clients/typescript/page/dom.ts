/** The few steps between state and page. Owns: that a missing part is an error that says which. Must not know: what is shown. */

import { isContent } from "../src/json.js";

/** An element of the page that has to be there. */
export function part<T extends HTMLElement>(within: ParentNode, selector: string): T {
  const found = within.querySelector<T>(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return found;
}

/** Half of a pair, made of a template: a card with the client's name. */
export function half(topic: string, template: string, side: "a" | "b", name: string): HTMLElement {
  const card = element("div", { className: `card half ${side}` }, element("h3", {}, name));
  card.append(part<HTMLTemplateElement>(document, `template#${template}`).content.cloneNode(true));
  card.setAttribute("role", "group");
  card.setAttribute("aria-label", name);
  part(document, `[data-of="${topic}"]`).append(card);
  return card;
}

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  fields: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(tag), fields);
  made.append(...children);
  return made;
}

export type Tone = "good" | "warn" | "bad" | "";

export function badge(target: HTMLElement, tone: Tone, text: string): void {
  target.className = `badge ${tone}`;
  target.textContent = text;
}

/** A value on one line, an object as its fields. */
export function brief(value: unknown, longest = 120): string {
  const text = isContent(value)
    ? Object.entries(value)
        .map(([name, value]) => `${name}: ${flat(value)}`)
        .join(" · ")
    : flat(value);
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}

function flat(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
