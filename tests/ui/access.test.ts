import { axeViolations } from "./axe";
import { expect, test } from "vitest";
import {
  answers,
  field,
  open,
  see,
  send,
  until,
  type Theme,
  row,
} from "./harness";
import {
  brokenTalk,
  catalogue,
  longTalk,
  manyModels,
  someDownloads,
} from "./showpieces";
import { shelf } from "./stories";

test.each<Theme>(["light", "dark"])("nothing serious in %s", async (theme) => {
  const failed = {
    kind: "failed" as const,
    error: {
      code: "engine_crashed" as const,
      message: "The engine ended.",
      hint: "Start it again.",
    },
  };
  const page = await open(
    { stories: [longTalk, brokenTalk, ...shelf], engine: failed },
    { theme },
  );
  await see(page.getByText("Ask something"));
  expect(await axeViolations(page)).toEqual([]);
  await row(page, longTalk.title).click();
  await see(answers(page));
  expect(await axeViolations(page)).toEqual([]);
  await row(page, brokenTalk.title).click();
  await see(page.getByText("Interrupted:"));
  expect(await axeViolations(page)).toEqual([]);
  await page.keyboard.press("Control+k");
  await see(page.getByRole("option"));
  expect(await axeViolations(page)).toEqual([]);
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+m");
  await see(page.getByRole("menu"));
  expect(await axeViolations(page)).toEqual([]);
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+,");
  await see(page.getByRole("heading", { name: "Settings" }));
  expect(await axeViolations(page)).toEqual([]);
  await page.keyboard.press("?");
  await see(page.getByRole("dialog", { name: "Keys" }));
  expect(await axeViolations(page)).toEqual([]);
});

test.each<Theme>(["light", "dark"])(
  "nothing serious among the models in %s",
  async (theme) => {
    const page = await open(
      {
        models: manyModels,
        suggestions: catalogue,
        downloads: someDownloads,
        freeMib: 900,
      },
      { theme },
    );
    await see(field(page));
    await page.keyboard.press("Control+2");
    await see(page.getByText("predicted"));
    expect(await axeViolations(page)).toEqual([]);
    await page.locator('[data-model="Qwen3-4B-Instruct"]').click();
    await see(page.getByText("Does not fit"));
    await see(page.getByText("apache-2.0"));
    expect(await axeViolations(page)).toEqual([]);
    await page.locator('[data-model="Mystery-7B"]').click();
    await see(page.getByText("Download it again."));
    expect(await axeViolations(page)).toEqual([]);
    await page.keyboard.press("Control+Shift+u");
    await see(page.getByText("Unloaded SmolLM2-135M"));
    expect(await axeViolations(page)).toEqual([]);
    await page.keyboard.press("Control+d");
    await see(page.getByRole("heading", { name: "Catalogue" }));
    expect(await axeViolations(page)).toEqual([]);
  },
);

test("an answer is announced sentence by sentence", async () => {
  const page = await open({
    reply: "The moon pulls. The sea follows. And so on",
    // Slow enough to be read between two words on a busy machine.
    tickMs: 300,
  });
  const spoken = page
    .getByRole("log", { name: "Answer being written" })
    .locator("p");
  await send(page, "Tell");
  await see(answers(page).getByText("The moon pulls. The sea"));
  expect(await spoken.allInnerTexts()).toEqual(["The moon pulls."]);
  await until(
    () => spoken.allInnerTexts(),
    ["The moon pulls.", "The sea follows.", "And so on"],
  );
});

test("the focus comes back from dialogs and menus", async () => {
  const page = await open();
  await field(page).focus();
  await page.keyboard.press("Control+k");
  await see(page.getByRole("dialog"));
  await page.keyboard.press("Escape");
  await until(
    () => field(page).evaluate((node) => node === document.activeElement),
    true,
  );
  await page.keyboard.press("Control+m");
  await see(page.getByRole("menu"));
  await page.keyboard.press("Escape");
  await until(
    () => page.evaluate(() => document.activeElement?.id),
    "model-button",
  );
});
