import { expect, test } from "vitest";
import type { Page } from "playwright-core";
import { answers, field, miss, open, see, send, until, row } from "./harness";
import { longTalk } from "./showpieces";

const LONG = Array.from(
  { length: 500 },
  (_, i) => `Sentence number ${i} is here.\n\n`,
).join("");

function scroller(page: Page) {
  return page.getByRole("log", { name: "Messages" });
}

function rest(page: Page) {
  return scroller(page).evaluate(
    (box) => box.scrollHeight - box.clientHeight - box.scrollTop,
  );
}

test("the view follows the end, and lets go as soon as one scrolls up", async () => {
  const page = await open({ reply: LONG, wordsPerTick: 5, tickMs: 20 });
  await send(page, "Tell");
  await see(answers(page).getByText("Sentence number 30 "));
  await until(async () => (await rest(page)) < 2, true);

  await scroller(page).hover();
  await page.mouse.wheel(0, -120);
  await see(page.getByRole("button", { name: "Jump to latest" }));
  const mark = page.getByText("Sentence number 20 is here.");
  const before = await mark.boundingBox();
  const length = await answers(page).evaluate(
    (node) => node.textContent?.length ?? 0,
  );
  await until(
    async () =>
      (await answers(page).evaluate((node) => node.textContent?.length ?? 0)) >
      length + 400,
    true,
  );
  expect(await mark.boundingBox()).toEqual(before);

  await page.getByRole("button", { name: "Jump to latest" }).click();
  await miss(page.getByRole("button", { name: "Jump to latest" }));
  await until(async () => (await rest(page)) < 2, true);
});

test("sending goes to the end, wherever one was", async () => {
  const page = await open({ stories: [longTalk] });
  await row(page, longTalk.title).click();
  await see(answers(page));
  await scroller(page).hover();
  await page.mouse.wheel(0, -5000);
  await see(page.getByRole("button", { name: "Jump to latest" }));
  await send(page, "And now?");
  await see(answers(page).getByText("The sea has tides because"));
  await until(async () => (await rest(page)) < 2, true);
});

test("typing a long message does not lose the end of the thread", async () => {
  const page = await open({ reply: LONG.slice(0, 3000), wordsPerTick: 200 });
  await send(page, "Tell");
  await see(page.getByRole("button", { name: /First token/ }));
  for (let i = 0; i < 6; i++) await field(page).press("Shift+Enter");
  await field(page).pressSequentially("abc");
  await until(async () => (await rest(page)) < 2, true);
  expect(
    await page.getByRole("button", { name: "Jump to latest" }).count(),
  ).toBe(0);
});

test("all pieces of one frame are one change of the page", async () => {
  const page = await open({ reply: "Begin.", firstTokenMs: 100_000 });
  await send(page, "Go");
  await see(answers(page));
  const changes = await page.evaluate(async () => {
    const [conversation_id, message_id] = await new Promise<string[]>(
      (resolve) => {
        const id =
          document.querySelector<HTMLElement>("[aria-label=Answer]")?.dataset
            .message ?? "";
        const row = document.querySelector<HTMLElement>(
          "[data-row][aria-current]",
        );
        resolve([row?.dataset.row ?? "", id]);
      },
    );
    const frame = () =>
      new Promise((resolve) => requestAnimationFrame(resolve));
    const piece = (offset_utf16: number) =>
      window.__fake.emit({
        type: "answer_delta",
        conversation_id: conversation_id ?? "",
        message_id: message_id ?? "",
        offset_utf16,
        text: "word ",
        tokens: offset_utf16 / 5 + 1,
      });
    piece(0);
    await frame();
    await frame();
    const answer = document.querySelector("[aria-label=Answer]") as HTMLElement;
    let batches = 0;
    new MutationObserver(() => batches++).observe(answer, {
      subtree: true,
      childList: true,
      characterData: true,
    });
    const counts: number[] = [];
    for (let round = 0; round < 5; round++) {
      batches = 0;
      for (let i = 0; i < 20; i++) {
        piece(5 + (round * 20 + i) * 5);
        // Messages of a channel arrive as tasks of their own.
        await new Promise((resolve) => queueMicrotask(() => resolve(null)));
      }
      const unpainted = batches;
      // The page rests after a frame that was dear.
      while (batches === 0) await frame();
      await frame();
      await frame();
      counts.push(unpainted, batches);
    }
    return { counts, text: answer.textContent };
  });
  expect(changes.counts).toEqual([0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
  expect(changes.text?.match(/word/g)).toHaveLength(101);
});

test("a gap in the stream is healed from the store", async () => {
  const page = await open({ firstTokenMs: 100_000 });
  await send(page, "Go");
  await see(answers(page));
  const opened = () =>
    page.evaluate(
      () =>
        window.__fake.calls.filter(
          (call) => call.command === "conversation_open",
        ).length,
    );
  const before = await opened();
  await page.evaluate(() => {
    const id =
      document.querySelector<HTMLElement>("[aria-label=Answer]")?.dataset
        .message ?? "";
    window.__fake.emit({
      type: "answer_delta",
      conversation_id: "",
      message_id: id,
      offset_utf16: 90,
      text: "late",
      tokens: 20,
    });
  });
  await until(async () => (await opened()) - before, 1);
});

test("a settled block is not drawn again while the answer grows", async () => {
  const page = await open({
    reply: `First paragraph.\n\nSecond one.\n\n${LONG}`,
    tickMs: 10,
  });
  await send(page, "Go");
  await see(answers(page).getByText("Sentence number 2 "));
  const kept = await page.evaluate(async () => {
    const first = document.querySelector(".markdown .block p");
    await new Promise((resolve) => setTimeout(resolve, 400));
    return first?.isConnected;
  });
  expect(kept).toBe(true);
});

test("lines stay under 76 characters, however wide the window", async () => {
  const page = await open(
    { stories: [longTalk] },
    { width: 2560, height: 1440 },
  );
  await row(page, longTalk.title).click();
  await see(answers(page));
  const longest = await page.evaluate(() => {
    let most = 0;
    for (const paragraph of document.querySelectorAll(
      ".markdown > .block > p",
    )) {
      const range = document.createRange();
      range.selectNodeContents(paragraph);
      const lines = new Set(
        [...range.getClientRects()].map((line) => Math.round(line.bottom / 8)),
      );
      most = Math.max(
        most,
        (paragraph.textContent ?? "").length / Math.max(1, lines.size),
      );
    }
    return most;
  });
  expect(longest).toBeLessThanOrEqual(76);
});

test("code is copied as it was written", async () => {
  const page = await open({ stories: [longTalk] });
  await row(page, longTalk.title).click();
  await page.getByRole("button", { name: "Copy", exact: true }).click();
  await see(page.getByRole("button", { name: "Copied" }));
  const text = await page.evaluate(() => navigator.clipboard.readText());
  expect(text).toContain(
    "    return 2 * G * mass * EARTH_RADIUS / distance**3\n",
  );
  expect(text.startsWith("G = 6.674e-11")).toBe(true);
});
