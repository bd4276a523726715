import type {
  CoreEvent,
  Download,
  FitSummary,
  ModelDetails,
  ModelSummary,
  Suggestion,
} from "../../../ui/src/bindings";
import type { FakeOptions } from "./options";

/** A model of the list, usable unless said otherwise. */
export function gguf(
  name: string,
  size_mib: number,
  more: Partial<ModelSummary> = {},
): ModelSummary {
  return {
    name,
    path: `/home/ada/.local/share/tektra/models/${name}.gguf`,
    size_mib,
    architecture: "llama",
    quantization: "Q4_K_M",
    context_length: 8192,
    parameters_millions: Math.round(size_mib * 1.6),
    origin: "tektra",
    runs_on: "tektra_cpu",
    problem: null,
    ...more,
  };
}

const RESERVE_MIB = 512;

/** Plays what the core knows of models: the library, the fit, the catalogue and the downloads. */
export class Models {
  #downloads: Download[];

  constructor(
    private options: FakeOptions,
    private emit: (event: CoreEvent) => void,
  ) {
    this.#downloads = options.downloads;
  }

  readonly commands: Record<
    string,
    (args: Record<string, unknown>) => unknown
  > = {
    models_list: () => this.options.models,
    model_details: ({ name }) => this.#details(String(name)),
    model_fit: ({ name, contextTokens }) =>
      this.#fit(String(name), contextTokens as number | null),
    suggestions: () => this.options.suggestions,
    downloads_list: () => this.#downloads,
    download_start: ({ what }) => {
      this.#start(String(what));
      return null;
    },
    download_pause: ({ file }) => {
      this.#change(String(file), {
        state: { kind: "paused" },
        mib_per_second: 0,
        seconds_left: null,
      });
      return null;
    },
    download_remove: ({ file }) => {
      this.#downloads = this.#downloads.filter((one) => one.file !== file);
      this.#changed();
      return null;
    },
  };

  #model(name: string): ModelSummary {
    const model = this.options.models.find((one) => one.name === name);
    if (!model)
      throw { code: "model_not_found", message: `No ${name}.`, hint: "" };
    if (model.problem && !model.architecture) throw model.problem;
    return model;
  }

  #details(name: string): ModelDetails {
    const model = this.#model(name);
    const share = (part: number) => model.size_mib * part;
    return {
      name,
      origin: model.origin,
      files: [model.path],
      size_mib: model.size_mib,
      architecture: model.architecture,
      parameters_millions: model.parameters_millions,
      quantization: model.quantization,
      parts: [
        {
          part: "feed-forward",
          types: [
            ["Q4_K", share(0.37)],
            ["Q6_K", share(0.18)],
          ],
        },
        {
          part: "attention",
          types: [
            ["Q4_K", share(0.14)],
            ["Q6_K", share(0.03)],
          ],
        },
        { part: "embeddings", types: [["Q8_0", share(0.27)]] },
        { part: "norms", types: [["F32", 0.136]] },
      ],
      context_length: model.context_length,
      layers: 30,
      heads: 9,
      kv_heads: 3,
      vocabulary: 49_152,
      chat_template: true,
      licence: "apache-2.0",
      runs_on: model.runs_on,
      problem: model.problem,
    };
  }

  #fit(name: string, contextTokens: number | null): FitSummary {
    const model = this.#model(name);
    const context_tokens = contextTokens ?? model.context_length;
    const perToken = 0.011 + model.size_mib / 20_000;
    const weights_mib = model.size_mib * 1.08;
    const compute_mib = 64 + model.size_mib * 0.02;
    const kv_mib = context_tokens * perToken;
    const free_mib = this.options.freeMib;
    const total_mib = weights_mib + kv_mib + compute_mib + RESERVE_MIB;
    const room = free_mib - (total_mib - kv_mib);
    const max_context = Math.min(
      Math.max(0, Math.floor(room / perToken / 32) * 32),
      model.context_length,
    );
    return {
      weights_mib,
      kv_mib,
      compute_mib,
      reserve_mib: RESERVE_MIB,
      total_mib,
      free_mib,
      fits: total_mib <= free_mib,
      max_context,
      context_tokens,
      is_estimate: model.runs_on === "mistral_rs",
      corrected_by_loads: name === "SmolLM2-135M" ? 3 : 0,
    };
  }

  #start(what: string) {
    const known = this.#downloads.find((one) => one.file === what);
    const entry = this.options.suggestions.models.find(
      (one) => one.id === what,
    );
    if (!known && !entry && !/^(hf|https):\/\/.+\.gguf$/.test(what)) {
      throw {
        code: "invalid_input",
        message: `"${what}" does not name a GGUF file.`,
        hint: "Write hf://owner/repository/file.gguf.",
      };
    }
    const file = known?.file ?? entry?.file ?? what.split("/").at(-1) ?? what;
    if (!known) {
      this.#downloads = [
        ...this.#downloads,
        {
          file,
          source: entry ? `hf://${entry.repository}/${file}` : what,
          state: { kind: "connecting" },
          done_mib: 0,
          total_mib: null,
          mib_per_second: 0,
          seconds_left: null,
        },
      ];
    }
    this.#change(file, { state: { kind: "connecting" } });
    void this.#fetch(file, entry);
  }

  async #fetch(file: string, entry: Suggestion | undefined) {
    const total = entry?.size_mib ?? 640;
    const running = () => {
      const now = this.#downloads.find((one) => one.file === file);
      return now && now.state.kind !== "paused" ? now : null;
    };
    for (let tenth = 1; tenth <= 10; tenth++) {
      await new Promise((done) =>
        setTimeout(done, this.options.downloadTickMs),
      );
      if (!running()) return;
      this.#change(file, {
        state: { kind: "downloading" },
        done_mib: (total * tenth) / 10,
        total_mib: total,
        mib_per_second: 23.44,
        seconds_left: Math.round((total * (10 - tenth)) / 10 / 23.44),
      });
    }
    this.options.models.push(gguf(file.replace(/\.gguf$/, ""), total));
    this.#change(file, {
      state: { kind: "done" },
      mib_per_second: 0,
      seconds_left: null,
    });
  }

  #change(file: string, change: Partial<Download>) {
    this.#downloads = this.#downloads.map((one) =>
      one.file === file ? { ...one, ...change } : one,
    );
    this.#changed();
  }

  #changed() {
    this.emit({ type: "downloads_changed", downloads: this.#downloads });
  }
}
