import { describe, expect, test } from "vitest";
import type { CellKey } from "../bindings";
import { interval, progressPart, ratioWords, roughly, spread, took } from "./figures";
import { fileName } from "./export";
import { toggled, wholeNumber } from "./wish.svelte";
import {
  cellWords,
  commonWords,
  modelsWords,
  modelWords,
  refusal,
  shortCell,
  varying,
  verdictWords,
} from "./words";

function key(more: Partial<CellKey> = {}): CellKey {
  return {
    model: "Smol",
    quantization: "Q4_K_M",
    batch: 1,
    threads: 2,
    depth_tokens: 0,
    kv: "f16",
    placement: "CPU",
    ...more,
  };
}

describe("figures", () => {
  test("a median stands with its interval", () => {
    expect(spread(41.23, 40.12, 41.98)).toBe("41.2 (40.1–42.0)");
    expect(spread(1234, 1190, 1260.4)).toBe("1,230 (1,190–1,260)");
  });

  test("without an interval, or one too narrow to show, it stands alone", () => {
    expect(spread(41.23, null, null)).toBe("41.2");
    expect(spread(172, 171.98, 172.02)).toBe("172");
    expect(spread(null, 1, 2)).toBe("–");
    expect(interval(1, null)).toBe("");
  });

  test("a ratio has a times sign", () => {
    expect(ratioWords(1.124)).toBe("1.12×");
    expect(ratioWords(null)).toBe("–");
  });

  test("a time is as coarse as it is long", () => {
    expect(roughly(0.2)).toBe("1 s");
    expect(roughly(48.4)).toBe("48 s");
    expect(roughly(95)).toBe("2 min");
    expect(roughly(7200)).toBe("2 h");
    expect(roughly(8000)).toBe("2 h 13 min");
    expect(took(38.4)).toBe("38.4 s");
  });

  test("progress goes by the time left, and by cells where that is unknown", () => {
    expect(progressPart(30, 90, 0, 12)).toBe(0.25);
    expect(progressPart(30, null, 3, 12)).toBe(0.25);
    expect(progressPart(0, 0, 0, 0)).toBe(0);
    expect(progressPart(100, 0, 1, 12)).toBe(1);
  });
});

describe("cells", () => {
  test("a cell is told in words", () => {
    expect(cellWords(key({ batch: 4, depth_tokens: 4096 }))).toBe(
      "Smol Q4_K_M · batch 4 · 2 threads · 4,096 tokens deep · KV f16 · CPU",
    );
    expect(cellWords(key({ threads: 1 }))).toContain("1 thread · empty context");
  });

  test("a quantization that the name tells is not told twice", () => {
    expect(modelWords({ model: "llama3.1:8b-q8_0", quantization: "Q8_0" })).toBe(
      "llama3.1:8b-q8_0",
    );
  });

  test("neighbours are told by what differs, and what is common once", () => {
    const keys = [key(), key({ batch: 8 }), key({ batch: 8, kv: "q8" })];
    expect(varying(keys)).toEqual(["batch", "kv"]);
    expect(keys.map((one) => shortCell(one, varying(keys)))).toEqual([
      "batch 1 · KV f16",
      "batch 8 · KV f16",
      "batch 8 · KV q8",
    ]);
    expect(commonWords(keys)).toBe("Smol Q4_K_M · 2 threads · empty context · CPU");
    expect(shortCell(key(), varying([key()]))).toBe("Smol Q4_K_M");
    expect(commonWords([key()])).toBe(cellWords(key()));
    expect(commonWords([])).toBe("");
  });

  test("what was not measured says why", () => {
    expect(refusal({ kind: "measured" })).toBeNull();
    expect(refusal({ kind: "does_not_fit", why: "9 GiB are needed" })).toEqual({
      title: "Does not fit",
      why: "9 GiB are needed",
    });
    expect(refusal({ kind: "pending" })?.title).toBe("Not measured yet");
  });

  test("models are listed as far as there is room", () => {
    expect(modelsWords(["a"])).toBe("a");
    expect(modelsWords(["a", "b", "c"])).toBe("a and 2 more");
  });
});

test("a verdict says what is better about it", () => {
  expect(verdictWords("b_better", "decode_tokens_per_second")).toBe("B is faster");
  expect(verdictWords("a_better", "first_token_ms")).toBe("A is faster");
  expect(verdictWords("b_better", "peak_resident_mib")).toBe("B needs less memory");
  expect(verdictWords("a_better", "joules_per_token")).toBe("A needs less energy");
  expect(verdictWords("no_difference", "cold_load_ms")).toBe("No difference shown");
  expect(verdictWords("only_b", "cold_load_ms")).toBe("Only in B");
});

describe("a wish", () => {
  test("numbers are kept in order, other choices as they came", () => {
    expect(toggled([1, 8], 4)).toEqual([1, 4, 8]);
    expect(toggled([16, 4], 128)).toEqual([4, 16, 128]);
    expect(toggled([1, 4], 4)).toEqual([1]);
    expect(toggled(["q8"], "f16")).toEqual(["q8", "f16"]);
  });

  test("only whole numbers within the bounds count", () => {
    expect(wholeNumber(" 16,384 ", 0, 100_000)).toBe(16_384);
    for (const typed of ["", "-1", "2.5", "1,5", "1e3", "four", "0", "65"]) {
      expect(wholeNumber(typed, 1, 64)).toBeNull();
    }
  });
});

test("a file is named after its run", () => {
  const started_ms = new Date(2026, 10, 3, 6, 5).getTime();
  const summary = {
    id: "1",
    started_ms,
    seconds: 1,
    preset: "quick" as const,
    models: [],
    cells: 0,
    cells_done: 0,
    state: "done" as const,
    machine: "",
    best_decode_tokens_per_second: null,
  };
  expect(fileName(summary, ".csv")).toBe("tektra-bench-quick-2026-11-03-0605.csv");
  expect(fileName({ ...summary, started_ms: null }, ".md")).toBe("tektra-bench-quick.md");
});
