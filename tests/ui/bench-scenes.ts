import type { Page } from "playwright-core";
import { key, onBoth, someRuns } from "./bench-stories";
import { twoGpus } from "./fake/placement";
import type { FakeOptions } from "./fake/options";
import { field, see } from "./harness";
import type { Detail, Scene } from "./screenshots";
import { manyModels } from "./showpieces";

const world: Partial<FakeOptions> = {
  models: manyModels,
  bench: { runs: someRuns, progress: null, cellMs: 60 },
};

async function showBench(page: Page) {
  await see(field(page));
  await page.keyboard.press("Control+3");
  await see(page.getByText("about 12 s").last());
}

async function showRun(page: Page) {
  await showBench(page);
  await page.getByRole("button", { name: /^Standard, 23 Nov/ }).click();
  await see(page.getByRole("region", { name: "Results" }));
  await page.mouse.move(600, 4);
}

async function showBoth(page: Page) {
  await showBench(page);
  await page.getByRole("button", { name: /^Standard, 24 Nov/ }).click();
  await see(page.getByRole("region", { name: "Results" }));
  await page.mouse.move(600, 4);
}

const withGpu: Partial<FakeOptions> = {
  models: manyModels,
  bench: { runs: [onBoth], progress: null, cellMs: 60 },
};

/** The benchmark, for every size. */
export const benchScenes: Record<string, Scene> = {
  "bench-empty": { options: { models: manyModels }, play: showBench },
  "bench-running": {
    options: {
      ...world,
      bench: {
        runs: someRuns,
        cellMs: 60,
        progress: {
          run_id: "interrupted",
          cell: key({ depth_tokens: 4096 }),
          cells_done: 1,
          cells: 3,
          repetition: 2,
          repetitions: 5,
          seconds: 61,
          seconds_left: 148,
          waiting: true,
        },
      },
    },
    play: showBench,
  },
  "bench-run": { options: world, play: showRun },
  "bench-both": { options: withGpu, play: showBoth },
  "bench-compare": {
    options: world,
    play: async (page) => {
      await showRun(page);
      await page.getByRole("button", { name: "Compare with …" }).click();
      await page.getByRole("menuitem", { name: /^Standard, 16 Nov/ }).click();
      await see(page.getByText("figures in common"));
      await page.mouse.move(600, 4);
    },
  },
};

/** Its smaller states, one size each. */
export const benchDetails: Record<string, Detail> = {
  "bench-charts": {
    size: [1280, 800],
    options: world,
    play: async (page) => {
      await showRun(page);
      await page
        .getByRole("figure", { name: "Quality against speed" })
        .scrollIntoViewIfNeeded();
    },
  },
  "bench-charts-narrow": {
    size: [800, 600],
    options: world,
    play: async (page) => {
      await showRun(page);
      await page
        .getByRole("figure", { name: "Throughput against latency" })
        .scrollIntoViewIfNeeded();
    },
  },
  "bench-both-charts": {
    size: [800, 600],
    options: withGpu,
    play: async (page) => {
      await showBoth(page);
      await page
        .getByRole("figure", { name: "Throughput against latency" })
        .scrollIntoViewIfNeeded();
    },
  },
  "bench-export": {
    size: [1280, 800],
    options: world,
    play: async (page) => {
      await showRun(page);
      await page.getByRole("button", { name: "Export" }).click();
      await see(page.getByText("A card of the fastest"));
    },
  },
  "bench-cell": {
    size: [1280, 800],
    options: world,
    play: async (page) => {
      await showRun(page);
      await page
        .getByRole("button", { name: "SmolLM2-135M Q4_K_M · batch 1" })
        .first()
        .click();
      await see(page.getByText("BF16 of the same model"));
      await page.mouse.move(600, 4);
    },
  },
  "bench-elsewhere": {
    size: [1280, 800],
    options: world,
    play: async (page) => {
      await showRun(page);
      await page.getByRole("button", { name: "Compare with …" }).click();
      await page.getByRole("menuitem", { name: /^Quick, 30 Oct/ }).click();
      await see(page.getByRole("heading", { name: "Compare" }));
      await page.mouse.move(600, 4);
    },
  },
  "bench-interrupted": {
    size: [800, 600],
    options: world,
    play: async (page) => {
      await showBench(page);
      await page.getByRole("button", { name: /^Thorough, 23 Nov/ }).click();
      await see(page.getByRole("region", { name: "Results" }));
    },
  },
  "bench-cancelled": {
    size: [1280, 800],
    options: {
      ...world,
      bench: { runs: someRuns, progress: null, cellMs: 1500 },
    },
    play: async (page) => {
      await showBench(page);
      await page.getByText("Standard", { exact: true }).first().click();
      await see(page.getByText("2 configurations").first());
      await page.keyboard.press("Control+Shift+b");
      await see(page.getByText("1 of 2 configurations done"));
      await page.keyboard.press("Control+Shift+x");
      await see(page.getByText("What was measured is kept."));
    },
  },
  "bench-options": {
    size: [800, 600],
    options: { ...world, gpus: twoGpus },
    play: async (page) => {
      await showBench(page);
      await page.getByText("More options").click();
      await page
        .getByRole("group", { name: "Batches" })
        .getByRole("checkbox", { name: "4", exact: true })
        .check();
      await page.getByText("More options").scrollIntoViewIfNeeded();
    },
  },
};
