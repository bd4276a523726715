import { expect, test } from "vitest";
import { RateMeter } from "./rate";

test("says nothing until there is a quarter of a second to go by", () => {
  const meter = new RateMeter();
  expect(meter.rate(0)).toBeNull();
  meter.note(1, 0);
  meter.note(4, 100);
  expect(meter.rate(100)).toBeNull();
});

test("a steady stream gives its rate", () => {
  const meter = new RateMeter();
  for (let i = 0; i <= 100; i++) meter.note(i, i * 20);
  expect(meter.rate(2000)).toBeCloseTo(50, 0);
});

test("only the last second counts", () => {
  const meter = new RateMeter();
  for (let i = 0; i <= 10; i++) meter.note(i, i * 100);
  for (let i = 1; i <= 100; i++) meter.note(10 + i, 1000 + i * 20);
  expect(meter.rate(3000)).toBeCloseTo(50, 0);
});

test("a stall brings the rate down", () => {
  const meter = new RateMeter();
  for (let i = 0; i <= 50; i++) meter.note(i, i * 20);
  expect(meter.rate(5000)).toBeLessThan(12);
});

test("a count that falls back starts anew", () => {
  const meter = new RateMeter();
  meter.note(500, 0);
  meter.note(520, 1000);
  meter.note(1, 1100);
  expect(meter.rate(1100)).toBeNull();
});
