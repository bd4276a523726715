import type { Theme } from "../bindings";
import { recall, remember } from "../lib/remember";

const dark = matchMedia("(prefers-color-scheme: dark)");
let chosen: Theme = recall<Theme>("theme") ?? "system";

function paint() {
  const shown = chosen === "system" ? (dark.matches ? "dark" : "light") : chosen;
  document.documentElement.dataset.theme = shown;
}

dark.addEventListener("change", paint);

/** Shows a theme, and remembers it so that the next opening begins in it. */
export function applyTheme(theme: Theme = chosen): void {
  if (theme !== chosen) remember("theme", theme);
  chosen = theme;
  paint();
}
