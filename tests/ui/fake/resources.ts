import type {
  AnswerMark,
  CoreEvent,
  Probe,
  ResourceHistory,
  ResourceSample,
} from "../../../ui/src/bindings";

/** The machine as the fake core measures it. */
export type FakeResources = {
  /** What was sampled before anything looked. */
  history: ResourceSample[];
  marks: AnswerMark[];
  probes: Probe[];
  /** Whether samples go on coming, the history over and over again. */
  live: boolean;
};

type Args = Record<string, unknown>;

/** Plays the sampling of the core. */
export class Resources {
  #timer = 0;

  constructor(
    private machine: FakeResources,
    private emit: (event: CoreEvent) => void,
  ) {}

  commands: Record<string, (args: Args) => unknown> = {
    resources_watch: ({ intervalMs }): ResourceHistory => {
      const interval_ms = Number(intervalMs);
      clearInterval(this.#timer);
      if (this.machine.live) this.#sample(interval_ms);
      const { history, marks } = this.machine;
      return { samples: history, marks, interval_ms };
    },
    resources_unwatch: () => {
      clearInterval(this.#timer);
      return null;
    },
    resources_probes: () => this.machine.probes,
  };

  #sample(everyMs: number) {
    let next = 0;
    this.#timer = window.setInterval(() => {
      const { history } = this.machine;
      const sample = history[next++ % history.length];
      if (!sample) return;
      this.emit({
        type: "resources_sampled",
        sample: { ...sample, at_ms: Date.now() },
      });
    }, everyMs);
  }
}
