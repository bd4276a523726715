import type { CoreEvent, Download, Suggestion, Suggestions } from "../bindings";
import { ipc } from "../ipc";
import { Failure } from "../lib/failure";
import { engine } from "../shell/engine.svelte";
import { attempt, toasts } from "../shell/toasts.svelte";
import { baseName, isRunning } from "./download-words";

/** What is being downloaded, and what would be worth it. */
class Downloads {
  #all = $state.raw<Download[]>([]);
  /** Files whose removal can still be taken back. */
  #leaving = $state.raw<ReadonlySet<string>>(new Set());
  suggestions = $state.raw<Suggestions | null>(null);
  failure = $state.raw<Failure | null>(null);

  /** Every download but those on their way out. */
  get all(): Download[] {
    return this.#all.filter((download) => !this.#leaving.has(download.file));
  }

  /** The best model of the catalogue for this machine. */
  get best(): Suggestion | null {
    const id = this.suggestions?.best?.id;
    return this.suggestions?.models.find((one) => one.id === id) ?? null;
  }

  async start(): Promise<void> {
    this.#all = await ipc.downloadsList();
  }

  take(event: CoreEvent): void {
    if (event.type !== "downloads_changed") return;
    const before = new Map(this.#all.map((download) => [download.file, download.state.kind]));
    this.#all = event.downloads;
    for (const { file, state } of event.downloads) {
      const was = before.get(file);
      if (state.kind !== "done" || was === undefined || was === "done") continue;
      void engine.lookAgain();
      toasts.note(`${file} is in the library`);
    }
  }

  /** Asks what suits this machine as it is now. */
  async suggest(): Promise<void> {
    try {
      this.suggestions = await ipc.suggestions();
      this.failure = null;
    } catch (thrown) {
      this.failure = Failure.from(thrown);
    }
  }

  /** The download that becomes a file, if there is one. */
  named(file: string): Download | undefined {
    return this.all.find((download) => download.file === baseName(file));
  }

  /** The file that a download becomes: the catalogue names models by their ids. */
  fileOf(what: string): string {
    const suggestion = this.suggestions?.models.find((one) => one.id === what);
    return suggestion?.file ?? baseName(what);
  }

  /** Begins or continues a download; throws a {@link Failure}. */
  async begin(what: string): Promise<void> {
    await ipc.downloadStart(what);
  }

  pause = (file: string) => attempt(() => ipc.downloadPause(file));

  resume = (file: string) => attempt(() => this.begin(file));

  /** Takes a download away; what has arrived is removed once it cannot be taken back any more. */
  async remove(download: Download): Promise<void> {
    const { file } = download;
    if (download.state.kind === "done") {
      await attempt(() => ipc.downloadRemove(file));
      return;
    }
    const running = isRunning(download.state);
    if (running && !(await this.pause(file))) return;
    this.#leaving = new Set([...this.#leaving, file]);
    const stay = () => {
      this.#leaving = new Set([...this.#leaving].filter((one) => one !== file));
    };
    const undo = () => {
      stay();
      if (running) void this.resume(file);
    };
    const gone = async () => {
      await attempt(() => ipc.downloadRemove(file));
      stay();
    };
    toasts.undo(`Removed the download of ${file}`, undo, () => void gone());
  }
}

export const downloads = new Downloads();
