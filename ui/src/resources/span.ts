/** Room beside a chart: left for the figures of its axis, right of the last sample; px. */
export const AXIS_PX = 68;
export const RIGHT_PX = 12;
/** What a written moment needs on the axis, px. */
const MOMENT_PX = 110;

/** A stretch of time, Unix ms. */
export type Span = { from: number; to: number };

/** No zoom goes closer. */
const LEAST_MS = 5_000;

const STEPS_MS = [1, 2, 5, 10, 15, 30, 60, 120, 300].map((seconds) => seconds * 1000);

export function lengthOf({ from, to }: Span): number {
  return to - from;
}

/** A span moved and, if it must be, shortened so that it lies within another. */
export function within({ from, to }: Span, limits: Span): Span {
  const length = Math.min(Math.max(to - from, LEAST_MS), lengthOf(limits));
  const middle = (from + to) / 2;
  const start = Math.min(Math.max(middle - length / 2, limits.from), limits.to - length);
  return { from: start, to: start + length };
}

/** A span made shorter (factor under 1) or longer about a moment, which stays where it is. */
export function zoomed({ from, to }: Span, factor: number, about: number): Span {
  const shorter = Math.max(factor, LEAST_MS / (to - from));
  return { from: about - (about - from) * shorter, to: about + (to - about) * shorter };
}

/** Whole moments of a span to write on its axis, at most `most` of them; `offsetMs` is what the
 * local clock is ahead of UTC, so that the moments are round on it. */
export function ticksOf({ from, to }: Span, most: number, offsetMs = 0): number[] {
  const wanted = (to - from) / Math.max(1, most);
  const step = STEPS_MS.find((one) => one >= wanted) ?? 600_000;
  const ticks: number[] = [];
  for (let at = Math.ceil((from + offsetMs) / step) * step - offsetMs; at <= to; at += step) {
    ticks.push(at);
  }
  return ticks;
}

/** The round figure that an axis from 0 ends at, so that `value` lies under it. Below 1 it is round
 * in a smaller unit where one is given, which is a part of 1. */
export function roundTop(value: number, small?: number): number {
  if (!(value > 0)) return 1;
  if (small && value < 1) return Math.min(1, small * roundTop(value / small));
  const magnitude = 10 ** Math.floor(Math.log10(value));
  const step = [1, 1.2, 1.6, 2, 3, 4, 6, 8, 10].find((one) => one * magnitude >= value) ?? 10;
  return step * magnitude;
}

/** The same for what is counted: half of it is a whole number too. */
export function evenTop(value: number): number {
  return value < 10 ? Math.max(2, 2 * Math.ceil(value / 2)) : roundTop(value);
}

/** The moments to write on a time axis so wide, round on the person's clock. */
export function momentsOf(span: Span, widthPx: number): number[] {
  const offset = -new Date(span.to).getTimezoneOffset() * 60_000;
  return ticksOf(span, Math.max(2, Math.floor(widthPx / MOMENT_PX)), offset);
}

/** Where a moment lies in a span, as a part of it from 0 to 1; outside when it is not in it. */
export function placeOf(at: number, { from, to }: Span): number {
  return (at - from) / (to - from);
}
