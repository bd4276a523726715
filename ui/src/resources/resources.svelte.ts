import { untrack } from "svelte";
import type { CoreEvent } from "../bindings";
import { ipc } from "../ipc";
import { Failure } from "../lib/failure";
import { recall, remember } from "../lib/remember";
import { withHistory, withMarks, withSample, type Mark, type Timed } from "./history";

/** How often the machine may be looked at, ms. */
export const INTERVALS_MS = [500, 1000, 2000, 5000];
const RETRY_MS = 5000;

/** What the machine does, sampled by the core for as long as something in the window shows it. */
class Resources {
  samples = $state.raw<Timed[]>([]);
  marks = $state.raw<Mark[]>([]);
  /** Why nothing is sampled although something wants to show it. */
  failure = $state.raw<Failure | null>(null);
  /** Whether the strip shows figures; a wish of this window, kept by it. */
  #inStrip = $state(recall<boolean>("resources.strip") ?? true);
  #intervalMs = $state(wishedInterval());
  #viewers = 0;
  #hidden = document.hidden;
  /** The interval the core samples in as far as we know, or null. */
  #told: number | null = null;
  #asking = false;
  #retry = 0;

  get latest(): Timed | null {
    return this.samples.at(-1) ?? null;
  }

  get intervalMs(): number {
    return this.#intervalMs;
  }

  set intervalMs(ms: number) {
    this.#intervalMs = ms;
    remember("resources.interval", ms);
    void this.#settle();
  }

  get inStrip(): boolean {
    return this.#inStrip;
  }

  set inStrip(wanted: boolean) {
    this.#inStrip = wanted;
    remember("resources.strip", wanted);
  }

  /** Says that something shows the samples; the returned function says that it no longer does. */
  show(): () => void {
    this.#viewers++;
    // What shows the samples does not depend on how often they come.
    untrack(() => void this.#settle());
    return () => {
      this.#viewers--;
      void this.#settle();
    };
  }

  /** Follows whether the window can be seen at all; the returned function stops that. */
  follow(): () => void {
    const look = () => {
      this.#hidden = document.hidden;
      void this.#settle();
    };
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }

  take(event: CoreEvent): void {
    if (event.type === "resources_sampled") {
      this.samples = withSample(this.samples, event.sample);
    }
    if (event.type === "answer_marked") this.marks = withMarks(this.marks, [event.mark]);
  }

  retry = () => this.#settle();

  get #wish(): number | null {
    return this.#viewers > 0 && !this.#hidden ? this.intervalMs : null;
  }

  /** Tells the core what is wished, until it has been told the last wish. */
  async #settle(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    clearTimeout(this.#retry);
    try {
      while (this.#wish !== this.#told) await this.#tell(this.#wish);
      this.failure = null;
    } catch (thrown) {
      this.failure = Failure.from(thrown);
      this.#retry = window.setTimeout(() => void this.#settle(), RETRY_MS);
    } finally {
      this.#asking = false;
    }
  }

  async #tell(wish: number | null): Promise<void> {
    if (wish === null) {
      await ipc.resourcesUnwatch();
    } else {
      const { samples, marks } = await ipc.resourcesWatch(wish);
      this.samples = withHistory(this.samples, samples);
      this.marks = withMarks(this.marks, marks);
    }
    this.#told = wish;
  }
}

function wishedInterval(): number {
  const kept = recall<number>("resources.interval");
  return kept !== null && INTERVALS_MS.includes(kept) ? kept : 1000;
}

export const resources = new Resources();
