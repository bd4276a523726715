import { expect, test } from "vitest";
import type { DeviceShare, PlacementPlan } from "../bindings";
import {
  AUTOMATIC,
  contextWords,
  devicePicture,
  layersWords,
  sameWish,
  shortages,
  toDevice,
  withGpu,
} from "./placement";

const share: DeviceShare = {
  name: "NVIDIA L4",
  gpu: 0,
  first_layer: 0,
  layers: 20,
  embeddings: true,
  output: false,
  weights_mib: 2000,
  kv_mib: 500,
  compute_mib: 100,
  reserve_mib: 400,
  free_mib: 2600,
  fits: false,
};
const machine = [
  { name: "CPU", gpu: null, total_mib: 16_000, free_mib: 5000, unusable: null },
  { name: "NVIDIA L4", gpu: 0, total_mib: 4000, free_mib: 2600, unusable: null },
];

test("layers are named with what lies beside them", () => {
  expect(layersWords(share)).toBe("Layers 0–19, embeddings");
  expect(layersWords({ ...share, first_layer: 20, layers: 1, embeddings: false })).toBe("Layer 20");
  expect(layersWords({ ...share, layers: 0, output: true })).toBe("Embeddings, output");
  expect(layersWords({ ...share, layers: 0, embeddings: false })).toBe("Nothing of the model");
});

test("the bar is as long as the memory, or as what would be needed of it", () => {
  const tight = devicePicture(share, machine);
  expect(tight).toMatchObject({ memoryMib: 4000, takenMib: 1400, leftMib: -400, scaleMib: 4400 });
  const room = devicePicture({ ...share, weights_mib: 100 }, machine);
  expect(room).toMatchObject({ leftMib: 1500, scaleMib: 4000 });
  // A device whose memory is not known is as large as what is free on it.
  expect(devicePicture({ ...share, gpu: 7 }, machine).memoryMib).toBe(2600);
  expect(shortages({ devices: [share], machine } as unknown as PlacementPlan)).toBe(
    "GPU 0: 400 MiB too little",
  );
});

test("GPUs come and go with their shares", () => {
  const one = { ...AUTOMATIC, ...withGpu(AUTOMATIC, 1, true) };
  expect(one).toMatchObject({ device: "gpus", gpus: [1], shares: [] });
  const two = { ...one, ...withGpu(one, 0, true) };
  expect(two.gpus).toEqual([0, 1]);
  const set = { ...two, shares: [3, 5] };
  expect(withGpu(set, 2, true)).toMatchObject({ gpus: [0, 1, 2], shares: [3, 5, 1] });
  expect(withGpu(set, 0, false)).toMatchObject({ gpus: [1], shares: [] });
  expect(withGpu(one, 1, false)).toMatchObject({ device: "auto", gpus: [] });
});

test("the CPU makes what is said of GPUs meaningless, and keeps the rest", () => {
  const wish = { ...AUTOMATIC, gpu_layers: 4, dtype: "bf16" as const, kv: "q8" as const };
  const next = { ...wish, ...toDevice("cpu") };
  expect(next).toEqual({ ...AUTOMATIC, device: "cpu", kv: "q8" });
  expect(sameWish(next, wish)).toBe(false);
  expect(sameWish({ ...wish, gpus: [], shares: [] }, wish)).toBe(true);
});

test("a context at the model's limit is called that", () => {
  expect(contextWords(null, 8192)).toBe("8,192 tokens, the model’s limit");
  expect(contextWords(8192, 8192)).toBe("8,192 tokens, the model’s limit");
  expect(contextWords(4096, 8192)).toBe("4,096 tokens");
});
