import type { BenchCell, BenchRun, Metric, MetricName } from "../bindings";
import { duration, figures } from "../lib/format";

/** A figure of a cell, where it was measured. */
export function metricOf(cell: BenchCell, name: MetricName): Metric | undefined {
  return cell.metrics.find((metric) => metric.name === name && metric.median !== null);
}

/** The interval of a median: "40.1–42.0"; empty where there is none. */
export function interval(low: number | null, high: number | null): string {
  if (low === null || high === null) return "";
  const [from, to] = [figures(low), figures(high)];
  return from === to ? "" : `${from}–${to}`;
}

/** A median with its 95 % interval: "41.2 (40.1–42.0)"; "–" where nothing was measured. */
export function spread(median: number | null, low: number | null, high: number | null): string {
  if (median === null) return "–";
  const range = interval(low, high);
  return range ? `${figures(median)} (${range})` : figures(median);
}

/** How many times as much: "1.12×". */
export function ratioWords(ratio: number | null): string {
  return ratio === null ? "–" : `${figures(ratio)}×`;
}

/** How long something takes that takes seconds to hours: "48 s", "4 min", "2 h 10 min". */
export function roughly(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const rest = minutes % 60;
  const hours = `${Math.floor(minutes / 60)} h`;
  return rest === 0 ? hours : `${hours} ${rest} min`;
}

/** How long a run took: below a minute to the tenth of a second. */
export function took(seconds: number): string {
  return seconds < 60 ? duration(seconds * 1000) : roughly(seconds);
}

/** The measured cell that writes fastest, with its place in the run. */
export function bestCell(run: BenchRun): { cell: BenchCell; index: number } | null {
  let best: { cell: BenchCell; index: number; speed: number } | null = null;
  for (const [index, cell] of run.cells.entries()) {
    const speed = metricOf(cell, "decode_tokens_per_second")?.median ?? -1;
    if (cell.outcome.kind === "measured" && speed > (best?.speed ?? -1)) {
      best = { cell, index, speed };
    }
  }
  return best;
}

/** How far a run is, from 0 to 1: by its time where that is known, else by its cells. */
export function progressPart(
  secondsDone: number,
  secondsLeft: number | null,
  cellsDone: number,
  cells: number,
): number {
  const whole = secondsDone + (secondsLeft ?? 0);
  if (secondsLeft !== null && whole > 0) return Math.min(secondsDone / whole, 1);
  return cells > 0 ? Math.min(cellsDone / cells, 1) : 0;
}
