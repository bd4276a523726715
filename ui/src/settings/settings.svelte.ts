import type { Settings, StartupInfo } from "../bindings";
import { ipc } from "../ipc";
import { toasts } from "../shell/toasts.svelte";
import { applyTheme } from "./theme";

/** The person's settings: changed at once, saved at once, put back when saving fails. */
class Preferences {
  now = $state.raw<Settings>({
    theme: "system",
    model: null,
    system_prompt: "",
    temperature: 0.7,
    max_tokens: 1024,
    model_folders: [],
    other_programs: true,
    idle_unload_minutes: 15,
  });
  /** What the core told at start: version and folders. */
  info = $state.raw<StartupInfo | null>(null);
  /** Which setting was saved last, for the quiet word beside it. */
  saved = $state<keyof Settings | null>(null);
  #queue: Promise<void> = Promise.resolve();
  #forget = 0;

  async start(): Promise<void> {
    this.now = await ipc.settingsGet();
    applyTheme(this.now.theme);
  }

  /** Changes some settings; resolves when they are saved or put back. */
  change(patch: Partial<Settings>): Promise<void> {
    const before = this.now;
    const next = { ...before, ...patch };
    this.now = next;
    applyTheme(next.theme);
    // One after another, so that an older save never lands on a newer one.
    this.#queue = this.#queue.then(() => this.#save(next, before, patch));
    return this.#queue;
  }

  async #save(next: Settings, before: Settings, patch: Partial<Settings>) {
    try {
      await ipc.settingsSet(next);
    } catch (thrown) {
      if (this.now === next) {
        this.now = before;
        applyTheme(before.theme);
      }
      toasts.trouble(thrown);
      return;
    }
    this.saved = (Object.keys(patch)[0] as keyof Settings | undefined) ?? null;
    clearTimeout(this.#forget);
    this.#forget = window.setTimeout(() => (this.saved = null), 2500);
  }
}

export const preferences = new Preferences();
