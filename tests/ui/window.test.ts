import { expect, test } from "vitest";
import {
  calls,
  field,
  miss,
  open,
  questions,
  see,
  until,
  row,
} from "./harness";
import { shelf, tides } from "./stories";

const newer = {
  code: "store_newer" as const,
  message:
    "The conversations were written by a newer Tektra. Nothing was changed.",
  hint: "Install the newer Tektra.",
};

test("a start that fails fills the window, and Try again starts", async () => {
  const page = await open({ failures: { startup: newer } });
  await see(page.getByRole("heading", { name: "Tektra could not start" }));
  await see(page.getByText(newer.message));
  await see(page.getByText(newer.hint));
  await page.getByRole("button", { name: "Show data folder" }).click();
  expect(await calls(page, "open_folder")).toEqual([{ which: "data" }]);
  await page.evaluate(() => (window.__fake.options.failures = {}));
  await page.getByRole("button", { name: "Try again" }).click();
  await see(field(page));
});

test("a command that fails is shown with what to do", async () => {
  const page = await open({
    stories: shelf,
    failures: { conversation_open: { ...newer, code: "store_failed" } },
  });
  await row(page, tides.title).click();
  await see(page.getByRole("alert").getByText(newer.message));
  await page.evaluate(() => (window.__fake.options.failures = {}));
  await page
    .getByRole("alert")
    .getByRole("button", { name: "Try again" })
    .click();
  await see(questions(page));
  await page.evaluate(
    (newer) =>
      (window.__fake.options.failures = {
        open_external: newer,
        conversation_delete: newer,
      }),
    newer,
  );
  await row(page, tides.title).press("Delete");
  await see(page.getByRole("alert").getByText(newer.message));
  expect(await page.locator("[data-row]").count()).toBe(4);
});

test("the palette finds actions, conversations and models", async () => {
  const page = await open({ stories: shelf });
  await see(field(page));
  await page.keyboard.press("Control+k");
  await page.keyboard.type("bird");
  await page.keyboard.press("Enter");
  await see(questions(page).getByText("Where do they go?"));
  await page.keyboard.press("Control+k");
  await page.keyboard.type("smol");
  await see(page.getByRole("option", { name: /Use SmolLM2-135M/ }));
  await page.keyboard.press("Escape");
  await miss(page.getByRole("dialog"));
  await page.keyboard.press("Control+k");
  await page.keyboard.type("settings");
  await page.keyboard.press("Enter");
  await see(page.getByRole("heading", { name: "Settings" }));
  await page.keyboard.press("Escape");
  await see(field(page));
});

test("? shows the keys, but is only a letter while typing", async () => {
  const page = await open();
  await field(page).pressSequentially("why?");
  expect(await field(page).inputValue()).toBe("why?");
  expect(await page.getByRole("dialog").count()).toBe(0);
  await page.getByRole("log", { name: "Messages" }).focus();
  await page.keyboard.press("?");
  await see(
    page.getByRole("dialog", { name: "Keys" }).getByText("Ctrl+Shift+R"),
  );
  await page.keyboard.press("Escape");
  await miss(page.getByRole("dialog"));
});

test("a tooltip names the action and its key", async () => {
  const page = await open();
  await page.getByRole("button", { name: "New chat" }).hover();
  await see(page.locator(".tip", { hasText: "New chat" }));
  expect(await page.locator(".tip kbd").innerText()).toBe("Ctrl+N");
  await page.mouse.move(0, 300);
  await miss(page.locator(".tip"));
});

test("settings save at once and say so", async () => {
  const page = await open();
  await see(field(page));
  await page.keyboard.press("Control+,");
  await page.getByRole("textbox", { name: "System prompt" }).fill("Be brief.");
  await see(page.getByText("Saved"));
  await page.getByRole("spinbutton", { name: "Answer limit" }).fill("999999");
  await page.keyboard.press("Tab");
  await page.getByRole("slider", { name: "Temperature" }).fill("1.2");
  await until(async () => (await calls(page, "settings_set")).length, 3);
  expect((await calls(page, "settings_set")).at(-1)).toEqual({
    settings: {
      theme: "system",
      model: null,
      system_prompt: "Be brief.",
      temperature: 1.2,
      max_tokens: 32768,
      model_folders: [],
      other_programs: true,
      idle_unload_minutes: 15,
    },
  });
  await see(page.getByText("/home/ada/.local/share/tektra/models"));
  await see(page.getByText("Tektra 0.1.0"));
});

test("a setting that could not be saved goes back and says why", async () => {
  const page = await open({
    failures: { settings_set: { ...newer, code: "store_full" } },
  });
  await see(field(page));
  await page.keyboard.press("Control+,");
  await page.getByText("Dark", { exact: true }).click();
  await see(page.getByRole("alert").getByText(newer.message));
  expect(
    await page.getByRole("radio", { name: "As the system" }).isChecked(),
  ).toBe(true);
});

test("light and dark follow the system until one is chosen", async () => {
  const page = await open({}, { theme: "dark" });
  await see(field(page));
  const ground = () =>
    page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await ground();
  await page.emulateMedia({ colorScheme: "light" });
  await expect.poll(ground, { timeout: 15_000 }).not.toBe(dark);
  await page.keyboard.press("Control+,");
  await page.getByText("Dark", { exact: true }).click();
  await until(ground, dark);
  expect((await calls(page, "settings_set"))[0]).toMatchObject({
    settings: { theme: "dark" },
  });
});

test("what takes longer says that it does", async () => {
  const page = await open({
    stories: shelf,
    delays: { startup: 1500, conversation_open: 1200 },
  });
  await see(page.getByText("Opening your conversations"));
  await row(page, tides.title).click();
  await see(page.getByText("Opening the conversation"));
  await see(questions(page));
  await miss(page.getByText("Opening the conversation"));
});

test("the message field has the cursor from the start, and again after pointing at a row", async () => {
  const page = await open({ stories: shelf });
  const writing = () =>
    field(page).evaluate((node) => node === document.activeElement);
  await until(writing, true);
  await row(page, tides.title).click();
  await until(writing, true);
});
