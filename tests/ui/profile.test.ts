import { expect, test } from "vitest";
import type { Page } from "playwright-core";
import { axeViolations } from "./axe";
import type { FakeOptions } from "./fake/options";
import {
  answers,
  calls,
  field,
  miss,
  open,
  see,
  send,
  until,
  type Shape,
  type Theme,
} from "./harness";
import { flameGraph, someTraces } from "./profile-stories";
import { shelf } from "./stories";

const known = { traces: someTraces, svg: flameGraph, secondMs: 20 };

async function openProfile(
  options: Partial<FakeOptions> = {},
  shape: Shape = {},
): Promise<Page> {
  const page = await open(
    { stories: shelf, profile: known, ...options },
    shape,
  );
  await see(field(page));
  await page.keyboard.press("Control+Shift+g");
  await see(page.getByRole("heading", { name: "CPU profile" }));
  return page;
}

function span(page: Page, name: string) {
  return page
    .getByRole("region", { name: "Flame chart" })
    .getByRole("button", { name: new RegExp(`^${name}:`) });
}

/** A stage's time, share and usual time. */
async function stage(page: Page, name: string): Promise<string[]> {
  const row = page
    .getByRole("region", { name: "Stages" })
    .getByRole("row", { name: new RegExp(`^${name}`) });
  return (await row.locator("td").allInnerTexts()).map((cell) => cell.trim());
}

test("the stages of the latest answer stand beside what they usually take", async () => {
  const page = await openProfile();
  expect(await stage(page, "Decode")).toEqual(["5.12 s", "92.4 %", "4.81 s"]);
  expect(await stage(page, "Prefill")).toEqual(["412 ms", "7.4 %", "366 ms"]);
  // It had nothing to load, and so has no row for it.
  const stages = page.getByRole("region", { name: "Stages" });
  expect(await stages.getByRole("row", { name: /^Load/ }).count()).toBe(0);
  await page.getByRole("combobox", { name: "Answer" }).selectOption("a2");
  expect((await stage(page, "Load"))[0]).toBe("812 ms");
});

test("a click zooms into a stage, Esc shows the whole answer again", async () => {
  const page = await openProfile();
  const whole = (await span(page, "Prefill").boundingBox())?.width ?? 0;
  await span(page, "Prefill").click();
  await until(
    async () =>
      ((await span(page, "Prefill").boundingBox())?.width ?? 0) > whole * 5,
    true,
  );
  expect(await span(page, "Render").count()).toBe(0);
  await page.keyboard.press("Escape");
  await see(span(page, "Render"));
  await span(page, "Decode").hover();
  await see(page.getByText("Decode: 5.12 s, 92.4 % of the answer"));
  // Esc once more leaves the view.
  await page.keyboard.press("Escape");
  await see(field(page));
});

test("arrows lead through the stages, Enter zooms", async () => {
  const page = await openProfile();
  await span(page, "Answer").focus();
  const at = () =>
    page.evaluate(
      () => document.activeElement?.getAttribute("aria-label")?.split(":")[0],
    );
  await page.keyboard.press("ArrowDown");
  expect(await at()).toBe("Queue");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  expect(await at()).toBe("Prefill");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowDown");
  expect(await at()).toBe("Sample");
  await page.keyboard.press("ArrowUp");
  expect(await at()).toBe("Decode");
  await page.keyboard.press("Enter");
  await until(
    () => page.getByRole("button", { name: "Whole answer" }).isEnabled(),
    true,
  );
  // What lies outside of the zoom is reached by leaving it.
  await page.keyboard.press("ArrowLeft");
  expect(await at()).toBe("Prefill");
});

test("the page tells what it spent on painting an answer", async () => {
  const page = await open({ profile: known });
  await send(page, "Tell");
  await see(answers(page).getByText("the moon pulls on it."));
  await until(async () => (await calls(page, "profile_render")).length, 1);
  const [told] = await calls(page, "profile_render");
  expect(Number(told?.frames)).toBeGreaterThan(0);
  expect(Number(told?.milliseconds)).toBeGreaterThan(0);
  expect(told?.messageId).toBe(
    await answers(page).first().getAttribute("data-message"),
  );
});

test("an answer that is left before its end is told as far as it was painted", async () => {
  const page = await open({ profile: known, tickMs: 300 });
  await send(page, "Tell");
  await see(answers(page).getByText("The sea"));
  await page.keyboard.press("Control+4");
  await until(async () => (await calls(page, "profile_render")).length, 1);
});

test("without an answer it says what it will show", async () => {
  const page = await openProfile({ profile: { ...known, traces: [] } });
  await see(page.getByRole("heading", { name: "No answer yet" }));
  await page
    .getByRole("main")
    .getByRole("button", { name: "New chat" })
    .click();
  await see(field(page));
});

test("traces that cannot be read leave the rest usable", async () => {
  const page = await openProfile({
    failures: {
      profile_traces: {
        code: "engine_failed",
        message: "The engine does not answer.",
        hint: "Try again.",
      },
    },
  });
  await see(page.getByText("The engine does not answer."));
  await see(page.getByRole("button", { name: "Record a CPU profile" }));
  await page.evaluate(() => (window.__fake.options.failures = {}));
  await page.getByRole("button", { name: "Try again" }).click();
  await see(page.getByRole("region", { name: "Flame chart" }));
});

test("a CPU profile is recorded, shown as a picture, saved and discarded", async () => {
  const page = await openProfile();
  await page.getByRole("radio", { name: "Window" }).check({ force: true });
  await page
    .getByRole("radio", { name: "5 s", exact: true })
    .check({ force: true });
  await page.getByRole("button", { name: "Record a CPU profile" }).click();
  const picture = page.getByRole("img", {
    name: "CPU profile of the window, 5 s",
  });
  await see(picture);
  expect(await calls(page, "profile_record")).toEqual([
    { process: "window", seconds: 5 },
  ]);
  await until(
    () => picture.evaluate((node) => (node as HTMLImageElement).naturalWidth),
    1200,
  );
  expect(await page.title()).not.toBe("broken into");
  const saving = page.waitForEvent("download");
  await page.getByRole("button", { name: "Save" }).click();
  expect((await saving).suggestedFilename()).toMatch(
    /^tektra-window-\d{4}-\d\d-\d\d-\d{4}\.svg$/,
  );
  await page.getByRole("button", { name: "Discard the profile" }).click();
  await miss(picture);
});

test("a recording is cancelled, and one that is refused says why", async () => {
  const page = await openProfile({ profile: { ...known, secondMs: 5000 } });
  await page.getByRole("button", { name: "Record a CPU profile" }).click();
  await see(page.getByRole("progressbar", { name: "Recording" }));
  await page.getByRole("button", { name: "Cancel" }).click();
  const record = page.getByRole("button", { name: "Record a CPU profile" });
  await see(record);
  expect(await page.getByRole("img", { name: /^CPU profile/ }).count()).toBe(0);
  await page.evaluate(() => {
    window.__fake.options.failures = {
      profile_record: {
        code: "engine_failed",
        message: "No engine is running.",
        hint: "Ask something first.",
      },
    };
  });
  await record.click();
  await see(page.getByRole("alert").getByText("No engine is running."));
});

test.each<Theme>(["light", "dark"])(
  "nothing serious in the profile in %s",
  async (theme) => {
    const page = await openProfile({}, { theme });
    await see(page.getByRole("region", { name: "Flame chart" }));
    expect(await axeViolations(page)).toEqual([]);
    await page.getByRole("button", { name: "Record a CPU profile" }).click();
    await see(page.getByRole("img", { name: /^CPU profile/ }));
    expect(await axeViolations(page)).toEqual([]);
  },
);
