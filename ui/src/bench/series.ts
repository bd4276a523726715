import type { BenchCell, BenchRun, MetricName } from "../bindings";
import { count, figures, size } from "../lib/format";
import { metricOf, spread } from "./figures";
import { modelWords, shortCell, varying, type Dimension } from "./words";

/** A bar with its spread. */
export type Bar = {
  name: string;
  median: number;
  low: number | null;
  high: number | null;
  text: string;
};

/** A point of a plot; `low` and `high` are of y, `area` is from 0 to 1. */
export type Mark = {
  x: number;
  y: number;
  low: number | null;
  high: number | null;
  area: number | null;
  /** A short word beside it. */
  tag: string;
  /** All of it in words. */
  text: string;
};

export type Series = { name: string; marks: Mark[] };

/** The longest list of bars that can be read at a glance. */
export const MOST_BARS = 16;

/** The most lines that can be told apart at a glance. */
export const MOST_SERIES = 6;

function measured(run: BenchRun): BenchCell[] {
  return run.cells.filter((cell) => cell.outcome.kind === "measured");
}

/** A figure of every measured cell as bars, the best {@link MOST_BARS}, in the order measured. */
export function barsOf(run: BenchRun, name: MetricName): { bars: Bar[]; left: number } {
  const differing = varying(run.cells.map((cell) => cell.key));
  const all = measured(run).flatMap((cell): Bar[] => {
    const metric = metricOf(cell, name);
    if (!metric || metric.median === null) return [];
    const { median, low, high } = metric;
    return [{ name: shortCell(cell.key, differing), median, low, high, text: figures(median) }];
  });
  const best = new Set([...all].sort((a, b) => b.median - a.median).slice(0, MOST_BARS));
  return { bars: all.filter((bar) => best.has(bar)), left: all.length - best.size };
}

/** A bar in words, for those who do not see it. */
export function barWords(bar: Bar, unit: string): string {
  return `${bar.name}: ${spread(bar.median, bar.low, bar.high)} ${unit}`;
}

/** The cells as series over one dimension: everything else being the same. */
function seriesOver(
  run: BenchRun,
  dimension: Dimension,
  mark: (cell: BenchCell) => Mark | null,
): Series[] {
  const differing = varying(run.cells.map((cell) => cell.key));
  if (!differing.includes(dimension)) return [];
  const rest = differing.filter((one) => one !== dimension);
  const series = new Map<string, Mark[]>();
  for (const cell of measured(run)) {
    const found = mark(cell);
    if (!found) continue;
    const name = shortCell(cell.key, rest);
    const marks = series.get(name);
    if (marks) marks.push(found);
    else series.set(name, [found]);
  }
  return [...series]
    .map(([name, marks]) => ({ name, marks: marks.sort((a, b) => a.x - b.x) }))
    .filter(({ marks }) => marks.length > 1);
}

/** Decode speed against the depth of the context; empty unless the depth differs. */
export function speedAgainstDepth(run: BenchRun): Series[] {
  return seriesOver(run, "depth_tokens", ({ key, metrics }) => {
    const metric = metrics.find((one) => one.name === "decode_tokens_per_second");
    if (!metric || metric.median === null) return null;
    const { median, low, high } = metric;
    const text = `${count(key.depth_tokens)} tokens deep: ${spread(median, low, high)} tok/s`;
    return { x: key.depth_tokens, y: median, low, high, area: null, tag: "", text };
  });
}

/** What all answers of a batch get together, against the time between tokens of one: speeds are
 * measured over the whole batch, as llama-bench does. */
export function throughputAgainstLatency(run: BenchRun): Series[] {
  return seriesOver(run, "batch", (cell) => {
    const x = metricOf(cell, "decode_tokens_per_second")?.median ?? null;
    const between = metricOf(cell, "inter_token_ms");
    if (x === null || !between || between.median === null) return null;
    const { batch } = cell.key;
    const { median, low, high } = between;
    const text =
      `Batch ${count(batch)}: ${figures(x)} tok/s together, ` +
      `${spread(median, low, high)} ms between tokens`;
    return { x, y: median, low, high, area: null, tag: `×${count(batch)}`, text };
  });
}

/** The series that reach highest, the best {@link MOST_SERIES} in their order, and how many are left out. */
export function bestSeries(
  all: Series[],
  value: (mark: Mark) => number,
): { series: Series[]; left: number } {
  const peak = ({ marks }: Series) => Math.max(...marks.map(value));
  const best = new Set([...all].sort((a, b) => peak(b) - peak(a)).slice(0, MOST_SERIES));
  return { series: all.filter((one) => best.has(one)), left: all.length - best.size };
}

/** What a chart has left out, in words that follow its note; empty where it shows all. */
export function leftWords(shown: number, left: number): string {
  return left > 0 ? `. The best ${count(shown)}; ${count(left)} more in the table` : "";
}

/** Quality against decode speed, the area being the memory; null unless quality was measured. */
export function qualityAgainstSpeed(
  run: BenchRun,
): { measure: "KL divergence" | "Perplexity"; series: Series[] } | null {
  const cells = measured(run).filter((cell) => cell.quality !== null);
  const byKl = cells.some((cell) => cell.quality?.kl_mean != null);
  const measure = byKl ? "KL divergence" : "Perplexity";
  const memory = (cell: BenchCell) => metricOf(cell, "peak_resident_mib")?.median ?? null;
  const most = Math.max(...cells.map((cell) => memory(cell) ?? 0), 1);
  const differing = varying(cells.map((cell) => cell.key));
  const models = new Map<string, Mark[]>();
  for (const cell of cells) {
    const y = (byKl ? cell.quality?.kl_mean : cell.quality?.perplexity) ?? null;
    const x = metricOf(cell, "decode_tokens_per_second")?.median ?? null;
    if (x === null || y === null) continue;
    const held = memory(cell);
    const words = [
      `${figures(x)} tok/s`,
      `${measure} ${figures(y)}`,
      held === null ? "" : size(held),
    ];
    const name = modelWords(cell.key);
    const mark: Mark = {
      x,
      y,
      low: null,
      high: null,
      area: held === null ? null : held / most,
      tag: "",
      text: `${shortCell(cell.key, differing)}: ${words.filter(Boolean).join(", ")}`,
    };
    models.set(name, [...(models.get(name) ?? []), mark]);
  }
  const series = [...models].map(([name, marks]) => ({ name, marks }));
  return series.length > 0 ? { measure, series } : null;
}
