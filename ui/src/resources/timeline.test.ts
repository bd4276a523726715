// @vitest-environment jsdom
import { expect, test } from "vitest";
import { bareSample as sample } from "./bare-sample";
import { resources } from "./resources.svelte";
import { timeline } from "./timeline.svelte";

function emit(at_ms: number) {
  resources.take({ type: "resources_sampled", sample: sample(at_ms) });
}

test("a moment pointed at is let go once it has left the span", () => {
  const now = 1_000_000;
  for (let ago = 9; ago >= 0; ago--) emit(now - 1000 * ago);
  timeline.pointed = now - 5000;
  expect(timeline.told?.at_ms).toBe(now - 5000);
  emit(now + 200_000);
  expect(timeline.pointed).toBeNull();
  expect(timeline.told?.at_ms).toBe(now + 200_000);
  timeline.step(-1);
  expect(timeline.pointed).toBe(now + 200_000);
});
