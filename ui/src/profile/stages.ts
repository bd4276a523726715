import type { ProfiledProcess, StageName } from "../bindings";

/** The stages of an answer: what they are called, what happens in them, and their colour. */
export const STAGES: Record<StageName, { label: string; words: string; color: string }> = {
  answer: { label: "Answer", words: "From sending to the end", color: "--series-clock" },
  queue: { label: "Queue", words: "Waiting for other answers", color: "--series-power" },
  load: {
    label: "Load",
    words: "Starting the engine, loading the model",
    color: "--series-memory",
  },
  tokenize: { label: "Tokenize", words: "Text to tokens", color: "--series-in" },
  prefill: { label: "Prefill", words: "Reading the prompt", color: "--series-cpu" },
  decode: { label: "Decode", words: "Writing, token by token", color: "--series-tokens" },
  sample: { label: "Sample", words: "Choosing each token", color: "--series-heat" },
  detokenize: { label: "Detokenize", words: "Tokens to text", color: "--series-out" },
  store: { label: "Store", words: "Saving on disk", color: "--series-gpu" },
  ipc: { label: "IPC", words: "Handing pieces to the page", color: "--series-engine" },
  render: { label: "Render", words: "From arrival to the painted frame", color: "--series-window" },
};

/** The processes whose stacks can be sampled. */
export const PROCESSES: { value: ProfiledProcess; label: string }[] = [
  { value: "engine", label: "Engine" },
  { value: "window", label: "Window" },
];

/** How long stacks are sampled, in seconds. */
export const SECONDS = [5, 10, 30];
