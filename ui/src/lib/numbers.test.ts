import { expect, test } from "vitest";
import { typedNumber } from "./numbers";

test("numbers are read as they are written", () => {
  expect(typedNumber(" 0,5 ")).toBe(0.5);
  expect(typedNumber("1,500")).toBe(1500);
  expect(typedNumber("12,345,678.5")).toBe(12_345_678.5);
  expect(typedNumber("0,500")).toBe(0.5);
  expect(typedNumber("1,50")).toBe(1.5);
  expect(typedNumber("1,5,0")).toBeNaN();
  expect(typedNumber("")).toBeNaN();
  expect(typedNumber("4x")).toBeNaN();
});
