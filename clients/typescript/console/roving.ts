/** A list that is one stop of Tab, and through which arrows lead. Owns: which of its items has the stop. */

export class Roving {
  readonly #list: HTMLElement;
  readonly #selector: string;

  constructor(list: HTMLElement, selector: string) {
    this.#list = list;
    this.#selector = selector;
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("focusin", ({ target }) => {
      const item = target instanceof Element ? target.closest<HTMLElement>(selector) : null;
      if (item !== null) this.#stop(item);
    });
  }

  /** The items are others: one of them has to be reachable. */
  look(): void {
    const items = this.#items();
    const first = items[0];
    if (first !== undefined && !items.some(({ tabIndex }) => tabIndex === 0)) first.tabIndex = 0;
  }

  focus(): void {
    this.look();
    this.#items()
      .find(({ tabIndex }) => tabIndex === 0)
      ?.focus();
  }

  #items(): HTMLElement[] {
    return [...this.#list.querySelectorAll<HTMLElement>(this.#selector)];
  }

  #stop(item: HTMLElement): void {
    for (const other of this.#items()) if (other !== item && other.tabIndex === 0) other.tabIndex = -1;
    item.tabIndex = 0;
  }

  #key(event: KeyboardEvent): void {
    const items = this.#items();
    const here = event.target instanceof Element ? event.target.closest<HTMLElement>(this.#selector) : null;
    const at = here === null ? -1 : items.indexOf(here);
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = items.length - 1;
    const goals: Record<string, number> = {
      ArrowDown: Math.min(at + 1, last),
      ArrowUp: Math.max(at - 1, 0),
      PageDown: Math.min(at + 10, last),
      PageUp: Math.max(at - 10, 0),
      Home: 0,
      End: last,
    };
    const goal = goals[event.key];
    if (goal === undefined) return;
    event.preventDefault();
    items[goal]?.focus();
  }
}
