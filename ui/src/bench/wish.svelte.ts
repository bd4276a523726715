import type { BenchDevice, BenchPlan, BenchPreset, BenchRequest, KvWish } from "../bindings";
import { ipc } from "../ipc";
import { Failure } from "../lib/failure";
import { isWhole, typedNumber } from "../lib/numbers";

/** What a run with nothing but a preset is. */
export function presetOnly(preset: BenchPreset): BenchRequest {
  return {
    preset,
    models: [],
    batches: [],
    threads: [],
    depths: [],
    kvs: [],
    devices: [],
    repetitions: null,
    quality: null,
  };
}

/** No run repeats a measurement more often. */
export const MOST_REPETITIONS = 1000;

/** The run that a person is putting together. Kept while other views are looked at. */
class Wish {
  preset = $state<BenchPreset>("quick");
  /** Names; empty: the model in use. */
  models = $state.raw<string[]>([]);
  batches = $state.raw<number[]>([]);
  threads = $state.raw<number[]>([]);
  depths = $state.raw<number[]>([]);
  kvs = $state.raw<KvWish[]>([]);
  devices = $state.raw<BenchDevice[]>([]);
  /** As typed; empty: as the preset has it. */
  typedRepetitions = $state("");
  quality = $state<boolean | null>(null);
  moreOpen = $state(false);

  /** What the core would do about it, as last heard. */
  plan = $state.raw<BenchPlan | null>(null);
  failure = $state.raw<Failure | null>(null);
  /** What this machine computes side by side, as far as it is known: a preset’s plan uses it all. */
  cores = $state(1);
  /** The GPU that can be measured, as last heard. */
  gpu = $state<string | null>(null);
  /** Whether the plan is of another wish than the present one. */
  stale = $state(true);

  get repetitions(): number | null {
    return wholeNumber(this.typedRepetitions, 1, MOST_REPETITIONS);
  }

  /** Whether what is typed cannot be asked for. */
  get isWrong(): boolean {
    return this.typedRepetitions.trim() !== "" && this.repetitions === null;
  }

  get request(): BenchRequest {
    const { preset, models, batches, threads, depths, kvs, devices, repetitions, quality } = this;
    return { preset, models, batches, threads, depths, kvs, devices, repetitions, quality };
  }

  /** How many of the options differ from the preset's own. */
  get changed(): number {
    const { batches, threads, depths, kvs, devices, typedRepetitions, quality } = this;
    const lists = [batches, threads, depths, kvs, devices].filter((list) => list.length > 0);
    return lists.length + Number(typedRepetitions.trim() !== "") + Number(quality !== null);
  }

  /** Everything as the preset has it. */
  reset(): void {
    this.batches = [];
    this.threads = [];
    this.depths = [];
    this.kvs = [];
    this.devices = [];
    this.typedRepetitions = "";
    this.quality = null;
  }

  /** Asks what a request comes to; an answer that has become stale is dropped. */
  async ask(request: BenchRequest, isStale: () => boolean): Promise<void> {
    try {
      const plan = await ipc.benchPlan(request);
      if (isStale()) return;
      this.plan = plan;
      this.gpu = plan.gpu;
      if (request.threads.length === 0) {
        this.cores = Math.max(this.cores, ...plan.cells.map(({ threads }) => threads));
      }
      this.failure = null;
    } catch (thrown) {
      if (isStale()) return;
      this.plan = null;
      this.failure = Failure.from(thrown);
    }
    this.stale = false;
  }
}

export const wish = new Wish();

/** A list with a value put in or taken out, in order. */
export function toggled<T extends number | string>(list: T[], value: T): T[] {
  if (list.includes(value)) return list.filter((one) => one !== value);
  const longer = [...list, value];
  return typeof value === "number" ? longer.sort((a, b) => Number(a) - Number(b)) : longer;
}

/** A whole number between two bounds as typed, or null. Grouping commas are allowed. */
export function wholeNumber(typed: string, least: number, most: number): number | null {
  const value = typedNumber(typed);
  return isWhole(value, least, most) ? value : null;
}
