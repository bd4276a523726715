import { expect, test } from "vitest";
import type { Receipt } from "../bindings";
import { receiptDetails, receiptLine } from "./receipt";

const receipt: Receipt = {
  queue_ms: 0,
  load_ms: 1234,
  ttft_ms: 412,
  total_ms: 65_000,
  prefill_tokens_per_second: 1234.5,
  decode_tokens_per_second: 23.44,
  prompt_tokens: 12_345,
  cached_tokens: 12_000,
  completion_tokens: 212,
  finish_reason: "stop",
  model: "SmolLM2-135M",
  architecture: "llama",
  quantization: "Q4_K_M",
  context_length: 8192,
  device: "CPU",
};

test("one line with units, grouping and three significant figures", () => {
  expect(receiptLine(receipt)).toEqual([
    "First token 412 ms",
    "23.4 tok/s",
    "12,345 + 212 tokens",
    "SmolLM2-135M · Q4_K_M · CPU",
  ]);
});

test("what was not measured is left out", () => {
  const line = receiptLine({ ...receipt, ttft_ms: null, decode_tokens_per_second: null });
  expect(line[0]).toBe("12,345 + 212 tokens");
});

test("all details, in words", () => {
  const details = new Map(receiptDetails(receipt));
  expect(details.get("Loaded the model")).toBe("1.23 s");
  expect(details.get("In all")).toBe("1 min 5 s");
  expect(details.get("Reading")).toBe("1,230 tok/s");
  expect(details.get("Prompt")).toBe("12,345 tokens, 12,000 from cache");
  expect(details.get("Ended because")).toBe("The model was done");
  expect(new Map(receiptDetails({ ...receipt, load_ms: 0 })).get("Loaded the model")).toBe(
    "Was in memory",
  );
});
