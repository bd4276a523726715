import { tick } from "svelte";
import { draftOf, keepDraft } from "./drafts";

/** What is being typed, and the field it is typed in. */
class Composer {
  text = $state("");
  #place: string | null = null;
  #field: HTMLTextAreaElement | null = null;

  /** Ties the composer to its field on the screen. */
  attach(field: HTMLTextAreaElement): () => void {
    this.#field = field;
    return () => (this.#field = null);
  }

  /** Puts the cursor into the field, as soon as there is one. */
  focus(): void {
    void tick().then(() => {
      const field = this.#field;
      field?.focus();
      field?.setSelectionRange(field.value.length, field.value.length);
    });
  }

  /** Shows the draft of a conversation. */
  goTo(conversation: string | null): void {
    this.#place = conversation;
    this.text = draftOf(conversation);
  }

  /** The new conversation got its id: what is typed from now on belongs to it. */
  adopt(conversation: string | null): void {
    if (this.#place === conversation) return;
    keepDraft(this.#place, "");
    this.#place = conversation;
    keepDraft(conversation, this.text);
  }

  type(text: string): void {
    this.text = text;
    keepDraft(this.#place, text);
  }

  /** Takes out what was sent, and leaves what was typed after it. */
  sent(text: string): void {
    if (this.text.startsWith(text)) this.type(this.text.slice(text.length).trimStart());
  }
}

export const composer = new Composer();
