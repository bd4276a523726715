import type { Timed } from "./history";

/** How much of the past a sparkline shows. */
export const SPARK_MS = 60_000;

/**
 * The path of a sparkline over the last minute, in a box of `width` by `height`; it breaks off
 * where there is no figure, and is empty where there are none at all.
 */
export function sparkPath(
  samples: Timed[],
  read: (sample: Timed) => number | null,
  top: number,
  width: number,
  height: number,
): string {
  const end = samples.at(-1)?.at_ms ?? 0;
  let pen = "M";
  let path = "";
  for (const sample of samples) {
    const age = end - sample.at_ms;
    if (age > SPARK_MS) continue;
    const value = read(sample);
    if (value === null) {
      pen = "M";
      continue;
    }
    const x = width * (1 - age / SPARK_MS);
    const y = height * (1 - Math.min(Math.max(value / top, 0), 1));
    path += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
  }
  return path;
}

/** The highest figure of the last minute, for a sparkline of what has no natural top. */
export function highest(samples: Timed[], read: (sample: Timed) => number | null): number {
  const end = samples.at(-1)?.at_ms ?? 0;
  return samples.reduce(
    (top, sample) => (end - sample.at_ms > SPARK_MS ? top : Math.max(top, read(sample) ?? 0)),
    0,
  );
}
