import type {
  BenchDevice,
  BenchPreset,
  CellKey,
  CellOutcome,
  KvWish,
  MetricName,
  RunState,
  Verdict,
} from "../bindings";
import { count, counted } from "../lib/format";

/** The presets in the order of their length. */
export const PRESETS: { value: BenchPreset; title: string; words: string }[] = [
  {
    value: "quick",
    title: "Quick",
    words: "One configuration, under a minute with a small model",
  },
  {
    value: "standard",
    title: "Standard",
    words: "Several answers at once, one thread and all, a long conversation",
  },
  {
    value: "thorough",
    title: "Thorough",
    words: "All of that in every precision and KV cache, with quality. Takes hours",
  },
];

/** A preset's name. */
export function presetName(preset: BenchPreset): string {
  return PRESETS.find(({ value }) => value === preset)?.title ?? preset;
}

const STATES: Record<RunState, string> = {
  running: "Running",
  done: "Done",
  cancelled: "Cancelled",
  interrupted: "Interrupted",
};

/** What became of a run. */
export function stateName(state: RunState): string {
  return STATES[state];
}

/** Whether a run ended before all of it was measured, so that it can be gone on with. */
export function isResumable(state: RunState): boolean {
  return state === "cancelled" || state === "interrupted";
}

/** What keys and values can be kept in, and what that means. */
export const KV_TYPES: { value: KvWish; words: string }[] = [
  { value: "f16", words: "Half precision" },
  { value: "q8", words: "Half the memory of f16" },
  { value: "f32", words: "Twice the memory of f16" },
];

/** What can compute, and how. */
export const DEVICES: { value: BenchDevice; label: string; words: string }[] = [
  { value: "cpu", label: "CPU", words: "The processor" },
  { value: "gpu", label: "GPU", words: "All layers on the GPU" },
];

/** What may differ between the cells of a run. */
export type Dimension = "model" | "batch" | "threads" | "depth_tokens" | "kv" | "placement";

const DIMENSIONS: Dimension[] = ["model", "batch", "threads", "depth_tokens", "kv", "placement"];

/** A model with its quantization, where its name does not tell it. */
export function modelWords({ model, quantization }: Pick<CellKey, "model" | "quantization">) {
  const told = model.toLowerCase().includes(quantization.toLowerCase());
  return told ? model : `${model} ${quantization}`;
}

function words(key: CellKey, dimension: Dimension): string {
  switch (dimension) {
    case "model":
      return modelWords(key);
    case "batch":
      return `batch ${count(key.batch)}`;
    case "threads":
      return key.threads > 0 ? counted(key.threads, "thread") : "";
    case "depth_tokens":
      return key.depth_tokens === 0 ? "empty context" : `${count(key.depth_tokens)} tokens deep`;
    case "kv":
      return `KV ${key.kv}`;
    case "placement":
      return key.placement;
  }
}

/** What a cell is, in some respects, one each. */
function partsOf(key: CellKey, dimensions: Dimension[]): string[] {
  return dimensions.map((dimension) => words(key, dimension)).filter(Boolean);
}

function join(key: CellKey, dimensions: Dimension[]): string {
  return partsOf(key, dimensions).join(" · ");
}

/** Everything a cell is: "SmolLM2-135M Q4_K_M · batch 1 · 2 threads · empty context · KV f16 · CPU". */
export function cellWords(key: CellKey): string {
  return join(key, DIMENSIONS);
}

/** In what the cells of a list differ. */
export function varying(keys: CellKey[]): Dimension[] {
  return DIMENSIONS.filter(
    (dimension) => new Set(keys.map((key) => words(key, dimension))).size > 1,
  );
}

/** That in which a cell differs from its neighbours; its model where it stands alone. */
export function shortParts(key: CellKey, differing: Dimension[]): string[] {
  return partsOf(key, differing.length > 0 ? differing : ["model"]);
}

/** The same in a line. */
export function shortCell(key: CellKey, differing: Dimension[]): string {
  return shortParts(key, differing).join(" · ");
}

/** What all cells of a list have in common: of a single one, all that it is. */
export function commonWords(keys: CellKey[]): string {
  const [first] = keys;
  if (!first) return "";
  const differing = varying(keys);
  return join(
    first,
    DIMENSIONS.filter((one) => !differing.includes(one)),
  );
}

/** What a figure is called, what it is measured in, and what of it is better. */
export const METRICS: Record<MetricName, { label: string; unit: string; better: string }> = {
  prefill_tokens_per_second: { label: "Prefill", unit: "tok/s", better: "is faster" },
  decode_tokens_per_second: { label: "Decode", unit: "tok/s", better: "is faster" },
  first_token_ms: { label: "First token", unit: "ms", better: "is faster" },
  inter_token_ms: { label: "Between tokens", unit: "ms", better: "is faster" },
  cold_load_ms: { label: "Cold load", unit: "ms", better: "is faster" },
  warm_load_ms: { label: "Warm load", unit: "ms", better: "is faster" },
  peak_resident_mib: { label: "Peak memory", unit: "MiB", better: "needs less memory" },
  peak_gpu_mib: { label: "Peak GPU memory", unit: "MiB", better: "needs less memory" },
  joules_per_token: { label: "Energy", unit: "J/token", better: "needs less energy" },
  gpu_joules_per_token: { label: "GPU energy", unit: "J/token", better: "needs less energy" },
  end_to_end_first_token_ms: {
    label: "First token, end to end",
    unit: "ms",
    better: "is faster",
  },
  end_to_end_tokens_per_second: {
    label: "Decode, end to end",
    unit: "tok/s",
    better: "is faster",
  },
};

/** A comparison's verdict on a figure: "B is faster". */
export function verdictWords(verdict: Verdict, metric: MetricName): string {
  switch (verdict) {
    case "a_better":
      return `A ${METRICS[metric].better}`;
    case "b_better":
      return `B ${METRICS[metric].better}`;
    case "no_difference":
      return "No difference shown";
    case "only_a":
      return "Only in A";
    case "only_b":
      return "Only in B";
  }
}

/** What became of a cell that was not measured, and why; null for one that was. */
export function refusal(outcome: CellOutcome): { title: string; why: string } | null {
  switch (outcome.kind) {
    case "measured":
      return null;
    case "does_not_fit":
      return { title: "Does not fit", why: outcome.why };
    case "not_supported":
      return { title: "Not supported", why: outcome.why };
    case "failed":
      return { title: "Failed", why: outcome.why };
    case "pending":
      return { title: "Not measured yet", why: "" };
  }
}

/** The models of a run, as far as there is room: "SmolLM2-135M and 2 more". */
export function modelsWords(models: string[]): string {
  const [first, ...rest] = models;
  if (first === undefined) return "No model";
  return rest.length === 0 ? first : `${first} and ${rest.length} more`;
}
