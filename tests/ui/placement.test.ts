import axe from "axe-core";
import { expect, test } from "vitest";
import type { Locator, Page } from "playwright-core";
import type { FakeOptions } from "./fake/options";
import { oldGpu, threeProfiles, twoGpus } from "./fake/placement";
import { calls, field, miss, open, see, type Theme, until } from "./harness";
import { manyModels } from "./showpieces";

const PHI = "Phi-3-mini-4k-instruct";
const QWEN = "Qwen3-4B-Instruct";

async function openPlacement(
  name: string,
  options: Partial<FakeOptions> = {},
  theme: Theme = "light",
): Promise<Locator> {
  const page = await open({ models: manyModels, ...options }, { theme });
  await see(field(page));
  await page.keyboard.press("Control+2");
  await page.locator(`[data-model="${name}"]`).click();
  const shown = page.getByRole("article", { name, exact: true });
  await shown.getByRole("tab", { name: "Placement" }).click();
  await see(
    shown.getByText("Longest context that fits").or(shown.getByRole("alert")),
  );
  return shown;
}

/** The bar and the figures of a device. */
function device(shown: Locator, key: string): Locator {
  return shown.locator(`[data-device="${key}"]`);
}

function save(shown: Locator): Locator {
  return shown.getByRole("button", { name: "Save", exact: true });
}

async function lastWish(page: Page, command: string): Promise<unknown> {
  return (await calls(page, command)).at(-1)?.wish;
}

async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const results = await page.evaluate(() =>
    (window as unknown as { axe: typeof axe }).axe.run(document, {
      resultTypes: ["violations"],
    }),
  );
  return results.violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html}`));
}

test("a model's pages are turned by arrows, and what is not possible is not offered", async () => {
  const page = await open({ models: manyModels });
  await see(field(page));
  await page.keyboard.press("Control+2");
  await page.locator(`[data-model="${PHI}"]`).click();
  const shown = page.getByRole("article", { name: PHI, exact: true });
  await shown.getByRole("tab", { name: "Overview" }).focus();
  await page.keyboard.press("ArrowRight");
  await see(shown.getByRole("tabpanel", { name: "Placement" }));
  await page.keyboard.press("End");
  await see(shown.getByRole("tabpanel", { name: "Quantization" }));
  await page.keyboard.press("ArrowRight");
  await see(shown.getByText("Types of its parts"));
  expect(await page.evaluate(() => document.activeElement?.textContent)).toBe(
    "Overview",
  );
  await page.locator('[data-model="TinyLlama-1.1B-Chat-v1.0"]').click();
  const folder = page.getByRole("article", { name: /^TinyLlama/ });
  await see(folder.getByRole("tabpanel", { name: "Quantization" }));
  expect(await folder.getByRole("tab").allInnerTexts()).toEqual([
    "Overview",
    "Quantization",
  ]);
  await page.locator('[data-model="Mystery-7B"]').click();
  const broken = page.getByRole("article", { name: "Mystery-7B" });
  await see(broken.getByText("Download it again."));
  expect(await broken.getByRole("tab").count()).toBe(0);
});

test("without a GPU the picture, the bytes and the verdict are those of the CPU", async () => {
  const shown = await openPlacement(PHI, { gpus: oldGpu });
  const cpu = device(shown, "cpu");
  expect(await cpu.innerText()).toContain("Layers 0–29, embeddings, output");
  expect(await cpu.locator('[data-part="weights"]').innerText()).toBe(
    "2.41 GiB",
  );
  expect(await cpu.locator('[data-part="reserve"]').innerText()).toBe(
    "512 MiB",
  );
  await see(shown.getByText("Fits", { exact: true }));
  await see(shown.getByText("On the CPU, as there is no GPU that can be used"));
  const gpu = shown.getByRole("checkbox", { name: /GPU 0, NVIDIA Quadro/ });
  expect(await gpu.isDisabled()).toBe(true);
  await see(shown.getByText("It is too old: compute capability 3.0"));
  expect(
    await shown.getByRole("radiogroup", { name: "Precision" }).count(),
  ).toBe(0);
  expect(
    await shown.getByRole("slider", { name: "Layers on the GPU" }).count(),
  ).toBe(0);
});

test("layers are split between a GPU and the CPU, and the figures follow", async () => {
  const shown = await openPlacement(PHI, { gpus: twoGpus });
  const page = shown.page();
  await shown.getByRole("checkbox", { name: /GPU 0/ }).click();
  await see(device(shown, "0").getByText("Layers 0–29, embeddings, output"));
  await miss(device(shown, "1"));
  const slider = shown.getByRole("slider", { name: "Layers on the GPU" });
  await slider.focus();
  for (let i = 0; i < 10; i++) await page.keyboard.press("ArrowLeft");
  await see(shown.getByText("20 of 30", { exact: true }));
  await see(device(shown, "0").getByText("Layers 0–19, embeddings"));
  await see(device(shown, "cpu").getByText("Layers 20–29, output"));
  await see(shown.getByText("Layers on the CPU hold the others up"));
  expect(await lastWish(page, "placement_plan")).toMatchObject({
    device: "gpus",
    gpus: [0],
    gpu_layers: 20,
  });
  await shown.getByRole("radio", { name: /^bf16/ }).click();
  const before = await device(shown, "0")
    .locator('[data-part="kv"]')
    .innerText();
  await shown.getByRole("radio", { name: /^f32 Single/ }).click();
  await until(
    async () =>
      (await device(shown, "0").locator('[data-part="kv"]').innerText()) !==
      before,
    true,
  );
  expect(await lastWish(page, "placement_plan")).toMatchObject({
    kv: "f32",
    dtype: "bf16",
  });
  // On the CPU nothing that was said of GPUs has a meaning.
  await shown.getByRole("radio", { name: /^CPU/ }).click();
  await until(() => lastWish(page, "placement_plan"), {
    device: "cpu",
    gpus: [],
    gpu_layers: null,
    shares: [],
    dtype: "auto",
    kv: "f32",
    context_tokens: null,
    reserve_mib: null,
  });
  await miss(slider);
});

test("two GPUs share the layers by their memory or by numbers", async () => {
  const shown = await openPlacement(PHI, { gpus: twoGpus });
  const page = shown.page();
  await shown.getByRole("checkbox", { name: /GPU 0/ }).click();
  await shown.getByRole("checkbox", { name: /GPU 1/ }).click();
  await see(device(shown, "0").getByText("Layers 0–18, embeddings"));
  await see(device(shown, "1").getByText("Layers 19–29, output"));
  const byMemory = shown.getByRole("checkbox", { name: "By free memory" });
  await byMemory.click();
  const [first, second] = [0, 1].map((gpu) =>
    shown.getByRole("spinbutton", { name: `Share of GPU ${gpu}` }),
  );
  await until(() => first!.inputValue(), "19");
  await first!.fill("1");
  await second!.fill("2");
  await see(device(shown, "1").getByText("Layers 10–29, output"));
  await see(shown.getByText("33 %"));
  expect(await lastWish(page, "placement_plan")).toMatchObject({
    gpus: [0, 1],
    shares: [1, 2],
  });
  await byMemory.click();
  await see(device(shown, "1").getByText("Layers 19–29, output"));
  // Without any the choice is Tektra's again.
  await shown.getByRole("checkbox", { name: /GPU 0/ }).click();
  await shown.getByRole("checkbox", { name: /GPU 1/ }).click();
  await until(
    () => shown.getByRole("radio", { name: /^Automatic As much/ }).isChecked(),
    true,
  );
});

test("what cannot be done is refused with the reason, and cannot be saved", async () => {
  const shown = await openPlacement(QWEN, { gpus: twoGpus });
  const page = shown.page();
  await shown.getByRole("slider", { name: "Layers on the GPU" }).focus();
  await page.keyboard.press("Home");
  for (let i = 0; i < 5; i++) await page.keyboard.press("ArrowRight");
  const refusal = shown.getByRole("alert");
  await see(refusal.getByText("cannot be split between a GPU and the CPU"));
  await see(refusal.getByText("Put all layers on the GPUs, or none."));
  expect(await save(shown).isDisabled()).toBe(true);
  await page.keyboard.press("Control+s");
  expect(await calls(page, "placement_set")).toEqual([]);
  await page.keyboard.press("End");
  await miss(refusal);
  await see(shown.getByText("Not saved"));
  expect(await save(shown).isEnabled()).toBe(true);
});

test("a placement is saved by its key, taken back, and reset", async () => {
  const shown = await openPlacement("SmolLM2-135M");
  const page = shown.page();
  await see(shown.getByText("after a save the next message loads it anew"));
  expect(await save(shown).isDisabled()).toBe(true);
  const reserve = shown.getByRole("spinbutton", { name: "Reserve" });
  await reserve.fill("1024");
  await see(shown.getByText("Not saved"));
  await until(
    () => device(shown, "cpu").locator('[data-part="reserve"]').innerText(),
    "1.00 GiB",
  );
  await page.keyboard.press("Control+s");
  await see(page.getByText("Saved the placement of SmolLM2-135M"));
  await miss(shown.getByText("Not saved"));
  await see(shown.getByText("Saved", { exact: true }));
  expect(await lastWish(page, "placement_set")).toMatchObject({
    device: "auto",
    reserve_mib: 1024,
  });
  await shown.getByRole("button", { name: "Reset to automatic" }).click();
  await see(page.getByText("The placement of SmolLM2-135M is automatic again"));
  await until(() => reserve.inputValue(), "");
  await page.getByRole("button", { name: "Undo" }).last().click();
  await until(() => reserve.inputValue(), "1024");
  await page.getByRole("button", { name: "Undo" }).click();
  await see(shown.getByText("Not saved"));
  expect(await lastWish(page, "placement_set")).toMatchObject({
    reserve_mib: null,
  });
  // What is not saved stays while another model is looked at, and says so on its tab.
  await page.locator(`[data-model="${PHI}"]`).click();
  await page.locator('[data-model="SmolLM2-135M"]').click();
  await shown.getByRole("tab", { name: "Placement not saved" }).click();
  await until(() => reserve.inputValue(), "1024");
  await shown.getByRole("button", { name: "Discard" }).click();
  await until(() => reserve.inputValue(), "");
  await shown.getByRole("tab", { name: "Placement", exact: true }).waitFor();
});

test("the longest context that fits is used in one click", async () => {
  const shown = await openPlacement(QWEN);
  const page = shown.page();
  await see(shown.getByText("Does not fit", { exact: true }));
  await see(shown.getByText(/CPU: .* GiB too little/));
  const slider = shown.getByRole("slider", { name: "Context" });
  expect(await slider.getAttribute("aria-valuetext")).toBe(
    "262,144 tokens, the model’s limit",
  );
  await shown.getByRole("button", { name: /^Use it/ }).click();
  await see(shown.getByText("Fits", { exact: true }));
  await see(shown.getByText("16,064 tokens", { exact: true }));
  expect(await shown.getByRole("button", { name: /^Use it/ }).count()).toBe(0);
  await save(shown).click();
  await until(
    () => lastWish(page, "placement_set"),
    expect.objectContaining({ context_tokens: 16_064 }),
  );
  await slider.focus();
  await page.keyboard.press("End");
  await until(
    () => lastWish(page, "placement_plan"),
    expect.objectContaining({ context_tokens: null }),
  );
});

test("only where a slider rests is a plan asked for, and an older one is dropped", async () => {
  const shown = await openPlacement(PHI, { delays: { placement_plan: 150 } });
  const page = shown.page();
  const asked = (await calls(page, "placement_plan")).length;
  const slider = shown.getByRole("slider", { name: "Context" });
  await slider.focus();
  for (let i = 0; i < 4; i++) await page.keyboard.press("ArrowLeft");
  await until(
    async () => (await calls(page, "placement_plan")).length,
    asked + 1,
  );
  // While that one is on its way another is wished for.
  await page.keyboard.press("ArrowRight");
  await see(shown.getByText("for 1,536 tokens"));
  expect((await calls(page, "placement_plan")).length).toBe(asked + 2);
  expect(await lastWish(page, "placement_plan")).toMatchObject({
    context_tokens: 1536,
  });
});

test("a plan that cannot be made is told, and tried again", async () => {
  const error = {
    code: "model_unusable" as const,
    message: "The file has changed while it was read.",
    hint: "Look for models again.",
  };
  const shown = await openPlacement(PHI, {
    failures: { placement_plan: error },
  });
  const page = shown.page();
  await see(shown.getByRole("alert").getByText(error.message));
  await see(shown.getByText(error.hint));
  await page.evaluate(() => {
    delete window.__fake.options.failures.placement_plan;
  });
  await shown.getByRole("button", { name: "Try again" }).click();
  await see(device(shown, "cpu"));
  await miss(shown.getByRole("alert"));
  await page.evaluate((failure) => {
    window.__fake.options.failures.placement_set = failure;
  }, error);
  await shown.getByRole("radio", { name: /^q8/ }).click();
  await save(shown).click();
  await see(page.getByRole("alert").getByText(error.message));
  await see(shown.getByText("Not saved"));
});

test.each<Theme>(["light", "dark"])(
  "nothing serious in placement and profiles in %s",
  async (theme) => {
    const shown = await openPlacement(
      QWEN,
      {
        gpus: [...twoGpus, ...oldGpu.map((gpu) => ({ ...gpu, gpu: 2 }))],
        profiles: threeProfiles,
      },
      theme,
    );
    const page = shown.page();
    await shown.getByRole("checkbox", { name: /GPU 0/ }).click();
    await shown.getByRole("checkbox", { name: /GPU 1/ }).click();
    await shown.getByRole("checkbox", { name: "By free memory" }).click();
    await see(shown.getByRole("spinbutton", { name: "Share of GPU 1" }));
    expect(await violations(page)).toEqual([]);
    await shown.getByRole("slider", { name: "Layers on the GPU" }).focus();
    await page.keyboard.press("PageDown");
    await see(shown.getByRole("alert"));
    expect(await violations(page)).toEqual([]);
    await page.keyboard.press("Control+Shift+p");
    await see(page.getByRole("listitem", { name: "Quality" }));
    expect(await violations(page)).toEqual([]);
  },
);

test("a profile that is applied beside a placement shows in it", async () => {
  const shown = await openPlacement(QWEN, { profiles: threeProfiles });
  const page = shown.page();
  await page.keyboard.press("Control+k");
  await page.keyboard.type("profile bal");
  await page.keyboard.press("Enter");
  await see(shown.getByText("16,384 tokens", { exact: true }));
  await see(shown.getByText("Saved", { exact: true }));
  await page.getByRole("button", { name: "Undo" }).click();
  await see(shown.getByText("262,144 tokens, the model’s limit"));
});
