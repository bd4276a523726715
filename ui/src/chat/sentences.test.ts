import { expect, test } from "vitest";
import { finishedSentences } from "./sentences";

test("only what is finished is said", () => {
  const text = "The moon pulls. The sea fol";
  const first = finishedSentences(text, 0);
  expect(first.said).toEqual(["The moon pulls."]);
  const rest = finishedSentences(`${text}lows.\n`, first.upto);
  expect(rest.said).toEqual(["The sea follows."]);
});

test("marks of Markdown are not said", () => {
  expect(finishedSentences("## Tides\n- **Spring** tides\n", 0).said).toEqual([
    "Tides",
    "Spring tides",
  ]);
});

test("code is named, not spelled", () => {
  const text = "Run this:\n```sh\nls\npwd\n```\nDone.\n";
  expect(finishedSentences(text, 0).said).toEqual(["Run this:", "Code, 2 lines.", "Done."]);
  expect(finishedSentences("```sh\nls\n", 0).said).toEqual([]);
});
