import type { Attachment } from "svelte/attachments";
import { ariaKey, keyLabel, type Key } from "./keys";

const PAUSE_MS = 450;
const GAP = 6;

// One tooltip for the window: it shows the name of what is under the pointer or has the focus,
// and its key. Being a popover it lies above dialogs too.
let box: HTMLElement | null = null;
let timer = 0;
let owner: Element | null = null;

function show(target: Element, label: string, key: Key | undefined) {
  if (!target.isConnected) return;
  box ??= document.createElement("div");
  box.className = "tip";
  box.popover = "manual";
  // Screen readers have the name and the key from the control itself.
  box.setAttribute("aria-hidden", "true");
  box.textContent = label;
  if (key) {
    const shown = document.createElement("kbd");
    shown.textContent = keyLabel(key);
    box.append(shown);
  }
  document.body.append(box);
  box.showPopover();
  owner = target;
  const at = target.getBoundingClientRect();
  const own = box.getBoundingClientRect();
  const below = at.bottom + GAP + own.height < innerHeight;
  const left = at.left + at.width / 2 - own.width / 2;
  box.style.left = `${Math.max(GAP, Math.min(left, innerWidth - own.width - GAP))}px`;
  box.style.top = `${below ? at.bottom + GAP : at.top - GAP - own.height}px`;
}

function hide() {
  clearTimeout(timer);
  owner = null;
  box?.remove();
}

/** Gives a control a tooltip with its name and key. */
export function tip(label: string, key?: Key): Attachment<HTMLElement> {
  return (node) => {
    if (key) node.setAttribute("aria-keyshortcuts", ariaKey(key));
    const later = () => {
      hide();
      timer = window.setTimeout(() => show(node, label, key), PAUSE_MS);
    };
    const onFocus = () => {
      if (node.matches(":focus-visible")) later();
    };
    node.addEventListener("pointerenter", later);
    node.addEventListener("pointerleave", hide);
    node.addEventListener("pointerdown", hide);
    node.addEventListener("focus", onFocus);
    node.addEventListener("blur", hide);
    node.addEventListener("keydown", hide);
    if (owner === node) show(node, label, key);
    return () => {
      if (owner === node) hide();
      else clearTimeout(timer);
      node.removeEventListener("pointerenter", later);
      node.removeEventListener("pointerleave", hide);
      node.removeEventListener("pointerdown", hide);
      node.removeEventListener("focus", onFocus);
      node.removeEventListener("blur", hide);
      node.removeEventListener("keydown", hide);
    };
  };
}
