import type { Page } from "playwright-core";
import type { FakeLoad } from "./fake/load";
import { field, see } from "./harness";
import { fastEnough, fourPeople, nothing, tooSlow } from "./load-stories";
import type { Detail, Scene } from "./screenshots";

const idle: FakeLoad = { state: { kind: "none" }, report: null, tickMs: 60 };

async function showLoad(page: Page) {
  await see(field(page));
  await page.keyboard.press("Control+Shift+t");
  await see(page.getByRole("heading", { name: "How many people at once?" }));
  await see(page.getByRole("button", { name: "Start" }));
}

/** The load test, for every size. */
export const loadScenes: Record<string, Scene> = {
  "load-empty": { options: { load: idle }, play: showLoad },
  "load-over": {
    options: { load: { ...idle, state: { kind: "over", report: tooSlow } } },
    play: showLoad,
  },
};

/** Its smaller states, one size each. */
export const loadDetails: Record<string, Detail> = {
  "load-running": {
    size: [800, 600],
    options: {
      load: {
        ...idle,
        state: {
          kind: "running",
          request: fourPeople,
          model: "SmolLM2-135M",
          progress: {
            loading: false,
            seconds: 12.4,
            arrived: 7,
            answered: 4,
            failed: 1,
          },
        },
      },
    },
    play: showLoad,
  },
  "load-fast": {
    size: [1280, 800],
    options: {
      load: { ...idle, state: { kind: "over", report: fastEnough } },
    },
    play: async (page) => {
      await showLoad(page);
      await page.getByText("More options").click();
      await page.getByRole("textbox", { name: "People" }).fill("0");
    },
  },
  "load-failed": {
    size: [1280, 800],
    options: {
      load: {
        ...idle,
        state: {
          kind: "failed",
          request: fourPeople,
          error: {
            code: "model_unusable",
            message: "SmolLM2-135M could not be loaded.",
            hint: "Choose another model.",
          },
        },
      },
    },
    play: showLoad,
  },
  "load-nothing": {
    size: [800, 600],
    options: { load: { ...idle, state: { kind: "over", report: nothing } } },
    play: async (page) => {
      await showLoad(page);
      await page.getByText("Cancelled before").scrollIntoViewIfNeeded();
    },
  },
};
