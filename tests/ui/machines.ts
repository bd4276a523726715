import type {
  AnswerMark,
  GpuSample,
  Probe,
  ResourceSample,
} from "../../ui/src/bindings";
import type { FakeResources } from "./fake/resources";

const SECONDS = 600;
/** When, counted from now, an answer was written: read first, then written. */
const ANSWERS = [
  { from: 512, to: 484, tokens: 402 },
  { from: 300, to: 262, tokens: 611 },
  { from: 96, to: 75, tokens: 318 },
  { from: 31, to: -1, tokens: 500 },
];
const READING_SECONDS = 3;

/** The same unevenness every time: between 0 and 1. */
function uneven(seed: number): number {
  const wave = Math.sin(seed * 12.9898) * 43_758.5453;
  return wave - Math.floor(wave);
}

function phase(ago: number): "idle" | "reading" | "writing" {
  const answer = ANSWERS.find(({ from, to }) => ago <= from && ago > to);
  if (!answer) return "idle";
  return ago > answer.from - READING_SECONDS ? "reading" : "writing";
}

/** How much of the conversation is in the cache. */
function held(ago: number): number {
  return ANSWERS.reduce(
    (sum, { from, to }) => sum + Math.max(0, from - Math.max(ago, to)),
    0,
  );
}

type Machine = { gpus: boolean; battery: boolean; engineSince: number };

function gpu(index: number, ago: number): GpuSample {
  const busy = phase(ago) !== "idle";
  const use = busy ? 84 + 12 * uneven(ago + index) : 1 + 3 * uneven(ago);
  const watts = busy ? 240 + 60 * uneven(ago * 3 + index) : 24;
  return {
    index,
    name: index === 0 ? "NVIDIA RTX 4090" : "NVIDIA RTX 3060",
    utilization_percent: index === 0 ? use : use * 0.6,
    memory_used_mib: index === 0 ? 15_400 + 6 * held(ago) : 7_100,
    memory_total_mib: index === 0 ? 24_564 : 12_288,
    engine_memory_mib: index === 0 ? 14_200 + 6 * held(ago) : 6_640,
    temperature_celsius: 44 + (busy ? 28 : 4) + 3 * uneven(ago),
    power_watts: index === 0 ? watts : watts * 0.5,
    clock_mhz: busy ? 2_520 : 210,
    memory_clock_mhz: busy ? 10_501 : 405,
    fan_percent: index === 0 ? 46 : null,
    throttle: index === 1 && busy ? ["Power limit", "Too warm"] : [],
  };
}

function sampleOf(ago: number, now: number, machine: Machine): ResourceSample {
  const doing = phase(ago);
  const runs = ago <= machine.engineSince;
  const onCpu = doing !== "idle" && !machine.gpus;
  const engineCpu = onCpu
    ? 172 + 14 * uneven(ago)
    : doing === "idle"
      ? 0.4
      : 22;
  const windowCpu = doing === "writing" ? 7 + 3 * uneven(ago) : 1.2;
  const otherCpu = 6 + 16 * uneven(ago * 7) ** 3;
  const total = Math.min(100, (engineCpu + windowCpu + otherCpu) / 2);
  const kv = 24 + 1.6 * held(ago);
  const engine_mib = runs ? 610 + kv : null;
  const other = 3_120 + 90 * uneven(Math.floor(ago / 40));
  return {
    at_ms: now - ago * 1000,
    cpu: {
      total_percent: total,
      cores_percent: [
        Math.min(100, total * (0.9 + 0.2 * uneven(ago * 2))),
        Math.min(100, total * (0.9 + 0.2 * uneven(ago * 5))),
      ],
      frequency_mhz: onCpu ? 3_410 : 1_800 + 900 * uneven(ago * 11),
      temperature_celsius: machine.gpus ? 58 : null,
    },
    memory: {
      total_mib: 7_953,
      used_mib: other + 148 + (engine_mib ?? 0),
      available_mib: 7_953 - other - 148 - (engine_mib ?? 0),
      swap_total_mib: 2_048,
      swap_used_mib: 120,
    },
    disk: {
      read_mib_per_second: ago > 520 && ago < 524 ? 212 : 0.1 * uneven(ago),
      written_mib_per_second: ago % 5 === 0 ? 1.8 * uneven(ago) : 0,
    },
    network: {
      received_mib_per_second: 0.02 * uneven(ago),
      sent_mib_per_second: 0.01 * uneven(ago * 3),
    },
    gpus: machine.gpus ? [gpu(0, ago), gpu(1, ago)] : [],
    power: machine.battery
      ? {
          on_battery: true,
          charge_percent: 62 + ago / 200,
          watts: onCpu ? 31 + 2 * uneven(ago) : 9,
        }
      : null,
    shares: {
      window_mib: 148,
      engine_mib,
      weights_mib: runs ? 438 : null,
      kv_mib: runs ? kv : null,
      other_mib: other,
      window_cpu_percent: windowCpu,
      engine_cpu_percent: runs ? engineCpu : null,
      other_cpu_percent: otherCpu,
    },
    engine: runs
      ? {
          prefill_tokens_per_second:
            doing === "reading" ? 190 + 24 * uneven(ago) : null,
          decode_tokens_per_second:
            doing === "writing" ? 22 + 2.5 * uneven(ago * 13) : null,
          active: doing === "idle" ? 0 : 1,
          waiting: 0,
          prefix_hit_tokens: doing === "idle" ? 0 : 38,
          kv_mib: kv,
        }
      : null,
  };
}

function historyOf(machine: Machine, now: number): ResourceSample[] {
  return Array.from({ length: SECONDS }, (_, i) =>
    sampleOf(SECONDS - 1 - i, now, machine),
  );
}

/** A mark for each answer that has ended. */
function marksOf(now: number, conversation: string): AnswerMark[] {
  return ANSWERS.filter(({ to }) => to > 0).map(({ from, to, tokens }) => ({
    started_ms: now - from * 1000,
    ended_ms: now - to * 1000,
    conversation_id: conversation,
    message_id: `answer-${from}`,
    tokens,
  }));
}

const cpuProbes: Probe[] = [
  { name: "CPU and memory", found: true, detail: "/proc" },
  {
    name: "NVIDIA (NVML)",
    found: false,
    detail: "libnvidia-ml.so.1 is not installed",
  },
  {
    name: "AMD (sysfs)",
    found: false,
    detail: "no card in /sys/class/drm has the driver amdgpu",
  },
  {
    name: "CPU temperature",
    found: false,
    detail: "no sensor in /sys/class/hwmon",
  },
];

/** A machine without a GPU, ten minutes of it, answering at the end. */
export function cpuMachine(more: Partial<FakeResources> = {}): FakeResources {
  const now = Date.now();
  return {
    history: historyOf({ gpus: false, battery: true, engineSince: 520 }, now),
    marks: marksOf(now, "tides"),
    probes: cpuProbes,
    live: false,
    ...more,
  };
}

/** A machine with two GPUs, answering at the end. */
export function gpuMachine(more: Partial<FakeResources> = {}): FakeResources {
  const now = Date.now();
  return {
    history: historyOf({ gpus: true, battery: false, engineSince: 600 }, now),
    marks: marksOf(now, "tides"),
    probes: [
      { name: "CPU and memory", found: true, detail: "/proc" },
      { name: "NVIDIA (NVML)", found: true, detail: "driver 560.35" },
      { name: "Battery", found: false, detail: "none in this machine" },
    ],
    live: false,
    ...more,
  };
}

/** One sample of the machine without a GPU, at a moment. */
export function oneSample(
  at_ms: number,
  more: Partial<ResourceSample> = {},
): ResourceSample {
  return {
    ...sampleOf(200, at_ms, { gpus: false, battery: false, engineSince: 600 }),
    at_ms,
    ...more,
  };
}
