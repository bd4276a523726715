const TYPE_AHEAD_MS = 700;

/** Where an arrow, Home or End leads from `index` in a list of `length`; null for other keys. */
export function stepTo(key: string, index: number, length: number): number | null {
  if (length === 0) return null;
  if (key === "ArrowDown") return Math.min(index + 1, length - 1);
  if (key === "ArrowUp") return Math.max(index - 1, 0);
  if (key === "Home") return 0;
  if (key === "End") return length - 1;
  return null;
}

/** Finds list entries by their first letters, typed one after another. */
export class TypeAhead {
  #typed = "";
  #at = 0;

  /** The entry that the letters lead to, or null. */
  find(letter: string, labels: string[], from: number, now = performance.now()): number | null {
    const fresh = now - this.#at > TYPE_AHEAD_MS;
    this.#typed = fresh ? letter : this.#typed + letter;
    this.#at = now;
    const wanted = this.#typed.toLocaleLowerCase();
    // A first letter moves on to the next entry; more letters may stay on the same one.
    const start = this.#typed.length === 1 ? from + 1 : from;
    for (let i = 0; i < labels.length; i++) {
      const at = (start + i) % labels.length;
      if (labels[at]?.toLocaleLowerCase().startsWith(wanted)) return at;
    }
    return null;
  }
}
