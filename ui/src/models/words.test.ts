import { expect, test } from "vitest";
import type { Download, ModelSummary, Unloaded } from "../bindings";
import { downloadFigures, partDone, stateWords } from "./download-words";
import { reason, unloadFigures, unloadNotice, unloadTitle } from "./words";

const unloaded: Unloaded = {
  model: "Qwen3-4B",
  why: { kind: "asked" },
  resident_before_mib: 2941,
  resident_after_mib: 0,
  available_before_mib: 1000,
  available_after_mib: 3900,
  given_back_mib: 2900,
  took_ms: 41.3,
};

test("an unload tells its bytes, and why when nobody asked", () => {
  expect(unloadTitle(unloaded)).toBe("Unloaded Qwen3-4B");
  expect(unloadFigures(unloaded)).toBe("2.87 GiB → 0 MiB held · 2.83 GiB given back · in 41 ms");
  expect(unloadNotice({ ...unloaded, why: { kind: "idle", minutes: 15 } })).toBe(
    "Unloaded Qwen3-4B after 15 minutes without a message. 2.83 GiB given back.",
  );
});

const download: Download = {
  file: "a.gguf",
  source: "hf://o/r/a.gguf",
  state: { kind: "downloading" },
  done_mib: 412.3,
  total_mib: 2381,
  mib_per_second: 23.44,
  seconds_left: 84,
};

test("a download tells what is known of it", () => {
  expect(downloadFigures(download)).toEqual(["412 MiB of 2.33 GiB", "23.4 MiB/s", "1 min left"]);
  expect(partDone(download)).toBeCloseTo(0.173, 3);
  const unknown = { ...download, total_mib: null, seconds_left: null };
  expect(downloadFigures(unknown)).toEqual(["412 MiB", "23.4 MiB/s"]);
  expect(partDone(unknown)).toBeNull();
  const paused: Download = { ...download, state: { kind: "paused" } };
  expect(downloadFigures(paused)).toEqual(["412 MiB of 2.33 GiB"]);
  expect(downloadFigures({ ...paused, done_mib: 0, total_mib: null })).toEqual([]);
  expect(partDone({ ...unknown, state: { kind: "done" } })).toBe(1);
  expect(stateWords({ kind: "waiting", seconds: 8 })).toBe("No answer: next attempt in 8 s");
});

test("a reason stands without the name that is above it", () => {
  const model = (message: string) =>
    ({ name: "M", problem: { code: "model_unusable", message, hint: "" } }) as ModelSummary;
  expect(reason(model('The model "M" cannot be used: its file ends too early.'))).toBe(
    "Its file ends too early.",
  );
  expect(reason(model("The disk cannot be read."))).toBe("The disk cannot be read.");
});
