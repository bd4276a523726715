import type {
  BenchCell,
  BenchComparison,
  BenchProgress,
  BenchRequest,
  BenchRun,
  CellKey,
  CoreEvent,
  Settings,
  Verdict,
} from "../../../ui/src/bindings";
import type { FakeOptions } from "./options";

/** What benchmarks meet with. */
export type FakeBench = {
  runs: BenchRun[];
  /** What runs when the page starts. */
  progress: BenchProgress | null;
  /** Time in which a cell is measured. */
  cellMs: number;
  /** Ends the cell that is being measured before its time is over. */
  endCell?: () => void;
};

type Args = Record<string, unknown>;

const SECONDS = { quick: 12, standard: 95, thorough: 240 };

/** Plays the part of the core that measures: plans, runs cell by cell, keeps and compares. */
export class Bench {
  #progress: BenchProgress | null;
  #cancelled = false;

  constructor(
    private options: FakeOptions,
    private emit: (event: CoreEvent) => void,
    private use: (model: string) => Settings,
  ) {
    this.#progress = options.bench.progress;
  }

  readonly commands: Record<string, (args: Args) => unknown> = {
    bench_plan: ({ request }) => this.#plan(request as BenchRequest),
    bench_start: ({ request }) => {
      this.#start(request as BenchRequest);
      return null;
    },
    bench_cancel: () => {
      this.#cancelled = true;
      this.#end("cancelled");
      return null;
    },
    bench_resume: ({ id }) => {
      const run = this.#run(String(id));
      this.#refuseSecond();
      void this.#go(run);
      return null;
    },
    bench_state: () => this.#progress,
    bench_runs: () => this.options.bench.runs.map((run) => run.summary),
    bench_run: ({ id }) => this.#run(String(id)),
    bench_delete: ({ id }) => {
      const { runs } = this.options.bench;
      runs.splice(runs.indexOf(this.#run(String(id))), 1);
      return null;
    },
    bench_compare: ({ a, b }) =>
      compare(this.#run(String(a)), this.#run(String(b))),
    bench_export: ({ id, format }) => {
      const run = this.#run(String(id));
      return `${String(format)} of ${run.summary.id}: ${run.cells.length} cells\n`;
    },
    bench_apply: ({ id, cell }) => {
      const found = this.#run(String(id)).cells[Number(cell)];
      if (!found) throw refusal(`No cell ${String(cell)}.`);
      return this.use(found.key.model);
    },
  };

  #run(id: string): BenchRun {
    const found = this.options.bench.runs.find((run) => run.summary.id === id);
    if (!found) throw refusal("This run is not there any more.");
    return found;
  }

  #plan(request: BenchRequest) {
    const models = request.models.length
      ? request.models
      : this.options.models
          .filter((model) => !model.problem)
          .slice(0, 1)
          .map((model) => model.name);
    if (models.length === 0) throw refusal("There is no model to measure.");
    const thorough = request.preset === "thorough";
    const all = (chosen: number[], own: number[]) =>
      chosen.length ? chosen : own;
    const cells: CellKey[] = [];
    for (const model of models) {
      const told = this.options.models.find((one) => one.name === model);
      for (const batch of all(request.batches, thorough ? [1, 2, 4] : [1]))
        for (const threads of all(request.threads, [2]))
          for (const depth_tokens of all(
            request.depths,
            request.preset === "quick" ? [0] : [0, 4096],
          ))
            for (const kv of request.kvs.length
              ? request.kvs
              : (["f16"] as const)) {
              cells.push({
                model,
                quantization: told?.quantization ?? "",
                batch,
                threads,
                depth_tokens,
                kv,
                placement: "CPU",
              });
            }
    }
    const gpu = this.options.gpus.find((device) => !device.unusable);
    if (gpu) {
      const [cpu] = cells;
      const own =
        request.preset === "quick"
          ? (["gpu"] as const)
          : (["cpu", "gpu"] as const);
      const devices = request.devices?.length ? request.devices : own;
      const onGpu = cells
        .filter(({ threads }) => threads === cpu?.threads)
        .map((cell) => ({ ...cell, placement: "GPU 0" }));
      const both = { cpu: [...cells], gpu: onGpu };
      cells.splice(0, cells.length, ...devices.flatMap((one) => both[one]));
    }
    const notes = request.depths.some((depth) => depth >= 16_384)
      ? ["SmolLM2-135M holds 8,192 tokens: deeper cells are not supported."]
      : [];
    return {
      cells,
      seconds: cells.length * SECONDS[request.preset],
      notes,
      gpu: gpu ? `GPU 0 (${gpu.name})` : null,
    };
  }

  #start(request: BenchRequest) {
    this.#refuseSecond();
    const { cells } = this.#plan(request);
    const run: BenchRun = {
      summary: {
        id: `run-${this.options.bench.runs.length + 1}`,
        started_ms: Date.now(),
        seconds: 0,
        preset: request.preset,
        models: [...new Set(cells.map((cell) => cell.model))],
        cells: cells.length,
        cells_done: 0,
        state: "running",
        machine: "AMD Ryzen 7 5800X",
        best_decode_tokens_per_second: null,
      },
      machine: {
        cpu: "AMD Ryzen 7 5800X",
        cores: 8,
        memory_mib: 32_044,
        gpus: [],
        system: "Linux 6.8",
        tektra_version: "0.1.0",
        engine_version: "0.6.0",
        simd: "AVX2",
      },
      marks: [],
      cells: cells.map((key) => ({
        key,
        outcome: { kind: "pending" },
        model_hash: "9fecc3b3",
        metrics: [],
        quality: null,
        marks: [],
      })),
    };
    this.options.bench.runs.unshift(run);
    void this.#go(run);
  }

  async #go(run: BenchRun) {
    const { summary } = run;
    const { cellMs } = this.options.bench;
    this.#cancelled = false;
    summary.state = "running";
    for (const cell of run.cells) {
      if (cell.outcome.kind !== "pending") continue;
      this.#tell({
        run_id: summary.id,
        cell: cell.key,
        cells_done: summary.cells_done,
        cells: summary.cells,
        repetition: 1,
        repetitions: 5,
        seconds: summary.seconds,
        seconds_left: (summary.cells - summary.cells_done) * 120,
        waiting: false,
      });
      await new Promise<void>((done) => {
        this.options.bench.endCell = done;
        setTimeout(done, cellMs);
      });
      if (this.#cancelled) return;
      cell.outcome = { kind: "measured" };
      cell.metrics = [decode(40 + summary.cells_done)];
      summary.cells_done++;
      summary.seconds += 12;
      summary.best_decode_tokens_per_second = 39 + summary.cells_done;
    }
    this.#end("done");
  }

  #end(state: "done" | "cancelled") {
    if (!this.#progress) throw refusal("No benchmark is running.");
    this.#run(this.#progress.run_id).summary.state = state;
    this.#tell(null);
  }

  #refuseSecond() {
    if (this.#progress) throw refusal("A benchmark is running already.");
  }

  #tell(progress: BenchProgress | null) {
    this.#progress = progress;
    this.emit({ type: "bench_changed", progress });
  }
}

function refusal(message: string) {
  return {
    code: "invalid_input",
    message,
    hint: "Nothing was changed.",
  };
}

function decode(median: number): BenchCell["metrics"][number] {
  return {
    name: "decode_tokens_per_second",
    unit: "tok/s",
    higher_is_better: true,
    median,
    low: median - 1,
    high: median + 1,
    mean: median,
    sd: 0.6,
    p95: null,
    p99: null,
    samples: [median - 1, median, median, median, median + 1],
  };
}

function compare(a: BenchRun, b: BenchRun): BenchComparison {
  const name = (cell: BenchCell) => JSON.stringify(cell.key);
  const others = new Map(b.cells.map((cell) => [name(cell), cell]));
  const rows = a.cells.flatMap((cell): BenchComparison["rows"] => {
    const other = others.get(name(cell));
    return cell.metrics.map((one) => {
      const two = other?.metrics.find(({ name }) => name === one.name) ?? null;
      return {
        key: cell.key,
        metric: one.name,
        unit: one.unit,
        a: one.median,
        a_low: one.low,
        a_high: one.high,
        b: two?.median ?? null,
        b_low: two?.low ?? null,
        b_high: two?.high ?? null,
        ratio: two?.median && one.median ? two.median / one.median : null,
        verdict: verdict(one, two),
      };
    });
  });
  return {
    a: a.summary,
    b: b.summary,
    other_machine: a.summary.machine !== b.summary.machine,
    rows,
  };
}

type Spread = BenchCell["metrics"][number];

function verdict(a: Spread, b: Spread | null): Verdict {
  if (!b) return "only_a";
  const apart = (high: number | null, low: number | null) =>
    (high ?? 0) < (low ?? 0);
  if (apart(a.high, b.low)) return a.higher_is_better ? "b_better" : "a_better";
  if (apart(b.high, a.low)) return a.higher_is_better ? "a_better" : "b_better";
  return "no_difference";
}
