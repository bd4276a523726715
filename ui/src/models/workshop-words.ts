import type { Work } from "../bindings";
import { duration, estimate, size } from "../lib/format";

/** A time left is told once it rests on this much. */
const WORTH_TELLING_S = 2;
const WORTH_TELLING_PART = 0.05;

/** What the workshop does or did, and with which model. */
export function workTitle(work: Work): string {
  const { what, model, format, state } = work;
  const quantizing = what === "quantize";
  switch (state.kind) {
    case "running":
      return quantizing ? `Writing ${model} in ${format}` : `Measuring the quality of ${model}`;
    case "done":
      return quantizing ? `Wrote ${state.result}` : `Measured ${model}: ${state.result}`;
    case "failed":
      return quantizing ? `${model} was not written in ${format}` : `${model} was not measured`;
    case "stopped":
      return quantizing ? `Stopped writing ${model} in ${format}` : `Stopped measuring ${model}`;
  }
}

/** How much of it is done, from 0 to 1; null where that cannot be said. */
export function workDone({ done_mib, total_mib }: Work): number | null {
  return total_mib ? Math.min((done_mib ?? 0) / total_mib, 1) : null;
}

/** The figures of a work after `seconds`: "412 MiB of 1.20 GiB", "34 %", "12 s so far", "about 24 s left". */
export function workFigures(work: Work, seconds: number): string[] {
  const { done_mib, total_mib, state } = work;
  const took = seconds < 60 ? `${Math.floor(seconds)} s` : duration(Math.floor(seconds) * 1000);
  if (state.kind !== "running") {
    const whole = state.kind === "done" && total_mib ? size(total_mib) : "";
    return [whole, `after ${took}`].filter(Boolean);
  }
  const part = workDone(work);
  if (part === null || !total_mib) return [`${took} so far`];
  const figures = [
    `${size(Math.round(done_mib ?? 0))} of ${size(total_mib)}`,
    `${Math.floor(part * 100)} %`,
    `${took} so far`,
  ];
  if (seconds >= WORTH_TELLING_S && part >= WORTH_TELLING_PART && part < 1) {
    figures.push(`about ${estimate((seconds * 1000 * (1 - part)) / part)} left`);
  }
  return figures;
}
