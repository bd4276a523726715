import { expect, test } from "vitest";
import { stepTo, TypeAhead } from "./list-keys";

test("arrows stop at the ends, Home and End go there", () => {
  expect(stepTo("ArrowDown", 1, 3)).toBe(2);
  expect(stepTo("ArrowDown", 2, 3)).toBe(2);
  expect(stepTo("ArrowUp", 0, 3)).toBe(0);
  expect(stepTo("Home", 2, 3)).toBe(0);
  expect(stepTo("End", 0, 3)).toBe(2);
  expect(stepTo("x", 0, 3)).toBeNull();
  expect(stepTo("Home", 0, 0)).toBeNull();
});

test("letters lead on, one goes round", () => {
  const ahead = new TypeAhead();
  const labels = ["Bread", "Tides", "Birds", "Tables"];
  expect(ahead.find("t", labels, 0, 0)).toBe(1);
  expect(ahead.find("a", labels, 1, 100)).toBe(3);
  expect(ahead.find("b", labels, 3, 5000)).toBe(0);
  expect(ahead.find("b", labels, 0, 9000)).toBe(2);
  expect(ahead.find("z", labels, 2, 20_000)).toBeNull();
});
