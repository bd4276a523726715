import type { BenchCell, MetricName } from "../bindings";
import { figures } from "../lib/format";
import { interval, metricOf } from "./figures";
import { METRICS } from "./words";

/** A column of the results: what stands in it, and what it is sorted by. */
export type Column = {
  id: string;
  label: string;
  unit: string;
  higherIsBetter: boolean;
  value: (cell: BenchCell) => number | null;
  text: (cell: BenchCell) => string;
  /** The interval in which the true value lies; empty where there is none. */
  range: (cell: BenchCell) => string;
};

export type Sorting = { column: string; descending: boolean };

function written(value: number | null): string {
  return value === null ? "–" : figures(value);
}

function median(name: MetricName, higherIsBetter: boolean): Column {
  const { label, unit } = METRICS[name];
  return {
    id: name,
    label,
    unit,
    higherIsBetter,
    value: (cell) => metricOf(cell, name)?.median ?? null,
    text: (cell) => written(metricOf(cell, name)?.median ?? null),
    range: (cell) => {
      const metric = metricOf(cell, name);
      return metric ? interval(metric.low, metric.high) : "";
    },
  };
}

function plain(
  id: string,
  label: string,
  unit: string,
  value: (cell: BenchCell) => number | null,
): Column {
  return {
    id,
    label,
    unit,
    higherIsBetter: false,
    value,
    text: (cell) => written(value(cell)),
    range: () => "",
  };
}

const ALL: Column[] = [
  median("prefill_tokens_per_second", true),
  median("decode_tokens_per_second", true),
  median("first_token_ms", false),
  plain(
    "inter_token_p95",
    "Between tokens, p95",
    "ms",
    (cell) => metricOf(cell, "inter_token_ms")?.p95 ?? null,
  ),
  median("cold_load_ms", false),
  median("warm_load_ms", false),
  median("peak_resident_mib", false),
  median("peak_gpu_mib", false),
  median("joules_per_token", false),
  median("gpu_joules_per_token", false),
  plain("perplexity", "Perplexity", "", (cell) => cell.quality?.perplexity ?? null),
  plain("kl_mean", "KL divergence", "", (cell) => cell.quality?.kl_mean ?? null),
  median("end_to_end_first_token_ms", false),
  median("end_to_end_tokens_per_second", true),
];

/** The columns in which any cell has a figure. */
export function columnsOf(cells: BenchCell[]): Column[] {
  return ALL.filter((column) => cells.some((cell) => column.value(cell) !== null));
}

/** A cell with its place in the run, which stays its name when the table is sorted. */
export type Row = { cell: BenchCell; index: number };

/** The cells in the order wished; what has no figure stands last either way. */
export function sortedRows(cells: BenchCell[], sorting: Sorting | null): Row[] {
  const rows = cells.map((cell, index) => ({ cell, index }));
  const column = ALL.find(({ id }) => id === sorting?.column);
  if (!column || !sorting) return rows;
  const sign = sorting.descending ? -1 : 1;
  return rows.sort((one, other) => {
    const [a, b] = [column.value(one.cell), column.value(other.cell)];
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    return sign * (a - b);
  });
}

/** The next order after a press on a heading: the best first, then the worst, then as measured. */
export function nextSorting(now: Sorting | null, column: Column): Sorting | null {
  const first = column.higherIsBetter;
  if (now?.column !== column.id) return { column: column.id, descending: first };
  return now.descending === first ? { column: column.id, descending: !first } : null;
}
