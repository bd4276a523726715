// @vitest-environment jsdom
import { expect, test } from "vitest";
import { BlockSplitter } from "./blocks";

const LONG = [
  "# Title",
  "A paragraph with *stress*.",
  "- one\n- two\n\n  still two",
  "```rust\nfn main() {}\n\nlet x = 1;\n```",
  "| a | b |\n|---|---|\n| 1 | 2 |",
  "$$\nx^2\n$$",
  "> quoted\n> twice",
  "The end.",
].join("\n\n");

function raws(text: string) {
  return new BlockSplitter().split(text).map((block) => block.raw.trim());
}

test("splits at the top level only", () => {
  expect(raws(LONG)).toEqual(LONG.split(/\n\n(?! {2}|let)/));
});

test("a text that grows letter by letter ends as one that was there at once", () => {
  const splitter = new BlockSplitter();
  for (let i = 1; i <= LONG.length; i++) splitter.split(LONG.slice(0, i));
  expect(splitter.split(LONG).map((block) => block.raw.trim())).toEqual(raws(LONG));
});

test("settled blocks stay the same objects while the end grows", () => {
  const splitter = new BlockSplitter();
  const before = splitter.split("one\n\ntwo\n\nthr");
  const after = splitter.split("one\n\ntwo\n\nthree and more");
  expect(after[0]).toBe(before[0]);
  expect(after[1]).toBe(before[1]);
  expect(after[2]).not.toBe(before[2]);
  expect(splitter.split("one\n\ntwo\n\nthree and more")).toBe(after);
});

test("a fence that is still open is code already", () => {
  const [block] = new BlockSplitter().split("```python\nprint(1)");
  expect(block).toMatchObject({ kind: "code", code: "print(1)", language: "python" });
});

test("a text that is replaced is read anew", () => {
  const splitter = new BlockSplitter();
  splitter.split("one\n\ntwo\n\nthree\n\nfour");
  expect(splitter.split("other").map((block) => block.raw)).toEqual(["other"]);
});

test("link definitions are kept apart", () => {
  const splitter = new BlockSplitter();
  const blocks = splitter.split("See [it][1].\n\n[1]: https://example.org\n");
  expect(blocks).toHaveLength(1);
  expect(splitter.definitions).toBe("[1]: https://example.org\n");
});

test("carriage returns and tabs do not confuse the growing", () => {
  const text = "one\r\n\r\ntwo\r\n\r\n- a\n\t- b\r\n\r\nthree\r\n\r\nfour";
  const splitter = new BlockSplitter();
  for (let i = 1; i <= text.length; i++) splitter.split(text.slice(0, i));
  expect(splitter.split(text).map((block) => block.raw)).toEqual(
    new BlockSplitter().split(text).map((block) => block.raw),
  );
});
