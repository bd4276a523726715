import { expect, test } from "vitest";
import type { Locator, Page } from "playwright-core";
import type { FakeOptions } from "./fake/options";
import { oneProfile, threeProfiles } from "./fake/placement";
import { calls, field, miss, open, see, until } from "./harness";
import { manyModels } from "./showpieces";

const QWEN = "Qwen3-4B-Instruct";

function card(page: Page, name: string): Locator {
  return page.getByRole("listitem", { name, exact: true });
}

async function openProfiles(options: Partial<FakeOptions>): Promise<Page> {
  const page = await open({ models: manyModels, ...options });
  await see(field(page));
  await page.keyboard.press("Control+Shift+p");
  await see(page.getByRole("tabpanel", { name: "Profiles" }));
  return page;
}

test("profiles name model, context, placement and figures, measured or estimated", async () => {
  const page = await openProfiles({ profiles: threeProfiles });
  const fast = await card(page, "Fast").innerText();
  expect(fast).toMatch(/SmolLM2-135M\s+Q4_K_M · 8,192 tokens\s+CPU/);
  expect(fast).toMatch(/First token Measured\s+84 ms/);
  expect(fast).toMatch(/Speed Measured\s+113 tok\/s/);
  expect(fast).toMatch(/Memory Estimate\s+812 MiB/);
  const balanced = await card(page, "Balanced").innerText();
  expect(balanced).toContain("GPU 0 + CPU (20 of 36 layers)");
  expect(balanced).toMatch(/Speed Estimate\s+8\.71 tok\/s/);
  expect(await card(page, "Quality").innerText()).toMatch(
    /First token\s+Not known/,
  );
});

test("a profile is used in one click, marked, and taken back", async () => {
  const page = await openProfiles({ profiles: threeProfiles });
  await see(card(page, "Fast").getByText("In use"));
  await card(page, "Balanced")
    .getByRole("button", { name: "Use this profile Balanced" })
    .click();
  await see(page.getByText("Using the profile Balanced: Qwen3-4B-Instruct"));
  await see(card(page, "Balanced").getByText("In use"));
  await see(card(page, "Fast").getByRole("button", { name: /^Use this/ }));
  expect(await calls(page, "profile_apply")).toEqual([{ goal: "balanced" }]);
  await page.keyboard.press("Control+2");
  await see(page.locator(`[data-model="${QWEN}"]`).getByText("In use"));
  await page.getByRole("button", { name: "Undo" }).click();
  await until(
    () => calls(page, "placement_set"),
    [{ name: QWEN, wish: expect.objectContaining({ context_tokens: null }) }],
  );
  await see(page.locator('[data-model="SmolLM2-135M"]').getByText("In use"));
});

test("profiles that coincide say so, and the palette applies one too", async () => {
  const page = await openProfiles({ profiles: oneProfile });
  await see(card(page, "Balanced").getByText("The same as Fast"));
  expect(await card(page, "Quality").innerText()).not.toContain("tok/s");
  expect(await card(page, "Quality").getByRole("button").count()).toBe(0);
  await page.keyboard.press("Control+k");
  await page.keyboard.type("profile qual");
  await page.keyboard.press("Enter");
  await until(() => calls(page, "profile_apply"), [{ goal: "quality" }]);
  await page.getByRole("tab", { name: "Profiles" }).focus();
  await page.keyboard.press("ArrowLeft");
  await see(page.getByRole("tabpanel", { name: "Library" }));
  await page.keyboard.press("?");
  await see(
    page.getByRole("dialog", { name: "Keys" }).getByText("Ctrl+Shift+P"),
  );
});

test("without profiles the way leads to the models that can be had", async () => {
  const page = await openProfiles({ profiles: [] });
  await see(page.getByText("None of the installed models fits"));
  const bare = await openProfiles({ models: [], engine: { kind: "idle" } });
  await see(bare.getByText("there is none that can answer"));
  await bare.getByRole("button", { name: "Get models" }).click();
  await see(bare.getByRole("tabpanel", { name: "Get models" }));
});

test("profiles that cannot be computed are told of, and tried again", async () => {
  const page = await openProfiles({
    profiles: threeProfiles,
    failures: {
      profiles_list: {
        code: "store_failed",
        message: "The measurements cannot be read.",
        hint: "Your conversations are safe. Try again.",
      },
    },
  });
  await see(page.getByRole("alert").getByText("cannot be read"));
  await page.evaluate(() => {
    delete window.__fake.options.failures.profiles_list;
  });
  await page.getByRole("button", { name: "Try again" }).click();
  await see(card(page, "Fast"));
  await miss(page.getByRole("alert"));
});
