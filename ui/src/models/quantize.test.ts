import { expect, test } from "vitest";
import type { ModelSummary, Precision, Precisions } from "../bindings";
import { change, existing, lossWords, preferred, rulesOf, speedWords } from "./quantize";
import { workFigures } from "./workshop-words";

function precision(kind: string, more: Partial<Precision> = {}): Precision {
  return {
    kind,
    format: kind,
    size_mib: 100,
    need_mib: 200,
    fits: true,
    tokens_per_second: null,
    speed_measured: false,
    quality: { loss_percent: null, measured: false, perplexity: null },
    problem: null,
    installed: null,
    download: null,
    parts: [],
    ...more,
  };
}

test("a change is told in whole percent, with its sign", () => {
  expect(change(52, 100)).toBe("−48 %");
  expect(change(131.4, 100)).toBe("+31 %");
  expect(change(100.2, 100)).toBe("±0 %");
  expect(change(null, 100)).toBe("");
  expect(change(5, null)).toBe("");
});

test("an estimated speed is round, a measured one is not", () => {
  expect(speedWords(precision("int4", { tokens_per_second: 23.44 }))).toBe("23 tok/s");
  expect(speedWords(precision("int4", { tokens_per_second: 4.26 }))).toBe("4.3 tok/s");
  const measured = precision("int4", { tokens_per_second: 23.44, speed_measured: true });
  expect(speedWords(measured)).toBe("23.4 tok/s");
  expect(speedWords(precision("int4"))).toBe("");
});

test("a loss is told in tenths, and what is less is called so", () => {
  const loss = (loss_percent: number | null) =>
    lossWords({ loss_percent, measured: false, perplexity: null });
  expect([loss(0), loss(0.0425), loss(2.816), loss(-0.31), loss(412.4), loss(null)]).toEqual([
    "0 %",
    "< 0.1 %",
    "2.8 %",
    "−0.3 %",
    "412 %",
    "",
  ]);
});

test("a common precision that fits and is not here is proposed", () => {
  const int4 = precision("int4", { installed: "here" });
  const int8 = precision("int8", { problem: "No." });
  expect(preferred([precision("Q4_0"), int4, precision("int5")])).toBe("int5");
  expect(preferred([int8, precision("Q4_0")])).toBe("Q4_0");
  expect(preferred([int4, int8])).toBe("int4");
  expect(preferred([int8])).toBeNull();
});

test("a GGUF is one of its own precisions, a folder is not", () => {
  const model = { name: "a-Q4_K_M", quantization: "Q4_K_M", size_mib: 94 } as ModelSummary;
  const told: Precisions = {
    model: model.name,
    must_convert: false,
    choices: [],
    siblings: [precision("Q8_0", { size_mib: 139 }), precision("Q2_K", { size_mib: 60 })],
    context_tokens: 4096,
    reference: null,
  };
  const kinds = (one: Precisions) => existing(one, model).map((each) => each.kind);
  expect(kinds(told)).toEqual(["Q2_K", "Q4_K_M", "Q8_0"]);
  expect(kinds({ ...told, must_convert: true })).toEqual(["Q2_K", "Q8_0"]);
});

test("empty lines are no exceptions", () => {
  expect(rulesOf(" 0-3=Q8_0 \n\n*.ffn_down.weight=Q6_K\n")).toEqual([
    "0-3=Q8_0",
    "*.ffn_down.weight=Q6_K",
  ]);
});

test("the time left is told once there is something to go by", () => {
  const work = {
    what: "quantize",
    model: "a",
    format: "int4",
    done_mib: 25,
    total_mib: 100,
    seconds: 0,
    state: { kind: "running" },
  } as const;
  expect(workFigures(work, 10)).toEqual([
    "25 MiB of 100 MiB",
    "25 %",
    "10 s so far",
    "about 30 s left",
  ]);
  expect(workFigures(work, 1)).not.toContain("about 3 s left");
  expect(workFigures({ ...work, total_mib: null }, 65)).toEqual(["1 min 5 s so far"]);
});
