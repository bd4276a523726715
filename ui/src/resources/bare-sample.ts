import type { ResourceSample } from "../bindings";

/** For tests: a sample of a machine that can tell nothing but how busy its processor is. */
export function bareSample(at_ms: number | null): ResourceSample {
  return {
    at_ms,
    cpu: { total_percent: 10, cores_percent: [], frequency_mhz: null, temperature_celsius: null },
    memory: {
      total_mib: null,
      used_mib: null,
      available_mib: null,
      swap_total_mib: null,
      swap_used_mib: null,
    },
    disk: null,
    network: null,
    gpus: [],
    power: null,
    shares: {
      window_mib: null,
      engine_mib: null,
      weights_mib: null,
      kv_mib: null,
      other_mib: null,
      window_cpu_percent: null,
      engine_cpu_percent: null,
      other_cpu_percent: null,
    },
    engine: null,
  };
}
