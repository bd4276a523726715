import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { frameQueue } from "./frame-queue";

const FRAME_MS = 16;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("window", globalThis);
  vi.stubGlobal("requestAnimationFrame", (run: () => void) => setTimeout(run, FRAME_MS));
  vi.stubGlobal("cancelAnimationFrame", clearTimeout);
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** A word each 5 ms for a second, onto a page that takes `paintMs` to paint a frame; the words of each frame. */
function framesOfASecond(paintMs: number): string[][] {
  const frames: string[][] = [];
  const queue = frameQueue<string>(
    (words) => frames.push(words),
    (run) => setTimeout(run, paintMs),
  );
  for (let word = 0; word < 200; word++) {
    queue.push(`${word}`);
    vi.advanceTimersByTime(5);
  }
  vi.advanceTimersByTime(1000);
  expect(frames.flat()).toEqual([...Array(200).keys()].map(String));
  return frames;
}

test("a page that paints fast shows words in every frame", () => {
  expect(framesOfASecond(0).length).toBeGreaterThanOrEqual(1000 / 25);
});

test("a page that paints slowly rests, and words still come ten times a second or nearly", () => {
  const frames = framesOfASecond(12).length;
  expect(frames).toBeGreaterThanOrEqual(10);
  expect(frames).toBeLessThanOrEqual(17);
  expect(framesOfASecond(100).length).toBeGreaterThanOrEqual(6);
});

test("a window that gets no frames is told what there is", () => {
  vi.stubGlobal("requestAnimationFrame", () => 0);
  const shown: number[] = [];
  const queue = frameQueue<number>((items) => shown.push(...items));
  queue.push(1);
  vi.advanceTimersByTime(499);
  queue.push(2);
  expect(shown).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(shown).toEqual([1, 2]);
});
