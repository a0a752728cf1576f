/** Keys that work everywhere. Owns: which do what, and that none of them takes a letter from who writes. */

export interface Actions {
  /** To the view of that number, from 1. */
  view(number: number): void;
  search(): void;
  stop(): void;
  theme(): void;
  help(): void;
}

/** Listens for the whole page. */
export function listen(actions: Actions): void {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target instanceof Element ? event.target : null;
    if (document.querySelector("dialog[open]")) return;
    if (target?.closest("input:not([type=radio], [type=checkbox]), textarea, select")) {
      if (event.key === "Escape" && target instanceof HTMLElement) target.blur();
      return;
    }
    if (/^[1-7]$/.test(event.key)) actions.view(Number(event.key));
    else if (event.key === "/") actions.search();
    else if (event.key === "p") actions.stop();
    else if (event.key === "t") actions.theme();
    else if (event.key === "?") actions.help();
    else return;
    event.preventDefault();
  });
}
