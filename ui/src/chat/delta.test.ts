import { expect, test } from "vitest";
import { join } from "./delta";

test("a piece at the end is appended", () => {
  expect(join("Hel", 3, "lo")).toEqual({ kind: "joined", text: "Hello" });
  expect(join("", 0, "Hi")).toEqual({ kind: "joined", text: "Hi" });
});

test("what is known already is left out", () => {
  expect(join("Hello", 3, "lo")).toEqual({ kind: "known" });
  expect(join("Hello", 0, "Hel")).toEqual({ kind: "known" });
  expect(join("Hello", 3, "lo there")).toEqual({ kind: "joined", text: "Hello there" });
});

test("a gap is told", () => {
  expect(join("Hel", 4, "o")).toEqual({ kind: "gap" });
});

test("offsets count as JavaScript does, a smiley being two", () => {
  expect(join("a😀", 3, "b")).toEqual({ kind: "joined", text: "a😀b" });
});

test("an empty piece changes nothing", () => {
  expect(join("Hel", 3, "")).toEqual({ kind: "known" });
});
