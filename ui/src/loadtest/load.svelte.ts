import type { CoreEvent, LoadReport, LoadRequest, LoadState } from "../bindings";
import { ipc } from "../ipc";
import { Failure } from "../lib/failure";
import { plain, type Field, problems } from "./wish";

/** The load test: what is asked of it, how far it is, and what came of the last one. */
class Load {
  state = $state.raw<LoadState>({ kind: "none" });
  /** Between the wish to begin or cancel and the first word of it. */
  asking = $state(false);
  /** Why the last wish was refused. */
  refused = $state.raw<Failure | null>(null);
  wish = $state.raw<LoadRequest>(plain);
  moreOpen = $state(false);
  #heard = false;

  readonly problems = $derived.by((): Partial<Record<Field, string>> => problems(this.wish));

  get running(): Extract<LoadState, { kind: "running" }> | null {
    return this.state.kind === "running" ? this.state : null;
  }

  get report(): LoadReport | null {
    return this.state.kind === "over" ? this.state.report : null;
  }

  /** Why it ended without a report. */
  get failure(): Failure | null {
    return this.state.kind === "failed" ? Failure.of(this.state.error) : null;
  }

  /** Whether one runs or is being begun. */
  get busy(): boolean {
    return this.running !== null || this.asking;
  }

  get isSound(): boolean {
    return Object.keys(this.problems).length === 0;
  }

  /** Asks what goes on; from then on it is told. */
  async start(): Promise<void> {
    const told = await ipc.loadtestState();
    // An event that came meanwhile is newer than this answer.
    if (!this.#heard) this.#take(told);
  }

  take(event: CoreEvent): void {
    if (event.type !== "loadtest_changed") return;
    this.#heard = true;
    this.#take(event.state);
  }

  /** Begins what is put together in the view. */
  begin(): void {
    if (this.isSound) void this.#ask(() => ipc.loadtestStart(this.wish));
  }

  cancel(): Promise<void> {
    return this.#ask(() => ipc.loadtestCancel());
  }

  change(patch: Partial<LoadRequest>): void {
    this.wish = { ...this.wish, ...patch };
  }

  async #ask(work: () => Promise<unknown>): Promise<void> {
    if (this.asking) return;
    this.asking = true;
    this.refused = null;
    try {
      await work();
    } catch (thrown) {
      this.refused = Failure.from(thrown);
    } finally {
      this.asking = false;
    }
  }

  #take(state: LoadState) {
    // What was begun before the window came up is what its form shows.
    if (!this.running && state.kind === "running") this.wish = state.request;
    this.state = state;
  }
}

export const load = new Load();
