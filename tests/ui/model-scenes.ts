import type { Page } from "playwright-core";
import type { FakeOptions } from "./fake/options";
import { oldGpu, oneProfile, threeProfiles, twoGpus } from "./fake/placement";
import { field, see } from "./harness";
import type { Detail, Scene } from "./screenshots";
import { catalogue, manyModels, someDownloads } from "./showpieces";

const modelWorld: Partial<FakeOptions> = {
  models: manyModels,
  suggestions: catalogue,
  downloads: someDownloads,
};

async function showModel(page: Page, name: string) {
  await see(field(page));
  await page.keyboard.press("Control+2");
  await page.locator(`[data-model="${name}"]`).click();
  await see(
    page.getByText("Longest context that fits").or(page.getByText("predicted")),
  );
  await see(page.getByText("Types of its parts"));
  await page.mouse.move(600, 4);
}

async function showPlacement(page: Page, name: string) {
  await see(field(page));
  await page.keyboard.press("Control+2");
  await page.locator(`[data-model="${name}"]`).click();
  await page.getByRole("tab", { name: "Placement" }).click();
  await see(page.getByRole("button", { name: "Reset to automatic" }));
  await page.mouse.move(600, 4);
}

/** The models, for every size. */
export const modelScenes: Record<string, Scene> = {
  library: {
    options: modelWorld,
    play: (page) => showModel(page, "SmolLM2-135M"),
  },
  "get-models": {
    options: modelWorld,
    play: async (page) => {
      await see(field(page));
      await page.keyboard.press("Control+d");
      await see(page.getByRole("heading", { name: "Catalogue" }));
    },
  },
  "placement-gpus": {
    options: { ...modelWorld, gpus: twoGpus },
    play: async (page) => {
      await showPlacement(page, "llama3.1:8b-instruct-q8_0");
      await page.getByRole("checkbox", { name: /GPU 0/ }).click();
      await page.getByRole("checkbox", { name: /GPU 1/ }).click();
      await page.getByRole("slider", { name: "Context" }).focus();
      for (let i = 0; i < 8; i++) await page.keyboard.press("ArrowLeft");
      await page.getByRole("slider", { name: "Layers on the GPU" }).focus();
      await page.keyboard.press("End");
      for (let i = 0; i < 6; i++) await page.keyboard.press("ArrowLeft");
      await see(page.getByText("Layers 24–29"));
      await page
        .getByRole("region", { name: "Details" })
        .evaluate((box) => box.scrollTo(0, 0));
    },
  },
  profiles: {
    options: { ...modelWorld, profiles: threeProfiles },
    play: async (page) => {
      await see(field(page));
      await page.keyboard.press("Control+Shift+p");
      await see(page.getByRole("listitem", { name: "Quality" }));
    },
  },
};

/** Their smaller states, one size each. */
export const modelDetails: Record<string, Detail> = {
  "does-not-fit": {
    size: [1280, 800],
    options: modelWorld,
    play: async (page) => {
      await showModel(page, "Qwen3-4B-Instruct");
      await page.getByRole("slider", { name: "Context" }).focus();
      for (let i = 0; i < 5; i++) await page.keyboard.press("ArrowRight");
      await see(page.getByText("Does not fit"));
    },
  },
  fits: {
    size: [800, 600],
    options: modelWorld,
    play: (page) => showModel(page, "Qwen3-4B-Instruct"),
  },
  "placement-cpu": {
    size: [1280, 800],
    options: { ...modelWorld, gpus: oldGpu },
    play: (page) => showPlacement(page, "SmolLM2-135M"),
  },
  "placement-choices": {
    size: [1280, 800],
    options: { ...modelWorld, gpus: twoGpus },
    play: async (page) => {
      await showPlacement(page, "Phi-3-mini-4k-instruct");
      await page.getByRole("checkbox", { name: /GPU 0/ }).click();
      await page.getByRole("checkbox", { name: /GPU 1/ }).click();
      await page.getByRole("checkbox", { name: "By free memory" }).click();
      await see(page.getByText("Layers 19–29"));
      await page.getByText("Reserve").last().scrollIntoViewIfNeeded();
    },
  },
  "placement-refused": {
    size: [1280, 800],
    options: { ...modelWorld, gpus: twoGpus },
    play: async (page) => {
      await showPlacement(page, "Qwen3-4B-Instruct");
      await page.getByRole("slider", { name: "Layers on the GPU" }).focus();
      await page.keyboard.press("PageDown");
      await see(page.getByText("This cannot be done."));
      await page
        .getByRole("region", { name: "Details" })
        .evaluate((box) => box.scrollTo(0, 0));
    },
  },
  "profiles-same": {
    size: [1280, 800],
    options: { ...modelWorld, profiles: oneProfile },
    play: async (page) => {
      await see(field(page));
      await page.keyboard.press("Control+Shift+p");
      await see(page.getByText("The same as Fast"));
    },
  },
  unusable: {
    size: [1280, 800],
    options: modelWorld,
    play: async (page) => {
      await see(field(page));
      await page.keyboard.press("Control+2");
      await page.locator('[data-model="Mystery-7B"]').click();
      await see(page.getByText("Download it again."));
    },
  },
  unloaded: {
    size: [1280, 800],
    options: modelWorld,
    play: async (page) => {
      await showModel(page, "SmolLM2-135M");
      await page.keyboard.press("Control+Shift+u");
      await see(page.getByText("given back"));
      await see(page.getByText("Longest context that fits"));
    },
  },
  "no-models": {
    size: [1280, 800],
    options: { models: [], suggestions: catalogue, engine: { kind: "idle" } },
    play: async (page) => {
      await see(page.getByText("A model is missing"));
      await page.keyboard.press("Control+2");
      await see(page.getByText("Suggested for this machine"));
    },
  },
  starter: {
    size: [1280, 800],
    options: { suggestions: catalogue },
    play: (page) => see(page.getByText("See models")),
  },
};
