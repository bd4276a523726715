// @vitest-environment jsdom
import { beforeEach, expect, test, vi } from "vitest";
import type { BenchProgress, BenchRun, BenchRunSummary } from "../bindings";
import { ipc } from "../ipc";
import { bench } from "./bench.svelte";
import { wish } from "./wish.svelte";

// It follows the system's colours, which jsdom does not have.
vi.mock("../settings/theme", () => ({ applyTheme: () => {} }));

function summary(id: string, more: Partial<BenchRunSummary> = {}): BenchRunSummary {
  return {
    id,
    started_ms: null,
    seconds: 1,
    preset: "quick",
    models: [],
    cells: 3,
    cells_done: 0,
    state: "running",
    machine: "",
    best_decode_tokens_per_second: null,
    ...more,
  };
}

const blank: BenchProgress = {
  run_id: "",
  cell: null,
  cells_done: 0,
  cells: 3,
  repetition: 0,
  repetitions: 5,
  seconds: 0,
  seconds_left: null,
  waiting: false,
};

/** The core tells how far a run is, or that none runs any more. */
function tell(run_id: string | null, cells_done = 0) {
  const progress: BenchProgress | null = run_id === null ? null : { ...blank, run_id, cells_done };
  bench.take({ type: "bench_changed", progress });
}

const benchRuns = vi.spyOn(ipc, "benchRuns");
const benchRun = vi.spyOn(ipc, "benchRun");

beforeEach(() => {
  benchRuns.mockReset().mockResolvedValue([]);
  benchRun
    .mockReset()
    .mockImplementation((id) => Promise.resolve({ summary: summary(id) } as BenchRun));
});

test("an older look at the history does not undo a newer one", async () => {
  const answers: ((runs: BenchRunSummary[]) => void)[] = [];
  benchRuns.mockImplementation(() => new Promise((answer) => answers.push(answer)));
  const looks = [bench.look(), bench.look()];
  answers[1]?.([summary("new")]);
  answers[0]?.([summary("old")]);
  await Promise.all(looks);
  expect(bench.runs.map(({ id }) => id)).toEqual(["new"]);
});

test("the history is read again whenever a configuration is done", () => {
  tell("a");
  tell("a");
  expect(benchRuns).toHaveBeenCalledTimes(1);
  tell("a", 1);
  expect(benchRuns).toHaveBeenCalledTimes(2);
  tell(null);
  expect(benchRuns).toHaveBeenCalledTimes(3);
});

test("the end of a run is announced, unless its page is open", () => {
  tell("a");
  tell(null);
  expect(bench.ended).toBe("a");
  tell("b");
  expect(bench.ended).toBeNull();
  bench.open("b");
  tell(null);
  expect(bench.ended).toBeNull();
  bench.home();
});

test("a page that could be read after all is not said to be broken", async () => {
  benchRun.mockRejectedValueOnce(new Error("The run could not be read."));
  bench.open("a");
  await vi.waitFor(() => expect(bench.pageFailure).not.toBeNull());
  tell("a");
  await vi.waitFor(() => expect(bench.run?.summary.id).toBe("a"));
  expect(bench.pageFailure).toBeNull();
  tell(null);
  bench.home();
});

test("repetitions that cannot be asked for are wrong until they are changed or reset", () => {
  wish.typedRepetitions = "200";
  expect([wish.repetitions, wish.isWrong]).toEqual([200, false]);
  wish.typedRepetitions = "2000";
  expect([wish.repetitions, wish.isWrong]).toEqual([null, true]);
  expect(wish.changed).toBe(1);
  wish.reset();
  expect([wish.typedRepetitions, wish.isWrong, wish.changed]).toEqual(["", false, 0]);
});
