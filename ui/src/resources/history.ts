import type { AnswerMark, ResourceSample } from "../bindings";

/** How far back the window remembers, as the core does. */
export const KEEP_MS = 600_000;
/** No interval is longer than 5 s; half as much again twice over, and readings are missing. */
const ALWAYS_GAP_MS = 12_500;
/** How many times its neighbours' length a step is before readings are missing in it. */
const GAP_FACTOR = 2.5;

/** A sample whose moment is known. */
export type Timed = ResourceSample & { at_ms: number };

/** An answer whose place on the time line is known. */
export type Mark = AnswerMark & { started_ms: number; ended_ms: number };

function isTimed(sample: ResourceSample): sample is Timed {
  return sample.at_ms !== null;
}

/** The samples with one more, the last ten minutes of them, in the order of time. */
export function withSample(samples: Timed[], fresh: ResourceSample): Timed[] {
  if (!isTimed(fresh)) return samples;
  // What lies after the newest is from before the clock was set back: it has no place here.
  const kept = samples.filter(({ at_ms }) => at_ms < fresh.at_ms && at_ms > fresh.at_ms - KEEP_MS);
  return [...kept, fresh];
}

/** What the core remembers, and of our own samples those that came after it was asked. */
export function withHistory(own: Timed[], told: ResourceSample[]): Timed[] {
  const known = told.filter(isTimed).sort((a, b) => a.at_ms - b.at_ms);
  const last = known.at(-1)?.at_ms ?? -Infinity;
  const all = [...known, ...own.filter(({ at_ms }) => at_ms > last)];
  const newest = all.at(-1)?.at_ms ?? 0;
  return all.filter(({ at_ms }) => at_ms > newest - KEEP_MS);
}

/** The marks with others, each answer once, those of the last ten minutes. */
export function withMarks(marks: Mark[], fresh: AnswerMark[]): Mark[] {
  const known = fresh.filter(
    (mark): mark is Mark => mark.started_ms !== null && mark.ended_ms !== null,
  );
  const ids = new Set(known.map((mark) => mark.message_id));
  const all = [...marks.filter((mark) => !ids.has(mark.message_id)), ...known];
  const newest = Math.max(...all.map((mark) => mark.ended_ms));
  return all.filter((mark) => mark.ended_ms > newest - KEEP_MS);
}

/**
 * Whether readings are missing in a step between two samples. A step is judged by its
 * neighbours, as the interval may have been changed in between.
 */
function isGap(step: number, before: number, after: number): boolean {
  if (step > ALWAYS_GAP_MS) return true;
  const usual = Math.max(before, after);
  return usual > 0 && step > GAP_FACTOR * usual;
}

/** One column of every chart: a sample, or null where the line breaks off. */
export type Column = { at: number; sample: Timed | null };

/** The samples of a span as columns, with a break in each gap, and one sample beyond each end. */
export function columnsOf(samples: Timed[], from: number, to: number): Column[] {
  const first = Math.max(0, samples.findIndex(({ at_ms }) => at_ms >= from) - 1);
  const past = samples.findIndex(({ at_ms }) => at_ms > to);
  const shown = samples.slice(first, past < 0 ? samples.length : past + 1);
  const step = (i: number) => (shown[i]?.at_ms ?? NaN) - (shown[i - 1]?.at_ms ?? NaN);
  return shown.flatMap((sample, i): Column[] => {
    const own: Column = { at: sample.at_ms, sample };
    const gap = i > 0 && isGap(step(i), step(i - 1) || 0, step(i + 1) || 0);
    return gap ? [{ at: sample.at_ms - step(i) / 2, sample: null }, own] : [own];
  });
}

/** The column nearest to a moment, or null where no reading is near. */
export function nearest(columns: Column[], at: number): Timed | null {
  let best: Column | null = null;
  for (const column of columns) {
    if (best && Math.abs(column.at - at) > Math.abs(best.at - at)) break;
    best = column;
  }
  return best && Math.abs(best.at - at) <= ALWAYS_GAP_MS / 2 ? best.sample : null;
}
