import { expect, test } from "vitest";
import { gguf } from "./fake/models";
import { answers, calls, field, miss, open, see, send, until } from "./harness";
import { talk } from "./stories";

const LONG = Array.from({ length: 300 }, (_, i) => `word${i}`).join(" ");

const failed = {
  kind: "failed" as const,
  error: {
    code: "engine_failed" as const,
    message: "The engine could not start.",
    hint: "Start it again.",
  },
};

test("a failed engine says why and is started again by its button", async () => {
  const page = await open({ engine: failed, loadMs: 200 });
  const strip = page.getByRole("contentinfo", { name: "Engine" });
  await see(strip.getByText("Failed: The engine could not start."));
  await strip.getByRole("button", { name: "Start again" }).click();
  await see(strip.getByText("Loading SmolLM2-135M"));
  await see(strip.getByText("Ready"));
  expect(await calls(page, "engine_restart")).toHaveLength(1);
});

test("an answer that the engine left is safe and goes on", async () => {
  const page = await open({ reply: LONG, crashAfterTicks: 12 });
  await send(page, "Count");
  await see(
    page.getByText(
      "Interrupted: the engine ended early. What was written is safe.",
    ),
  );
  const before = await answers(page).locator(".markdown").innerText();
  expect(before).toContain("word11");
  await page.evaluate(() => {
    window.__fake.options.crashAfterTicks = null;
    window.__fake.options.reply = " and the rest.";
  });
  await page.getByRole("button", { name: "Continue" }).click();
  await see(answers(page).getByText(`${before} and the rest.`));
  await miss(page.getByText("Interrupted:"));
});

test("a failed answer shows what happened and offers another try", async () => {
  const story = talk("failed", "Failed", "Hello", "", 0, {
    status: "failed",
    receipt: null,
    error: {
      code: "context_overflow",
      message: "The conversation is too long.",
      hint: "Start a new chat.",
    },
  });
  const page = await open({ stories: [story] });
  await page.getByRole("button", { name: "Failed", exact: true }).click();
  const alert = page.getByRole("alert");
  await see(alert.getByText("The conversation is too long."));
  await see(alert.getByText("Start a new chat."));
  await alert.getByRole("button", { name: "Try again" }).click();
  await see(answers(page).getByText("The sea has tides because"));
});

test("an answer that reached the limit can be continued", async () => {
  const { receipt } = await import("./stories");
  const story = talk("limit", "Limit", "Hello", "Once upon a", 0, {
    receipt: { ...receipt, finish_reason: "length" },
  });
  const page = await open({ stories: [story], reply: " time." });
  await page.getByRole("button", { name: "Limit", exact: true }).click();
  await see(page.getByText("Reached the answer limit"));
  await page.keyboard.press("Control+Shift+Enter");
  await see(answers(page).getByText("Once upon a time."));
});

test("the strip tells the speed while an answer streams, and of the last one after it", async () => {
  const page = await open({ reply: LONG.slice(0, 700), tickMs: 15 });
  const strip = page.getByRole("contentinfo", { name: "Engine" });
  await send(page, "Count");
  await see(strip.getByText("Thinking"));
  await see(strip.getByText(/^\s*[\d.]+ tok\/s/));
  await see(strip.getByText(/Last answer 23\.4 tok\/s/));
  await see(strip.getByText("Q4_K_M"));
});

test("the menu of models sets the model and greys what cannot be used", async () => {
  const usable = (name: string) => gguf(name, 94);
  const broken = {
    ...usable("Broken-7B"),
    problem: {
      code: "model_unusable" as const,
      message: "The file ends too early.",
      hint: "Fetch it again.",
    },
  };
  const page = await open({
    models: [usable("SmolLM2-135M"), usable("Qwen3-0.6B"), broken],
  });
  await see(field(page));
  await page.keyboard.press("Control+m");
  await see(page.getByText("The file ends too early."));
  await page
    .getByRole("menuitemradio", { name: /Broken-7B/ })
    .click({ force: true });
  expect(await calls(page, "settings_set")).toHaveLength(0);
  await page.getByRole("menuitemradio", { name: /Qwen3/ }).click();
  await until(async () => (await calls(page, "settings_set")).length, 1);
  expect((await calls(page, "settings_set"))[0]).toMatchObject({
    settings: { model: "Qwen3-0.6B" },
  });
  await miss(page.getByRole("menu"));
});

test("without a model it says where one belongs, and looks again", async () => {
  const page = await open({ models: [], engine: { kind: "idle" } });
  await see(page.getByText("A model is missing"));
  await see(page.getByText("/home/ada/.local/share/tektra/models"));
  await page.getByRole("button", { name: "Open models folder" }).click();
  expect(await calls(page, "open_folder")).toEqual([{ which: "models" }]);
  await page.evaluate(
    (fresh) => window.__fake.options.models.push(fresh),
    gguf("New", 1),
  );
  await page.getByRole("button", { name: "Look again" }).click();
  await see(page.getByText("Ask something"));
});

test("trouble of the store is told for as long as it lasts", async () => {
  const page = await open();
  await see(field(page));
  const error = {
    code: "store_full" as const,
    message: "The disk is full.",
    hint: "Make some room.",
  };
  await page.evaluate(
    (error) => window.__fake.emit({ type: "store_trouble", error }),
    error,
  );
  await see(page.getByRole("alert").getByText("The disk is full."));
  await page.evaluate(() =>
    window.__fake.emit({ type: "store_trouble", error: null }),
  );
  await miss(page.getByText("The disk is full."));
});
