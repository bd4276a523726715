import type {
  Download,
  ModelSummary,
  Suggestion,
  Suggestions,
} from "../../ui/src/bindings";
import { gguf } from "./fake/models";
import type { Story } from "./fake/options";
import { message, receipt, talk } from "./stories";

/** An answer with all that an answer can contain. */
export const longReply = `## How a tide comes about

The moon pulls on the whole earth, but **not equally**: the near side is closer, so it is pulled a little more than the middle, and the middle a little more than the far side. What matters is the *difference*, which falls with the cube of the distance:

$$
a_{\\text{tide}} \\approx \\frac{2 G M r}{d^3}
$$

Here \\(M\\) is the mass of the moon, \\(r\\) the radius of the earth and \\(d\\) the distance between them. The sun does the same from further away:

| Body | Mass (kg) | Distance (km) | Pull of the tide, moon = 1 | Seen in |
|:-----|----------:|--------------:|---------------------------:|:--------|
| Moon | 7.35 × 10²² | 384,400 | 1.00 | Two high waters a day |
| Sun | 1.99 × 10³⁰ | 149,600,000 | 0.46 | Spring and neap tides |
| Jupiter | 1.90 × 10²⁷ | 778,500,000 | 0.0000065 | Nothing one could measure |

You can check the figures yourself:

\`\`\`python
G = 6.674e-11          # gravity
EARTH_RADIUS = 6.371e6

def tide(mass: float, distance: float) -> float:
    """How strongly a body stretches the earth, in m/s²."""
    return 2 * G * mass * EARTH_RADIUS / distance**3

moon = tide(7.35e22, 3.844e8)
print(f"sun against moon: {tide(1.99e30, 1.496e11) / moon:.2f}")
\`\`\`

Three things change the height of a tide at a coast:

1. the shape of the sea floor, which piles the water up,
2. the coast itself: in a funnel such as the Bay of Fundy it rises by 16 m,
3. the weather:
   - low pressure lifts the water by about 1 cm per hPa,
   - wind drives it to the shore.

> A tide is not water that comes and goes, but a very long wave that passes by.

Run \`tide()\` with other bodies to see how quickly the cube makes them matter less.`;

/** A conversation with all that an answer can contain. */
export const longTalk = talk(
  "long",
  "How tides come about",
  "How do tides come about? Give me the formula, a table of the bodies that matter, and some Python to check it.",
  longReply,
  0,
  {
    receipt: {
      ...receipt,
      completion_tokens: 548,
      total_ms: 24_100,
      prompt_tokens: 1045,
    },
  },
);

/** A conversation whose last answer broke off because the engine ended. */
export const brokenTalk: Story = {
  id: "broken",
  title: "A poem about lighthouses",
  updated_at_ms: Date.now(),
  leaf: "broken-b",
  messages: [
    message("broken-q", null, "user", "Write a short poem about a lighthouse."),
    message(
      "broken-a",
      "broken-q",
      "assistant",
      "The lamp goes round, the night goes by,  \nthe sea is ink beneath the sky.",
      { status: "interrupted", receipt: null },
    ),
    message("broken-r", "broken-a", "user", "One more verse, please."),
    message("broken-b", "broken-r", "assistant", "", {
      status: "failed",
      receipt: null,
      error: {
        code: "engine_crashed",
        message:
          "The engine ended by itself while it answered. Your messages are safe.",
        hint: "Start it again. If it ends again, choose a smaller model.",
      },
    }),
  ],
};

/** A conversation whose question was worded twice and answered twice. */
export const branched: Story = {
  id: "branched",
  title: "Two ways to ask",
  updated_at_ms: Date.now(),
  leaf: "branched-c",
  messages: [
    message("branched-p", null, "user", "Why is the sky blue?"),
    message(
      "branched-q",
      null,
      "user",
      "Why is the sky blue, in one sentence?",
    ),
    message("branched-a", "branched-p", "assistant", "Because."),
    message("branched-b", "branched-q", "assistant", "It scatters."),
    message(
      "branched-c",
      "branched-q",
      "assistant",
      "Air scatters blue light far more than red, so blue reaches us from everywhere.",
    ),
  ],
};

/** Models of three places, of which two cannot be used. */
export const manyModels: ModelSummary[] = [
  gguf("SmolLM2-135M", 94, { parameters_millions: 134.515 }),
  gguf("Qwen3-4B-Instruct", 2382, {
    architecture: "qwen3",
    context_length: 262_144,
    parameters_millions: 4022,
  }),
  gguf("llama3.1:8b-instruct-q8_0", 8145, {
    path: "/home/ada/.ollama/models/blobs/sha256-cc04e85e1f866a5ba87dd66b5260f0cb32354e2c66505e86a7ac3c0092272b8d",
    quantization: "Q8_0",
    context_length: 131_072,
    parameters_millions: 8030,
    origin: "ollama",
  }),
  gguf("Phi-3-mini-4k-instruct", 2282, {
    path: "/home/ada/.lmstudio/models/microsoft/Phi-3-mini-4k-instruct-q4.gguf",
    architecture: "phi3",
    context_length: 4096,
    parameters_millions: 3821,
    origin: "lm_studio",
    runs_on: "mistral_rs",
  }),
  gguf("Mystery-7B", 4411, {
    architecture: "",
    quantization: "",
    context_length: 0,
    parameters_millions: 0,
    runs_on: "nothing",
    problem: {
      code: "model_unusable",
      message:
        'The model "Mystery-7B" cannot be used: the file ends too early, 4,411 of 4,630 MiB are there.',
      hint: "Download it again.",
    },
  }),
  gguf("TinyLlama-1.1B-Chat-v1.0", 2098, {
    path: "/home/ada/.cache/huggingface/hub/models--TinyLlama--TinyLlama-1.1B-Chat-v1.0/snapshots/fe8a4ea",
    quantization: "BF16",
    context_length: 2048,
    parameters_millions: 1100,
    origin: "hugging_face",
    runs_on: "convert",
    problem: {
      code: "model_unusable",
      message:
        'The model "TinyLlama-1.1B-Chat-v1.0" cannot be used: it is a folder of safetensors, which has to be made into a GGUF file first.',
      hint: "Choose a precision under Quantization, or run `tektra-cli models quantize`.",
    },
  }),
];

function suggestion(
  id: string,
  title: string,
  repository: string,
  size_mib: number,
  parameters_millions: number,
  good_at: string,
  more: Partial<Suggestion> = {},
): Suggestion {
  return {
    id,
    title,
    repository,
    file: `${repository.split("/").at(-1)?.replace("-GGUF", "")}-Q4_K_M.gguf`,
    size_mib,
    size_is_estimate: false,
    parameters_millions,
    quantization: "Q4_K_M",
    context_length: 32_768,
    licence: "apache-2.0",
    good_at,
    for_code: false,
    ...more,
  };
}

/** A catalogue with a best model for this machine. */
export const catalogue: Suggestions = {
  models: [
    suggestion(
      "llama-3.2-1b",
      "Llama 3.2 1B",
      "bartowski/Llama-3.2-1B-Instruct-GGUF",
      770,
      1235.8,
      "Summaries and rewriting in eight European and Asian languages, with long texts.",
      { licence: "llama3.2", context_length: 131_072 },
    ),
    suggestion(
      "qwen3-1.7b",
      "Qwen3 1.7B",
      "unsloth/Qwen3-1.7B-GGUF",
      1056,
      1720.6,
      "Thinks before it answers: reasoning and many languages in little memory.",
      { context_length: 40_960 },
    ),
    suggestion(
      "qwen3-4b-2507",
      "Qwen3 4B Instruct 2507",
      "unsloth/Qwen3-4B-Instruct-2507-GGUF",
      2381,
      4022.5,
      "The best all-rounder of its size: answers at once, writes well in many languages, long texts.",
      { context_length: 262_144 },
    ),
    suggestion(
      "qwen2.5-coder-7b",
      "Qwen2.5 Coder 7B",
      "Qwen/Qwen2.5-Coder-7B-Instruct-GGUF",
      4466,
      7615.6,
      "Writing, explaining and mending programs.",
      { for_code: true },
    ),
  ],
  best: {
    id: "qwen3-4b-2507",
    why: "The strongest that fits with room to spare: 3.1 GiB of 5.2 GiB free memory, about 9 tokens a second (an estimate, the memory's speed is not known yet).",
    fits_with_room: true,
    need_mib: 3686,
    tokens_per_second: 8.7,
    first_token_ms: 1930,
  },
};

function download(
  file: string,
  more: Partial<Download> & Pick<Download, "state">,
): Download {
  return {
    file,
    source: `hf://bartowski/${file.replace(/(-Q4_K_M)?\.gguf$/, "-GGUF")}/${file}`,
    done_mib: 0,
    total_mib: null,
    mib_per_second: 0,
    seconds_left: null,
    ...more,
  };
}

/** A download in each of the states that last. */
export const someDownloads: Download[] = [
  download("Llama-3.2-1B-Instruct-Q4_K_M.gguf", {
    state: { kind: "downloading" },
    done_mib: 412.3,
    total_mib: 770,
    mib_per_second: 23.44,
    seconds_left: 15,
  }),
  download("Mistral-7B-Instruct-v0.3-Q4_K_M.gguf", {
    state: {
      kind: "failed",
      error: {
        code: "download_failed",
        message:
          "The disk is too full: 4,170 MiB are needed, 1,204 MiB are free.",
        hint: "Start the download again: it continues where it ended.",
      },
    },
    done_mib: 1310,
    total_mib: 4170,
  }),
  download("Qwen3-1.7B-Q4_K_M.gguf", {
    state: { kind: "paused" },
    done_mib: 633.6,
    total_mib: 1056,
  }),
  download("SmolLM2-135M.gguf", {
    state: { kind: "done" },
    done_mib: 94,
    total_mib: 94,
  }),
];
