import type { DeviceInfo, DeviceShare, PlacementPlan, PlacementWish } from "../bindings";
import { counted, size } from "../lib/format";

/** The wish that leaves everything to Tektra. */
export const AUTOMATIC: PlacementWish = {
  device: "auto",
  gpus: [],
  gpu_layers: null,
  shares: [],
  dtype: "auto",
  kv: "f16",
  context_tokens: null,
  reserve_mib: null,
};

/** Whether two wishes ask for the same. */
export function sameWish(one: PlacementWish, other: PlacementWish): boolean {
  return (
    one.device === other.device &&
    one.gpus.join() === other.gpus.join() &&
    one.gpu_layers === other.gpu_layers &&
    one.shares.join() === other.shares.join() &&
    one.dtype === other.dtype &&
    one.kv === other.kv &&
    one.context_tokens === other.context_tokens &&
    one.reserve_mib === other.reserve_mib
  );
}

/** What changes when the choice of the device is left to Tektra, or is the CPU, where nothing
 * of what is said about GPUs has a meaning. */
export function toDevice(device: "auto" | "cpu"): Partial<PlacementWish> {
  if (device === "auto") return { device, gpus: [], shares: [] };
  return { device, gpus: [], shares: [], gpu_layers: null, dtype: "auto" };
}

/** What changes when a GPU is chosen or no longer; without any the choice is Tektra's again. */
export function withGpu(wish: PlacementWish, gpu: number, on: boolean): Partial<PlacementWish> {
  const others = wish.gpus.filter((one) => one !== gpu);
  const gpus = on ? [...others, gpu].sort((a, b) => a - b) : others;
  if (gpus.length === 0) return toDevice("auto");
  const shares =
    wish.shares.length > 0 && gpus.length > 1
      ? gpus.map((one) => wish.shares[wish.gpus.indexOf(one)] ?? 1)
      : [];
  return { device: "gpus", gpus, shares };
}

/** The GPUs that can be used. */
export function usableGpus(machine: DeviceInfo[]): DeviceInfo[] {
  return machine.filter((device) => device.gpu !== null && !device.unusable);
}

/** Whether a GPU has a part in a placement, or would have it as far as the model fits there. */
export function usesGpu(plan: PlacementPlan, wish: PlacementWish): boolean {
  return wish.device === "gpus" || (wish.device === "auto" && usableGpus(plan.machine).length > 0);
}

/** The layers that lie on GPUs. */
export function layersOnGpus(plan: PlacementPlan): number {
  return plan.devices
    .filter((share) => share.gpu !== null)
    .reduce((sum, share) => sum + share.layers, 0);
}

/** Shares that leave the layers where they lie now, to begin with when they are set by hand. */
export function presentShares(plan: PlacementPlan, gpus: number[]): number[] {
  return gpus.map((gpu) => {
    const share = plan.devices.find((one) => one.gpu === gpu);
    return Math.max(share?.layers ?? 1, 1);
  });
}

/** A device by its number and name: "GPU 0, NVIDIA L4". */
export function deviceName(device: { name: string; gpu: number | null }): string {
  return device.gpu === null ? device.name : `GPU ${device.gpu}, ${device.name}`;
}

/** What of a model lies on a device: "Layers 0–19, embeddings". */
export function layersWords(share: DeviceShare): string {
  const last = share.first_layer + share.layers - 1;
  const layers =
    share.layers === 0
      ? ""
      : share.layers === 1
        ? `Layer ${last}`
        : `Layers ${share.first_layer}–${last}`;
  const parts = [layers, share.embeddings && "embeddings", share.output && "output"];
  const words = parts.filter(Boolean).join(", ");
  return words ? words.charAt(0).toLocaleUpperCase("en") + words.slice(1) : "Nothing of the model";
}

/** A piece of what a device's memory holds. */
export type Piece = { key: "weights" | "kv" | "compute" | "reserve"; label: string; mib: number };

/** A device's memory with a model on it, ready to be drawn. */
export type DevicePicture = {
  pieces: Piece[];
  /** All of its memory. */
  memoryMib: number;
  /** What of it is taken already. */
  takenMib: number;
  /** What is left when the model is there; less than nothing when it does not fit. */
  leftMib: number;
  /** What the whole width of the bar stands for. */
  scaleMib: number;
};

/** The picture of what a placement puts on a device. */
export function devicePicture(share: DeviceShare, machine: DeviceInfo[]): DevicePicture {
  const pieces: Piece[] = [
    { key: "weights", label: "Weights", mib: share.weights_mib ?? 0 },
    { key: "kv", label: "KV cache", mib: share.kv_mib ?? 0 },
    { key: "compute", label: "Compute", mib: share.compute_mib ?? 0 },
    { key: "reserve", label: "Reserve", mib: share.reserve_mib ?? 0 },
  ];
  const needMib = pieces.reduce((sum, piece) => sum + piece.mib, 0);
  const freeMib = share.free_mib ?? 0;
  const totalMib = machine.find((device) => device.gpu === share.gpu)?.total_mib ?? 0;
  const memoryMib = Math.max(totalMib, freeMib);
  const takenMib = memoryMib - freeMib;
  return {
    pieces,
    memoryMib,
    takenMib,
    leftMib: freeMib - needMib,
    scaleMib: Math.max(memoryMib, takenMib + needMib, 1),
  };
}

/** A size without the fractions that a moving figure has: "412 MiB". */
export function wholeSize(mib: number): string {
  return size(mib >= 10 ? Math.round(mib) : mib);
}

/** A context, and whether it is all that the model was trained for. */
export function contextWords(tokens: number | null, trained: number): string {
  return tokens === null || tokens >= trained
    ? `${counted(trained, "token")}, the model’s limit`
    : counted(tokens, "token");
}

/** On which devices there is too little memory: "CPU: 1.2 GiB too little". */
export function shortages(plan: PlacementPlan): string {
  return plan.devices
    .filter((share) => !share.fits)
    .map((share) => {
      const { leftMib } = devicePicture(share, plan.machine);
      const device = share.gpu === null ? share.name : `GPU ${share.gpu}`;
      return leftMib < 0 ? `${device}: ${wholeSize(-leftMib)} too little` : device;
    })
    .join(", ");
}
