import type { Component } from "svelte";
import type { Key } from "../lib/keys";

/** One line of a menu. */
export type MenuItem = {
  label: string;
  /** A second, quieter line: what it is, or why it cannot be chosen. */
  note?: string;
  icon?: Component;
  key?: Key;
  disabled?: boolean;
  /** Set where the menu is a choice of one. */
  checked?: boolean;
  run: () => void;
};

type Open = { label: string; items: MenuItem[]; anchor: HTMLElement };

let open = $state.raw<Open | null>(null);

/** The one menu that may be open. */
export const menu = {
  get open(): Open | null {
    return open;
  },

  /** Opens a menu at a control, or closes it when it is that control's already. */
  toggle(anchor: HTMLElement, label: string, items: MenuItem[]): void {
    open = open?.anchor === anchor ? null : { label, items, anchor };
  },

  close(): void {
    open = null;
  },
};
