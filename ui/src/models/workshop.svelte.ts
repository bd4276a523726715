import type { CoreEvent, Work } from "../bindings";
import { ipc, onEvent } from "../ipc";
import { Failure } from "../lib/failure";
import { engine } from "../shell/engine.svelte";
import { toasts } from "../shell/toasts.svelte";
import { workTitle } from "./workshop-words";

/** What is being written or measured: one thing at a time. */
class Workshop {
  work = $state.raw<Work | null>(null);
  /** When it was last heard of (performance.now), for the seconds since. */
  heardAt = $state(0);
  /** How many panels show it. */
  #panels = $state(0);
  /** How many works have ended, as each changes what is known of models. */
  ended = $state(0);
  /** Between the wish to begin and the first word of it. */
  #asking = $state(false);
  #heard = false;

  constructor() {
    // A work may end while no view of the models is open.
    onEvent((event) => this.#hear(event));
  }

  /** Why nothing else can be begun now; empty when it can. */
  get busy(): string {
    if (this.work?.state.kind === "running") return `${workTitle(this.work)}. One at a time.`;
    return this.#asking ? "Beginning" : "";
  }

  /** Whether a panel shows it already. */
  get inPanel(): boolean {
    return this.#panels > 0;
  }

  /** A panel shows it from now on, until the returned function is called. */
  show(): () => void {
    this.#panels++;
    return () => this.#panels--;
  }

  /** Asks once what goes on; from then on it is told. */
  async start(): Promise<void> {
    if (this.#heard) return;
    const told = await ipc.workshopState();
    // An event that came meanwhile is newer than this answer.
    if (!this.#heard) this.#take(told);
  }

  /** Begins to write a model in another precision; throws a Failure. */
  quantize(name: string, kind: string, rules: string[]): Promise<void> {
    return this.#ask(() => ipc.quantizeStart(name, kind, rules));
  }

  /** Begins to measure a model; throws a Failure. */
  measure(name: string): Promise<void> {
    return this.#ask(() => ipc.qualityMeasure(name));
  }

  /** Stops what is done; of what has ended nothing is told any more. */
  async stop(): Promise<void> {
    await ipc.workshopStop();
  }

  async #ask(begin: () => Promise<unknown>): Promise<void> {
    this.#asking = true;
    try {
      await begin();
    } finally {
      this.#asking = false;
    }
  }

  #hear(event: CoreEvent): void {
    if (event.type !== "workshop_changed") return;
    const before = this.work?.state.kind;
    this.#take(event.work);
    const now = event.work?.state.kind;
    if (!event.work || now === before || now === "running") return;
    this.ended++;
    const { state, what } = event.work;
    if (state.kind === "done" && what === "quantize") void engine.lookAgain();
    // Where it is seen it need not be told.
    if (this.inPanel) return;
    if (state.kind === "done") toasts.note(workTitle(event.work));
    if (state.kind === "failed") toasts.trouble(Failure.of(state.error));
  }

  #take(work: Work | null): void {
    this.#heard = true;
    this.work = work;
    this.heardAt = performance.now();
  }
}

export const workshop = new Workshop();
