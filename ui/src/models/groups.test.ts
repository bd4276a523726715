import { expect, test } from "vitest";
import type { ModelSummary } from "../bindings";
import { byUse, firstUsable, matching, onlyStarter } from "./groups";

function model(name: string, more: Partial<ModelSummary> = {}): ModelSummary {
  return {
    name,
    path: `/models/${name}.gguf`,
    size_mib: 94,
    architecture: "llama",
    quantization: "Q4_K_M",
    context_length: 8192,
    parameters_millions: 135,
    origin: "tektra",
    runs_on: "tektra_cpu",
    problem: null,
    ...more,
  };
}

const problem = { code: "model_unusable" as const, message: "Cut off.", hint: "" };
const all = [
  model("A", { origin: "ollama", quantization: "Q8_0" }),
  model("B", { problem }),
  model("D"),
  model("C"),
];

test("what can be used comes first, each by place and name", () => {
  expect(byUse(all).map(({ title, models }) => [title, models.map((one) => one.name)])).toEqual([
    ["Ready to use", ["C", "D", "A"]],
    ["Cannot be used", ["B"]],
  ]);
  expect(byUse([])).toEqual([]);
});

test("Tektra's own model answers before one of another program", () => {
  expect(firstUsable(all)?.name).toBe("D");
  expect(firstUsable([model("B", { problem })])).toBeUndefined();
});

test("every typed word must be in the name, the type or the place", () => {
  expect(matching(all, "ollama q8").map((one) => one.name)).toEqual(["A"]);
  expect(matching(all, "ollama q4")).toEqual([]);
  expect(matching(all, " ")).toHaveLength(4);
});

test("only the starter is there when nothing else can be used", () => {
  const starter = model("SmolLM2-135M-Instruct");
  expect(onlyStarter([starter, model("B", { problem })])).toBe(true);
  expect(onlyStarter([starter, model("C")])).toBe(false);
  expect(onlyStarter([model("C")])).toBe(false);
  expect(onlyStarter([])).toBe(false);
});
