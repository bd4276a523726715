import type { AnswerTrace, Span, StageName } from "../bindings";
import { duration } from "../lib/format";

/** A span whose place on the time axis is known. */
export type Placed = Span & { start_ms: number; duration_ms: number };

/** A stretch of an answer's time, in ms after its beginning. */
export type Stretch = { from: number; to: number };

/** A stage with its time in one answer; `depth` as in its spans. */
export type Stage = { name: StageName; depth: number; ms: number; detail: string | null };

/** The spans that can be drawn, in the order of their start, the outer first. */
export function placed({ spans }: AnswerTrace): Placed[] {
  return spans
    .filter((span): span is Placed => span.start_ms !== null && span.duration_ms !== null)
    .sort((a, b) => a.start_ms - b.start_ms || a.depth - b.depth);
}

/** How long an answer took, as far as it is known. */
export function totalOf(trace: AnswerTrace): number {
  const ends = placed(trace).map(({ start_ms, duration_ms }) => start_ms + duration_ms);
  return Math.max(trace.total_ms ?? 0, ...ends);
}

/** The time of each stage of an answer, in the order in which they begin. A name stands once at each
 * depth: what is saved while writing is a part of it, what is saved at the end is not. */
export function stagesOf(trace: AnswerTrace): Stage[] {
  const stages = new Map<string, Stage>();
  for (const { name, depth, duration_ms, detail } of placed(trace)) {
    if (name === "answer") continue;
    const place = `${name} ${depth}`;
    const known = stages.get(place);
    if (!known) stages.set(place, { name, depth, ms: duration_ms, detail });
    else stages.set(place, { ...known, ms: known.ms + duration_ms, detail: null });
  }
  return [...stages.values()];
}

/** The time of an answer that lies in none of its outermost stages. */
export function restOf(trace: AnswerTrace): number {
  const outer = stagesOf(trace).filter(({ depth }) => depth <= 1);
  return Math.max(0, totalOf(trace) - outer.reduce((sum, { ms }) => sum + ms, 0));
}

/** The middle of some figures, or null where there are none. */
export function median(values: number[]): number | null {
  const sorted = values.toSorted((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  const upper = sorted[half];
  if (upper === undefined) return null;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? upper) + upper) / 2;
}

/** What a stage usually takes: the median over the answers that had it. */
export function usual(traces: AnswerTrace[], { name, depth }: Pick<Stage, "name" | "depth">) {
  return median(
    traces.flatMap((trace) => {
      const stage = stagesOf(trace).find((one) => one.name === name && one.depth === depth);
      return stage ? [stage.ms] : [];
    }),
  );
}

/** Where a span lies in a stretch, in parts of it; null when it is outside. */
export function seen(
  { start_ms, duration_ms }: Placed,
  { from, to }: Stretch,
): { left: number; width: number } | null {
  const length = to - from;
  if (!(length > 0) || start_ms + duration_ms < from || start_ms > to) return null;
  const left = Math.max(0, (start_ms - from) / length);
  const right = Math.min(1, (start_ms + duration_ms - from) / length);
  return { left, width: Math.max(0, right - left) };
}

/** A moment on an axis of such a step, with the decimals that tell it from its neighbours: "5.54 s". */
function tickText(at: number, step: number): string {
  if (at >= 60_000 && step >= 1000) return duration(at);
  const [ms, unit] = at < 1000 ? [1, "ms"] : [1000, "s"];
  // A logarithm that should be whole may come out a little larger.
  const places = Math.max(0, Math.ceil(Math.log10(ms / step) - 1e-9));
  return `${(at / ms).toFixed(places)} ${unit}`;
}

/** Round moments of a stretch to write on its axis, at most `most` of them. */
export function ticks({ from, to }: Stretch, most: number): { at: number; text: string }[] {
  const wanted = (to - from) / Math.max(1, most);
  if (!(wanted > 0)) return [];
  const magnitude = 10 ** Math.floor(Math.log10(wanted));
  const step = ([1, 2, 5, 10].find((one) => one * magnitude >= wanted) ?? 10) * magnitude;
  const all: { at: number; text: string }[] = [];
  for (let i = Math.ceil(from / step); i * step <= to; i++) {
    all.push({ at: i * step, text: tickText(i * step, step) });
  }
  return all;
}

/** The span an arrow leads to from the one at `at`: along its depth, outwards, or into it. */
export function neighbour(spans: Placed[], at: number, key: string): number | null {
  const own = spans[at];
  if (!own) return null;
  const end = own.start_ms + own.duration_ms;
  const find = (wanted: (span: Placed, i: number) => boolean) => {
    const found = spans.findIndex(wanted);
    return found < 0 ? null : found;
  };
  switch (key) {
    case "ArrowRight":
      return find((span, i) => i > at && span.depth === own.depth);
    case "ArrowLeft": {
      const found = spans.findLastIndex((span, i) => i < at && span.depth === own.depth);
      return found < 0 ? null : found;
    }
    case "ArrowUp": {
      const found = spans.findLastIndex((span, i) => i < at && span.depth === own.depth - 1);
      return found < 0 ? null : found;
    }
    case "ArrowDown":
      return find(
        (span, i) =>
          i > at &&
          span.depth === own.depth + 1 &&
          span.start_ms >= own.start_ms &&
          span.start_ms < end,
      );
    case "Home":
      return spans.length > 0 ? 0 : null;
    case "End":
      return spans.length > 0 ? spans.length - 1 : null;
    default:
      return null;
  }
}
