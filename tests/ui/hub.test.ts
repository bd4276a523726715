import { expect, test } from "vitest";
import type { Locator, Page } from "playwright-core";
import type { ErrorReport } from "../../ui/src/bindings";
import { gguf } from "./fake/models";
import type { FakeOptions } from "./fake/options";
import { calls, field, miss, open, see, until } from "./harness";
import { someHub } from "./precisions";
import { catalogue, manyModels } from "./showpieces";

const QWEN = "unsloth/Qwen3-4B-GGUF";

const offline: ErrorReport = {
  code: "download_failed",
  message: "huggingface.co could not be reached.",
  hint: "Look whether this machine is online.",
};

async function openHub(options: Partial<FakeOptions> = {}): Promise<Page> {
  const page = await open({ suggestions: catalogue, hub: someHub, ...options });
  await see(field(page));
  await page.keyboard.press("Control+d");
  return page;
}

function searchField(page: Page): Locator {
  return page.getByRole("textbox", { name: "Search the hub" });
}

async function search(page: Page, text: string) {
  await searchField(page).fill(text);
  await searchField(page).press("Enter");
}

function repository(page: Page, id: string): Locator {
  return page.locator(`[data-repository="${id}"]`);
}

function file(page: Page, name: string): Locator {
  return page
    .getByRole("list", { name: "GGUF files" })
    .getByRole("listitem", { name });
}

test("nothing is sent before the search, and every result says what it is", async () => {
  const page = await openHub();
  await see(page.getByText("Nothing is sent until you search."));
  await searchField(page).pressSequentially("qwen3");
  expect(await calls(page, "hub_search")).toEqual([]);
  await page.getByRole("button", { name: "Search", exact: true }).click();
  await see(page.getByText("4 repositories with GGUF files for “qwen3”"));
  expect(await calls(page, "hub_search")).toEqual([{ text: "qwen3" }]);
  expect(await calls(page, "hub_files")).toEqual([]);
  expect(await repository(page, QWEN).innerText()).toMatch(
    /1,204,311 downloads · 214 likes · apache-2\.0/,
  );
  expect(await repository(page, "acme/Qwen3-Tuned-GGUF").innerText()).toContain(
    "Gated",
  );
  expect(
    await repository(page, "someone/Qwen3-4B-roleplay-GGUF").innerText(),
  ).toMatch(/1 like · Licence not named/);
  await search(page, "nothing like it");
  await see(page.getByText("Nothing found for “nothing like it”."));
  await miss(repository(page, QWEN));
});

test("a repository lists its files, and one is downloaded", async () => {
  const page = await openHub({
    models: [...manyModels, gguf("Qwen3-4B-Q2_K", 1592)],
    downloadTickMs: 60,
  });
  await search(page, "unsloth");
  await repository(page, QWEN).click();
  expect(await calls(page, "hub_files")).toEqual([{ repository: QWEN }]);
  const q4 = file(page, "Qwen3-4B-Q4_K_M.gguf");
  expect((await q4.innerText()).replace(/\s+/g, " ")).toContain(
    "Q4_K_M 2.33 GiB Fits Estimate",
  );
  expect(await file(page, "Qwen3-4B-BF16.gguf").innerText()).toMatch(
    /2 parts[\s\S]*Too big/,
  );
  expect(await file(page, "Qwen3-4B-UD-Q3_K_XL.gguf").innerText()).toContain(
    "Size not known",
  );
  const unfit = file(page, "Qwen3-4B-IQ1_S.gguf");
  await see(unfit.getByText("This build of Tektra cannot run IQ1_S."));
  expect(await unfit.getByRole("button").count()).toBe(0);
  await see(
    file(page, "Qwen3-4B-Q2_K.gguf").getByRole("button", {
      name: "In the library",
    }),
  );

  await q4.getByRole("button", { name: "Download" }).click();
  expect(await calls(page, "download_start")).toEqual([
    { what: `hf://${QWEN}/Qwen3-4B-Q4_K_M.gguf` },
  ]);
  await see(q4.getByText(/^Downloading, \d+ %$/));
  await q4.getByRole("button", { name: "In the library" }).click();
  await see(page.getByRole("article", { name: "Qwen3-4B-Q4_K_M" }));
});

test("the page of a gated repository is opened outside", async () => {
  const page = await openHub();
  await search(page, "tuned");
  await repository(page, "acme/Qwen3-Tuned-GGUF").click();
  await see(page.getByText("Its licence must be accepted on its page first."));
  await page.getByRole("link", { name: "Its page on huggingface.co" }).click();
  await until(
    () => calls(page, "open_external"),
    [{ url: "https://huggingface.co/acme/Qwen3-Tuned-GGUF" }],
  );
});

test("a search that fails says why and is tried again", async () => {
  const page = await openHub({
    failures: { hub_search: offline, hub_files: offline },
  });
  await search(page, "qwen3");
  const alert = page
    .getByRole("alert")
    .filter({ hasText: "could not be reached" });
  await see(alert.getByText("Look whether this machine is online."));
  await page.evaluate(() => delete window.__fake.options.failures.hub_search);
  // What is typed meanwhile is not what failed.
  await searchField(page).fill("something else");
  await alert.getByRole("button", { name: "Try again" }).click();
  await see(repository(page, QWEN));
  expect((await calls(page, "hub_search")).at(-1)).toEqual({ text: "qwen3" });
  await miss(alert);
  await repository(page, QWEN).click();
  await see(alert);
  await page.evaluate(() => delete window.__fake.options.failures.hub_files);
  await alert.getByRole("button", { name: "Try again" }).click();
  await see(file(page, "Qwen3-4B-Q8_0.gguf"));
});

test("only the last search counts, however late an earlier answer comes", async () => {
  const page = await openHub({ delays: { hub_search: 1500 } });
  await search(page, "qwen3");
  await see(page.getByText("Asking huggingface.co", { exact: true }));
  await page.evaluate(() => (window.__fake.options.delays = {}));
  await search(page, "tuned");
  await see(page.getByText("1 repository with GGUF files for “tuned”"));
  await page.waitForTimeout(1600);
  await see(page.getByText("1 repository with GGUF files for “tuned”"));
  expect(await repository(page, QWEN).count()).toBe(0);
});

test("only the files of the opened repository are shown, and waiting can be ended", async () => {
  const page = await openHub({ delays: { hub_files: 1500 } });
  await search(page, "qwen3");
  await repository(page, QWEN).click();
  await see(page.getByText("Asking huggingface.co for its files"));
  await page.evaluate(
    () => (window.__fake.options.delays = { hub_search: 2000 }),
  );
  await repository(page, "acme/Qwen3-Tuned-GGUF").click();
  await see(file(page, "Qwen3-Tuned-Q4_K_M.gguf"));
  await page.waitForTimeout(1600);
  expect(await file(page, "Qwen3-4B-Q8_0.gguf").count()).toBe(0);
  await search(page, "roleplay");
  await page.getByRole("button", { name: "Cancel" }).click();
  await miss(page.getByText("Asking huggingface.co", { exact: true }));
  // What was found before is still there.
  await see(repository(page, QWEN));
});

test("the keyboard leads through the results", async () => {
  const page = await openHub();
  await search(page, "qwen3");
  await see(repository(page, QWEN));
  await repository(page, QWEN).focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await until(
    () => repository(page, "Qwen/Qwen3-4B-GGUF").getAttribute("aria-expanded"),
    "true",
  );
  await see(page.getByText("There is no GGUF file in this repository."));
  await page.keyboard.press("Enter");
  await until(
    () => repository(page, "Qwen/Qwen3-4B-GGUF").getAttribute("aria-expanded"),
    "false",
  );
  await page.keyboard.press("End");
  await until(
    () =>
      page.evaluate(
        () => (document.activeElement as HTMLElement).dataset.repository,
      ),
    "someone/Qwen3-4B-roleplay-GGUF",
  );
});

test("what was found is still there after a look at the library", async () => {
  const page = await openHub();
  await search(page, "qwen3");
  await repository(page, QWEN).click();
  await see(file(page, "Qwen3-4B-Q8_0.gguf"));
  await page.getByRole("tab", { name: "Library" }).click();
  await page.getByRole("tab", { name: "Get models" }).click();
  await see(file(page, "Qwen3-4B-Q8_0.gguf"));
  expect(await calls(page, "hub_search")).toHaveLength(1);
});
