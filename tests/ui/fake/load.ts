import type {
  CoreEvent,
  LoadReport,
  LoadRequest,
  LoadState,
} from "../../../ui/src/bindings";

/** What load tests meet with. */
export type FakeLoad = {
  /** What goes on, or was, when the page starts. */
  state: LoadState;
  /** What comes of the next one; `request` becomes that which was asked. */
  report: LoadReport | null;
  /** Time in which a fifth of the test passes. */
  tickMs: number;
};

type Args = Record<string, unknown>;

const STEPS = 5;

/** Plays the part of the core that lets many people ask at once. */
export class Load {
  #state: LoadState;
  #timer = 0;

  constructor(
    private fake: FakeLoad,
    private emit: (event: CoreEvent) => void,
  ) {
    this.#state = fake.state;
  }

  readonly commands: Record<string, (args: Args) => unknown> = {
    loadtest_state: () => this.#state,
    loadtest_start: ({ request }) => {
      this.#run(request as LoadRequest);
      return null;
    },
    loadtest_cancel: () => {
      if (this.#state.kind === "running") this.#end(this.#state.request, true);
      return null;
    },
  };

  #run(request: LoadRequest) {
    let step = 0;
    this.#go(request, step);
    this.#timer = window.setInterval(() => {
      if (++step > STEPS) this.#end(request, false);
      else this.#go(request, step);
    }, this.fake.tickMs);
  }

  #go(request: LoadRequest, step: number) {
    this.#tell({
      kind: "running",
      request,
      model: "SmolLM2-135M",
      progress: {
        loading: step === 0,
        seconds: (request.seconds * step) / STEPS,
        arrived: step * 3,
        answered: step * 2,
        failed: 0,
      },
    });
  }

  #end(request: LoadRequest, cancelled: boolean) {
    clearInterval(this.#timer);
    const { report } = this.fake;
    if (!report) throw new Error("the test has no report");
    this.#tell({ kind: "over", report: { ...report, request, cancelled } });
  }

  #tell(state: LoadState) {
    this.#state = state;
    this.emit({ type: "loadtest_changed", state });
  }
}
