import type { Page } from "playwright-core";
import { field, see } from "./harness";
import { flameGraph, someTraces } from "./profile-stories";
import type { Detail, Scene } from "./screenshots";
import { shelf } from "./stories";

const known = { traces: someTraces, svg: flameGraph, secondMs: 20 };

async function showProfile(page: Page) {
  await see(field(page));
  await page.keyboard.press("Control+Shift+g");
  await see(page.getByRole("heading", { name: "CPU profile" }));
}

async function recorded(page: Page) {
  await page.getByRole("button", { name: "Record a CPU profile" }).click();
}

/** Where the time goes, for every size. */
export const profileScenes: Record<string, Scene> = {
  profile: {
    options: { stories: shelf, profile: known },
    play: async (page) => {
      await showProfile(page);
      await see(page.getByRole("region", { name: "Stages" }));
    },
  },
};

/** Its smaller states, one size each. */
export const profileDetails: Record<string, Detail> = {
  "profile-empty": {
    size: [1280, 800],
    options: { profile: { ...known, traces: [] } },
    play: async (page) => {
      await showProfile(page);
      await see(page.getByText("No answer yet"));
    },
  },
  "profile-zoomed": {
    size: [1280, 800],
    options: { profile: known },
    play: async (page) => {
      await showProfile(page);
      const flame = page.getByRole("region", { name: "Flame chart" });
      await flame.getByRole("button", { name: /^Render:/ }).click();
    },
  },
  "profile-recording": {
    size: [800, 600],
    options: { profile: { ...known, secondMs: 3000 } },
    play: async (page) => {
      await showProfile(page);
      await recorded(page);
      await see(page.getByText(/^Recording, \d s left$/));
      await page
        .getByRole("progressbar", { name: "Recording" })
        .scrollIntoViewIfNeeded();
    },
  },
  "profile-recorded": {
    size: [1280, 800],
    options: { profile: known },
    play: async (page) => {
      await showProfile(page);
      await recorded(page);
      await see(page.getByRole("img", { name: /^CPU profile/ }));
      await page.getByText("Saved and opened in a").scrollIntoViewIfNeeded();
    },
  },
};
