import { expect, test } from "vitest";
import {
  clock,
  count,
  counted,
  brief,
  duration,
  estimate,
  figures,
  parameters,
  size,
  speed,
  stamp,
  transfer,
} from "./format";

test.each([
  [0, "0"],
  [0.01234, "0.0123"],
  [0.5, "0.500"],
  [9.996, "10.0"],
  [23.44, "23.4"],
  [99.96, "100"],
  [412.4, "412"],
  [1234, "1,230"],
  [1_234_567, "1,230,000"],
  [Number.NaN, "–"],
])("three significant figures of %d", (value, expected) => {
  expect(figures(value)).toBe(expected);
});

test("counts are exact and grouped", () => {
  expect(count(12_345)).toBe("12,345");
  expect(counted(1, "token")).toBe("1 token");
  expect(counted(2048, "token")).toBe("2,048 tokens");
});

test.each([
  [0, "0 ms"],
  [0.4, "0.400 ms"],
  [412.3, "412 ms"],
  [999, "999 ms"],
  [999.7, "1.00 s"],
  [1234, "1.23 s"],
  [59_940, "59.9 s"],
  [59_960, "1 min"],
  [125_000, "2 min 5 s"],
])("a time of %d ms", (ms, expected) => {
  expect(duration(ms)).toBe(expected);
});

test.each([
  [0, "0 ms"],
  [2.14, "2.14 ms"],
  [99.96, "100 ms"],
  [412.3, "412 ms"],
  [5120, "5.12 s"],
])("a time of %d ms that may be short is %s", (ms, expected) => {
  expect(brief(ms)).toBe(expected);
});

test("estimates are coarse and never nothing", () => {
  expect(estimate(80)).toBe("1 s");
  expect(estimate(8_400)).toBe("8 s");
  expect(estimate(150_000)).toBe("3 min");
});

test("sizes and speeds carry their units", () => {
  expect(size(94)).toBe("94 MiB");
  expect(size(4311)).toBe("4.21 GiB");
  expect(size(1023.8)).toBe("1.00 GiB");
  expect(size(0.4821)).toBe("0.482 MiB");
  expect(size(0)).toBe("0 MiB");
  expect(transfer(23.44)).toBe("23.4 MiB/s");
  expect(speed(23.44)).toBe("23.4 tok/s");
});

test("files are named by the person's clock", () => {
  expect(stamp(new Date(2026, 10, 3, 6, 5).getTime())).toBe("2026-11-03-0605");
});

test("parameters are counted in millions and billions", () => {
  expect(parameters(134.515008)).toBe("135 M");
  expect(parameters(999.7)).toBe("1.00 B");
  expect(parameters(7615.6)).toBe("7.62 B");
  expect(parameters(0)).toBe("");
  expect(parameters(null)).toBe("");
});

test("a moment of the day has two digits for each part", () => {
  expect(clock(new Date(2026, 10, 9, 6, 4, 5).getTime())).toBe("06:04:05");
  expect(clock(new Date(2026, 10, 9, 23, 59, 59).getTime())).toBe("23:59:59");
});
