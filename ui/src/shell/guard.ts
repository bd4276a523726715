import { ipc } from "../ipc";
import { attempt, toasts } from "./toasts.svelte";

/**
 * Keeps the window what it is: links open in the person's browser, nothing dropped navigates
 * away, and an error that nobody caught is shown. The returned function ends that.
 */
export function guardWindow(): () => void {
  const openLink = (event: MouseEvent) => {
    const link = (event.target as Element | null)?.closest?.("a[href]");
    if (!link) return;
    event.preventDefault();
    const pressed = event.type === "click" || event.button === 1;
    if (pressed) void attempt(() => ipc.openExternal(link.getAttribute("href") ?? ""));
  };
  const refuseDrop = (event: DragEvent) => {
    const intoText = (event.target as Element | null)?.closest?.("textarea, input");
    if (!intoText || event.dataTransfer?.types.includes("Files")) event.preventDefault();
  };
  const onError = (event: ErrorEvent) => {
    // A size observer that could not finish within a frame goes on in the next: no failure.
    if (event.message.startsWith("ResizeObserver loop")) return;
    toasts.trouble(event.error ?? event.message);
  };
  const onRejection = (event: PromiseRejectionEvent) => toasts.trouble(event.reason);

  document.addEventListener("click", openLink);
  document.addEventListener("auxclick", openLink);
  document.addEventListener("dragover", refuseDrop);
  document.addEventListener("drop", refuseDrop);
  window.addEventListener("error", onError);
  window.addEventListener("unhandledrejection", onRejection);
  return () => {
    document.removeEventListener("click", openLink);
    document.removeEventListener("auxclick", openLink);
    document.removeEventListener("dragover", refuseDrop);
    document.removeEventListener("drop", refuseDrop);
    window.removeEventListener("error", onError);
    window.removeEventListener("unhandledrejection", onRejection);
  };
}
