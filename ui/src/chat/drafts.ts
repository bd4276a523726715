import { recall, remember } from "../lib/remember";

type Drafts = Record<string, string>;

/** The place of the draft for a conversation that does not exist yet. */
const NEW = "new";

/** What was typed and not yet sent in a conversation (null: the new one). */
export function draftOf(conversation: string | null): string {
  return recall<Drafts>("drafts")?.[conversation ?? NEW] ?? "";
}

/** Keeps what is typed, so that neither switching nor closing loses it. */
export function keepDraft(conversation: string | null, text: string): void {
  const drafts = recall<Drafts>("drafts") ?? {};
  if (text) drafts[conversation ?? NEW] = text;
  else delete drafts[conversation ?? NEW];
  remember("drafts", Object.keys(drafts).length > 0 ? drafts : null);
}

/** Drops the draft of a conversation that is gone for good. */
export function forgetDraft(conversation: string): void {
  keepDraft(conversation, "");
}
