/** A document for React under Node. Owns: what of a browser is there. */

import { Window } from "happy-dom";
import type { ReactNode } from "react";
import type { Root } from "react-dom/client";

const window = new Window({ url: "http://127.0.0.1/" });
// React looks for these when it is loaded (the navigator is there from Node 21 on); the network stays Node's own.
Object.assign(globalThis, { window, document: window.document, HTMLElement: window.HTMLElement, Node: window.Node });
if (typeof navigator === "undefined") Object.assign(globalThis, { navigator: window.navigator });

const { createRoot, hydrateRoot } = await import("react-dom/client");

/** A place in the document that something is shown in. */
export class Shown {
  readonly container = window.document.createElement("div") as unknown as HTMLElement;
  /** What React complained of: hydration that did not fit, errors that nobody caught. */
  readonly complaints: unknown[] = [];
  #root: Root | undefined;

  constructor() {
    window.document.body.append(this.container as never);
  }

  show(node: ReactNode): this {
    this.#root ??= createRoot(this.container, this.#ears());
    this.#root.render(node);
    return this;
  }

  /** Takes over what a server rendered. */
  hydrate(html: string, node: ReactNode): this {
    this.container.innerHTML = html;
    this.#root = hydrateRoot(this.container, node, this.#ears());
    return this;
  }

  get text(): string {
    return this.container.textContent ?? "";
  }

  end(): void {
    this.#root?.unmount();
    this.container.remove();
  }

  #ears() {
    const complain = (error: unknown) => {
      this.complaints.push(error);
    };
    return { onRecoverableError: complain, onUncaughtError: complain, onCaughtError: complain };
  }
}
