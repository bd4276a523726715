import { expect, test } from "vitest";
import { rank } from "./rank";

const labels = ["Open logs folder", "New chat", "Change the log", "Catalogue", "Tides"];

test("beginnings come before middles, and what does not fit is left out", () => {
  expect(rank(labels, "log", (label) => label)).toEqual([
    "Open logs folder",
    "Change the log",
    "Catalogue",
  ]);
  expect(rank(labels, "new", (label) => label)).toEqual(["New chat"]);
});

test("all words must fit, in any order", () => {
  expect(rank(labels, "folder open", (label) => label)).toEqual(["Open logs folder"]);
  expect(rank(labels, "open tides", (label) => label)).toEqual([]);
});
