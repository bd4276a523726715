import { chromium, type Locator, type Page } from "playwright-core";
import { expect, inject } from "vitest";
import type { FakeOptions } from "./fake/options";

export type Theme = "light" | "dark";

export type Shape = { width?: number; height?: number; theme?: Theme };

let page: Page;
/** Errors of the page and breaches of its policy: none may happen in any test. */
let faults: string[] = [];

/** Connects to the browser, once: all tests share one page, as opening one takes longer than most tests. */
export async function connect(): Promise<void> {
  if (page) return;
  const browser = await chromium.connect(inject("browser"));
  const context = await browser.newContext({
    reducedMotion: "reduce",
    permissions: ["clipboard-read", "clipboard-write"],
  });
  context.setDefaultTimeout(15_000);
  page = await context.newPage();
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") faults.push(message.text());
  });
  page.on("request", (request) => {
    if (
      !request.url().startsWith(inject("address")) &&
      !request.url().startsWith("data:")
    ) {
      faults.push(`a request to ${request.url()}`);
    }
  });
  await page.addInitScript({
    content: `
      if (sessionStorage.getItem("fresh")) localStorage.clear();
      sessionStorage.removeItem("fresh");
      window.__fakeOptions = JSON.parse(sessionStorage.getItem("options") ?? "{}");
    `,
  });
  await page.addInitScript({ content: inject("fake") });
  await page.goto(inject("address"));
}

/** The errors of the page so far, for a test that means to cause one. */
export function takeFaults(): string[] {
  const found = faults;
  faults = [];
  return found;
}

/** Opens the window anew, in a world of the test's making. */
export async function open(
  options: Partial<FakeOptions> = {},
  shape: Shape = {},
): Promise<Page> {
  await page.setViewportSize({
    width: shape.width ?? 1280,
    height: shape.height ?? 800,
  });
  await page.emulateMedia({ colorScheme: shape.theme ?? "light" });
  await page.mouse.move(0, 0);
  await page.evaluate((chosen) => {
    sessionStorage.setItem("options", chosen);
    sessionStorage.setItem("fresh", "yes");
  }, JSON.stringify(options));
  await page.goto(inject("address"));
  return page;
}

/** The message field. */
export function field(page: Page): Locator {
  return page.getByRole("textbox", { name: "Message", exact: true });
}

/** The answers on the screen, in order. */
export function answers(page: Page): Locator {
  return page.getByRole("article", { name: "Answer" });
}

/** The person's messages on the screen, in order. */
export function questions(page: Page): Locator {
  return page.getByRole("article", { name: "You" });
}

/** Types a message and sends it with Enter. */
export async function send(page: Page, text: string): Promise<void> {
  await field(page).fill(text);
  await field(page).press("Enter");
}

/** Waits until a locator is on the screen. */
export async function see(what: Locator): Promise<void> {
  await what.first().waitFor({ state: "visible" });
}

/** Waits until a locator is not on the screen. */
export async function miss(what: Locator): Promise<void> {
  await what.first().waitFor({ state: "hidden" });
}

/** Waits until something holds. */
export async function until<T>(
  what: () => Promise<T>,
  expected: T,
): Promise<void> {
  await expect.poll(what, { timeout: 15_000, interval: 20 }).toEqual(expected);
}

/** The commands the page has sent, by their names on the wire. */
export function calls(
  page: Page,
  command: string,
): Promise<Record<string, unknown>[]> {
  return page.evaluate(
    (wanted) =>
      window.__fake.calls
        .filter((call) => call.command === wanted)
        .map((call) => call.args),
    command,
  );
}

/** The row of a conversation in the list. */
export function row(page: Page, title: string): Locator {
  return page.getByRole("button", { name: title, exact: true });
}
