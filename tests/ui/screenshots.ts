import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { test } from "vitest";
import { benchDetails, benchScenes } from "./bench-scenes";
import type { FakeOptions } from "./fake/options";
import {
  answers,
  field,
  open,
  see,
  send,
  takeFaults,
  type Theme,
} from "./harness";
import { loadDetails, loadScenes } from "./load-scenes";
import { modelDetails, modelScenes } from "./model-scenes";
import { precisionDetails, precisionScenes } from "./precision-scenes";
import { profileDetails, profileScenes } from "./profile-scenes";
import { resourceDetails, resourceScenes } from "./resource-scenes";
import {
  branched,
  brokenTalk,
  longReply,
  longTalk,
  manyModels,
} from "./showpieces";
import { bread, birds, maps, shelf, tides } from "./stories";

const folder = process.env.SHOTS ?? "shots";
mkdirSync(folder, { recursive: true });

const SIZES = [
  [800, 600],
  [1280, 800],
  [2560, 1440],
] as const;
const THEMES: Theme[] = ["light", "dark"];

export type Scene = {
  options: Partial<FakeOptions>;
  play: (page: Page) => Promise<void>;
};

export type Detail = Scene & { size: readonly [number, number] };

async function show(page: Page, title: string) {
  const list = page.getByRole("button", { name: "Show conversations" });
  if (await list.isVisible()) await list.click();
  await page.getByRole("button", { name: title, exact: true }).click();
  await see(answers(page));
  await field(page).focus();
  await page.mouse.move(0, 0);
}

const engineDown = {
  kind: "failed" as const,
  error: {
    code: "engine_crashed" as const,
    message: "The engine ended by itself.",
    hint: "Start it again. Your conversations are safe.",
  },
};

const scenes: Record<string, Scene> = {
  nothing: {
    options: { engine: { kind: "idle" } },
    play: (page) => see(page.getByText("Ask something")),
  },
  short: {
    options: { stories: shelf },
    play: (page) => show(page, tides.title),
  },
  long: {
    options: { stories: [longTalk, bread, birds, maps] },
    play: (page) => show(page, longTalk.title),
  },
  "long-top": {
    options: { stories: [longTalk, bread, birds, maps] },
    play: async (page) => {
      await show(page, longTalk.title);
      await page.getByRole("log", { name: "Messages" }).hover();
      await page.mouse.wheel(0, -5000);
      await page.mouse.move(700, 250);
    },
  },
  error: {
    options: { stories: [brokenTalk, tides, bread, birds], engine: engineDown },
    play: (page) => show(page, brokenTalk.title),
  },
  loading: {
    options: {
      stories: [bread, birds, maps],
      engine: { kind: "idle" },
      loadMs: 9000,
    },
    play: async (page) => {
      await send(page, "Why does the sea have tides?");
      await see(answers(page).getByText("2 s so far"));
    },
  },
  settings: {
    options: { stories: shelf },
    play: async (page) => {
      await page.getByRole("button", { name: "Settings" }).click();
      await see(page.getByRole("heading", { name: "Settings" }));
      await page.mouse.move(600, 4);
    },
  },
  ...modelScenes,
  ...precisionScenes,
  ...benchScenes,
  ...resourceScenes,
  ...loadScenes,
  ...profileScenes,
};

/** Smaller states, one size each. */
const details: Record<string, Detail> = {
  ...precisionDetails,
  ...benchDetails,
  ...resourceDetails,
  ...loadDetails,
  ...profileDetails,
  ...modelDetails,
  streaming: {
    size: SIZES[1],
    options: {
      stories: [bread, birds],
      reply: longReply,
      tickMs: 30,
      wordsPerTick: 3,
    },
    play: async (page) => {
      await send(page, "How do tides come about?");
      await see(answers(page).getByText("def tide"));
    },
  },
  receipt: {
    size: SIZES[1],
    options: { stories: shelf },
    play: async (page) => {
      await show(page, tides.title);
      await page.getByRole("button", { name: /First token/ }).click();
      await page.getByRole("article", { name: "You" }).hover();
    },
  },
  palette: {
    size: SIZES[1],
    options: { stories: shelf },
    play: async (page) => {
      await show(page, tides.title);
      await page.keyboard.press("Control+k");
      await see(page.getByRole("option"));
    },
  },
  keys: {
    size: SIZES[0],
    options: { stories: shelf },
    play: async (page) => {
      await see(field(page));
      await page.getByRole("log", { name: "Messages" }).focus();
      await page.keyboard.press("?");
      await see(page.getByRole("dialog"));
    },
  },
  models: {
    size: SIZES[0],
    options: { stories: shelf, models: manyModels },
    play: async (page) => {
      await see(field(page));
      await page.keyboard.press("Control+m");
      await see(page.getByRole("menu"));
    },
  },
  drawer: {
    size: SIZES[0],
    options: { stories: shelf },
    play: async (page) => {
      await show(page, tides.title);
      await page.keyboard.press("Control+b");
      await page
        .getByRole("button", { name: bread.title, exact: true })
        .hover();
    },
  },
  search: {
    size: SIZES[1],
    options: { stories: shelf },
    play: async (page) => {
      await show(page, tides.title);
      await page.keyboard.press("Control+Shift+f");
      await page.keyboard.type("moon");
      await see(page.getByText("1 conversation"));
    },
  },
  undo: {
    size: SIZES[1],
    options: { stories: shelf },
    play: async (page) => {
      await show(page, tides.title);
      await page
        .getByRole("button", { name: bread.title, exact: true })
        .press("Delete");
      await see(page.getByText("Deleted"));
    },
  },
  edit: {
    size: SIZES[1],
    options: { stories: [branched, bread] },
    play: async (page) => {
      await show(page, branched.title);
      await page.keyboard.press("Control+Shift+e");
    },
  },
  "no-model": {
    size: SIZES[1],
    options: { models: [], engine: { kind: "idle" } },
    play: (page) => see(page.getByText("A model is missing")),
  },
  "settings-models": {
    size: SIZES[1],
    options: {},
    play: async (page) => {
      await see(field(page));
      await page.keyboard.press("Control+,");
      const path = page.getByRole("textbox", { name: "Folders of models" });
      await path.fill("/data/models");
      await path.press("Enter");
      await see(page.getByText("/data/models"));
      await page
        .getByRole("spinbutton", { name: "Unload when idle" })
        .scrollIntoViewIfNeeded();
    },
  },
  trouble: {
    size: SIZES[0],
    options: { stories: shelf },
    play: async (page) => {
      await show(page, tides.title);
      const error = {
        code: "store_full" as const,
        message: "The disk is full, so answers cannot be saved.",
        hint: "Make some room.",
      };
      await page.evaluate(
        (error) => window.__fake.emit({ type: "store_trouble", error }),
        error,
      );
      await see(page.getByRole("alert"));
    },
  },
  startup: {
    size: SIZES[1],
    options: {
      failures: {
        startup: {
          code: "store_newer",
          message:
            "The conversations were written by a newer Tektra. Nothing was changed.",
          hint: "Install the newer Tektra, or move the data folder away to begin afresh.",
        },
      },
    },
    play: (page) =>
      see(page.getByRole("heading", { name: "Tektra could not start" })),
  },
};

const wanted = process.env.SCENES?.split(",");

async function take(
  name: string,
  { options, play }: Scene,
  size: readonly [number, number],
) {
  const [width, height] = size;
  for (const theme of THEMES) {
    const page = await open(options, { width, height, theme });
    await play(page);
    await page.screenshot({
      path: join(folder, `${name}-${width}x${height}-${theme}.png`),
    });
  }
  takeFaults();
}

for (const [name, scene] of Object.entries(scenes)) {
  test.runIf(!wanted || wanted.includes(name))(name, async () => {
    for (const size of SIZES) await take(name, scene, size);
  });
}

for (const [name, scene] of Object.entries(details)) {
  test.runIf(!wanted || wanted.includes(name))(name, () =>
    take(name, scene, scene.size),
  );
}
