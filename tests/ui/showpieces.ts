import type { ModelSummary } from "../../ui/src/bindings";
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

function gguf(
  name: string,
  size_mib: number,
  more: Partial<ModelSummary> = {},
): ModelSummary {
  return {
    name,
    path: `/home/ada/.local/share/tektra/models/${name}.gguf`,
    size_mib,
    architecture: "llama",
    quantization: "Q4_K_M",
    context_length: 8192,
    problem: null,
    ...more,
  };
}

/** Models of which one cannot be used. */
export const manyModels: ModelSummary[] = [
  gguf("SmolLM2-135M", 94),
  gguf("Qwen3-4B-Instruct", 2382, { architecture: "qwen3" }),
  gguf("Mystery-7B", 4411, {
    problem: {
      code: "model_unusable",
      message: "The file ends too early: 4,411 of 4,630 MiB are there.",
      hint: "Fetch it again.",
    },
  }),
];
