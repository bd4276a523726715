import { buffer } from "node:stream/consumers";
import type { Download, Page } from "playwright-core";
import { expect, test } from "vitest";
import { calls, miss, see, until } from "./harness";
import { history, openBench, openRun } from "./bench-page";

/** The first figure of each row of the results, from the top. */
function column(page: Page, index: number): Promise<string[]> {
  return page
    .getByRole("region", { name: "Results" })
    .locator(`tbody tr:not(.details) > :nth-child(${index})`)
    .allInnerTexts();
}

/** What was saved, as the browser runs elsewhere. */
async function saved(download: Download): Promise<Buffer> {
  return buffer(await download.createReadStream());
}

test("the results have intervals, and what was not measured has its reason", async () => {
  const page = await openRun();
  const table = page.getByRole("region", { name: "Results" });
  const first = await table.locator("tbody tr").first().innerText();
  expect(first).toMatch(/41\.2\s\(40\.5–41\.9\)/);
  expect(first).toMatch(/412\s\(405–419\)/);
  const row = (words: RegExp) => table.getByRole("row", { name: words });
  expect(await row(/9.62 GiB/).innerText()).toMatch(
    /llama3.1:8b-instruct-q8_0[\s\S]*Does not fit: 9.62 GiB are needed, 5.16 GiB are free/,
  );
  await see(row(/Not supported: mistral.rs keeps KV in f16 only/));
  await see(row(/Failed: The engine ended by itself/));
  expect(
    await row(/Does not fit/)
      .getByRole("button")
      .count(),
  ).toBe(0);
  await see(page.getByText("On battery for 3 of 7 minutes"));
  await see(table.getByText("The processor was throttled"));
  await see(page.getByText("AMD Ryzen 7 5800X, 8 cores, AVX2"));
  await table
    .getByRole("button", { name: "SmolLM2-135M Q4_K_M · batch 1" })
    .first()
    .click();
  const details = table.locator(".details");
  await see(details.getByText("41.2 ± 0.494"));
  await see(details.getByText("BF16 of the same model"));
  await details.getByText("5 samples").nth(1).click();
  await see(details.getByText("40.4 41.0 41.2 41.5 42.0"));
});

test("the results are sorted by their headings, and what has no figure stands last", async () => {
  const page = await openRun();
  const heading = page.getByRole("columnheader", { name: /^Decode/ });
  const speeds = async () =>
    (await column(page, 3)).slice(0, 7).map((text) => parseFloat(text));
  expect(await speeds()).toEqual([41.2, 33.6, 19.1, 99.2, 127, 9.21, 6.87]);
  await heading.getByRole("button").click();
  expect(await speeds()).toEqual([127, 99.2, 41.2, 33.6, 19.1, 9.21, 6.87]);
  expect(await heading.getAttribute("aria-sort")).toBe("descending");
  await heading.getByRole("button").press("Enter");
  expect(await speeds()).toEqual([6.87, 9.21, 19.1, 33.6, 41.2, 99.2, 127]);
  const names = await column(page, 1);
  expect(names.slice(-2).every((name) => name.includes("llama3.1"))).toBe(true);
  await heading.getByRole("button").press("Enter");
  expect(await heading.getAttribute("aria-sort")).toBe("none");
});

test("the charts say in words what they show, and what is pointed at", async () => {
  const page = await openRun();
  const figure = (name: string) =>
    page.getByRole("figure", { name, exact: true });
  expect(await figure("Decode").getByRole("listitem").count()).toBe(7);
  expect(
    await figure("Decode against depth")
      .getByRole("listitem")
      .allTextContents(),
  ).toContain(
    "SmolLM2-135M Q4_K_M · batch 1 · KV f16: 4,096 tokens deep: 33.6 (33.0–34.1) tok/s",
  );
  expect(
    await figure("Throughput against latency")
      .getByRole("listitem")
      .allTextContents(),
  ).toContain(
    "Batch 8: 127 tok/s together, 62.9 (61.8–63.9) ms between tokens",
  );
  expect(
    (
      await figure("Quality against speed")
        .getByRole("listitem")
        .allTextContents()
    ).join(),
  ).toContain("9.21 tok/s, KL divergence 0.0138, 2.84 GiB");
  const line = figure("Decode against depth").locator(".line").first();
  await figure("Decode against depth").locator(".mark").nth(1).hover();
  await until(
    async () => (await line.innerText()).includes("4,096 tokens deep"),
    true,
  );
});

test("two runs are compared with a verdict for each figure", async () => {
  const page = await openBench({ bench: history });
  const compare = page.getByRole("button", { name: "Compare", exact: true });
  expect(await compare.isDisabled()).toBe(true);
  await page
    .getByRole("checkbox", { name: /^Compare Standard, 23 Nov/ })
    .check();
  await page
    .getByRole("checkbox", { name: /^Compare Standard, 16 Nov/ })
    .check();
  expect(
    await page.getByRole("checkbox", { name: /^Compare Quick/ }).isDisabled(),
  ).toBe(true);
  await compare.click();
  expect(await calls(page, "bench_compare")).toEqual([
    { a: "earlier", b: "standard" },
  ]);
  const table = page.getByRole("region", { name: "Figures of A and B" });
  const decode = table.getByRole("row", { name: /^Decode/ }).first();
  expect(await decode.innerText()).toMatch(
    /35\.9 \([\d.–]+\)\s+41\.2 \([\d.–]+\)\s+1\.15×\s+B is faster/,
  );
  await see(
    table
      .getByRole("row", { name: /^Peak memory/ })
      .first()
      .getByText("No difference shown"),
  );
  await see(table.getByText("Only in A").first());
  await miss(page.getByText("different machines"));
  await page.getByRole("button", { name: "Swap A and B" }).click();
  await see(decode.getByText("A is faster"));
  await page.keyboard.press("Escape");
  await see(page.getByRole("heading", { name: "History" }));
});

test("a run of another machine is compared, and that is said", async () => {
  const page = await openRun();
  await page.getByRole("button", { name: "Compare with …" }).click();
  await page.getByRole("menuitem", { name: /^Quick, 30 Oct/ }).click();
  await see(page.getByText("made on different machines"));
  // The one configuration that both have stands over no row: what it is, is told once.
  await see(
    page.getByText(
      "SmolLM2-135M Q4_K_M · batch 1 · 8 threads · empty context · KV f16 · CPU",
      { exact: true },
    ),
  );
});

test("a configuration is used, with a way back", async () => {
  const page = await openRun();
  await page
    .getByRole("button", {
      name: /^Use this configuration: Qwen3-4B-Instruct Q4_K_M · batch 1 · 8 threads · empty/,
    })
    .click();
  await see(
    page.getByText("Using Qwen3-4B-Instruct Q4_K_M as it was measured"),
  );
  expect(await calls(page, "bench_apply")).toEqual([
    { id: "standard", cell: 5 },
  ]);
  await page.getByRole("button", { name: "Undo" }).click();
  await until(async () => (await calls(page, "settings_set")).length, 1);
  expect((await calls(page, "placement_set"))[0]).toMatchObject({
    name: "Qwen3-4B-Instruct",
  });
  expect((await calls(page, "settings_set"))[0]).toMatchObject({
    settings: { model: null },
  });
});

test("a run is copied and saved in every format, and as a card", async () => {
  const page = await openRun();
  await page.getByRole("button", { name: "Export" }).click();
  const formats = [
    ["Markdown", "markdown", /\.md$/],
    ["CSV", "csv", /\.csv$/],
    ["JSON", "json", /\d\.json$/],
    ["llama-bench JSON", "llama_bench_json", /-llama-bench\.json$/],
  ] as const;
  for (const [label, format, ending] of formats) {
    const content = `${format} of standard: 10 cells\n`;
    await page
      .getByRole("button", { name: `Copy as ${label}`, exact: true })
      .click();
    await until(
      () => page.evaluate(() => navigator.clipboard.readText()),
      content,
    );
    const coming = page.waitForEvent("download");
    await page
      .getByRole("button", { name: `Save as ${label}`, exact: true })
      .click();
    // Only the latest word: piled up, they would cover what is to be pressed next.
    const notes = page.getByRole("region", { name: "Notices" });
    await see(notes.getByText(/^Saving/));
    expect(await notes.getByText(/^Saving|^Copied/).count()).toBe(1);
    const download = await coming;
    expect(download.suggestedFilename()).toMatch(/^tektra-bench-standard-2026/);
    expect(download.suggestedFilename()).toMatch(ending);
    expect((await saved(download)).toString()).toBe(content);
  }
  const card = page.getByRole("img", { name: /^Card: SmolLM2-135M Q4_K_M/ });
  expect(await card.getAttribute("aria-label")).toContain(
    "Decode, 8 at once 127 tok/s (125–129)",
  );
  const coming = page.waitForEvent("download");
  await page.getByRole("button", { name: "Save the card" }).click();
  const png = await saved(await coming);
  expect(png.subarray(1, 4).toString()).toBe("PNG");
  expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([1200, 630]);
  await page.getByRole("button", { name: "Copy the card" }).click();
  await see(page.getByText("Card copied"));
  expect(
    await page.evaluate(async () => {
      const [item] = await navigator.clipboard.read();
      return item?.types;
    }),
  ).toContain("image/png");
});
