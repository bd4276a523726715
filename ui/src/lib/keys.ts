/** A key and what is held with it. `mod` is Ctrl, and Command on a Mac. */
export type Key = { key: string; mod?: boolean; shift?: boolean; alt?: boolean };

const mac = /Mac/.test(navigator.platform);

const NAMES: Record<string, string> = {
  ArrowUp: "↑",
  ArrowDown: "↓",
  ArrowLeft: "←",
  ArrowRight: "→",
  Escape: "Esc",
  PageUp: "Page up",
  PageDown: "Page down",
};

/** A key as it stands on keyboards: "Ctrl+Shift+C", on a Mac "⇧⌘C". */
export function keyLabel({ key, mod, shift, alt }: Key): string {
  const name = NAMES[key] ?? (key.length === 1 ? key.toUpperCase() : key);
  if (mac) return `${alt ? "⌥" : ""}${shift ? "⇧" : ""}${mod ? "⌘" : ""}${name}`;
  return [mod && "Ctrl", alt && "Alt", shift && "Shift", name].filter(Boolean).join("+");
}

/** A key as aria-keyshortcuts wants it. */
export function ariaKey({ key, mod, shift, alt }: Key): string {
  return [mod && (mac ? "Meta" : "Control"), alt && "Alt", shift && "Shift", key]
    .filter(Boolean)
    .join("+");
}

/** Whether an event is this key, with exactly what is held with it. */
export function isKey(event: KeyboardEvent, { key, mod, shift, alt }: Key): boolean {
  const held = mac ? event.metaKey : event.ctrlKey;
  const other = mac ? event.ctrlKey : event.metaKey;
  if (held !== Boolean(mod) || other || event.altKey !== Boolean(alt)) return false;
  // A sign like ? needs Shift on one keyboard and not on the next: there only the sign counts.
  const sign = key.length === 1 && key.toLowerCase() === key.toUpperCase();
  if (!sign && event.shiftKey !== Boolean(shift)) return false;
  return event.key.toLowerCase() === key.toLowerCase();
}

/** Whether keys go into a text just now. */
export function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || /^(?:TEXTAREA|INPUT|SELECT)$/.test(target.tagName))
  );
}
