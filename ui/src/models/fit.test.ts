import { expect, test } from "vitest";
import type { FitSummary } from "../bindings";
import { contextSteps, deviation, picture, stepOf } from "./fit";

const fit: FitSummary = {
  weights_mib: 2000,
  kv_mib: 300,
  compute_mib: 100,
  reserve_mib: 500,
  total_mib: 2900,
  free_mib: 2600,
  fits: false,
  max_context: 1024,
  context_tokens: 4096,
  is_estimate: false,
  corrected_by_loads: 0,
};

test("what is missing is told, and the bar is as wide as the larger of both", () => {
  const shown = picture(fit);
  expect(shown).toMatchObject({ fits: false, gapMib: 300, scaleMib: 2900 });
  expect(picture({ ...fit, free_mib: 4000, fits: true })).toMatchObject({
    fits: true,
    gapMib: 1100,
    scaleMib: 4000,
  });
});

test("the slider stops at powers of two, halves between them and the longest", () => {
  expect(contextSteps(4096)).toEqual([512, 768, 1024, 1536, 2048, 3072, 4096]);
  expect(contextSteps(5000).at(-2)).toBe(4096);
  expect(contextSteps(300)).toEqual([300]);
  expect(stepOf(2048, contextSteps(4096))).toBe(4);
  expect(stepOf(2500, contextSteps(4096))).toBe(4);
  expect(stepOf(100, contextSteps(4096))).toBe(0);
});

test("a deviation has its sign", () => {
  expect(deviation(100, 103.84)).toBe("+3.8 %");
  expect(deviation(100, 90)).toBe("−10.0 %");
  expect(deviation(100, 100)).toBe("±0.0 %");
  expect(deviation(0, 100)).toBe("");
});
