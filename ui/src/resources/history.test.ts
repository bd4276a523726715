import { expect, test } from "vitest";
import { bareSample as sample } from "./bare-sample";
import { columnsOf, nearest, withHistory, withMarks, withSample, type Timed } from "./history";

const at = (...moments: number[]) => moments.map((moment) => sample(moment) as Timed);
const moments = (samples: Timed[]) => samples.map(({ at_ms }) => at_ms);

test("ten minutes are remembered, and no more", () => {
  const samples = at(0, 1000, 2000);
  expect(moments(withSample(samples, sample(3000)))).toEqual([0, 1000, 2000, 3000]);
  expect(moments(withSample(samples, sample(601_500)))).toEqual([2000, 601_500]);
});

test("a sample without a moment, or for the second time, adds nothing", () => {
  const samples = at(1000, 2000);
  expect(withSample(samples, sample(null))).toBe(samples);
  expect(moments(withSample(samples, sample(2000)))).toEqual([1000, 2000]);
});

test("when the clock is set back, what lies in the future is forgotten", () => {
  expect(moments(withSample(at(1000, 5000, 6000), sample(4000)))).toEqual([1000, 4000]);
});

test("what the core remembers comes first, then what arrived while it was asked", () => {
  const told = [sample(2000), sample(null), sample(1000)];
  expect(moments(withHistory(at(2000, 3000), told))).toEqual([1000, 2000, 3000]);
  expect(moments(withHistory(at(2000, 3000), []))).toEqual([2000, 3000]);
});

test("an answer is marked once, with its latest figures", () => {
  const mark = {
    started_ms: 1000,
    ended_ms: 2000,
    conversation_id: "c",
    message_id: "m",
    tokens: 5,
  };
  const other = { ...mark, message_id: "n", ended_ms: null };
  const marks = withMarks(withMarks([], [mark]), [{ ...mark, ended_ms: 3000, tokens: 9 }, other]);
  expect(marks).toEqual([{ ...mark, ended_ms: 3000, tokens: 9 }]);
  const late = { ...mark, message_id: "o", started_ms: 700_000, ended_ms: 710_000 };
  expect(withMarks(marks, [late])).toEqual([late]);
});

test("a line breaks off where readings are missing", () => {
  const columns = columnsOf(at(0, 1000, 2000, 7000, 8000), 0, 8000);
  expect(columns.map((column) => column.at)).toEqual([0, 1000, 2000, 4500, 7000, 8000]);
  expect(columns.map((column) => column.sample === null)).toEqual([
    false,
    false,
    false,
    true,
    false,
    false,
  ]);
});

test("a change of the interval is no gap, however far it goes", () => {
  const slower = columnsOf(at(0, 500, 1000, 6000, 11_000), 0, 11_000);
  const faster = columnsOf(at(0, 5000, 10_000, 10_500, 11_000), 0, 11_000);
  expect(slower.concat(faster).every(({ sample }) => sample !== null)).toBe(true);
});

test("two long breaks in a row are gaps, though each is as long as its neighbour", () => {
  const columns = columnsOf(at(0, 60_000, 120_000), 0, 120_000);
  expect(columns.filter(({ sample }) => sample === null)).toHaveLength(2);
});

test("a span shows one sample beyond each end, so that lines run to its edges", () => {
  const columns = columnsOf(at(0, 1000, 2000, 3000, 4000), 1500, 2500);
  expect(columns.map((column) => column.at)).toEqual([1000, 2000, 3000]);
});

test("the moment pointed at has the nearest reading, and none in a gap", () => {
  const columns = columnsOf(at(0, 1000, 2000, 9000, 10_000), 0, 10_000);
  expect(nearest(columns, 1400)?.at_ms).toBe(1000);
  expect(nearest(columns, 1600)?.at_ms).toBe(2000);
  expect(nearest(columns, 5400)).toBeNull();
  expect(nearest(columns, 8900)?.at_ms).toBe(9000);
  expect(nearest([], 0)).toBeNull();
});
