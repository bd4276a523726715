import type { Page } from "playwright-core";
import { someRuns } from "./bench-stories";
import type { FakeOptions } from "./fake/options";
import { field, open, see } from "./harness";
import { manyModels } from "./showpieces";

/** A history of runs, and none running; a cell takes until the test ends it. */
export const history = { runs: someRuns, progress: null, cellMs: 60_000 };

/** Ends the cell that is being measured. */
export async function endCell(page: Page): Promise<void> {
  await page.evaluate(() => window.__fake.options.bench.endCell?.());
}

/** Opens the view of benchmarks. */
export async function openBench(
  options: Partial<FakeOptions> = {},
): Promise<Page> {
  const page = await open({ models: manyModels, ...options });
  await see(field(page));
  await page.keyboard.press("Control+3");
  await see(page.getByRole("heading", { name: "Benchmark", exact: true }));
  return page;
}

/** Opens a run of that history. */
export async function openRun(): Promise<Page> {
  const page = await openBench({ bench: history });
  await page.getByRole("button", { name: /^Standard, 23 Nov 2026/ }).click();
  await see(page.getByRole("region", { name: "Results" }));
  return page;
}
