import type { Message, Receipt } from "../../ui/src/bindings";
import type { Story } from "./fake/options";

export const DAY = 86_400_000;

export const receipt: Receipt = {
  queue_ms: 0,
  load_ms: 0,
  ttft_ms: 186,
  total_ms: 9270,
  prefill_tokens_per_second: 204.8,
  decode_tokens_per_second: 23.44,
  prompt_tokens: 38,
  cached_tokens: 0,
  completion_tokens: 212,
  finish_reason: "stop",
  model: "SmolLM2-135M",
  architecture: "llama",
  quantization: "Q4_K_M",
  context_length: 8192,
  device: "CPU",
};

type Held = Story["messages"][number];

/** A message for a story. */
export function message(
  id: string,
  parent: string | null,
  role: Message["role"],
  text: string,
  more: Partial<Held> = {},
): Held {
  return {
    id,
    parent_id: parent,
    role,
    text,
    status: "complete",
    error: null,
    receipt: role === "assistant" ? receipt : null,
    created_at_ms: Date.now(),
    ...more,
  };
}

/** A conversation of one question and one answer. */
export function talk(
  id: string,
  title: string,
  question: string,
  answer: string,
  daysAgo = 0,
  more: Partial<Held> = {},
): Story {
  return {
    id,
    title,
    updated_at_ms: Date.now() - daysAgo * DAY,
    leaf: `${id}-a`,
    messages: [
      message(`${id}-q`, null, "user", question),
      message(`${id}-a`, `${id}-q`, "assistant", answer, more),
    ],
  };
}

export const tides = talk(
  "tides",
  "Why the sea has tides",
  "Why does the sea have tides?",
  "Because the moon pulls on the water, and a little more on the side that is nearer to it.",
);
export const bread = talk(
  "bread",
  "Sourdough at home",
  "How do I begin a sourdough?",
  "Mix equal parts of flour and water, and wait.",
  1,
);
export const birds = talk(
  "birds",
  "Birds in winter",
  "Where do they go?",
  "South, mostly.",
  4,
);
export const maps = talk(
  "maps",
  "Projections of maps",
  "Which is best?",
  "None is.",
  40,
);

/** Some conversations for a list. */
export const shelf = [tides, bread, birds, maps];
