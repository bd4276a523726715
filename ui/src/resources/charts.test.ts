import { expect, test } from "vitest";
import type { GpuSample, ResourceSample } from "../bindings";
import { bareSample } from "./bare-sample";
import { chartsOf, gpusOf, kept, percent } from "./charts";

const bare: ResourceSample = {
  ...bareSample(1000),
  cpu: {
    total_percent: 40,
    cores_percent: [60, 20],
    frequency_mhz: null,
    temperature_celsius: null,
  },
  memory: {
    total_mib: 8000,
    used_mib: 3000,
    available_mib: 5000,
    swap_total_mib: 0,
    swap_used_mib: 0,
  },
};

const gpu: GpuSample = {
  index: 1,
  name: "Ada",
  utilization_percent: 80,
  memory_used_mib: 4000,
  memory_total_mib: 24_000,
  engine_memory_mib: null,
  temperature_celsius: null,
  power_watts: 120,
  clock_mhz: null,
  memory_clock_mhz: null,
  fan_percent: null,
  throttle: [],
};

const shares = {
  ...bare.shares,
  window_mib: 150,
  engine_mib: 900,
  weights_mib: 500,
  kv_mib: 100,
  other_mib: 1850,
};

function chart(samples: ResourceSample[], id: string, details = false) {
  return chartsOf(samples, details).find((one) => one.id === id);
}

test("what no sensor tells has no chart and no line", () => {
  expect(chartsOf([bare], true).map(({ id }) => id)).toEqual(["cpu", "cores", "memory"]);
  expect(chart([bare], "cpu")?.series.map(({ label }) => label)).toEqual(["All"]);
  expect(chartsOf([], true)).toEqual([]);
});

test("a sensor that told something once keeps its line", () => {
  const disk = { read_mib_per_second: 0, written_mib_per_second: null };
  expect(chart([{ ...bare, disk }, bare], "disk")?.series.map(({ label }) => label)).toEqual([
    "Read",
  ]);
});

test("the engine's part of the CPU is of all cores, as the whole is", () => {
  const busy = { ...bare, shares: { ...bare.shares, engine_cpu_percent: 150 } };
  const engine = chart([busy], "cpu")?.series.find(({ label }) => label === "Engine");
  expect(engine?.read(busy)).toBe(75);
  expect(engine?.read(bare)).toBeNull();
});

test("each core has its line, told apart by more than its colour", () => {
  const many = { ...bare, cpu: { ...bare.cpu, cores_percent: Array<number>(16).fill(5) } };
  const cores = chart([many], "cores", true)?.series ?? [];
  expect(cores).toHaveLength(16);
  expect(new Set(cores.map(({ color, dash }) => `${color} ${dash}`)).size).toBe(16);
});

test("the memory is stacked: each layer stands on those below, and tells its own size", () => {
  const sample = { ...bare, shares };
  const layers = chart([sample], "memory")?.series ?? [];
  expect(layers.map(({ label, read }) => [label, read(sample)])).toEqual([
    ["Weights", 500],
    ["KV cache", 100],
    ["Rest of engine", 300],
    ["Tektra’s window", 150],
    ["Everything else", 1850],
  ]);
  expect(layers.map(({ draw }) => draw?.(sample))).toEqual([500, 600, 900, 1050, 2900]);
  expect(chart([sample], "memory")?.top).toBe(8000);
});

test("a layer that is not known is absent, and the others close up", () => {
  const sample = { ...bare, shares: { ...shares, weights_mib: null, kv_mib: null } };
  const layers = chart([sample, { ...bare, shares }], "memory")?.series ?? [];
  expect(layers.map(({ draw }) => draw?.(sample))).toEqual([null, null, 900, 1050, 2900]);
});

test("where the memory cannot be attributed, what is used is one layer", () => {
  const layers = chart([bare], "memory")?.series ?? [];
  expect(layers.map(({ label, read }) => [label, read(bare)])).toEqual([["Used", 3000]]);
});

test("a GPU that has gone keeps its charts, and tells nothing of now", () => {
  const samples = [{ ...bare, gpus: [gpu] }, bare];
  expect(gpusOf(samples).map(({ index }) => index)).toEqual([1]);
  const use = chart(samples, "gpu-1-use");
  expect(use?.group).toBe("GPU 1: Ada");
  expect(use?.series[0]?.read(samples[0] ?? bare)).toBe(80);
  expect(use?.series[0]?.read(bare)).toBeNull();
  expect(chart(samples, "gpu-1-memory")?.series.map(({ label }) => label)).toEqual(["Used"]);
  expect(chart(samples, "gpu-1-heat")).toBeUndefined();
});

test("the engine has its series on the same axis: speeds, answers, waiting ones, cache", () => {
  const engine = {
    prefill_tokens_per_second: null,
    decode_tokens_per_second: 21.4,
    active: 3,
    waiting: 1,
    prefix_hit_tokens: 1840,
    kv_mib: 96,
  };
  const sample = { ...bare, engine };
  const lines = chartsOf([sample, bare], false)
    .filter(({ group }) => group === "Engine")
    .flatMap(({ title, series, write }) =>
      series.map(({ label, read }) => `${title}, ${label}: ${write(read(sample) ?? NaN)}`),
    );
  expect(lines).toEqual([
    "Writing, Decode: 21.4 tok/s",
    "Answers, Side by side: 3",
    "Answers, Waiting: 1",
    "KV cache, Held: 96 MiB",
    "Prefix hits, Reused: 1,840 tokens",
  ]);
  expect(chart([sample, bare], "answers")?.series[0]?.read(bare)).toBeNull();
  const prefix = chart([sample], "prefix");
  const top = prefix?.end?.(1) ?? NaN;
  expect([top / 2, top].map((value) => prefix?.write(value))).toEqual(["1 token", "2 tokens"]);
});

test("shares are whole percent", () => {
  expect(percent(12.4)).toBe("12 %");
  expect(percent(0.2)).toBe("0 %");
});

test("slow transfers are written in KiB/s, which the axis has room for", () => {
  const disk = { read_mib_per_second: 0.01, written_mib_per_second: 212 };
  const write = chart([{ ...bare, disk }], "disk")?.write;
  expect([0, 0.01, 212].map((rate) => write?.(rate))).toEqual([
    "0 MiB/s",
    "10.2 KiB/s",
    "212 MiB/s",
  ]);
});

test("a chart stays the same one until its lines, its end or its heading change", () => {
  const first = chartsOf([bare], false);
  const again = kept(first, chartsOf([bare], false));
  expect(again).toHaveLength(first.length);
  again.forEach((chart, at) => expect(chart).toBe(first[at]));
  const larger = { ...bare, memory: { ...bare.memory, total_mib: 16_000 } };
  const [cpu, memory] = kept(first, chartsOf([bare, larger], false));
  expect(cpu).toBe(first[0]);
  expect(memory?.top).toBe(16_000);
});
