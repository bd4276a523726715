import type {
  DeviceInfo,
  DeviceShare,
  ModelSummary,
  PlacementPlan,
  PlacementWish,
  ProfileGoal,
  ProfileSummary,
  Refusal,
  Settings,
} from "../../../ui/src/bindings";
import type { FakeOptions } from "./options";

const LAYERS = 30;
const RESERVE_MIB = 512;
const KV_FACTOR = { f16: 1, q8: 0.53, f32: 2 };

const AUTOMATIC: PlacementWish = {
  device: "auto",
  gpus: [],
  gpu_layers: null,
  shares: [],
  dtype: "auto",
  kv: "f16",
  context_tokens: null,
  reserve_mib: null,
};

function gpuDevice(
  gpu: number,
  name: string,
  total_mib: number,
  free_mib: number,
  unusable: Refusal | null = null,
): DeviceInfo {
  return { name, gpu, total_mib, free_mib, unusable };
}

/** Two GPUs, the smaller one with a display on it. */
export const twoGpus: DeviceInfo[] = [
  gpuDevice(0, "NVIDIA RTX 4070 Ti", 12_282, 11_020),
  gpuDevice(1, "NVIDIA RTX 3060", 8192, 6140),
];

/** A GPU that this machine cannot compute on. */
export const oldGpu: DeviceInfo[] = [
  gpuDevice(0, "NVIDIA Quadro K2000", 2048, 1990, {
    reason: "It is too old: compute capability 3.0, and 6.1 is needed.",
    hint: "Use the CPU.",
  }),
];

function profile(
  goal: ProfileGoal,
  more: Partial<ProfileSummary>,
): ProfileSummary {
  return {
    goal,
    model: "SmolLM2-135M",
    quantization: "Q4_K_M",
    context_tokens: 8192,
    placement: "CPU",
    need_mib: 812.4,
    tokens_per_second: 112.6,
    first_token_ms: 84,
    measured: true,
    same_as: null,
    applied: false,
    ...more,
  };
}

/** Three profiles, of which one was measured and one is not known in all. */
export const threeProfiles: ProfileSummary[] = [
  profile("fast", { applied: true }),
  profile("balanced", {
    model: "Qwen3-4B-Instruct",
    context_tokens: 16_384,
    placement: "GPU 0 + CPU (20 of 36 layers)",
    need_mib: 4310.2,
    tokens_per_second: 8.71,
    first_token_ms: 1930,
    measured: false,
  }),
  profile("quality", {
    model: "llama3.1:8b-instruct-q8_0",
    quantization: "Q8_0",
    context_tokens: 4096,
    need_mib: 9120,
    tokens_per_second: null,
    first_token_ms: null,
    measured: false,
  }),
];

/** Profiles of a machine with one model: all are the same. */
export const oneProfile: ProfileSummary[] = [
  profile("fast", {}),
  profile("balanced", { same_as: "fast" }),
  profile("quality", { same_as: "fast" }),
];

/** Plays the core's planning of placements, and its profiles. */
export class Placements {
  #stored = new Map<string, PlacementWish>();

  constructor(
    private options: FakeOptions,
    private use: (model: string) => Settings,
  ) {}

  readonly commands: Record<
    string,
    (args: Record<string, unknown>) => unknown
  > = {
    placement_plan: ({ name, wish }) =>
      this.#plan(
        String(name),
        (wish as PlacementWish | null) ??
          this.#stored.get(String(name)) ??
          AUTOMATIC,
      ),
    placement_set: ({ name, wish }) => {
      this.#stored.set(String(name), wish as PlacementWish);
      return null;
    },
    profiles_list: () => this.options.profiles,
    profile_apply: ({ goal }) => {
      const chosen = this.options.profiles.find((one) => one.goal === goal);
      if (!chosen) throw { code: "not_found", message: "No such.", hint: "" };
      this.options.profiles = this.options.profiles.map((one) => ({
        ...one,
        applied: one.model === chosen.model,
      }));
      this.#stored.set(chosen.model, {
        ...AUTOMATIC,
        context_tokens: chosen.context_tokens,
      });
      return this.use(chosen.model);
    },
  };

  #machine(): DeviceInfo[] {
    const cpu: DeviceInfo = {
      name: "CPU",
      gpu: null,
      total_mib: 15_872,
      free_mib: this.options.freeMib,
      unusable: null,
    };
    return [cpu, ...this.options.gpus];
  }

  #plan(name: string, wish: PlacementWish): PlacementPlan {
    const model = this.options.models.find((one) => one.name === name);
    if (!model)
      throw { code: "model_not_found", message: `No ${name}.`, hint: "" };
    const machine = this.#machine();
    const trained = model.context_length;
    const context_tokens = wish.context_tokens ?? trained;
    const devices = place(model, machine, wish, context_tokens);
    const max_context =
      Array.from({ length: trained / 32 }, (_, i) => trained - i * 32).find(
        (tokens) =>
          place(model, machine, wish, tokens).every((share) => share.fits),
      ) ?? 0;
    const onGpus = devices
      .filter((share) => share.gpu !== null)
      .reduce((sum, share) => sum + share.layers, 0);
    const split = onGpus > 0 && onGpus < LAYERS;
    const refused: Refusal[] =
      split && model.architecture.startsWith("qwen")
        ? [
            {
              reason:
                "Models of the Qwen family cannot be split between a GPU and the CPU.",
              hint: "Put all layers on the GPUs, or none.",
            },
          ]
        : [];
    return {
      wish,
      machine,
      layers: LAYERS,
      devices,
      context_tokens,
      max_context,
      trained_context: trained,
      total_mib: devices.reduce((sum, share) => sum + need(share), 0),
      fits: devices.every((share) => share.fits),
      refused,
      notes:
        split && refused.length === 0
          ? [
              "Layers on the CPU hold the others up: expect little more than the CPU’s own speed.",
            ]
          : [],
    };
  }
}

function need(share: DeviceShare): number {
  return (
    (share.weights_mib ?? 0) +
    (share.kv_mib ?? 0) +
    (share.compute_mib ?? 0) +
    (share.reserve_mib ?? 0)
  );
}

/** Layers to the GPUs by their shares or free memory, the rest and the embeddings to the CPU. */
function place(
  model: ModelSummary,
  machine: DeviceInfo[],
  wish: PlacementWish,
  context: number,
): DeviceShare[] {
  const gpus = machine.filter(
    ({ gpu, unusable }) =>
      gpu !== null &&
      !unusable &&
      (wish.device === "auto" ||
        (wish.device === "gpus" && wish.gpus.includes(gpu))),
  );
  const embeddings = model.size_mib * 0.2;
  const layer = (model.size_mib * 0.88) / LAYERS;
  const kv =
    (context * (0.011 + model.size_mib / 20_000) * KV_FACTOR[wish.kv]) / LAYERS;
  const reserve_mib = wish.reserve_mib ?? RESERVE_MIB;
  const compute = 64 + model.size_mib * 0.02;
  const room = (gpu: DeviceInfo) =>
    Math.max(
      0,
      Math.floor(
        ((gpu.free_mib ?? 0) - compute - reserve_mib - embeddings) /
          (layer + kv),
      ),
    );
  const most = gpus.reduce((sum, gpu) => sum + room(gpu), 0);
  const onGpus =
    gpus.length === 0 ? 0 : Math.min(wish.gpu_layers ?? most, LAYERS);
  const weights = gpus.map((gpu, at) => wish.shares[at] ?? gpu.free_mib ?? 0);
  const sum = weights.reduce((all, one) => all + one, 0);
  const devices: DeviceShare[] = [];
  let first = 0;
  const add = (device: DeviceInfo, layers: number) => {
    const last = first + layers === LAYERS;
    const share: DeviceShare = {
      name: device.name,
      gpu: device.gpu,
      first_layer: first,
      layers,
      embeddings: first === 0,
      output: last,
      weights_mib: layers * layer + (first === 0 ? embeddings : 0),
      kv_mib: layers * kv,
      compute_mib: compute,
      reserve_mib,
      free_mib: device.free_mib,
      fits: true,
    };
    first += layers;
    devices.push({ ...share, fits: need(share) <= (device.free_mib ?? 0) });
  };
  gpus.forEach((gpu, at) => {
    const wanted = Math.round((onGpus * (weights[at] ?? 0)) / sum);
    const layers = at === gpus.length - 1 ? onGpus - first : wanted;
    if (layers > 0) add(gpu, layers);
  });
  const [cpu] = machine;
  if (first < LAYERS && cpu) add(cpu, LAYERS - first);
  return devices;
}
