/** Reads something this window remembered, or null. Never throws: storage may be barred. */
export function recall<T>(key: string): T | null {
  try {
    const kept = localStorage.getItem(`tektra.${key}`);
    return kept === null ? null : (JSON.parse(kept) as T);
  } catch {
    return null;
  }
}

/** Remembers something small across openings of the window; null forgets it. */
export function remember(key: string, value: unknown): void {
  try {
    if (value === null) localStorage.removeItem(`tektra.${key}`);
    else localStorage.setItem(`tektra.${key}`, JSON.stringify(value));
  } catch {
    // A convenience that could not be kept; nothing of the person's work depends on it.
  }
}
