import type {
  CoreEvent,
  ErrorReport,
  HubGguf,
  HubModel,
  Precisions,
  Work,
} from "../../../ui/src/bindings";
import { gguf } from "./models";
import type { FakeOptions } from "./options";

/** What the hub has: repositories, and the files of each. */
export type FakeHub = {
  models: HubModel[];
  files: Record<string, HubGguf[]>;
};

/** What the workshop meets with. */
export type FakeWorkshop = {
  /** By the name of the model. */
  precisions: Record<string, Precisions>;
  /** What it does when the page starts. */
  work: Work | null;
  /** Time in which a tenth of a work is done. */
  tickMs: number;
  /** Why every work fails in its middle. */
  fails: ErrorReport | null;
};

/** Plays the part of the core that writes and measures precisions, and the hub. */
export class Workshop {
  #work: Work | null;

  constructor(
    private options: FakeOptions,
    private emit: (event: CoreEvent) => void,
  ) {
    this.#work = options.workshop.work;
  }

  readonly commands: Record<
    string,
    (args: Record<string, unknown>) => unknown
  > = {
    precisions: ({ name }) => this.#precisions(String(name)),
    quantize_start: ({ name, kind, rules }) => {
      const bad = (rules as string[]).find((rule) => !/^[^=]+=\w+$/.test(rule));
      if (bad !== undefined) {
        throw {
          code: "invalid_input",
          message: `"${bad}" is no rule; write *.ffn_down.weight=Q6_K, or 0-3=Q8_0 for layers.`,
          hint: "Nothing was written.",
        };
      }
      const choice = this.#precisions(String(name)).choices.find(
        (one) => one.kind === kind,
      );
      this.#begin({
        what: "quantize",
        model: String(name),
        format: String(kind),
        done_mib: 0,
        total_mib: choice?.size_mib ?? 640,
      });
      return null;
    },
    quality_measure: ({ name }) => {
      this.#begin({
        what: "measure",
        model: String(name),
        format: "",
        done_mib: 0,
        total_mib: 0,
      });
      return null;
    },
    workshop_stop: () => {
      const running = this.#work?.state.kind === "running";
      this.#change(
        running && this.#work
          ? { ...this.#work, state: { kind: "stopped" } }
          : null,
      );
      return null;
    },
    workshop_state: () => this.#work,
    hub_search: ({ text }) => {
      const words = String(text).toLowerCase().split(/\s+/);
      return this.options.hub.models.filter(({ id }) =>
        words.every((word) => id.toLowerCase().includes(word)),
      );
    },
    hub_files: ({ repository }) =>
      this.options.hub.files[String(repository)] ?? [],
  };

  #precisions(name: string): Precisions {
    const known = this.options.workshop.precisions[name];
    if (known) return known;
    return {
      model: name,
      must_convert: false,
      choices: [],
      siblings: [],
      context_tokens: 4096,
      reference: null,
    };
  }

  #begin(work: Omit<Work, "seconds" | "state">) {
    if (this.#work?.state.kind === "running") {
      throw {
        code: "invalid_input",
        message: "Something is being written or measured already.",
        hint: "Wait for it, or stop it.",
      };
    }
    this.#change({ ...work, seconds: 0, state: { kind: "running" } });
    void this.#go();
  }

  async #go() {
    const { tickMs, fails } = this.options.workshop;
    for (let tenth = 1; tenth <= 10; tenth++) {
      await new Promise((done) => setTimeout(done, tickMs));
      const work = this.#work;
      if (work?.state.kind !== "running") return;
      const done_mib = ((work.total_mib ?? 0) * tenth) / 10;
      this.#change({ ...work, done_mib, seconds: (tickMs * tenth) / 1000 });
      if (fails && tenth === 5) {
        this.#end({ kind: "failed", error: fails });
        return;
      }
    }
    this.#end({ kind: "done", result: this.#result() });
  }

  /** What a work leaves: a new model, or a perplexity. */
  #result(): string {
    const work = this.#work;
    if (work?.what !== "quantize") return "perplexity 17.4";
    const name = `${work.model}-${work.format}`;
    this.options.models.push(
      gguf(name, Math.round(work.total_mib ?? 0), {
        quantization: work.format,
      }),
    );
    for (const list of Object.values(this.options.workshop.precisions)) {
      const choice = list.choices.find((one) => one.kind === work.format);
      if (list.model === work.model && choice) choice.installed = name;
    }
    return name;
  }

  #end(state: Work["state"]) {
    if (this.#work) this.#change({ ...this.#work, state });
  }

  #change(work: Work | null) {
    this.#work = work;
    this.emit({ type: "workshop_changed", work });
  }
}
