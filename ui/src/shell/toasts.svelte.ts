import { Failure } from "../lib/failure";

/** How long a toast with a way back stays. */
export const UNDO_MS = 8000;
const NOTE_MS = 4000;
const TROUBLE_MS = 12_000;

/** A short word at the edge of the window, with at most one thing to do about it. */
export type Toast = {
  id: number;
  kind: "note" | "trouble";
  message: string;
  hint: string;
  life: number;
  action: { label: string; run: () => void } | null;
  /** Called when it goes without its action having been used. */
  gone: () => void;
};

let next = 1;
const shown = $state<Toast[]>([]);

function add(toast: Omit<Toast, "id">): number {
  const twin = shown.find((one) => one.message === toast.message && one.kind === toast.kind);
  if (twin && !toast.action) return twin.id;
  const id = next++;
  shown.push({ ...toast, id });
  return id;
}

/** The toasts on the screen, oldest first. */
export const toasts = {
  get shown(): readonly Toast[] {
    return shown;
  },

  /** Says that something was done. The latest word replaces the one before, so that notes never pile up over buttons. */
  note(message: string): void {
    const before = shown.findIndex(({ kind, action }) => kind === "note" && !action);
    if (before >= 0) shown.splice(before, 1);
    add({ kind: "note", message, hint: "", life: NOTE_MS, action: null, gone: () => {} });
  },

  /** Says that something was done and offers to take it back. */
  undo(message: string, run: () => void, gone: () => void = () => {}): void {
    add({ kind: "note", message, hint: "", life: UNDO_MS, action: { label: "Undo", run }, gone });
  },

  /** Shows what went wrong. */
  trouble(thrown: unknown): void {
    const { message, hint } = Failure.from(thrown);
    add({ kind: "trouble", message, hint, life: TROUBLE_MS, action: null, gone: () => {} });
  },

  /** Takes a toast away; `used` when its action was pressed. */
  close(id: number, used = false): void {
    const at = shown.findIndex((toast) => toast.id === id);
    const [toast] = at < 0 ? [] : shown.splice(at, 1);
    if (toast && !used) toast.gone();
  },
};

/** Runs something that talks to the core and shows its failure as a toast; true when it went well. */
export async function attempt(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (thrown) {
    toasts.trouble(thrown);
    return false;
  }
}
