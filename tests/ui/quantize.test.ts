import { expect, test } from "vitest";
import type { Locator, Page } from "playwright-core";
import type { ErrorReport } from "../../ui/src/bindings";
import type { FakeOptions } from "./fake/options";
import { calls, field, miss, open, see, until } from "./harness";
import { filePrecisions, folderName, someFiles, workshop } from "./precisions";
import { catalogue } from "./showpieces";

const SMOL = filePrecisions.model;

const full: ErrorReport = {
  code: "store_full",
  message: "The disk is full: 638 MiB are needed, 112 MiB are free.",
  hint: "Make some room and write it again.",
};

async function openPrecisions(
  name: string,
  options: Partial<FakeOptions> = {},
): Promise<Page> {
  const page = await open({ models: someFiles, workshop, ...options });
  await see(field(page));
  await page.keyboard.press("Control+2");
  await page.locator(`[data-model="${name}"]`).click();
  await page.getByRole("tab", { name: "Quantization" }).click();
  return page;
}

/** A type that could be written. */
function choice(page: Page, kind: string): Locator {
  return page.locator("label").filter({
    has: page.getByRole("radio", { name: kind, exact: true }),
  });
}

/** A file of the model that exists. */
function existing(page: Page, name: string): Locator {
  return page
    .getByRole("region", { name: "Files of this model" })
    .getByRole("listitem", { name, exact: true });
}

function work(page: Page): Locator {
  return page.getByRole("group", { name: "Workshop" });
}

test("a folder of safetensors is led to a GGUF file, with what each type costs", async () => {
  const page = await openPrecisions(folderName);
  await see(page.getByRole("heading", { name: "Write a GGUF file" }));
  await until(
    () =>
      page
        .getByRole("radio")
        .evaluateAll((all) =>
          all.map((one) => (one as HTMLInputElement).value),
        ),
    ["int4", "int5", "int6", "int8", "f16", "f32"],
  );
  expect(await page.getByRole("radio", { name: "int4" }).isChecked()).toBe(
    true,
  );
  const int4 = await choice(page, "int4").innerText();
  expect(int4.replace(/\s+/g, " ")).toBe(
    "int4 Q4_K Size 638 MiB −70 % Memory 1.35 GiB Fits Speed 21 tok/s estimate Loss 2.8 % estimate",
  );
  expect(await choice(page, "f32").innerText()).toContain("Too big");
  await see(page.getByText("Memory is for a conversation of 2,048 tokens"));
  await see(page.getByText("Sizes are compared with the folder."));
});

test("writing shows how far it is, and the new model is used", async () => {
  const page = await openPrecisions(folderName, {
    workshop: { ...workshop, tickMs: 60 },
  });
  await page.getByRole("button", { name: "Write int4" }).click();
  expect(await calls(page, "quantize_start")).toEqual([
    { name: folderName, kind: "int4", rules: [] },
  ]);
  await see(work(page).getByText(`Writing ${folderName} in int4`));
  await see(work(page).getByText(/^\d+ MiB of 638 MiB$/));
  await see(work(page).getByText(/^\d+ %$/));
  await see(work(page).getByText(/s so far$/));
  const write = page.getByRole("button", { name: "Write int4" });
  expect(await write.isDisabled()).toBe(true);
  await see(page.getByText(`Writing ${folderName} in int4. One at a time.`));
  const name = `${folderName}-int4`;
  await see(work(page).getByText(`Wrote ${name}`));
  // What is here now is said where it was chosen.
  await see(choice(page, "int4").getByText("Here"));
  await work(page).getByRole("button", { name: "Use it" }).click();
  await see(
    page.getByRole("article", { name, exact: true }).getByText("In use"),
  );
  expect((await calls(page, "settings_set"))[0]).toMatchObject({
    settings: { model: name },
  });
  await page.getByRole("tab", { name: "Quantization" }).click();
  await work(page).getByRole("button", { name: "Close" }).click();
  await miss(work(page));
});

test("writing is stopped, and what failed says why", async () => {
  const slow = { ...workshop, tickMs: 400 };
  const page = await openPrecisions(folderName, { workshop: slow });
  await page.getByRole("button", { name: "Write int4" }).click();
  await work(page).getByRole("button", { name: "Stop" }).click();
  await see(work(page).getByText(`Stopped writing ${folderName} in int4`));
  await see(work(page).getByText("What was unfinished is removed."));
  expect(await calls(page, "workshop_stop")).toHaveLength(1);
  expect(
    await page.getByRole("button", { name: "Write int4" }).isEnabled(),
  ).toBe(true);

  await openPrecisions(folderName, { workshop: { ...workshop, fails: full } });
  await page.getByRole("button", { name: "Write int4" }).click();
  const alert = work(page).getByRole("alert");
  await see(alert.getByText("The disk is full: 638 MiB are needed"));
  await see(alert.getByText("Make some room and write it again."));
  expect(
    await page.getByRole("button", { name: "Write int4" }).isEnabled(),
  ).toBe(true);
});

test("what the core refuses is told with what to do, and goes with the next choice", async () => {
  const page = await openPrecisions(folderName, {
    failures: { quantize_start: full },
  });
  await page.getByRole("button", { name: "Write int4" }).click();
  const alert = page.getByRole("alert").filter({ hasText: "The disk is full" });
  await see(alert.getByText("Make some room"));
  await choice(page, "int8").click();
  await miss(alert);
  await see(page.getByRole("button", { name: "Write int8" }));
});

test("a type is chosen with the keyboard, single types after More types", async () => {
  const page = await openPrecisions(folderName);
  await page.getByRole("radio", { name: "int4" }).focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await see(page.getByRole("button", { name: "Write int6" }));
  await page.getByRole("button", { name: "More types" }).press("Enter");
  await until(() => page.getByRole("radio").count(), 10);
  const q3 = choice(page, "Q3_K");
  await see(q3.getByText("rows of 2,000 numbers cannot be cut"));
  expect(await page.getByRole("radio", { name: "Q3_K" }).isDisabled()).toBe(
    true,
  );
  await choice(page, "Q4_0").click();
  await page.getByRole("button", { name: "Fewer types" }).click();
  // What is chosen is not hidden.
  await until(() => page.getByRole("radio").count(), 7);
  await page.getByRole("button", { name: "Write Q4_0" }).press("Enter");
  await until(
    () => calls(page, "quantize_start"),
    [{ name: folderName, kind: "Q4_0", rules: [] }],
  );
});

test("exceptions go along, and a wrong one is told", async () => {
  const page = await openPrecisions(folderName);
  await page.getByText("Advanced: exceptions").click();
  await see(page.getByText("What int4 is made of"));
  await see(
    page.getByRole("row", {
      name: /output\.weight .*every token.* 1 Q6_K 45 MiB/,
    }),
  );
  const rules = page.getByRole("textbox", {
    name: "Exceptions, one in each line",
  });
  await rules.fill("ffn_down");
  await page.getByRole("button", { name: "Write int4" }).click();
  await see(page.getByRole("alert").getByText('"ffn_down" is no rule'));
  await rules.fill("0-3=Q8_0\n\n *.ffn_down.weight=Q6_K ");
  await page.getByRole("button", { name: "Write int4" }).click();
  await until(
    async () => (await calls(page, "quantize_start")).at(-1)?.rules,
    ["0-3=Q8_0", "*.ffn_down.weight=Q6_K"],
  );
  await miss(page.getByText('"ffn_down" is no rule'));
});

test("the files of a model are compared with the one that is shown", async () => {
  const page = await openPrecisions(SMOL);
  const own = await existing(page, SMOL).innerText();
  expect(own).toMatch(/Q4_K_M\s+This model\s+Perplexity 19\.6/);
  expect(own).toMatch(/196 tok\/s\s+measured/);
  expect(own).not.toMatch(/[+−]\d/);
  const q8 = await existing(page, "SmolLM2-135M-Q8_0").innerText();
  expect(q8).toMatch(/138 MiB\s+\+47 %/);
  expect(q8).toMatch(/142 tok\/s\s+−28 %\s+estimate/);
  const order = page
    .getByRole("region", { name: "Files of this model" })
    .locator("strong");
  expect(await order.allInnerTexts()).toEqual([
    "Q4_K_M",
    "Q6_K",
    "Q8_0",
    "F16",
  ]);
  await see(
    page.getByText("Measured losses are compared with SmolLM2-135M-F16."),
  );
  expect(await choice(page, "int8").innerText()).toContain(
    "No more precise than the file",
  );
  await existing(page, "SmolLM2-135M-Q8_0")
    .getByRole("button", { name: /^Use/ })
    .click();
  await see(existing(page, "SmolLM2-135M-Q8_0").getByText("In use"));
});

test("a sibling of the catalogue is downloaded from here", async () => {
  const first = catalogue.models[0];
  if (!first) throw new Error("an empty catalogue");
  const sibling = {
    ...first,
    id: "smollm2-135m-q6",
    file: "SmolLM2-135M-Q6_K.gguf",
    size_mib: 132,
  };
  const page = await openPrecisions(SMOL, {
    suggestions: { ...catalogue, models: [...catalogue.models, sibling] },
    downloadTickMs: 60,
  });
  const row = existing(page, "Q6_K");
  await row.getByRole("button", { name: "Download Q6_K, 132 MiB" }).click();
  await see(row.getByText(/^Downloading, \d+ %$/));
  expect(await calls(page, "download_start")).toEqual([
    { what: "smollm2-135m-q6" },
  ]);
  await see(row.getByRole("button", { name: "In the library" }));
});

test("quality is measured without a known end, one at a time", async () => {
  const page = await openPrecisions(SMOL, {
    workshop: { ...workshop, tickMs: 50 },
  });
  const row = existing(page, "SmolLM2-135M-Q8_0");
  const measure = row.getByRole("button", {
    name: "Measure quality of SmolLM2-135M-Q8_0",
  });
  await measure.click();
  expect(await calls(page, "quality_measure")).toEqual([
    { name: "SmolLM2-135M-Q8_0" },
  ]);
  const bar = work(page).getByRole("progressbar", {
    name: "Measuring the quality of SmolLM2-135M-Q8_0",
  });
  await see(bar);
  expect(await bar.getAttribute("aria-valuenow")).toBeNull();
  expect(await measure.isDisabled()).toBe(true);
  await see(
    work(page).getByText("Measured SmolLM2-135M-Q8_0: perplexity 17.4"),
  );
  expect(await work(page).getByRole("button", { name: "Use it" }).count()).toBe(
    0,
  );
  await until(async () => measure.isEnabled(), true);
  // The first file is measured already.
  expect(
    await existing(page, SMOL)
      .getByRole("button", { name: /^Measure/ })
      .count(),
  ).toBe(0);
});

test("work that goes on since before is shown, and asked for once", async () => {
  const page = await openPrecisions(SMOL, {
    workshop: {
      ...workshop,
      work: {
        what: "quantize",
        model: folderName,
        format: "int4",
        // So far on that the estimate stays the same while the page comes up.
        done_mib: 575,
        total_mib: 638,
        seconds: 180,
        state: { kind: "running" },
      },
    },
  });
  await see(work(page).getByText("575 MiB of 638 MiB"));
  await see(work(page).getByText("90 %"));
  await see(work(page).getByText("about 20 s left"));
  await see(page.getByText(`Writing ${folderName} in int4. One at a time.`));
  expect(await calls(page, "workshop_state")).toHaveLength(1);
});

test("who looks elsewhere is told of the end, and of a failure", async () => {
  const page = await openPrecisions(folderName, {
    workshop: { ...workshop, tickMs: 60 },
  });
  await page.getByRole("button", { name: "Write int4" }).click();
  await page.keyboard.press("Control+1");
  const notices = page.getByRole("region", { name: "Notices" });
  await see(notices.getByText(`Wrote ${folderName}-int4`));
  await openPrecisions(folderName, {
    workshop: { ...workshop, tickMs: 60, fails: full },
  });
  await page.getByRole("button", { name: "Write int4" }).click();
  await page.keyboard.press("Control+1");
  await see(notices.getByText("The disk is full: 638 MiB are needed"));
  // It is still to be read where it was begun.
  await page.keyboard.press("Control+2");
  await page.getByRole("tab", { name: "Quantization" }).click();
  await see(work(page).getByText(`${folderName} was not written in int4`));
});

test("when the count fails it is told, and tried again", async () => {
  const page = await openPrecisions(SMOL, {
    failures: {
      precisions: {
        code: "model_unusable",
        message: "The file cannot be read.",
        hint: "Look whether the disk is there.",
      },
    },
  });
  const alert = page.getByRole("alert");
  await see(alert.getByText("The file cannot be read."));
  await see(alert.getByText("Look whether the disk is there."));
  await page.evaluate(() => delete window.__fake.options.failures.precisions);
  await alert.getByRole("button", { name: "Try again" }).click();
  await see(existing(page, SMOL));
  await miss(alert);
});

test("a slow answer for another model is dropped", async () => {
  const page = await openPrecisions(SMOL, { delays: { precisions: 1500 } });
  await see(page.getByText("Counting what each type costs"));
  await page.evaluate(() => (window.__fake.options.delays = {}));
  await page.locator(`[data-model="${folderName}"]`).click();
  await page.getByRole("tab", { name: "Quantization" }).click();
  await see(page.getByRole("heading", { name: "Write a GGUF file" }));
  await page.waitForTimeout(1500);
  await see(page.getByRole("heading", { name: "Write a GGUF file" }));
  expect(
    await page.getByRole("region", { name: "Files of this model" }).count(),
  ).toBe(0);
});
