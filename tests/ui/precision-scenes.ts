import type { Page } from "playwright-core";
import type { FakeOptions } from "./fake/options";
import { field, see } from "./harness";
import {
  filePrecisions,
  folderName,
  folderPrecisions,
  someFiles,
  someHub,
  workshop,
} from "./precisions";
import type { Detail, Scene } from "./screenshots";
import { catalogue, manyModels } from "./showpieces";

async function showPrecisions(page: Page, name: string) {
  await see(field(page));
  await page.keyboard.press("Control+2");
  await page.locator(`[data-model="${name}"]`).click();
  await page.getByRole("tab", { name: "Quantization" }).click();
  await see(page.getByText("Memory is for a conversation"));
  await page.mouse.move(600, 4);
}

const precisionWorld: Partial<FakeOptions> = {
  models: someFiles,
  suggestions: catalogue,
  workshop,
};

/** The precisions and the hub, for every size. */
export const precisionScenes: Record<string, Scene> = {
  "quantize-folder": {
    options: precisionWorld,
    play: (page) => showPrecisions(page, folderName),
  },
  "quantize-file": {
    options: precisionWorld,
    play: (page) => showPrecisions(page, filePrecisions.model),
  },
  hub: {
    options: { models: manyModels, suggestions: catalogue, hub: someHub },
    play: async (page) => {
      await see(field(page));
      await page.keyboard.press("Control+d");
      const search = page.getByRole("textbox", { name: "Search the hub" });
      await search.fill("qwen3");
      await search.press("Enter");
      await page.getByRole("button", { name: /^unsloth/ }).click();
      await see(page.getByText("Estimate").last());
      await search.hover();
      await page.mouse.wheel(0, 300);
      await page.mouse.move(600, 4);
    },
  },
};

/** Their smaller states, one size each. */
export const precisionDetails: Record<string, Detail> = {
  "quantize-writing": {
    size: [1280, 800],
    options: {
      ...precisionWorld,
      workshop: {
        ...workshop,
        work: {
          what: "quantize",
          model: folderName,
          format: "int4",
          done_mib: 263.4,
          total_mib: 638,
          seconds: 14,
          state: { kind: "running" },
        },
      },
    },
    play: (page) => showPrecisions(page, folderName),
  },
  "quantize-failed": {
    size: [800, 600],
    options: {
      ...precisionWorld,
      workshop: {
        ...workshop,
        tickMs: 5,
        fails: {
          code: "download_failed",
          message: "The disk is full: 638 MiB are needed, 112 MiB are free.",
          hint: "Make some room and write it again. Nothing unfinished is left.",
        },
      },
    },
    play: async (page) => {
      await showPrecisions(page, folderName);
      await page.getByRole("button", { name: "Write int4" }).click();
      await see(page.getByRole("alert"));
    },
  },
  "quantize-advanced": {
    size: [1280, 800],
    options: precisionWorld,
    play: async (page) => {
      await showPrecisions(page, folderPrecisions.model);
      await page.getByText("Advanced").click();
      await page.getByRole("button", { name: "More types" }).click();
      await page.getByRole("button", { name: "Write int4" }).focus();
    },
  },
  "hub-gated": {
    size: [800, 600],
    options: { models: manyModels, suggestions: catalogue, hub: someHub },
    play: async (page) => {
      await see(field(page));
      await page.keyboard.press("Control+d");
      const search = page.getByRole("textbox", { name: "Search the hub" });
      await search.fill("tuned");
      await search.press("Enter");
      await page.getByRole("button", { name: /Gated/ }).click();
      await see(page.getByText("must be accepted"));
      await search.hover();
      await page.mouse.wheel(0, 300);
    },
  },
};
