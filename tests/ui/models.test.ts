import { expect, test } from "vitest";
import type { Locator, Page } from "playwright-core";
import type { FakeOptions } from "./fake/options";
import { calls, field, miss, open, see, until } from "./harness";
import { manyModels } from "./showpieces";

async function openModels(options: Partial<FakeOptions> = {}): Promise<Page> {
  const page = await open({ models: manyModels, ...options });
  await see(field(page));
  await page.keyboard.press("Control+2");
  return page;
}

function entry(page: Page, name: string): Locator {
  return page.locator(`[data-model="${name}"]`);
}

function details(page: Page, name: string): Locator {
  return page.getByRole("article", { name, exact: true });
}

test("the library says of every model what it is, and of the useless why", async () => {
  const page = await openModels();
  const qwen = await entry(page, "Qwen3-4B-Instruct").innerText();
  expect(qwen).toContain("4.02 B · Q4_K_M · 2.33 GiB");
  expect(qwen).toContain("262,144 tokens · Tektra’s CPU engine");
  expect(await entry(page, "Phi-3-mini-4k-instruct").innerText()).toMatch(
    /LM Studio[\s\S]*mistral\.rs/,
  );
  const smol = await entry(page, "SmolLM2-135M").innerText();
  expect(smol).toContain("In memory, 172 MiB measured, loaded in 812 ms");
  const broken = page.locator("section", { hasText: "Cannot be used" });
  await see(broken.getByText("4,411 of 4,630 MiB are there"));
  await entry(page, "Mystery-7B").click();
  const shown = details(page, "Mystery-7B");
  await see(shown.getByText("Download it again."));
  await see(shown.getByText(/models\/Mystery-7B\.gguf$/));
  expect(await shown.getByRole("button").count()).toBe(0);
});

test("arrows, letters and the search lead through the models", async () => {
  const page = await openModels();
  await page.keyboard.press("Control+f");
  await page.keyboard.press("ArrowDown");
  await see(details(page, "Qwen3-4B-Instruct"));
  await page.keyboard.press("ArrowDown");
  await see(details(page, "SmolLM2-135M"));
  await page.keyboard.press("End");
  await see(details(page, "TinyLlama-1.1B-Chat-v1.0"));
  await page.keyboard.press("p");
  await see(details(page, "Phi-3-mini-4k-instruct"));
  await page.keyboard.press("Control+f");
  await page.keyboard.type("ollama q8");
  await until(() => page.locator("[data-model]").count(), 1);
  await see(details(page, "llama3.1:8b-instruct-q8_0"));
  await page.keyboard.type("zzz");
  await see(page.getByText("Nothing found"));
  await page.keyboard.press("Escape");
  await until(() => page.locator("[data-model]").count(), 6);
});

test("a model is used by its button", async () => {
  const page = await openModels();
  await entry(page, "Qwen3-4B-Instruct").click();
  const shown = details(page, "Qwen3-4B-Instruct");
  await shown.getByRole("button", { name: "Use this model" }).click();
  await see(shown.getByText("In use", { exact: true }));
  expect((await calls(page, "settings_set"))[0]).toMatchObject({
    settings: { model: "Qwen3-4B-Instruct" },
  });
  await see(
    page
      .getByRole("contentinfo", { name: "Engine" })
      .getByRole("button", { name: /SmolLM2-135M/ }),
  );
});

test("unloading shows what was held before and after, and what came back", async () => {
  const page = await openModels();
  await entry(page, "SmolLM2-135M").click();
  await page.getByRole("button", { name: "Unload now" }).click();
  const notice = page.getByRole("region", { name: "Models" });
  await see(notice.getByText("Unloaded SmolLM2-135M"));
  await see(
    notice.getByText("172 MiB → 0 MiB held · 168 MiB given back · in 41 ms"),
  );
  await miss(page.getByRole("button", { name: "Unload now" }));
  expect(await entry(page, "SmolLM2-135M").innerText()).not.toContain(
    "In memory",
  );
  await notice.getByRole("button", { name: "Close" }).click();
  await miss(notice.getByText("Unloaded SmolLM2-135M"));
});

test("an unload that nobody asked for says why", async () => {
  const page = await open();
  await see(field(page));
  await page.evaluate(() =>
    window.__fake.emit({
      type: "unloaded",
      unloaded: {
        model: "SmolLM2-135M",
        why: { kind: "made_room", model: "Qwen3-4B" },
        resident_before_mib: 172,
        resident_after_mib: 0,
        available_before_mib: 1000,
        available_after_mib: 1168,
        given_back_mib: 168,
        took_ms: 40,
      },
    }),
  );
  await see(
    page.getByText(
      "Unloaded SmolLM2-135M to make room for Qwen3-4B. 168 MiB given back.",
    ),
  );
});

test("the details name the types, the licence and the files", async () => {
  const page = await openModels();
  await entry(page, "Qwen3-4B-Instruct").click();
  const shown = details(page, "Qwen3-4B-Instruct");
  await see(shown.getByText("apache-2.0"));
  await see(
    shown.getByRole("row", { name: /Feed-forward Q4_K 881 MiB Q6_K 429 MiB/ }),
  );
  await see(shown.getByText(/models\/Qwen3-4B-Instruct\.gguf$/));
});

test("a longer context moves the bar and, past what is free, the words", async () => {
  const page = await openModels();
  await entry(page, "Qwen3-4B-Instruct").click();
  const shown = details(page, "Qwen3-4B-Instruct");
  await see(shown.getByText("Fits", { exact: true }));
  await see(shown.getByText("Counted from the file"));
  const kv = shown.locator('[data-part="kv"]');
  const width = () =>
    shown
      .locator(".part.kv")
      .evaluate((bar) => bar.getBoundingClientRect().width);
  const [figure, before] = [await kv.innerText(), await width()];
  expect(figure).toBe("533 MiB");
  const slider = shown.getByRole("slider", { name: "Context" });
  expect(await slider.getAttribute("aria-valuetext")).toBe("4,096 tokens");
  await slider.focus();
  for (let i = 0; i < 2; i++) await page.keyboard.press("ArrowRight");
  await until(() => kv.innerText(), "1.04 GiB");
  expect(await width()).toBeGreaterThan(before);
  await see(shown.getByText("8,192 tokens", { exact: true }));
  await page.keyboard.press("End");
  await see(shown.getByText("Does not fit", { exact: true }));
  await see(shown.getByText("GiB too little"));
  await see(shown.getByText("Longest context that fits: 16,064 tokens"));
  // Moving on at once asks the core but once.
  const asked = (await calls(page, "model_fit")).length;
  for (let i = 0; i < 5; i++) await page.keyboard.press("ArrowLeft");
  await see(shown.getByText("49,152 tokens", { exact: true }));
  await until(async () => (await calls(page, "model_fit")).length, asked + 1);
});

test("an estimate is called one, and a loaded model is measured against its prediction", async () => {
  const page = await openModels({ freeMib: 900 });
  await entry(page, "Phi-3-mini-4k-instruct").click();
  await see(
    details(page, "Phi-3-mini-4k-instruct").getByText("Estimate", {
      exact: true,
    }),
  );
  await see(page.getByText("Not even a short conversation fits."));
  await entry(page, "SmolLM2-135M").click();
  const shown = details(page, "SmolLM2-135M");
  await see(shown.getByText("predicted 167 MiB / measured 172 MiB (+2.7 %)"));
  await see(shown.getByText("Corrected by 3 loads"));
});

test("an empty library teaches", async () => {
  const { catalogue } = await import("./showpieces");
  const page = await open({
    models: [],
    suggestions: catalogue,
    engine: { kind: "idle" },
  });
  await see(page.getByText("A model is missing"));
  await page.getByRole("button", { name: "Get a model" }).click();
  await page.getByRole("tab", { name: "Library" }).click();
  await see(page.getByText("No model yet"));
  await page.getByRole("button", { name: "Open models folder" }).last().click();
  expect(await calls(page, "open_folder")).toEqual([{ which: "models" }]);
  await page
    .getByRole("button", { name: /^Download Qwen3 4B Instruct 2507/ })
    .click();
  await see(details(page, "Qwen3-4B-Instruct-2507-Q4_K_M"));
});
