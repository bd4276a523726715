import type { FinishReason, Receipt } from "../bindings";
import { count, counted, duration, speed } from "../lib/format";

const ENDS: Record<FinishReason, string> = {
  stop: "The model was done",
  length: "The answer limit was reached",
  cancelled: "It was stopped",
  error: "The engine failed",
};

/** The receipt in one line: what it took, and what did it. Unknown figures are left out. */
export function receiptLine(receipt: Receipt): string[] {
  const tokens = `${count(receipt.prompt_tokens)} + ${counted(receipt.completion_tokens, "token")}`;
  return [
    receipt.ttft_ms === null ? "" : `First token ${duration(receipt.ttft_ms)}`,
    receipt.decode_tokens_per_second === null ? "" : speed(receipt.decode_tokens_per_second),
    tokens,
    [receipt.model, receipt.quantization, receipt.device].filter(Boolean).join(" · "),
  ].filter(Boolean);
}

/** Everything the receipt says, name by name. */
export function receiptDetails(receipt: Receipt): [name: string, value: string][] {
  const cached = receipt.cached_tokens > 0 ? `, ${count(receipt.cached_tokens)} from cache` : "";
  const rows: [string, string | null][] = [
    ["Waited in line", duration(receipt.queue_ms ?? 0)],
    ["Loaded the model", receipt.load_ms ? duration(receipt.load_ms) : "Was in memory"],
    ["First token", receipt.ttft_ms === null ? null : duration(receipt.ttft_ms)],
    ["In all", duration(receipt.total_ms ?? 0)],
    ["Reading", perSecond(receipt.prefill_tokens_per_second)],
    ["Writing", perSecond(receipt.decode_tokens_per_second)],
    ["Prompt", counted(receipt.prompt_tokens, "token") + cached],
    ["Answer", counted(receipt.completion_tokens, "token")],
    ["Ended because", ENDS[receipt.finish_reason]],
    ["Model", receipt.model],
    ["Architecture", receipt.architecture],
    ["Quantization", receipt.quantization],
    ["Context", counted(receipt.context_length, "token")],
    ["Device", receipt.device],
  ];
  return rows.filter((row): row is [string, string] => Boolean(row[1]));
}

function perSecond(rate: number | null): string | null {
  return rate === null ? null : speed(rate);
}
