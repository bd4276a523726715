import { axeViolations } from "./axe";
import type { Locator, Page } from "playwright-core";
import { expect, test } from "vitest";
import type { BenchRequest } from "../../ui/src/bindings";
import { key } from "./bench-stories";
import { gguf } from "./fake/models";
import { twoGpus } from "./fake/placement";
import {
  answers,
  calls,
  field,
  miss,
  open,
  see,
  send,
  until,
  type Theme,
} from "./harness";
import { endCell, history, openBench } from "./bench-page";
import { precision, workshop } from "./precisions";
import { manyModels } from "./showpieces";

function chip(page: Page, group: string, name: string): Locator {
  return page
    .getByRole("group", { name: group })
    .getByRole("checkbox", { name, exact: true });
}

test("the plan follows what is chosen, and Start sends just that", async () => {
  const page = await openBench({ bench: history });
  await see(page.getByText("1 configuration, about 12 s"));
  await page.getByRole("radio", { name: /^Standard/ }).check();
  await see(page.getByText("2 configurations, about 3 min"));
  await chip(page, "Models", "Qwen3-4B-Instruct Q4_K_M").check();
  await see(page.getByText("4 configurations, about 6 min"));
  await page.getByText("More options").click();
  await chip(page, "Batches", "4").check();
  await chip(page, "Keys and values", "q8").check();
  const depth = page.getByRole("textbox", { name: "Depths, in tokens" });
  await depth.fill("deep");
  await depth.press("Enter");
  await see(page.getByText("A whole number from 0 to 1,048,576"));
  await depth.fill("20,000");
  await depth.press("Enter");
  await see(page.getByText("2 configurations, about 3 min"));
  await see(page.getByText("deeper cells are not supported"));
  await see(page.getByText("3 changes"));
  await page.getByText("What is measured").click();
  await see(
    page.getByText(
      "Qwen3-4B-Instruct Q4_K_M · batch 4 · 2 threads · 20,000 tokens deep · KV q8 · CPU",
    ),
  );
  const repetitions = page.getByRole("textbox", { name: "Repetitions" });
  const start = page.getByRole("button", { name: "Start", exact: true });
  await repetitions.fill("2000");
  await see(page.getByText("A whole number from 1 to 1,000."));
  await until(() => start.isDisabled(), true);
  await repetitions.fill("7");
  await page.getByRole("radio", { name: "Skip" }).check({ force: true });
  await until(async () => (await calls(page, "bench_plan")).at(-1)?.request, {
    preset: "standard",
    models: ["SmolLM2-135M", "Qwen3-4B-Instruct"],
    batches: [4],
    threads: [],
    depths: [20_000],
    kvs: ["q8"],
    devices: [],
    repetitions: 7,
    quality: false,
  });
  const asked = (await calls(page, "bench_plan")).at(-1);
  await start.click();
  await see(page.getByRole("progressbar"));
  expect(await calls(page, "bench_start")).toEqual([asked]);
});

test("where there is a GPU, it can be measured too, alone or beside the processor", async () => {
  const page = await openBench({ bench: history, gpus: twoGpus });
  await see(page.getByText("1 configuration, about 12 s"));
  await page.getByText("More options").click();
  await see(page.getByRole("group", { name: "Computed on" }));
  await chip(page, "Computed on", "CPU").check();
  await chip(page, "Computed on", "GPU").check();
  await see(page.getByText("2 configurations, about 24 s"));
  await chip(page, "Computed on", "CPU").uncheck();
  await see(page.getByText("GPU 0 (NVIDIA RTX 4070 Ti)"));
  await see(page.getByText("1 configuration, about 12 s"));
  await page.getByText("What is measured").click();
  await see(page.getByText(/KV f16 · GPU 0$/));
  const request = async () => (await calls(page, "bench_plan")).at(-1)?.request;
  expect(await request()).toMatchObject({ devices: ["gpu"] });
  await page.getByRole("button", { name: "As the preset has it" }).click();
  await until(async () => ((await request()) as BenchRequest).devices, []);
});

test("the other precisions of a model are added at once", async () => {
  const finer = gguf("SmolLM2-135M-Q8_0", 138, { quantization: "Q8_0" });
  const page = await openBench({
    models: [...manyModels, finer],
    bench: history,
    workshop: {
      ...workshop,
      precisions: {
        "SmolLM2-135M": {
          model: "SmolLM2-135M",
          must_convert: false,
          choices: [],
          siblings: [
            precision("q8_0", "Q8_0", 138, 30, 0.1, {
              installed: "SmolLM2-135M-Q8_0",
            }),
            precision("q4_0", "Q4_0", 88, 50, 4),
          ],
          context_tokens: 2048,
          reference: null,
        },
      },
    },
  });
  await page.getByRole("button", { name: "Add 1 other precision" }).click();
  await until(async () => {
    const plan = (await calls(page, "bench_plan")).at(-1);
    return (plan?.request as BenchRequest | undefined)?.models;
  }, ["SmolLM2-135M", "SmolLM2-135M-Q8_0"]);
  await until(
    () => chip(page, "Models", "SmolLM2-135M-Q8_0").isChecked(),
    true,
  );
  await miss(page.getByRole("button", { name: /other precision/ }));
});

test("one model always remains chosen, and all goes back to the preset", async () => {
  const page = await openBench({ bench: history });
  const only = chip(page, "Models", "SmolLM2-135M Q4_K_M");
  await only.click();
  await until(() => only.isChecked(), true);
  await page.getByText("More options").click();
  await chip(page, "Batches", "8").check();
  const repetitions = page.getByRole("textbox", { name: "Repetitions" });
  await repetitions.fill("many");
  await see(page.getByText("2 changes"));
  await page.getByRole("button", { name: "As the preset has it" }).click();
  await until(() => chip(page, "Batches", "8").isChecked(), false);
  await miss(page.getByText("2 changes"));
  expect(await repetitions.inputValue()).toBe("");
  await until(
    () => page.getByRole("button", { name: "Start", exact: true }).isEnabled(),
    true,
  );
});

test("an empty view teaches, and Quick is one click away", async () => {
  const page = await openBench();
  await see(page.getByText("How fast is your model on this machine?"));
  await see(page.getByText("SmolLM2-135M, about 12 s"));
  await page.getByRole("button", { name: "Run Quick" }).click();
  await see(page.getByText("Quick benchmark done in 12.0 s: 40.0 tok/s"));
  await page.getByRole("button", { name: "See results" }).click();
  await see(page.getByText("40.0 (39.0–41.0)"));
  await miss(page.getByText("Quick benchmark done"));
});

test("a running benchmark tells how far it is, yields to the chat, and is cancelled at once", async () => {
  const page = await openBench({ bench: history, tickMs: 5 });
  await see(page.getByText("1 configuration, about 12 s"));
  await page.keyboard.press("Control+Shift+b");
  const running = page.getByRole("region", { name: "Running benchmark" });
  await see(running.getByText("Quick benchmark", { exact: true }));
  await see(running.getByText("SmolLM2-135M Q4_K_M · batch 1 · 2 threads"));
  await see(running.getByText("0 of 1 configuration done"));
  await see(running.getByText("repetition 1 of 5"));
  await see(running.getByText(/^about .* left$/));
  expect(
    await page.getByRole("button", { name: "Start", exact: true }).isDisabled(),
  ).toBe(true);
  await page.keyboard.press("Control+1");
  await send(page, "Tell me of tides");
  await see(answers(page).getByText("the moon pulls on it"));
  await page.keyboard.press("Control+3");
  const progress = {
    run_id: "run-5",
    cell: key(),
    cells_done: 0,
    cells: 1,
    repetition: 2,
    repetitions: 5,
    seconds: 8,
    seconds_left: null,
    waiting: true,
  };
  await page.evaluate(
    (progress) => window.__fake.emit({ type: "bench_changed", progress }),
    progress,
  );
  await see(running.getByText("Waits for your answer in the chat"));
  await running.getByRole("button", { name: "Cancel" }).click();
  await miss(running);
  await see(page.getByText("Quick benchmark ended after 0 of 1 configuration"));
  await see(page.getByRole("listitem").getByText("Cancelled, 0 of 1"));
});

test("a benchmark that was begun before the window is found running", async () => {
  const page = await openBench({
    bench: {
      ...history,
      progress: {
        run_id: "interrupted",
        cell: null,
        cells_done: 1,
        cells: 3,
        repetition: 0,
        repetitions: 5,
        seconds: 61,
        seconds_left: 120,
        waiting: false,
      },
    },
  });
  const running = page.getByRole("region", { name: "Running benchmark" });
  await see(running.getByText("Thorough benchmark"));
  await see(running.getByText("1 of 3 configurations done"));
  const done = Number(
    await running.getByRole("progressbar").getAttribute("aria-valuenow"),
  );
  expect(done).toBeGreaterThanOrEqual(33);
});

test("a run that was killed is resumed and measures only the rest", async () => {
  const page = await openBench({ bench: history });
  const row = page.getByRole("listitem").filter({ hasText: "Thorough" });
  await see(row.getByText("Interrupted, 1 of 3"));
  await row.getByRole("button", { name: /^Resume/ }).click();
  const running = page.getByRole("region", { name: "Running benchmark" });
  await see(running.getByText("1 of 3 configurations done"));
  await see(row.getByText("Running, 1 of 3"));
  await endCell(page);
  await see(running.getByText("2 of 3 configurations done"));
  await see(row.getByText("Running, 2 of 3"));
  // How it ended is known once the history has been read again.
  await page.evaluate(
    () => (window.__fake.options.delays = { bench_runs: 1000 }),
  );
  await endCell(page);
  await miss(running);
  expect(await page.getByText("benchmark ended after").count()).toBe(0);
  await see(page.getByText("Thorough benchmark done"));
  await see(row.getByText("Done", { exact: true }));
  expect(await calls(page, "bench_resume")).toEqual([{ id: "interrupted" }]);
});

test("deleting waits for the Undo to go", async () => {
  const page = await openBench({ bench: history });
  const row = page.getByRole("listitem").filter({ hasText: "Thorough" });
  await row.getByRole("button", { name: /^Thorough/ }).press("Delete");
  await miss(row);
  expect(await calls(page, "bench_delete")).toEqual([]);
  await page.getByRole("button", { name: "Undo" }).click();
  await see(row);
  await row.getByRole("button", { name: /^Delete/ }).click();
  await miss(row);
  await page
    .getByRole("region", { name: "Notices" })
    .getByRole("button", { name: "Close" })
    .click();
  await until(() => calls(page, "bench_delete"), [{ id: "interrupted" }]);
  await miss(row);
});

test("arrows lead through the history, and Enter opens a run", async () => {
  const page = await openBench({ bench: history });
  await page.getByRole("button", { name: /^Standard, 23 Nov/ }).focus();
  await page.keyboard.press("End");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Enter");
  await see(page.getByRole("heading", { name: "Standard, 16 Nov 2026" }));
  await page.keyboard.press("Escape");
  await see(page.getByRole("heading", { name: "New run" }));
  await page.keyboard.press("Escape");
  await see(field(page));
});

test("what fails says so where it is, and can be tried again", async () => {
  const broken = (message: string) => ({
    code: "store_failed" as const,
    message,
    hint: "Try it again.",
  });
  const page = await openBench({
    bench: history,
    failures: {
      bench_start: broken("The engine could not be started."),
      bench_run: broken("The run could not be read."),
      bench_delete: broken("The disk is full."),
    },
  });
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await see(page.getByRole("alert").getByText("could not be started"));
  await page.getByRole("button", { name: /^Standard, 23 Nov/ }).click();
  await see(page.getByRole("alert").getByText("The run could not be read."));
  await page.evaluate(() => {
    window.__fake.options.failures = Object.fromEntries(
      Object.entries(window.__fake.options.failures).filter(
        ([command]) => command !== "bench_run",
      ),
    );
  });
  await page.getByRole("button", { name: "Try again" }).click();
  await see(page.getByRole("region", { name: "Results" }));
  await page.getByRole("button", { name: "Delete this run" }).click();
  await page
    .getByRole("region", { name: "Notices" })
    .getByRole("button", { name: "Close" })
    .click();
  await see(page.getByText("The disk is full."));
  await see(page.getByRole("button", { name: /^Standard, 23 Nov/ }));
});

test("a history or a plan that cannot be had leaves the rest usable", async () => {
  const page = await openBench({
    failures: {
      bench_runs: {
        code: "store_failed",
        message: "The history could not be read.",
        hint: "",
      },
      bench_plan: {
        code: "invalid_input",
        message: "Batch 64 does not fit.",
        hint: "Choose a smaller one.",
      },
    },
  });
  await see(page.getByRole("alert").getByText("The history could not be read"));
  await see(page.getByText("Batch 64 does not fit."));
  expect(
    await page.getByRole("button", { name: "Start", exact: true }).isDisabled(),
  ).toBe(true);
});

test("without a model it leads to one", async () => {
  const page = await open({ models: [], engine: { kind: "idle" } });
  await see(page.getByText("A model is missing"));
  await page.keyboard.press("Control+3");
  await page.getByRole("button", { name: "Get a model" }).click();
  await see(page.getByRole("tab", { name: "Get models", selected: true }));
});

test.each<Theme>(["light", "dark"])(
  "nothing serious in the benchmark in %s",
  async (theme) => {
    const page = await open({ models: manyModels, bench: history }, { theme });
    await see(field(page));
    await page.keyboard.press("Control+3");
    await page.getByText("More options").click();
    await see(page.getByText("1 configuration, about 12 s"));
    expect(await axeViolations(page)).toEqual([]);
    await page.getByRole("button", { name: /^Standard, 23 Nov/ }).click();
    await see(page.getByRole("region", { name: "Results" }));
    await page.getByRole("button", { name: "Export" }).click();
    await page
      .getByRole("button", { name: "SmolLM2-135M Q4_K_M · batch 1" })
      .first()
      .click();
    expect(await axeViolations(page)).toEqual([]);
    await page.getByRole("button", { name: "Compare with …" }).click();
    await page.getByRole("menuitem", { name: /^Quick/ }).click();
    await see(page.getByText("made on different machines"));
    expect(await axeViolations(page)).toEqual([]);
    const empty = await open({ models: manyModels }, { theme });
    await see(field(empty));
    await empty.keyboard.press("Control+3");
    await see(empty.getByText("SmolLM2-135M, about 12 s"));
    expect(await axeViolations(empty)).toEqual([]);
  },
);
