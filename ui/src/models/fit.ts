import type { FitSummary } from "../bindings";

/** A piece of the memory that a model needs. */
export type Part = { key: "weights" | "kv" | "compute" | "reserve"; label: string; mib: number };

/** What a model needs beside what is there, ready to be drawn. */
export type Fit = {
  parts: Part[];
  totalMib: number;
  /** Free now, with what this model itself holds when it is loaded. */
  freeMib: number;
  fits: boolean;
  /** What is left over when it fits, what is missing when it does not. */
  gapMib: number;
  /** What the whole width of the bar stands for. */
  scaleMib: number;
};

/** A context to begin with: a long conversation, and little memory. */
export const USUAL_CONTEXT = 4096;

/** The picture of a fit. */
export function picture(fit: FitSummary): Fit {
  const parts: Part[] = [
    { key: "weights", label: "Weights", mib: fit.weights_mib ?? 0 },
    { key: "kv", label: "KV cache", mib: fit.kv_mib ?? 0 },
    { key: "compute", label: "Compute", mib: fit.compute_mib ?? 0 },
    { key: "reserve", label: "Reserve", mib: fit.reserve_mib ?? 0 },
  ];
  const totalMib = fit.total_mib ?? 0;
  const freeMib = fit.free_mib ?? 0;
  return {
    parts,
    totalMib,
    freeMib,
    fits: fit.fits,
    gapMib: Math.abs(freeMib - totalMib),
    scaleMib: Math.max(totalMib, freeMib, 1),
  };
}

/** The contexts that the slider stops at: powers of two and what is halfway, up to the longest. */
export function contextSteps(longest: number): number[] {
  const steps: number[] = [];
  for (let step = 512; step < longest; step *= 2) steps.push(step, step * 1.5);
  return [...steps.filter((step) => step < longest), longest];
}

/** Where a context stands among the steps: the last one that is not longer. */
export function stepOf(context: number, steps: number[]): number {
  return Math.max(
    0,
    steps.findLastIndex((step) => step <= context),
  );
}

/** How far a measured figure is from the predicted one: "+3.8 %". */
export function deviation(predicted: number, measured: number): string {
  if (predicted <= 0) return "";
  const percent = (measured / predicted - 1) * 100;
  const sign = percent > 0 ? "+" : percent < 0 ? "−" : "±";
  return `${sign}${Math.abs(percent).toFixed(1)} %`;
}
