import { expect, test } from "vitest";
import type { Page } from "playwright-core";
import {
  answers,
  calls,
  field,
  miss,
  open,
  questions,
  see,
  send,
  until,
  row,
} from "./harness";
import { bread, birds, shelf, tides } from "./stories";

function titles(page: Page) {
  return page.locator("[data-row]").allInnerTexts();
}

test("conversations are listed by day, newest first", async () => {
  const page = await open({ stories: shelf });
  await see(row(page, tides.title));
  const list = page.getByRole("complementary", { name: "Conversations" });
  expect(await list.getByRole("heading").allInnerTexts()).toEqual([
    "Today",
    "Yesterday",
    "Previous 7 days",
    "Older",
  ]);
  expect(await titles(page)).toEqual(shelf.map((story) => story.title));
});

test("an empty list says what will be there and leads to the message field", async () => {
  const page = await open();
  await page.getByRole("button", { name: "Write the first message" }).click();
  await until(
    () => field(page).evaluate((node) => node === document.activeElement),
    true,
  );
});

test("F2 renames in place, Enter keeps it, Esc does not", async () => {
  const page = await open({ stories: shelf });
  await row(page, bread.title).focus();
  await page.keyboard.press("F2");
  const name = page.getByRole("textbox", { name: "Name of the conversation" });
  await name.fill("Bread without yeast");
  await name.press("Enter");
  await see(row(page, "Bread without yeast"));
  expect(await calls(page, "conversation_rename")).toEqual([
    { id: "bread", title: "Bread without yeast" },
  ]);
  await until(
    () =>
      row(page, "Bread without yeast").evaluate(
        (node) => node === document.activeElement,
      ),
    true,
  );
  await page.keyboard.press("F2");
  await name.fill("Nonsense");
  await name.press("Escape");
  await see(row(page, "Bread without yeast"));
  expect(await calls(page, "conversation_rename")).toHaveLength(1);
});

test("Delete deletes, Undo brings back", async () => {
  const page = await open({ stories: shelf });
  await row(page, bread.title).click();
  await see(questions(page).getByText("How do I begin a sourdough?"));
  await row(page, bread.title).press("Delete");
  await miss(row(page, bread.title));
  await see(page.getByText("Deleted “Sourdough at home”"));
  await see(questions(page).getByText("Where do they go?"));
  await page.getByRole("button", { name: "Undo" }).click();
  await see(row(page, bread.title));
  await see(questions(page).getByText("How do I begin a sourdough?"));
  expect(await calls(page, "conversation_restore")).toEqual([{ id: "bread" }]);
});

test("the menu of a row renames and deletes", async () => {
  const page = await open({ stories: shelf });
  await row(page, birds.title).hover();
  await page
    .getByRole("button", { name: "Actions for “Birds in winter”" })
    .click();
  await see(page.getByRole("menuitem", { name: "Rename" }));
  await page.keyboard.press("End");
  await page.keyboard.press("Enter");
  await miss(row(page, birds.title));
  expect(await calls(page, "conversation_delete")).toEqual([{ id: "birds" }]);
});

test("arrows, Home, End and first letters move in the list", async () => {
  const page = await open({ stories: shelf });
  const here = () =>
    page.evaluate(() => document.activeElement?.textContent?.trim());
  await row(page, tides.title).focus();
  await page.keyboard.press("ArrowDown");
  expect(await here()).toBe("Sourdough at home");
  await page.keyboard.press("End");
  expect(await here()).toBe("Projections of maps");
  await page.keyboard.press("Home");
  expect(await here()).toBe("Why the sea has tides");
  await page.keyboard.type("bi");
  expect(await here()).toBe("Birds in winter");
  await page.keyboard.press("Enter");
  await see(questions(page).getByText("Where do they go?"));
});

test("search looks into the messages and marks what it found", async () => {
  const page = await open({ stories: shelf });
  await see(row(page, tides.title));
  await page.keyboard.press("Control+Shift+F");
  await page.keyboard.type("flour");
  await see(page.getByText("1 conversation"));
  expect(await page.locator("[data-row] mark").allInnerTexts()).toEqual([
    "flour",
  ]);
  await page.keyboard.press("Escape");
  await until(async () => (await titles(page)).length, 4);
});

test("reopening the window shows the last conversation", async () => {
  const page = await open({ stories: shelf });
  await row(page, bread.title).click();
  await see(answers(page).getByText("Mix equal parts"));
  await page.reload();
  await see(answers(page).getByText("Mix equal parts"));
  await see(page.getByRole("heading", { name: bread.title }));
});

test("Ctrl+N begins a new chat, and another goes on streaming meanwhile", async () => {
  const reply = Array.from({ length: 60 }, (_, i) => `word${i}`).join(" ");
  const page = await open({ reply, tickMs: 30 });
  await send(page, "Count");
  await see(answers(page).getByText("word3"));
  await page.keyboard.press("Control+n");
  await see(page.getByText("Ask something"));
  expect(await answers(page).count()).toBe(0);
  await see(page.getByText(", answering"));
  await page.getByRole("button", { name: /^Count/ }).click();
  await see(answers(page).getByText(reply));
  await see(page.getByRole("button", { name: /First token/ }));
});

test("Ctrl+B hides the list, also after reopening", async () => {
  const page = await open({ stories: shelf });
  await see(row(page, tides.title));
  await page.keyboard.press("Control+b");
  await miss(row(page, tides.title));
  await page.reload();
  await see(field(page));
  expect(await row(page, tides.title).count()).toBe(0);
  await page.getByRole("button", { name: "Show conversations" }).click();
  await see(row(page, tides.title));
});

test("at 800×600 the list is a drawer", async () => {
  const page = await open({ stories: shelf }, { width: 800, height: 600 });
  await see(page.getByText("Ask something"));
  expect(await row(page, tides.title).count()).toBe(0);
  await page.keyboard.press("Control+b");
  await see(row(page, tides.title));
  await page.keyboard.press("Escape");
  await miss(row(page, tides.title));
  await page.getByRole("button", { name: "Show conversations" }).click();
  await row(page, tides.title).click();
  await see(questions(page).getByText("Why does the sea have tides?"));
  await miss(row(page, tides.title));
});
