import { expect, test } from "vitest";
import type { Page } from "playwright-core";
import type { LoadRequest, LoadState } from "../../ui/src/bindings";
import { axeViolations } from "./axe";
import { fastEnough, fourPeople, nothing, tooSlow } from "./load-stories";
import type { FakeOptions } from "./fake/options";
import { calls, field, miss, open, see, until, type Theme } from "./harness";

const refusal = {
  code: "invalid_input" as const,
  message: "A benchmark is running already.",
  hint: "Wait until it has ended.",
};

async function openLoad(options: Partial<FakeOptions> = {}): Promise<Page> {
  const page = await open({
    load: { state: { kind: "none" }, report: null, tickMs: 60_000 },
    ...options,
  });
  await see(field(page));
  await page.keyboard.press("Control+Shift+t");
  await see(page.getByRole("heading", { name: "How many people at once?" }));
  return page;
}

function emit(page: Page, state: LoadState): Promise<void> {
  return page.evaluate(
    (state) => window.__fake.emit({ type: "loadtest_changed", state }),
    state,
  );
}

/** A test that has had seven requests. */
function goingOn(request: LoadRequest): LoadState {
  return {
    kind: "running",
    request,
    model: "SmolLM2-135M",
    progress: {
      loading: false,
      seconds: 9,
      arrived: 7,
      answered: 4,
      failed: 0,
    },
  };
}

function number(page: Page, name: string) {
  return page.getByRole("textbox", { name, exact: true });
}

/** A row of the table of waiting times, cell by cell. */
async function waits(page: Page, name: RegExp): Promise<string[]> {
  const row = page
    .getByRole("region", { name: "Waiting times" })
    .getByRole("row", { name });
  return (await row.locator("th, td").allInnerTexts()).map((cell) =>
    cell.replaceAll(/\s+/g, " ").trim(),
  );
}

test("what is asked is sent, runs with a progress, and ends in a table", async () => {
  const page = await openLoad();
  await see(page.getByText("SmolLM2-135M: about 15 requests."));
  await number(page, "People").fill("8");
  await number(page, "Requests").fill("0,8");
  await see(page.getByText("about 24 requests."));
  await page.getByRole("button", { name: "Start" }).click();
  const running = page.getByRole("region", { name: "Running load test" });
  await see(running.getByText("8 people, 0.8 requests a second for 30 s"));
  const request = { ...fourPeople, users: 8, rate_per_second: 0.8 };
  await emit(page, goingOn(request));
  await see(running.getByText("7 requests so far"));
  expect(await page.getByRole("button", { name: "Start" }).isDisabled()).toBe(
    true,
  );
  await emit(page, { kind: "over", report: { ...tooSlow, request } });
  await see(page.getByText("Does not keep up with 8 people"));
  await see(
    page.getByText(
      "12 of 17 requests (71 %) had the first token within 500 ms, 2 failed.",
    ),
  );
  expect(await calls(page, "loadtest_start")).toEqual([{ request }]);
  expect(await waits(page, /^First token/)).toEqual([
    "First token",
    "15",
    "212 ms",
    "445 ms",
    "too late: 572 ms",
    "too late: 721 ms",
    "too late: 763 ms",
  ]);
  // Whole answers have no target, and what was not asked for has no row.
  expect((await waits(page, /^Whole answer/))[2]).toBe("2.14 s");
  expect(await page.getByRole("row", { name: /API calls/ }).count()).toBe(0);
  await see(page.getByText("2 times: The engine ended by itself."));
});

test("it is cancelled by its key, and that is said", async () => {
  const page = await openLoad({
    load: { state: { kind: "none" }, report: nothing, tickMs: 60_000 },
  });
  await page.keyboard.press("Control+Shift+b");
  await see(page.getByText("Loading the model"));
  await page.keyboard.press("Control+Shift+x");
  await see(page.getByText("Cancelled before anything was answered"));
  expect(await calls(page, "loadtest_cancel")).toHaveLength(1);
});

test("what cannot be done is said where it was typed, and nothing is sent", async () => {
  const page = await openLoad();
  const start = page.getByRole("button", { name: "Start" });
  await number(page, "People").fill("300");
  await see(page.getByText("A whole number from 1 to 256."));
  expect(await start.isDisabled()).toBe(true);
  await page.keyboard.press("Control+Shift+b");
  await number(page, "People").fill("30");
  await number(page, "Duration").fill("");
  await see(page.getByText("A whole number from 1 to 3,600."));
  await number(page, "Duration").fill("20");
  expect(await start.isDisabled()).toBe(false);
  await page.getByText("More options").click();
  for (const kind of ["First messages", "Follow-ups", "Long prompts"]) {
    await number(page, kind).fill("0");
  }
  await see(page.getByText("At least one kind of request is needed."));
  await number(page, "API calls").fill("3");
  await see(page.getByText("100 %"));
  expect(await calls(page, "loadtest_start")).toEqual([]);
});

test("a machine that keeps up is told so, and the table is copied", async () => {
  const page = await openLoad({
    load: {
      state: { kind: "over", report: fastEnough },
      report: null,
      tickMs: 60,
    },
  });
  await see(page.getByText("Keeps up with 4 people"));
  await see(page.getByText("17 of 17 requests (100 %)"));
  await page.getByRole("button", { name: "Copy as Markdown" }).click();
  await see(page.getByText("Copied as Markdown"));
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  expect(copied).toContain("| First token | 17 | 88 ms |");
});

test("a test that goes on is found, and one that failed says why", async () => {
  const page = await openLoad({
    load: {
      state: {
        kind: "running",
        request: { ...fourPeople, users: 12 },
        model: "SmolLM2-135M",
        progress: {
          loading: false,
          seconds: 31.5,
          arrived: 16,
          answered: 11,
          failed: 1,
        },
      },
      report: null,
      tickMs: 60,
    },
  });
  await see(page.getByText("SmolLM2-135M: waiting for the last answers"));
  await see(page.getByText("4 waiting or being answered"));
  expect(await number(page, "People").inputValue()).toBe("12");
  // Nothing else is measured at the same time.
  await page.getByRole("tab", { name: "Runs" }).click();
  await see(page.getByText("One at a time: a load test is running."));
  await emit(page, {
    kind: "failed",
    request: fourPeople,
    error: {
      code: "model_unusable",
      message: "The model could not be loaded.",
      hint: "Choose another one.",
    },
  });
  await miss(page.getByText("One at a time"));
  await page.getByRole("tab", { name: "How many people at once?" }).click();
  await see(
    page.getByRole("alert").getByText("The model could not be loaded."),
  );
});

test("what is refused, begins or fails comes into sight, and the page stays where it is meanwhile", async () => {
  const page = await openLoad({ failures: { loadtest_start: refusal } });
  await page.setViewportSize({ width: 800, height: 400 });
  await page.getByText("More options").click();
  const box = page.getByRole("main").locator(".scroll");
  const top = () => box.evaluate((node) => node.scrollTop);
  const toEnd = async () => {
    await box.evaluate((node) => node.scrollTo(0, node.scrollHeight));
    expect(await top()).toBeGreaterThan(0);
  };
  await toEnd();
  await page.keyboard.press("Control+Shift+b");
  await see(page.getByText(refusal.message));
  await until(top, 0);
  await page.evaluate(() => (window.__fake.options.failures = {}));
  await toEnd();
  await page.keyboard.press("Control+Shift+b");
  await see(page.getByText("Loading the model"));
  await until(top, 0);
  await toEnd();
  await emit(page, goingOn(fourPeople));
  await see(page.getByText("7 requests so far"));
  expect(await top()).toBeGreaterThan(0);
  await emit(page, { kind: "failed", request: fourPeople, error: refusal });
  await until(top, 0);
});

test("a refusal leaves the form as it is", async () => {
  const page = await openLoad({ failures: { loadtest_start: refusal } });
  await number(page, "People").fill("6");
  await page.getByRole("button", { name: "Start" }).click();
  await see(page.getByText(refusal.message));
  expect(await number(page, "People").inputValue()).toBe("6");
  await until(
    () => page.getByRole("button", { name: "Start" }).isEnabled(),
    true,
  );
});

test.each<Theme>(["light", "dark"])(
  "nothing serious in the load test in %s",
  async (theme) => {
    const page = await open(
      {
        load: {
          state: { kind: "over", report: tooSlow },
          report: null,
          tickMs: 60,
        },
      },
      { theme },
    );
    await see(field(page));
    await page.keyboard.press("Control+Shift+t");
    await see(page.getByText("What failed"));
    await page.getByText("More options").click();
    expect(await axeViolations(page)).toEqual([]);
    await number(page, "People").fill("0");
    await see(page.getByText("A whole number from 1 to 256."));
    expect(await axeViolations(page)).toEqual([]);
  },
);
