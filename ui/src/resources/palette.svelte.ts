/** The colours of the theme for what is painted by script: canvases do not know CSS variables. */
class Palette {
  /** Grows with every change of the theme. */
  version = $state(0);
  #known = new Map<string, string>();

  /** Follows the theme; the returned function stops that. */
  watch(): () => void {
    this.#known.clear();
    const observer = new MutationObserver(() => {
      this.#known.clear();
      this.version++;
    });
    observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => observer.disconnect();
  }

  /** The colour of a CSS variable in the present theme. */
  color(variable: string): string {
    let color = this.#known.get(variable);
    if (color === undefined) {
      color = getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
      this.#known.set(variable, color);
    }
    return color;
  }

  /** The same colour for an area under a line: the tokens are written as #rrggbb. */
  faded(variable: string, alpha = "38"): string {
    const color = this.color(variable);
    return /^#[0-9a-f]{6}$/i.test(color) ? color + alpha : color;
  }
}

export const palette = new Palette();
