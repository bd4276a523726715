import { bench } from "../bench/bench.svelte";
import { load } from "../loadtest/load.svelte";
import { profile } from "../profile/profile.svelte";
import { timeline } from "../resources/timeline.svelte";
import type { Action } from "./actions";
import { layout } from "./layout.svelte";

function inPeople() {
  return bench.tab === "people";
}

function canBegin(): boolean {
  if (layout.view !== "benchmark") return false;
  if (inPeople()) return !bench.busy && load.isSound;
  return bench.page.kind === "home" && bench.canBegin;
}

/** What can be done about benchmarks and load tests. */
export const measuring = {
  startBench: {
    label: "Start the benchmark or the load test",
    group: "Models",
    key: { key: "b", mod: true, shift: true },
    ready: canBegin,
    run: () => (inPeople() ? load.begin() : bench.beginWished()),
  },
  cancelBench: {
    label: "Cancel the benchmark or the load test",
    group: "Models",
    key: { key: "x", mod: true, shift: true },
    ready: () => bench.progress !== null || load.running !== null,
    run: () => void (bench.progress ? bench.cancel() : load.cancel()),
  },
} satisfies Record<string, Action>;

/** The places where something is measured, in the order of the rail. */
export const measuringPlaces = {
  benchmark: {
    label: "Benchmark",
    group: "Window",
    key: { key: "3", mod: true },
    run: () => layout.show("benchmark"),
  },
  loadTest: {
    label: "How many people at once?",
    group: "Window",
    key: { key: "t", mod: true, shift: true },
    run: () => {
      bench.tab = "people";
      layout.show("benchmark");
    },
  },
  resources: {
    label: "Resources",
    group: "Window",
    key: { key: "4", mod: true },
    run: () => {
      profile.shown = false;
      layout.show("resources");
    },
  },
  timeGoes: {
    label: "Where the time goes",
    group: "Window",
    key: { key: "g", mod: true, shift: true },
    run: () => {
      profile.shown = true;
      layout.show("resources");
    },
  },
  holdCharts: {
    label: "Hold the charts or go live",
    group: "Window",
    key: { key: "h", mod: true, shift: true },
    ready: () => layout.view === "resources" && !profile.shown,
    run: () => timeline.toggleHold(),
  },
} satisfies Record<string, Action>;

/** Takes a zoom of the resources back; false where nothing is zoomed. */
export function resourcesBack(): boolean {
  if (profile.shown) return profile.zoomOut();
  if (!timeline.isZoomed) return false;
  timeline.reset();
  return true;
}
