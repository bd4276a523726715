import { expect, test } from "vitest";
import { evenTop, roundTop, ticksOf, within, zoomed } from "./span";

test("zooming keeps the moment it is about in its place", () => {
  expect(zoomed({ from: 0, to: 100_000 }, 0.5, 25_000)).toEqual({ from: 12_500, to: 62_500 });
  expect(zoomed({ from: 0, to: 100_000 }, 2, 100_000)).toEqual({ from: -100_000, to: 100_000 });
});

test("zooming ends at five seconds", () => {
  const { from, to } = zoomed({ from: 0, to: 6000 }, 0.1, 3000);
  expect(to - from).toBeCloseTo(5000);
});

test("a span is moved back into its limits, and widened when it is too short to read", () => {
  const limits = { from: 0, to: 60_000 };
  expect(within({ from: -10_000, to: 10_000 }, limits)).toEqual({ from: 0, to: 20_000 });
  expect(within({ from: 55_000, to: 75_000 }, limits)).toEqual({ from: 40_000, to: 60_000 });
  expect(within({ from: 30_000, to: 30_100 }, limits)).toEqual({ from: 27_550, to: 32_550 });
  expect(within({ from: -5, to: 90_000 }, limits)).toEqual(limits);
});

test("ticks are round moments, as many as there is room for", () => {
  expect(ticksOf({ from: 1_000, to: 61_000 }, 6)).toEqual([
    10_000, 20_000, 30_000, 40_000, 50_000, 60_000,
  ]);
  expect(ticksOf({ from: 0, to: 600_000 }, 5)).toEqual([
    0, 120_000, 240_000, 360_000, 480_000, 600_000,
  ]);
});

test("ticks are round on a clock that is not a whole number of steps from UTC", () => {
  // A zone 5:45 ahead: a step of five minutes still ends on 0 or 5 of its own clock.
  const offset = 345 * 60_000;
  expect(ticksOf({ from: 0, to: 600_000 }, 2, offset)).toEqual([0, 300_000, 600_000]);
  expect(ticksOf({ from: 0, to: 100_000 }, 4, 10_000)).toEqual([20_000, 50_000, 80_000]);
});

test.each([
  [0, 1],
  [0.3, 0.3],
  [1, 1],
  [1.1, 1.2],
  [10.5, 12],
  [23.4, 30],
  [41, 60],
  [812, 1000],
])("an axis for %d ends at %d", (value, top) => {
  expect(roundTop(value)).toBeCloseTo(top);
});

test("an axis of what is counted has a whole number at its half", () => {
  expect([0, 1, 3, 8, 9, 10, 13, 1840].map(evenTop)).toEqual([2, 2, 4, 8, 10, 10, 16, 2000]);
});

test("a low axis ends round in the smaller unit it is written in", () => {
  expect(roundTop(17.3 / 1024, 1 / 1024)).toBeCloseTo(20 / 1024);
  expect(roundTop(1000 / 1024, 1 / 1024)).toBeCloseTo(1000 / 1024);
  expect(roundTop(1020 / 1024, 1 / 1024)).toBe(1);
  expect(roundTop(2.4, 1 / 1024)).toBe(3);
});
