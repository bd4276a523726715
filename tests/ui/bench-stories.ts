import type {
  BenchCell,
  BenchRun,
  BenchRunSummary,
  CellKey,
  CellOutcome,
  CellQuality,
  Metric,
  MetricName,
} from "../../ui/src/bindings";

const SMOL = { model: "SmolLM2-135M", quantization: "Q4_K_M" };
const QWEN = { model: "Qwen3-4B-Instruct", quantization: "Q4_K_M" };
const LLAMA = { model: "llama3.1:8b-instruct-q8_0", quantization: "Q8_0" };

/** A configuration, the plainest unless said otherwise. */
export function key(more: Partial<CellKey> = {}): CellKey {
  return {
    ...SMOL,
    batch: 1,
    threads: 8,
    depth_tokens: 0,
    kv: "f16",
    placement: "CPU",
    ...more,
  };
}

/** A figure with five samples around its median, `part` of it to either side. */
export function metric(name: MetricName, median: number, part = 0.02): Metric {
  const at = (share: number) => median * (1 + share * part);
  return {
    name,
    unit: name.endsWith("_ms")
      ? "ms"
      : name.endsWith("_mib")
        ? "MiB"
        : name.includes("joules")
          ? "J"
          : "tok/s",
    higher_is_better: name.endsWith("per_second"),
    median,
    low: at(-0.9),
    high: at(0.8),
    mean: at(0.05),
    sd: median * part * 0.6,
    p95: name === "inter_token_ms" ? median * 1.18 : null,
    p99: name === "inter_token_ms" ? median * 1.4 : null,
    samples: [at(-1), at(-0.3), median, at(0.4), at(1)],
  };
}

type Speeds = { prefill: number; decode: number; mib: number; part?: number };

/** A cell that was measured. */
export function cell(
  more: Partial<CellKey>,
  { prefill, decode, mib, part }: Speeds,
  rest: Partial<BenchCell> = {},
): BenchCell {
  return {
    key: key(more),
    outcome: { kind: "measured" },
    model_hash:
      "9fecc3b3cd76bba89d504f29b616eedf7da85b96540e490ca5824d3f7d2776a0",
    metrics: [
      metric("prefill_tokens_per_second", prefill, part),
      metric("decode_tokens_per_second", decode, part),
      metric("first_token_ms", (512 / prefill) * 1000, part),
      metric("inter_token_ms", (1000 * (more.batch ?? 1)) / decode, part),
      metric("cold_load_ms", mib * 2.6, 0.06),
      metric("warm_load_ms", mib * 0.9, 0.03),
      metric("peak_resident_mib", mib, 0.002),
    ],
    quality: null,
    marks: [],
    ...rest,
  };
}

/** A cell that was not measured. */
export function refused(
  more: Partial<CellKey>,
  outcome: CellOutcome,
): BenchCell {
  return {
    key: key(more),
    outcome,
    model_hash: "",
    metrics: [],
    quality: null,
    marks: [],
  };
}

/** A run around its cells. */
export function run(
  id: string,
  cells: BenchCell[],
  summary: Partial<BenchRunSummary> = {},
  more: Partial<BenchRun> = {},
): BenchRun {
  const done = cells.filter(({ outcome }) => outcome.kind !== "pending");
  const speeds = done.flatMap(({ metrics }) =>
    metrics
      .filter(({ name }) => name === "decode_tokens_per_second")
      .map(({ median }) => median ?? 0),
  );
  return {
    summary: {
      id,
      started_ms: Date.UTC(2026, 10, 23, 16, 40),
      seconds: 412,
      preset: "standard",
      models: [...new Set(cells.map(({ key }) => key.model))],
      cells: cells.length,
      cells_done: done.length,
      state: "done",
      machine: "AMD Ryzen 7 5800X",
      best_decode_tokens_per_second: speeds.length ? Math.max(...speeds) : null,
      ...summary,
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
    cells,
    ...more,
  };
}

function quality(perplexity: number, kl: number): CellQuality {
  return {
    perplexity,
    kl_mean: kl,
    kl_p99: kl * 9,
    same_top_percent: 100 - kl * 400,
    reference: "BF16 of the same model",
  };
}

/** Depths, batches, quality, and every way of not being measured. */
export const standard = run(
  "standard",
  [
    cell(
      {},
      { prefill: 412, decode: 41.2, mib: 172 },
      { quality: quality(17.42, 0.0214) },
    ),
    cell({ depth_tokens: 4096 }, { prefill: 301, decode: 33.6, mib: 296 }),
    cell(
      { depth_tokens: 16_384 },
      { prefill: 148, decode: 19.1, mib: 668, part: 0.09 },
      { marks: ["The processor was throttled"] },
    ),
    cell({ batch: 4 }, { prefill: 408, decode: 99.2, mib: 214 }),
    cell({ batch: 8 }, { prefill: 397, decode: 127.2, mib: 268 }),
    cell(
      QWEN,
      { prefill: 38.4, decode: 9.21, mib: 2911 },
      { quality: quality(11.86, 0.0138) },
    ),
    cell(
      { ...QWEN, depth_tokens: 4096 },
      { prefill: 29.2, decode: 6.87, mib: 3544 },
    ),
    refused(
      { ...QWEN, depth_tokens: 16_384 },
      {
        kind: "failed",
        why: "The engine ended by itself while it read the prompt.",
      },
    ),
    refused(LLAMA, {
      kind: "does_not_fit",
      why: "9.62 GiB are needed, 5.16 GiB are free.",
    }),
    refused(
      { ...LLAMA, kv: "q8" },
      { kind: "not_supported", why: "mistral.rs keeps KV in f16 only." },
    ),
  ],
  {},
  {
    marks: [
      "On battery for 3 of 7 minutes",
      "Other programs took 12 % of the processor",
    ],
  },
);

/** An earlier run of some of the same, a little slower, on the same machine. */
export const earlier = run(
  "earlier",
  [
    cell({}, { prefill: 366, decode: 35.9, mib: 172 }),
    cell({ depth_tokens: 4096 }, { prefill: 299, decode: 33.4, mib: 297 }),
    cell({ threads: 4 }, { prefill: 212, decode: 30.1, mib: 171 }),
  ],
  {
    started_ms: Date.UTC(2026, 10, 16, 9, 12),
    seconds: 188,
  },
);

/** A run of another machine. */
export const elsewhere = run(
  "elsewhere",
  [cell({}, { prefill: 2410, decode: 118, mib: 391 })],
  {
    started_ms: Date.UTC(2026, 9, 30, 20, 5),
    preset: "quick",
    seconds: 38.4,
    machine: "NVIDIA RTX 4090",
  },
);

/** What memory of the GPU a cell took, and what energy. */
function onGpu(found: BenchCell, mib: number, joules: number): BenchCell {
  found.metrics.push(
    metric("peak_gpu_mib", mib, 0),
    metric("gpu_joules_per_token", joules, 0.01),
  );
  return found;
}

/** The same models on the processor and on a GPU. */
export const onBoth = run(
  "on-both",
  [
    cell(QWEN, { prefill: 38.4, decode: 9.21, mib: 2911 }),
    cell(
      { ...QWEN, depth_tokens: 4096 },
      { prefill: 29.2, decode: 6.87, mib: 3544 },
    ),
    cell({ ...QWEN, batch: 4 }, { prefill: 37.9, decode: 15.3, mib: 2998 }),
    onGpu(
      cell(
        { ...QWEN, placement: "GPU 0" },
        { prefill: 3120, decode: 104, mib: 611 },
      ),
      3184,
      0.74,
    ),
    onGpu(
      cell(
        { ...QWEN, depth_tokens: 4096, placement: "GPU 0" },
        { prefill: 2240, decode: 92.7, mib: 614 },
      ),
      3790,
      0.98,
    ),
    onGpu(
      cell(
        { ...QWEN, batch: 4, placement: "GPU 0" },
        { prefill: 3098, decode: 287, mib: 618 },
      ),
      3302,
      0.31,
    ),
    refused(
      { ...LLAMA, placement: "GPU 0" },
      {
        kind: "does_not_fit",
        why: "9.62 GiB are needed, 7.41 GiB are free on GPU 0.",
      },
    ),
  ],
  { started_ms: Date.UTC(2026, 10, 24, 11, 5) },
  {
    machine: {
      cpu: "AMD Ryzen 7 5800X",
      cores: 8,
      memory_mib: 32_044,
      gpus: ["NVIDIA GeForce RTX 4060"],
      system: "Linux 6.8",
      tektra_version: "0.1.0",
      engine_version: "0.6.0",
      simd: "AVX2",
    },
  },
);

const rest: CellOutcome = { kind: "pending" };

/** A run that ended with the program. */
export const interrupted = run(
  "interrupted",
  [
    cell({}, { prefill: 410, decode: 40.8, mib: 172 }),
    refused({ depth_tokens: 4096 }, rest),
    refused({ batch: 4 }, rest),
  ],
  {
    started_ms: Date.UTC(2026, 10, 23, 12, 30),
    preset: "thorough",
    state: "interrupted",
    seconds: 61,
  },
);

/** A history, the latest first. */
export const someRuns = [standard, interrupted, earlier, elsewhere];
