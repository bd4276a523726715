import type { ResourceSample } from "../bindings";
import { size } from "../lib/format";
import type { Chart, Series } from "./chart";

type Layer = Omit<Series, "draw">;

function rest({ shares }: ResourceSample): number | null {
  if (shares.engine_mib === null) return null;
  return Math.max(0, shares.engine_mib - (shares.weights_mib ?? 0) - (shares.kv_mib ?? 0));
}

/** Whose the memory is, the engine's parts at the bottom. */
const LAYERS: Layer[] = [
  { label: "Weights", color: "--part-weights", read: ({ shares }) => shares.weights_mib },
  { label: "KV cache", color: "--part-kv", read: ({ shares }) => shares.kv_mib },
  { label: "Rest of engine", color: "--series-engine", read: rest },
  { label: "Tektra’s window", color: "--series-window", read: ({ shares }) => shares.window_mib },
  { label: "Everything else", color: "--part-reserve", read: ({ shares }) => shares.other_mib },
];

const USED: Layer = {
  label: "Used",
  color: "--series-memory",
  read: ({ memory }) => memory.used_mib,
};

/** Puts each layer on top of those below it. */
function stack(layers: Layer[]): Series[] {
  return layers.map((layer, at) => ({
    ...layer,
    draw: (sample) => {
      if (layer.read(sample) === null) return null;
      return layers.slice(0, at + 1).reduce((sum, { read }) => sum + (read(sample) ?? 0), 0);
    },
  }));
}

/** The memory by whom it belongs to, of all there is; undivided where that is not known. */
export function memoryChart(samples: ResourceSample[]): Chart {
  const attributed = samples.some((sample) => LAYERS.some(({ read }) => read(sample) !== null));
  return {
    id: "memory",
    group: "Memory",
    title: "Memory",
    write: size,
    top: samples.findLast(({ memory }) => memory.total_mib !== null)?.memory.total_mib ?? null,
    stacked: true,
    series: stack(attributed ? LAYERS : [USED]),
    notes: ({ memory }) => {
      const { available_mib, swap_total_mib, swap_used_mib } = memory;
      return [
        ...(available_mib === null ? [] : [`${size(available_mib)} available`]),
        ...(swap_total_mib && swap_used_mib !== null ? [`Swap ${size(swap_used_mib)}`] : []),
      ];
    },
  };
}
