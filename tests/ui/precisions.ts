import type {
  HubGguf,
  HubModel,
  ModelSummary,
  Precision,
  PrecisionPart,
  Precisions,
} from "../../ui/src/bindings";
import { gguf } from "./fake/models";
import type { FakeHub, FakeWorkshop } from "./fake/workshop";
import { manyModels } from "./showpieces";

// Precisions and repositories for tests and pictures.

/** A precision whose speed and loss are estimates. */
export function precision(
  kind: string,
  format: string,
  size_mib: number,
  tokens_per_second: number,
  loss_percent: number,
  more: Partial<Precision> = {},
): Precision {
  return {
    kind,
    format,
    size_mib,
    need_mib: size_mib * 1.09 + 690,
    fits: size_mib < 4000,
    tokens_per_second,
    speed_measured: false,
    quality: { loss_percent, measured: false, perplexity: null },
    problem: null,
    installed: null,
    download: null,
    parts: [],
    ...more,
  };
}

function parts(most: string, down: string, mib: number): PrecisionPart[] {
  const part = (
    tensors: string,
    count: number,
    format: string,
    share: number,
    why: string | null = null,
  ) => ({ tensors, count, format, why, size_mib: mib * share });
  return [
    part("blk.*.ffn_down.weight", 11, most, 0.11),
    part(
      "blk.*.ffn_down.weight",
      11,
      down,
      0.16,
      "Every second of these layers is more precise: an error here is felt most.",
    ),
    part("blk.*.ffn_gate.weight", 22, most, 0.21),
    part("blk.*.ffn_up.weight", 22, most, 0.21),
    part("blk.*.attn_*.weight", 88, most, 0.19),
    part("token_embd.weight", 1, most, 0.05),
    part(
      "output.weight",
      1,
      "Q6_K",
      0.07,
      "The last step is kept in Q6_K, as every token depends on it.",
    ),
  ];
}

const tinyChoices: Precision[] = [
  precision("int4", "Q4_K", 638, 21.4, 2.82, {
    parts: parts("Q4_K", "Q6_K", 638),
  }),
  precision("int5", "Q5_K", 745, 18.3, 0.91, {
    parts: parts("Q5_K", "Q6_K", 745),
  }),
  precision("int6", "Q6_K", 862, 15.8, 0.35),
  precision("int8", "Q8_0", 1115, 12.2, 0.043),
  precision("f16", "F16", 2099, 6.5, 0),
  precision("f32", "F32", 4197, 3.2, 0),
  precision("Q4_0", "Q4_0", 608, 23.1, 7.52),
  precision("Q5_0", "Q5_0", 735, 18.9, 2.11),
  precision("Q2_K", "Q2_K", 414, 30.2, 56.5),
  precision("Q3_K", "Q3_K", 525, 25.8, 10.54, {
    problem:
      "Q3_K holds 256 numbers in a block, and rows of 2,000 numbers cannot be cut into such blocks.",
  }),
];

/** A folder of safetensors, of which nothing was written yet. */
export const folderName = "TinyLlama-1.1B-Chat-v1.0";
export const folderPrecisions: Precisions = {
  model: folderName,
  must_convert: true,
  choices: tinyChoices,
  siblings: [],
  context_tokens: 2048,
  reference: null,
};

const exact = "No more precise than the file that it would be made from: Q4_K.";

/** A GGUF file with siblings on this machine and in the catalogue. */
export const filePrecisions: Precisions = {
  model: "SmolLM2-135M",
  must_convert: false,
  choices: [
    precision("int4", "Q4_K", 94, 196.1, 17.1, { installed: "SmolLM2-135M" }),
    precision("int5", "Q5_K", 105, 180.2, 5.6, { problem: exact }),
    precision("int6", "Q6_K", 132, 148.6, 2.1, { problem: exact }),
    precision("int8", "Q8_0", 138, 141.9, 0.26, { problem: exact }),
    precision("Q4_0", "Q4_0", 87, 208.3, 24.8),
    precision("Q3_K", "Q3_K", 85, 211.2, 28.4),
    precision("Q2_K", "Q2_K", 81, 218.6, 61.3),
  ],
  siblings: [
    precision("Q4_K_M", "Q4_K", 94, 196.14, 12.4, {
      installed: "SmolLM2-135M",
      speed_measured: true,
      quality: { loss_percent: 12.4, measured: true, perplexity: 19.57 },
    }),
    precision("Q8_0", "Q8_0", 138, 141.9, 0.26, {
      installed: "SmolLM2-135M-Q8_0",
    }),
    precision("F16", "F16", 258, 88.4, 0, {
      installed: "SmolLM2-135M-F16",
      speed_measured: true,
      quality: { loss_percent: 0, measured: true, perplexity: 17.41 },
    }),
    precision("Q6_K", "Q6_K", 132, 148.6, 0.35, {
      download: "smollm2-135m-q6",
    }),
  ],
  context_tokens: 4096,
  reference: "SmolLM2-135M-F16",
};

/** Models with other precisions of one of them. */
export const someFiles: ModelSummary[] = [
  ...manyModels,
  gguf("SmolLM2-135M-Q8_0", 138, { quantization: "Q8_0" }),
  gguf("SmolLM2-135M-F16", 258, { quantization: "F16" }),
];

/** A workshop that knows both. */
export const workshop: FakeWorkshop = {
  precisions: {
    [folderName]: folderPrecisions,
    "SmolLM2-135M": filePrecisions,
  },
  work: null,
  tickMs: 12,
  fails: null,
};

function repository(
  id: string,
  downloads: number,
  likes: number,
  licence: string | null,
  gated = false,
): HubModel {
  return { id, downloads, likes, licence, gated };
}

function file(
  id: string,
  quantization: string,
  size_mib: number | null,
  more: Partial<HubGguf> = {},
): HubGguf {
  const name = `${id.split("/")[1]?.replace("-GGUF", "")}-${quantization}.gguf`;
  return {
    file: name,
    source: `hf://${id}/${name}`,
    size_mib,
    quantization,
    parts: 1,
    fits: size_mib === null ? null : size_mib < 4000,
    installed: false,
    problem: null,
    ...more,
  };
}

const QWEN = "unsloth/Qwen3-4B-GGUF";

/** A hub with an open and a gated repository. */
export const someHub: FakeHub = {
  models: [
    repository(QWEN, 1_204_311, 214, "apache-2.0"),
    repository("Qwen/Qwen3-4B-GGUF", 402_873, 96, "apache-2.0"),
    repository("acme/Qwen3-Tuned-GGUF", 1873, 12, "other", true),
    repository("someone/Qwen3-4B-roleplay-GGUF", 311, 1, null),
  ],
  files: {
    [QWEN]: [
      file(QWEN, "Q2_K", 1592),
      file(QWEN, "Q4_K_M", 2382),
      file(QWEN, "Q8_0", 4083),
      file(QWEN, "BF16", 7680, { parts: 2 }),
      file(QWEN, "IQ1_S", 1050, {
        problem: "This build of Tektra cannot run IQ1_S.",
      }),
      file(QWEN, "UD-Q3_K_XL", null),
    ],
    "acme/Qwen3-Tuned-GGUF": [file("acme/Qwen3-Tuned-GGUF", "Q4_K_M", 2382)],
  },
};
