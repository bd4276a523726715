import { expect, test } from "vitest";
import type { Timed } from "./history";
import { highest, sparkPath } from "./spark";

// A sparkline looks at nothing of a sample but its moment and what it is told to read.
const sample = (at_ms: number, value: number | null) =>
  ({ at_ms, cpu: { total_percent: value } }) as Timed;
const read = ({ cpu }: Timed) => cpu.total_percent;

test("a sparkline spans the last minute from left to right, 0 at the bottom", () => {
  const samples = [sample(0, 0), sample(30_000, 50), sample(60_000, 100)];
  expect(sparkPath(samples, read, 100, 40, 10)).toBe("M0.0 10.0L20.0 5.0L40.0 0.0");
});

test("what is older than a minute is not in it, and what is over the top does not leave the box", () => {
  const samples = [sample(0, 90), sample(60_001, 300)];
  expect(sparkPath(samples, read, 100, 40, 10)).toBe("M40.0 0.0");
  expect(highest(samples, read)).toBe(300);
});

test("a missing figure breaks the line, and is not 0", () => {
  const samples = [sample(0, 10), sample(20_000, null), sample(40_000, 10), sample(60_000, 10)];
  expect(sparkPath(samples, read, 100, 60, 10)).toBe("M0.0 9.0M40.0 9.0L60.0 9.0");
  expect(sparkPath([sample(0, null)], read, 100, 60, 10)).toBe("");
});
