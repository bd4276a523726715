import { expect, test } from "vitest";
import type { Page } from "playwright-core";
import type { FakeOptions } from "./fake/options";
import { calls, field, miss, open, see, until } from "./harness";
import { catalogue, manyModels, someDownloads } from "./showpieces";

async function openGet(options: Partial<FakeOptions> = {}): Promise<Page> {
  const page = await open({ suggestions: catalogue, ...options });
  await see(field(page));
  await page.keyboard.press("Control+d");
  return page;
}

test("the best model for this machine is named with its estimates and fetched in one click", async () => {
  const page = await openGet({ downloadTickMs: 40 });
  const best = page.getByRole("region", { name: "Qwen3 4B Instruct 2507" });
  await see(best.getByText("3.1 GiB of 5.2 GiB free memory"));
  expect(await best.innerText()).toMatch(
    /Speed Estimate\s+about 9 tok\/s[\s\S]*First token Estimate\s+about 2 s/,
  );
  await best.getByRole("button", { name: /Download .*, 2\.33 GiB/ }).click();
  expect(await calls(page, "download_start")).toEqual([
    { what: "qwen3-4b-2507" },
  ]);
  const file = "Qwen3-4B-Instruct-2507-Q4_K_M.gguf";
  const row = page.getByRole("listitem", { name: file });
  await see(row.getByText(/of 2\.33 GiB/));
  await see(row.getByText("23.4 MiB/s"));
  await see(row.getByText(/left$/));
  await see(row.getByText("In the library"));
  await row.getByRole("button", { name: "Show" }).click();
  await see(page.getByRole("article", { name: file.replace(".gguf", "") }));
});

test("a download is paused, continued and removed with a way back", async () => {
  const page = await openGet({ downloadTickMs: 150 });
  await page
    .getByRole("listitem", { name: "Llama 3.2 1B" })
    .getByRole("button")
    .click();
  const file = "Llama-3.2-1B-Instruct-Q4_K_M.gguf";
  const row = page.getByRole("listitem", { name: file });
  await see(row.getByText("Downloading"));
  await row.getByRole("button", { name: /^Pause/ }).click();
  await see(row.getByText("Paused"));
  expect(
    Number(await row.getByRole("progressbar").getAttribute("aria-valuenow")),
  ).toBeGreaterThan(0);
  await row.getByRole("button", { name: "Continue" }).click();
  await see(row.getByText("Downloading"));
  await row.getByRole("button", { name: /^Remove/ }).click();
  await miss(row);
  expect(await calls(page, "download_remove")).toEqual([]);
  await page.getByRole("button", { name: "Undo" }).click();
  await see(row.getByText("Downloading"));
  await row.getByRole("button", { name: /^Remove/ }).click();
  await page
    .getByRole("region", { name: "Notices" })
    .getByRole("button", { name: "Close" })
    .click();
  await until(() => calls(page, "download_remove"), [{ file }]);
  await miss(row);
});

test("downloads that failed, pause or are done say so, with the reason", async () => {
  const page = await openGet({ downloads: someDownloads, models: manyModels });
  const row = (name: string) => page.getByRole("listitem", { name });
  const failed = row("Mistral-7B-Instruct-v0.3-Q4_K_M.gguf");
  await see(failed.getByRole("alert").getByText("The disk is too full"));
  await failed.getByRole("button", { name: "Try again" }).click();
  expect(await calls(page, "download_start")).toEqual([
    { what: "Mistral-7B-Instruct-v0.3-Q4_K_M.gguf" },
  ]);
  const running = await row("Llama-3.2-1B-Instruct-Q4_K_M.gguf").innerText();
  expect(running).toContain("412 MiB of 770 MiB");
  expect(running).toContain("15 s left");
  await see(row("Qwen3-1.7B-Q4_K_M.gguf").getByText("634 MiB of 1.03 GiB"));
  const done = row("SmolLM2-135M.gguf");
  await see(done.getByText("In the library"));
  await done.getByRole("button", { name: /^Take off/ }).click();
  await miss(done);
  expect(await calls(page, "download_remove")).toEqual([
    { file: "SmolLM2-135M.gguf" },
  ]);
});

test("a file is fetched from an address, and a wrong one is told beside the field", async () => {
  const page = await openGet();
  const address = page.getByRole("textbox", { name: "Address of a GGUF file" });
  await address.fill("qwen");
  await address.press("Enter");
  await see(page.getByText('"qwen" does not name a GGUF file.'));
  await address.fill("hf://ada/engines/analytical.gguf");
  await miss(page.getByText('"qwen" does not name a GGUF file.'));
  await address.press("Enter");
  await see(page.getByRole("listitem", { name: "analytical.gguf" }));
  await until(() => address.inputValue(), "");
});

test("beside the starter model the chat names the one that is suggested", async () => {
  const page = await open({ suggestions: catalogue });
  await see(
    page.getByText(
      "Suggested for this machine: Qwen3 4B Instruct 2507, 2.33 GiB.",
    ),
  );
  await page.getByRole("button", { name: "See models" }).click();
  await see(page.getByRole("heading", { name: "Catalogue" }));
  const rich = await open({ suggestions: catalogue, models: manyModels });
  await see(rich.getByText("Ask something"));
  expect(await rich.getByText("Suggested for this machine").count()).toBe(0);
});

test("folders, other programs and the unload are set", async () => {
  const page = await open();
  await see(field(page));
  await page.keyboard.press("Control+,");
  const looks = async () => (await calls(page, "models_list")).length;
  const before = await looks();
  const path = page.getByRole("textbox", { name: "Folders of models" });
  await path.fill("/data/models");
  await path.press("Enter");
  await see(page.getByText("/data/models"));
  await until(() => path.inputValue(), "");
  await expect.poll(looks).toBeGreaterThan(before);
  await page.getByRole("switch", { name: "Models of other programs" }).click();
  const minutes = page.getByRole("spinbutton", { name: "Unload when idle" });
  await minutes.fill("0");
  await page.keyboard.press("Tab");
  await see(page.getByText("never", { exact: true }));
  await until(async () => (await calls(page, "settings_set")).length, 3);
  expect((await calls(page, "settings_set")).at(-1)).toMatchObject({
    settings: {
      model_folders: ["/data/models"],
      other_programs: false,
      idle_unload_minutes: 0,
    },
  });
  await page
    .getByRole("button", { name: "Remove the folder /data/models" })
    .click();
  await until(
    async () => (await calls(page, "settings_set")).at(-1),
    expect.objectContaining({
      settings: expect.objectContaining({ model_folders: [] }),
    }),
  );
});

test("a folder that is refused stays in the field", async () => {
  const page = await open({
    failures: {
      settings_set: {
        code: "invalid_input",
        message: '"models" is not a whole path.',
        hint: "Name it from the root on.",
      },
    },
  });
  await see(field(page));
  await page.keyboard.press("Control+,");
  const path = page.getByRole("textbox", { name: "Folders of models" });
  await path.fill("models");
  await path.press("Enter");
  await see(page.getByRole("alert").getByText("is not a whole path"));
  expect(await path.inputValue()).toBe("models");
});
