import { expect, test } from "vitest";
import { marked } from "./hits";

test("words are found at their beginning, whatever their case", () => {
  expect(marked("The tide and the Tides", "tide")).toEqual([
    { text: "The ", hit: false },
    { text: "tide", hit: true },
    { text: " and the ", hit: false },
    { text: "Tide", hit: true },
    { text: "s", hit: false },
  ]);
});

test("signs in a search are no pattern", () => {
  expect(marked("a.b (c)", ".*(")).toEqual([{ text: "a.b (c)", hit: false }]);
  expect(marked("a.b (c)", "(c")).toContainEqual({ text: "c", hit: true });
});
