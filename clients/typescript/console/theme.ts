/** Dark, light, or as the system says. Owns: keeping the choice. */

const KEY = "continuum-console-theme";
const THEMES = ["system", "dark", "light"] as const;
type Theme = (typeof THEMES)[number];

function kept(): Theme {
  try {
    return THEMES.find((theme) => theme === localStorage.getItem(KEY)) ?? "system";
  } catch {
    return "system";
  }
}

function show(theme: Theme, shown: HTMLElement): void {
  document.documentElement.dataset.theme = theme;
  shown.textContent = `Colours: ${theme}`;
}

/** Takes up the choice of the last time; gives what goes on to the next. `shown` says which it is. */
export function begin(shown: HTMLElement): () => void {
  let theme = kept();
  show(theme, shown);
  return () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "system";
    show(theme, shown);
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // Storage is forbidden: it holds until the page is left.
    }
  };
}
