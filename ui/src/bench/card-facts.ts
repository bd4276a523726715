import type { BenchRun, MachineInfo, MetricName } from "../bindings";
import { figures, moment, size } from "../lib/format";
import { bestCell, interval, metricOf } from "./figures";
import { METRICS, modelWords, presetName, shortCell } from "./words";

/** What stands on the card that is shared. */
export type CardFacts = {
  model: string;
  /** How it was run. */
  configuration: string;
  figures: { label: string; value: string; unit: string; interval: string }[];
  machine: string[];
  marks: string;
  foot: string;
};

const ON_CARD: MetricName[] = [
  "decode_tokens_per_second",
  "prefill_tokens_per_second",
  "first_token_ms",
  "peak_resident_mib",
];

/** The machine in a few parts: processor, memory, accelerators, system. */
export function machineParts(machine: MachineInfo): string[] {
  const { cpu, cores, memory_mib, gpus, system, simd } = machine;
  return [
    `${cpu}, ${cores} ${cores === 1 ? "core" : "cores"}${simd ? `, ${simd}` : ""}`,
    memory_mib === null ? "" : `${size(memory_mib)} memory`,
    ...(gpus.length > 0 ? gpus : ["No GPU"]),
    system,
  ].filter(Boolean);
}

/** A speed of several answers is that of all of them together. */
function cardLabel(name: MetricName, batch: number): string {
  const { label } = METRICS[name];
  return batch > 1 && name.endsWith("_per_second") ? `${label}, ${batch} at once` : label;
}

/** The facts of a run's fastest cell; null when nothing was measured. */
export function cardFacts(run: BenchRun): CardFacts | null {
  const best = bestCell(run);
  if (!best) return null;
  const { cell } = best;
  const { summary, machine } = run;
  const samples = metricOf(cell, "decode_tokens_per_second")?.samples.length ?? 0;
  return {
    model: modelWords(cell.key),
    configuration: shortCell(cell.key, ["batch", "threads", "depth_tokens", "kv", "placement"]),
    figures: ON_CARD.flatMap((name) => {
      const metric = metricOf(cell, name);
      if (!metric || metric.median === null) return [];
      const { unit } = METRICS[name];
      const label = cardLabel(name, cell.key.batch);
      const range = interval(metric.low, metric.high);
      return [{ label, value: figures(metric.median), unit, interval: range }];
    }),
    machine: machineParts(machine),
    marks: [...run.marks, ...cell.marks].join(" · "),
    foot: [
      summary.started_ms === null ? "" : moment(summary.started_ms),
      `${presetName(summary.preset)}, median of ${samples} with its 95 % interval`,
      `Tektra ${machine.tektra_version}`,
    ]
      .filter(Boolean)
      .join(" · "),
  };
}

/** The card in words, for those who do not see it. */
export function cardWords(facts: CardFacts): string {
  const measured = facts.figures.map(({ label, value, unit, interval }) =>
    interval ? `${label} ${value} ${unit} (${interval})` : `${label} ${value} ${unit}`,
  );
  return `${facts.model}, ${facts.configuration}. ${measured.join(", ")}. ${facts.machine.join(", ")}.`;
}
