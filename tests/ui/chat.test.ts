import { expect, test } from "vitest";
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
} from "./harness";

const LONG = Array.from({ length: 400 }, (_, i) => `word${i}`).join(" ");

test("an answer streams in and ends with its receipt", async () => {
  const page = await open({ tickMs: 40 });
  await see(page.getByText("Ask something"));
  await send(page, "Why does the sea have tides?");
  await see(questions(page).getByText("Why does the sea have tides?"));
  await see(answers(page).getByText("The sea has"));
  const early = await answers(page).innerText();
  expect(early).not.toContain("pulls on it.");
  await see(
    answers(page).getByText("The sea has tides because the moon pulls on it."),
  );
  await see(
    page.getByRole("button", {
      name: /First token 412 ms.*23\.4 tok\/s.*38 \+ 10 tokens/,
    }),
  );
  expect(await field(page).inputValue()).toBe("");
});

test("the receipt opens all details", async () => {
  const page = await open({});
  await send(page, "Hello");
  await page.getByRole("button", { name: /First token/ }).click();
  await see(page.getByText("The model was done"));
  await see(page.getByText("184 tok/s"));
});

test("Stop ends the answer, Continue writes on in it", async () => {
  const page = await open({ reply: LONG, tickMs: 15 });
  await send(page, "Count");
  await see(answers(page).getByText("word5"));
  await page.getByRole("button", { name: "Stop the answer" }).click();
  await see(answers(page).getByText("Stopped", { exact: true }));
  const before = await answers(page).locator(".markdown").innerText();
  await page.getByRole("button", { name: "Continue" }).click();
  await miss(page.getByText("Stopped", { exact: true }));
  await until(
    async () =>
      (await answers(page).locator(".markdown").innerText()).length >
      before.length + 20,
    true,
  );
  expect(await answers(page).locator(".markdown").innerText()).toContain(
    before,
  );
  expect(await answers(page).count()).toBe(1);
});

test("an answer that goes on and ends before the request for it is as it ended", async () => {
  const page = await open({ reply: LONG });
  await send(page, "Count");
  await see(answers(page).getByText("word5"));
  await field(page).press("Escape");
  await see(answers(page).getByText("Stopped", { exact: true }));
  const before = await answers(page).locator(".markdown").innerText();
  await page.evaluate(() => {
    window.__fake.options.reply = " and the rest.";
    window.__fake.options.held = ["chat_continue"];
  });
  await page.getByRole("button", { name: "Continue" }).click();
  await see(answers(page).getByText(`${before} and the rest.`));
  await page.evaluate(() => window.__fake.release());
  expect(await answers(page).locator(".markdown").innerText()).toBe(
    `${before} and the rest.`,
  );
  await miss(page.getByRole("button", { name: "Stop the answer" }));
});

test("Esc stops too", async () => {
  const page = await open({ reply: LONG });
  await send(page, "Count");
  await see(answers(page).getByText("word5"));
  await field(page).press("Escape");
  await see(answers(page).getByText("Stopped", { exact: true }));
});

test("Shift+Enter breaks the line, Enter sends, composing does neither", async () => {
  const page = await open();
  await field(page).fill("one");
  await field(page).press("Shift+Enter");
  await page.keyboard.type("two");
  expect(await field(page).inputValue()).toBe("one\ntwo");
  await field(page).evaluate((node) =>
    node.dispatchEvent(
      new KeyboardEvent("keydown", {
        key: "Enter",
        isComposing: true,
        bubbles: true,
      }),
    ),
  );
  expect(await calls(page, "chat_send")).toHaveLength(0);
  await field(page).press("Enter");
  await until(async () => (await calls(page, "chat_send")).length, 1);
  expect((await calls(page, "chat_send"))[0]).toMatchObject({
    request: {
      conversation_id: null,
      parent_id: null,
      edit_of: null,
      text: "one\ntwo",
    },
  });
});

test("nothing and blanks cannot be sent", async () => {
  const page = await open();
  expect(await page.getByRole("button", { name: "Send" }).isDisabled()).toBe(
    true,
  );
  await send(page, "  \n ");
  expect(await page.getByRole("button", { name: "Send" }).isDisabled()).toBe(
    true,
  );
  expect(await calls(page, "chat_send")).toHaveLength(0);
});

test("Enter during an answer keeps what was typed", async () => {
  const page = await open({ reply: LONG });
  await send(page, "Count");
  await see(answers(page).getByText("word5"));
  await send(page, "And then?");
  expect(await field(page).inputValue()).toBe("And then?");
  await see(page.getByText("Your message is kept."));
  expect(await calls(page, "chat_send")).toHaveLength(1);
});

test("a message that could not be sent is still there, with what to do", async () => {
  const failures = {
    chat_send: {
      code: "no_model" as const,
      message: "There is no model to answer.",
      hint: "Put a GGUF file into the models folder.",
    },
  };
  const page = await open({ failures });
  await send(page, "Hello");
  await see(page.getByRole("alert").getByText("There is no model to answer."));
  expect(await field(page).inputValue()).toBe("Hello");
  await page
    .getByRole("alert")
    .getByRole("button", { name: "Open models folder" })
    .click();
  expect(await calls(page, "open_folder")).toEqual([{ which: "models" }]);
});

test("a draft survives switching and reopening", async () => {
  const { shelf } = await import("./stories");
  const page = await open({ stories: shelf });
  await page
    .getByRole("button", { name: "Sourdough at home", exact: true })
    .click();
  await field(page).fill("unfinished thought");
  await page
    .getByRole("button", { name: "Birds in winter", exact: true })
    .click();
  await until(() => field(page).inputValue(), "");
  await page.reload();
  await see(page.getByRole("heading", { name: "Birds in winter" }));
  await page
    .getByRole("button", { name: "Sourdough at home", exact: true })
    .click();
  await until(() => field(page).inputValue(), "unfinished thought");
});

test("the engine is warmed once, when typing begins", async () => {
  const page = await open({ engine: { kind: "idle" }, loadMs: 400 });
  await see(page.getByText("Starts when you type"));
  await field(page).pressSequentially("Hello there");
  await see(page.getByText("Loading SmolLM2-135M, 94 MiB, about 1 s"));
  await see(page.getByRole("status").getByText("Ready"));
  expect(await calls(page, "engine_warm")).toHaveLength(1);
});

test("before the first word it is told what goes on, and for how long", async () => {
  const page = await open({ firstTokenMs: 4000 });
  await send(page, "Hello");
  await see(answers(page).getByText("Reading your message"));
  await see(answers(page).getByText("2 s so far"));
  await page.getByRole("button", { name: "Cancel" }).click();
  await until(async () => (await calls(page, "chat_stop")).length, 1);
});

test("a message can be worded anew; both wordings stay", async () => {
  const page = await open();
  await send(page, "First wording");
  await see(page.getByRole("button", { name: /First token/ }));
  await questions(page).hover();
  await page.getByRole("button", { name: "Edit message" }).click();
  const edit = page.getByRole("textbox", { name: "Your message" });
  await edit.fill("Second wording");
  await edit.press("Enter");
  await see(questions(page).getByText("Second wording"));
  await see(questions(page).getByText("2/2"));
  await see(page.getByRole("button", { name: /First token/ }));
  await questions(page)
    .getByRole("button", { name: "Previous version" })
    .click();
  await see(questions(page).getByText("First wording"));
  await see(questions(page).getByText("1/2"));
});

test("answering again keeps the old answer one press away", async () => {
  const page = await open();
  await send(page, "Hello");
  await see(page.getByRole("button", { name: /First token/ }));
  await page.evaluate(
    () => (window.__fake.options.reply = "Another answer altogether."),
  );
  await page.getByRole("button", { name: "Answer again" }).click();
  await see(answers(page).getByText("Another answer altogether."));
  await see(answers(page).getByText("2/2"));
  await page.keyboard.press("Alt+ArrowLeft");
  await see(answers(page).getByText("The sea has tides"));
  await see(answers(page).getByText("1/2"));
});
