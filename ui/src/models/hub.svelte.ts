import type { HubGguf, HubModel } from "../bindings";
import { ipc } from "../ipc";
import { Failure } from "../lib/failure";

/** What one question to the hub has come to. An answer to an earlier one is dropped. */
class Question<T> {
  asking = $state(false);
  answer = $state.raw<T | null>(null);
  failure = $state.raw<Failure | null>(null);
  #latest = 0;

  async ask(question: () => Promise<T>): Promise<void> {
    const own = ++this.#latest;
    this.asking = true;
    this.failure = null;
    try {
      const answer = await question();
      if (own === this.#latest) this.answer = answer;
    } catch (thrown) {
      if (own !== this.#latest) return;
      this.answer = null;
      this.failure = Failure.from(thrown);
    } finally {
      if (own === this.#latest) this.asking = false;
    }
  }

  /** Waits no longer for what was asked. */
  cancel(): void {
    this.#latest++;
    this.asking = false;
  }

  forget(): void {
    this.cancel();
    this.answer = null;
    this.failure = null;
  }
}

/** What was looked for on the hub. It is asked only when a person searches or opens a repository. */
class Hub {
  typed = $state("");
  readonly search = new Question<{ text: string; models: HubModel[] }>();
  readonly files = new Question<HubGguf[]>();
  /** The repository whose files are shown. */
  opened = $state<string | null>(null);
  #asked = "";

  /** Searches for what is typed. */
  find(): void {
    const text = this.typed.trim();
    if (!text) return;
    this.#asked = text;
    this.#find();
  }

  /** Searches once more for what was searched for. */
  again(): void {
    this.#find();
  }

  #find(): void {
    const text = this.#asked;
    this.close();
    void this.search.ask(async () => ({ text, models: await ipc.hubSearch(text) }));
  }

  /** Lists the files of a repository. */
  open(repository: string): void {
    this.opened = repository;
    this.files.forget();
    void this.files.ask(() => ipc.hubFiles(repository));
  }

  close(): void {
    this.opened = null;
    this.files.forget();
  }
}

export const hub = new Hub();
