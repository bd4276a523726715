import type { ConversationSummary, CoreEvent } from "../bindings";
import { forgetDraft } from "../chat/drafts";
import { thread } from "../chat/thread.svelte";
import { ipc } from "../ipc";
import { Failure } from "../lib/failure";
import { attempt, toasts } from "../shell/toasts.svelte";

const SEARCH_PAUSE_MS = 120;

/** The list of conversations and the search over them. */
class Conversations {
  all = $state.raw<ConversationSummary[]>([]);
  known = $state(false);
  failure = $state.raw<Failure | null>(null);
  query = $state("");
  found = $state.raw<ConversationSummary[] | null>(null);
  /** The one whose title is being changed in place. */
  renaming = $state<string | null>(null);
  #timer = 0;
  #turn = 0;
  #refreshes = 0;

  /** What the list shows: the hits while searching, else everything. */
  get shown(): ConversationSummary[] {
    return this.found ?? this.all;
  }

  async refresh(): Promise<void> {
    const turn = ++this.#refreshes;
    try {
      const all = await ipc.conversationsList();
      // Of answers that overtake each other only that to the latest question counts.
      if (turn !== this.#refreshes) return;
      this.all = all;
      this.failure = null;
      this.known = true;
    } catch (thrown) {
      this.failure = Failure.from(thrown);
    }
    thread.retitle(this.all);
  }

  take(event: CoreEvent): void {
    if (event.type !== "conversations_changed") return;
    void this.refresh();
    if (this.query.trim()) this.search(this.query);
  }

  search(query: string): void {
    this.query = query;
    clearTimeout(this.#timer);
    const turn = ++this.#turn;
    if (!query.trim()) {
      this.found = null;
      return;
    }
    this.#timer = window.setTimeout(async () => {
      await attempt(async () => {
        const found = await ipc.conversationsSearch(query.trim());
        if (turn === this.#turn) this.found = found;
      });
    }, SEARCH_PAUSE_MS);
  }

  async rename(id: string, title: string): Promise<void> {
    this.renaming = null;
    const old = this.all.find((one) => one.id === id);
    const clean = title.trim();
    if (!old || !clean || clean === old.title) return;
    this.#relabel(id, clean);
    if (!(await attempt(() => ipc.conversationRename(id, clean)))) this.#relabel(id, old.title);
  }

  /** Deletes at once; the toast brings it back. */
  async remove(id: string): Promise<void> {
    const old = this.all.find((one) => one.id === id);
    const at = this.all.findIndex((one) => one.id === id);
    if (!old || !(await attempt(() => ipc.conversationDelete(id)))) return;
    const wasShown = thread.id === id;
    this.all = this.all.filter((one) => one.id !== id);
    this.found = this.found?.filter((one) => one.id !== id) ?? null;
    if (wasShown) {
      const next = this.all[at] ?? this.all[at - 1];
      if (next) void thread.open(next.id);
      else thread.startNew();
    }
    const restore = async () => {
      await attempt(async () => {
        await ipc.conversationRestore(id);
        await this.refresh();
        if (wasShown) await thread.open(id);
      });
    };
    toasts.undo(`Deleted “${old.title || "Untitled"}”`, restore, () => forgetDraft(id));
  }

  /** The conversation before or after the shown one. */
  async step(by: 1 | -1): Promise<void> {
    const at = this.shown.findIndex((one) => one.id === thread.id);
    const next = at < 0 ? this.shown[0] : this.shown[at + by];
    if (next) await thread.open(next.id);
  }

  #relabel(id: string, title: string) {
    const change = (one: ConversationSummary) => (one.id === id ? { ...one, title } : one);
    this.all = this.all.map(change);
    this.found = this.found?.map(change) ?? null;
    thread.retitle(this.all);
  }
}

export const conversations = new Conversations();
