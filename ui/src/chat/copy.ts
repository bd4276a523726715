import { copyText } from "../lib/clipboard";
import { toasts } from "../shell/toasts.svelte";

/** Puts text on the clipboard, or says that it could not be done; true when it was. */
export async function copy(text: string): Promise<boolean> {
  const copied = await copyText(text);
  if (!copied) toasts.note("The system did not allow copying");
  return copied;
}
