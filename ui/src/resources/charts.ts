import type { GpuSample, ResourceSample } from "../bindings";
import { figures, size, transfer } from "../lib/format";
import { DASH, DOTS, line, type Chart, type Read, type Series } from "./chart";
import { engineCharts } from "./engine-charts";
import { memoryChart } from "./memory";
import { roundTop } from "./span";

/** A share in whole percent: "12 %", which does not jump about as three figures would. */
export function percent(value: number): string {
  return `${Math.round(value)} %`;
}

const watts = (value: number) => `${figures(value)} W`;
const celsius = (value: number) => `${Math.round(value)} °C`;
const frequency = (mhz: number) =>
  mhz < 999.5 ? `${Math.round(mhz)} MHz` : `${figures(mhz / 1000)} GHz`;

/** A part of one core as a part of the whole CPU. */
function ofAll(sample: ResourceSample, percentOfCore: number | null): number | null {
  const cores = sample.cpu.cores_percent.length;
  return percentOfCore === null || cores === 0 ? null : percentOfCore / cores;
}

function cpuCharts(cores: number, detailed: boolean): Chart[] {
  const total: Chart = {
    id: "cpu",
    group: "CPU",
    title: "CPU",
    write: percent,
    top: 100,
    series: [
      { label: "All", color: "--series-cpu", read: ({ cpu }) => cpu.total_percent },
      {
        label: "Engine",
        color: "--series-engine",
        dash: DASH,
        read: (sample) => ofAll(sample, sample.shares.engine_cpu_percent),
      },
      {
        label: "Tektra’s window",
        color: "--series-window",
        dash: DOTS,
        read: (sample) => ofAll(sample, sample.shares.window_cpu_percent),
      },
    ],
    notes: ({ cpu }) => [
      ...(cpu.frequency_mhz === null ? [] : [frequency(cpu.frequency_mhz)]),
      ...(cpu.temperature_celsius === null ? [] : [celsius(cpu.temperature_celsius)]),
    ],
  };
  if (!detailed) return [total];
  return [
    total,
    {
      id: "cores",
      group: "CPU",
      title: "Cores",
      write: percent,
      top: 100,
      series: coreSeries(cores),
    },
    line(
      "cpu-clock",
      "CPU",
      "Clock",
      frequency,
      null,
      "Clock",
      "--series-clock",
      (sample) => sample.cpu.frequency_mhz,
    ),
    line(
      "cpu-heat",
      "CPU",
      "Temperature",
      celsius,
      100,
      "Temperature",
      "--series-heat",
      (sample) => sample.cpu.temperature_celsius,
    ),
  ];
}

const CORE_COLORS = ["cpu", "tokens", "gpu", "memory", "window", "clock"];
const CORE_DASHES = [[], DASH, DOTS, [8, 3, 2, 3]];

function coreSeries(cores: number): Series[] {
  return Array.from({ length: cores }, (_, core) => ({
    label: String(core),
    color: `--series-${CORE_COLORS[core % CORE_COLORS.length]}`,
    dash: CORE_DASHES[Math.floor(core / CORE_COLORS.length) % CORE_DASHES.length] ?? [],
    read: (sample) => sample.cpu.cores_percent[core] ?? null,
  }));
}

/** How fast bytes come, in a unit that leaves room on the axis: "10.2 KiB/s", "212 MiB/s". */
function byteRate(mibPerSecond: number): string {
  const isSmall = mibPerSecond > 0 && mibPerSecond < 1;
  return isSmall ? `${figures(mibPerSecond * 1024)} KiB/s` : transfer(mibPerSecond);
}

/** A chart of what goes in and what goes out. */
function flow(id: string, title: string, inwards: [string, Read], outwards: [string, Read]): Chart {
  return {
    id,
    group: "Disk and network",
    title,
    write: byteRate,
    top: null,
    end: (high) => roundTop(high, 1 / 1024),
    series: [
      { label: inwards[0], color: "--series-in", read: inwards[1] },
      { label: outwards[0], color: "--series-out", dash: DASH, read: outwards[1] },
    ],
  };
}

const flowCharts: Chart[] = [
  flow(
    "disk",
    "Disk",
    ["Read", (sample) => sample.disk?.read_mib_per_second ?? null],
    ["Written", (sample) => sample.disk?.written_mib_per_second ?? null],
  ),
  flow(
    "network",
    "Network",
    ["Received", (sample) => sample.network?.received_mib_per_second ?? null],
    ["Sent", (sample) => sample.network?.sent_mib_per_second ?? null],
  ),
];

/** The name of a GPU as a heading. */
export function gpuTitle(gpu: GpuSample): string {
  return `GPU ${gpu.index}: ${gpu.name}`;
}

function gpuCharts(gpu: GpuSample): Chart[] {
  const { index } = gpu;
  const group = gpuTitle(gpu);
  const of =
    (pick: (gpu: GpuSample) => number | null): Read =>
    (sample) => {
      const now = sample.gpus.find((one) => one.index === index);
      return now ? pick(now) : null;
    };
  const id = (what: string) => `gpu-${index}-${what}`;
  return [
    line(
      id("use"),
      group,
      "In use",
      percent,
      100,
      "GPU",
      "--series-gpu",
      of((one) => one.utilization_percent),
    ),
    {
      id: id("memory"),
      group,
      title: "GPU memory",
      write: size,
      top: gpu.memory_total_mib,
      series: [
        { label: "Used", color: "--series-memory", read: of((one) => one.memory_used_mib) },
        {
          label: "Engine",
          color: "--series-engine",
          dash: DASH,
          read: of((one) => one.engine_memory_mib),
        },
      ],
    },
    line(
      id("power"),
      group,
      "Power",
      watts,
      null,
      "Power",
      "--series-power",
      of((one) => one.power_watts),
    ),
    {
      ...line(
        id("heat"),
        group,
        "Temperature",
        celsius,
        100,
        "Temperature",
        "--series-heat",
        of((one) => one.temperature_celsius),
      ),
      notes: (sample) => {
        const fan = of((one) => one.fan_percent)(sample);
        return fan === null ? [] : [`Fan ${percent(fan)}`];
      },
    },
    {
      id: id("clocks"),
      group,
      title: "Clocks",
      write: frequency,
      top: null,
      series: [
        { label: "Core", color: "--series-clock", read: of((one) => one.clock_mhz) },
        {
          label: "Memory",
          color: "--series-memory",
          dash: DASH,
          read: of((one) => one.memory_clock_mhz),
        },
      ],
    },
  ];
}

const powerCharts: Chart[] = [
  {
    ...line(
      "battery",
      "Power",
      "Battery",
      percent,
      100,
      "Charge",
      "--series-power",
      (sample) => sample.power?.charge_percent ?? null,
    ),
    notes: ({ power }) => (power ? [power.on_battery ? "On battery" : "Plugged in"] : []),
  },
  line(
    "watts",
    "Power",
    "Power drawn",
    watts,
    null,
    "Power",
    "--series-power",
    (sample) => sample.power?.watts ?? null,
  ),
];

/** Every GPU of the samples, as it was last seen: one may come and go. */
export function gpusOf(samples: ResourceSample[]): GpuSample[] {
  const seen = new Map<number, GpuSample>();
  for (const sample of samples) for (const gpu of sample.gpus) seen.set(gpu.index, gpu);
  return [...seen.values()].sort((a, b) => a.index - b.index);
}

/** The charts of what was measured: what no sensor told is left out, not drawn as 0. */
export function chartsOf(samples: ResourceSample[], cpuDetails: boolean): Chart[] {
  const last = samples.at(-1);
  const cores = last?.cpu.cores_percent.length ?? 0;
  const all = [
    ...cpuCharts(cores, cpuDetails),
    memoryChart(samples),
    ...engineCharts,
    ...gpusOf(samples).flatMap(gpuCharts),
    ...flowCharts,
    ...powerCharts,
  ];
  return all
    .map((chart) => ({
      ...chart,
      series: chart.series.filter(({ read }) => samples.some((sample) => read(sample) !== null)),
    }))
    .filter(({ series }) => series.length > 0);
}

/** Another set of lines is another chart. */
export function keyOf({ id, series }: Chart): string {
  return `${id} ${series.map(({ label }) => label).join("|")}`;
}

/** The charts of now, and of those that are as before the very same, so that nothing about them is done anew. */
export function kept(before: Chart[], now: Chart[]): Chart[] {
  const known = new Map(before.map((chart) => [keyOf(chart), chart]));
  return now.map((chart) => {
    const same = known.get(keyOf(chart));
    return same?.top === chart.top && same.group === chart.group ? same : chart;
  });
}
