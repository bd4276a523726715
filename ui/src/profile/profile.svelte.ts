import type { AnswerTrace, CoreEvent, ProfiledProcess } from "../bindings";
import { thread } from "../chat/thread.svelte";
import { ipc } from "../ipc";
import { Failure } from "../lib/failure";
import { layout } from "../shell/layout.svelte";
import { RenderClock, type Rendered } from "./render-clock";
import { totalOf, type Stretch } from "./spans";

/** A flame graph that was recorded. */
export type Picture = { process: ProfiledProcess; seconds: number; at_ms: number; svg: string };

/** Where the time of the last answers went, and the CPU profile on demand. */
class Profile {
  /** Whether it is shown in the place of the live charts. */
  shown = $state(false);
  traces = $state.raw<AnswerTrace[]>([]);
  known = $state(false);
  failure = $state.raw<Failure | null>(null);
  /** The stretch of the chosen answer that is zoomed to, or null. */
  zoom = $state.raw<Stretch | null>(null);

  process = $state<ProfiledProcess>("engine");
  seconds = $state(10);
  /** When a recording began (performance.now), while there is one. */
  recording = $state<number | null>(null);
  cancelling = $state(false);
  picture = $state.raw<Picture | null>(null);
  /** Why the last recording came to nothing. */
  refused = $state.raw<Failure | null>(null);

  #chosen = $state<string | null>(null);
  #asked = 0;
  #clock = new RenderClock((rendered) => void this.#tell(rendered));

  /** The answer that is shown: the chosen one, else the latest. */
  get trace(): AnswerTrace | null {
    const chosen = this.traces.find(({ message_id }) => message_id === this.#chosen);
    return chosen ?? this.traces[0] ?? null;
  }

  /** What is seen of the shown answer's time. */
  get stretch(): Stretch {
    return this.zoom ?? { from: 0, to: this.trace ? totalOf(this.trace) : 0 };
  }

  choose(messageId: string): void {
    this.#chosen = messageId;
    this.zoom = null;
  }

  /** Shows the whole answer again; false where it is shown already. */
  zoomOut(): boolean {
    if (!this.zoom) return false;
    this.zoom = null;
    return true;
  }

  take(event: CoreEvent): void {
    if (event.type !== "answer_delta" && event.type !== "answer_finished") return;
    const seen = layout.view === "chat" && !document.hidden && event.conversation_id === thread.id;
    if (seen) this.#clock.take(event);
    else if (event.type === "answer_finished") {
      this.#clock.end(event.message.id);
      void this.#refresh();
    }
  }

  /** Reads the last answers. */
  async look(): Promise<void> {
    const asked = ++this.#asked;
    try {
      const traces = await ipc.profileTraces();
      if (asked !== this.#asked) return;
      const before = this.trace?.message_id;
      this.traces = traces;
      // The stretch is one of the answer that was shown.
      if (this.trace?.message_id !== before) this.zoom = null;
      this.failure = null;
    } catch (thrown) {
      if (asked !== this.#asked) return;
      this.failure = Failure.from(thrown);
    }
    this.known = true;
  }

  async record(): Promise<void> {
    if (this.recording !== null) return;
    const { process, seconds } = this;
    this.recording = performance.now();
    this.refused = null;
    try {
      const svg = await ipc.profileRecord(process, seconds);
      if (svg !== null) this.picture = { process, seconds, at_ms: Date.now(), svg };
    } catch (thrown) {
      this.refused = Failure.from(thrown);
    } finally {
      this.recording = null;
      this.cancelling = false;
    }
  }

  async cancel(): Promise<void> {
    this.cancelling = true;
    try {
      await ipc.profileCancel();
    } catch (thrown) {
      this.cancelling = false;
      this.refused = Failure.from(thrown);
    }
  }

  async #tell({ messageId, milliseconds, frames }: Rendered): Promise<void> {
    try {
      await ipc.profileRender(messageId, milliseconds, frames);
    } catch {
      // A figure is missing in a table; the answer is none the worse for it.
    }
    await this.#refresh();
  }

  async #refresh(): Promise<void> {
    if (this.shown && layout.view === "resources") await this.look();
  }
}

export const profile = new Profile();
