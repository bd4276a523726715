import type { Page } from "playwright-core";
import type { FakeOptions } from "./fake/options";
import { field, see } from "./harness";
import { cpuMachine, gpuMachine, oneSample } from "./machines";
import type { Detail, Scene } from "./screenshots";
import { shelf } from "./stories";

const crowded: Partial<FakeOptions> = {
  stories: shelf,
  engine: {
    kind: "thinking",
    model: {
      name: "SmolLM2-135M",
      architecture: "llama",
      quantization: "Q4_K_M",
      context_length: 8192,
      device: "CPU",
      size_mib: 94,
      resident_mib: 172,
      load_ms: 812,
      warnings: [],
    },
    waiting: 0,
  },
};

async function showResources(page: Page) {
  await see(field(page));
  await page.keyboard.press("Control+4");
  await see(page.locator(".u-over"));
}

/** Waits until what has come into sight is drawn. */
async function drawn(page: Page) {
  await page.waitForTimeout(400);
}

/** A machine that tells little: no clock, no disk, no battery. */
function blindMachine() {
  const machine = gpuMachine();
  return {
    ...machine,
    history: machine.history.map((sample) => ({
      ...sample,
      cpu: { ...sample.cpu, frequency_mhz: null, temperature_celsius: null },
      disk: null,
      network: null,
      gpus: sample.gpus.slice(0, 1).map((gpu) => ({
        ...gpu,
        power_watts: null,
        fan_percent: null,
        clock_mhz: null,
        memory_clock_mhz: null,
      })),
    })),
  };
}

/** The resources, for every size. */
export const resourceScenes: Record<string, Scene> = {
  "resources-cpu": {
    options: { ...crowded, resources: cpuMachine() },
    play: async (page) => {
      await showResources(page);
      await page.locator(".u-over").first().hover();
    },
  },
  "resources-gpus": {
    options: { ...crowded, resources: gpuMachine() },
    play: async (page) => {
      await showResources(page);
      await page
        .getByRole("heading", { name: /GPU 1/ })
        .scrollIntoViewIfNeeded();
      await drawn(page);
      await page.mouse.move(600, 4);
    },
  },
};

/** Their smaller states, one size each. */
export const resourceDetails: Record<string, Detail> = {
  "resources-cores": {
    size: [1280, 800],
    options: { resources: cpuMachine() },
    play: async (page) => {
      await showResources(page);
      await page.getByRole("radio", { name: "10 min" }).check({ force: true });
      await page.getByRole("button", { name: "Cores" }).click();
      await see(page.getByRole("region", { name: "Cores" }));
    },
  },
  "resources-end": {
    size: [1280, 800],
    options: { resources: cpuMachine() },
    play: async (page) => {
      await showResources(page);
      await page.getByText("What was looked for").click();
      await see(page.getByText("libnvidia-ml.so.1 is not installed"));
      await page.getByText("Drag over a chart").scrollIntoViewIfNeeded();
      await drawn(page);
    },
  },
  "resources-zoomed": {
    size: [1280, 800],
    options: { resources: cpuMachine() },
    play: async (page) => {
      await showResources(page);
      await page.locator(".u-over").first().hover();
      for (let i = 0; i < 3; i++) await page.keyboard.press("+");
      await page.keyboard.press("ArrowLeft");
    },
  },
  "resources-one-gpu": {
    size: [1280, 800],
    options: { ...crowded, resources: blindMachine() },
    play: async (page) => {
      await showResources(page);
      await page
        .getByRole("heading", { name: /GPU 0/ })
        .scrollIntoViewIfNeeded();
      await page.getByText("Sensors that were looked for").click();
      await drawn(page);
    },
  },
  "resources-strip": {
    size: [1280, 800],
    options: { ...crowded, resources: gpuMachine() },
    play: async (page) => {
      await see(field(page));
      await see(page.getByRole("button", { name: /Memory/ }));
    },
  },
  "resources-empty": {
    size: [1280, 800],
    options: {},
    play: async (page) => {
      await see(field(page));
      await page.keyboard.press("Control+4");
      await see(page.getByText("Waiting for the first reading"));
    },
  },
  "resources-first": {
    size: [800, 600],
    options: {
      resources: cpuMachine({ history: [oneSample(Date.now())], marks: [] }),
    },
    play: showResources,
  },
  "resources-failed": {
    size: [800, 600],
    options: {
      failures: {
        resources_watch: {
          code: "engine_failed",
          message: "The sensors of this machine could not be read.",
          hint: "Try again. Answers are not affected.",
        },
      },
    },
    play: async (page) => {
      await see(field(page));
      await page.keyboard.press("Control+4");
      await see(page.getByRole("alert"));
    },
  },
};
