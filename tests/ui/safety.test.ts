import { expect, test } from "vitest";
import { answers, calls, open, see, send, takeFaults } from "./harness";

// The harness fails a test on any request to elsewhere and any breach of the policy.

const NASTY = [
  "Harmless start. <script>window.hacked = 1</script>",
  '<img src=x onerror="window.hacked = 2">',
  "[press me](javascript:window.hacked=3)",
  '<a href="javascript:window.hacked=4">and me</a>',
  "![A cat](https://example.org/cat.png)",
  '<iframe src="https://example.org"></iframe>',
  '<form action="https://example.org"><input name="q"></form>',
  "$\\href{javascript:window.hacked=5}{x}$",
  "[a real link](https://example.org/page)",
].join("\n\n");

test("text that tries to act is only text", async () => {
  const page = await open({ reply: NASTY });
  await send(page, '<img src=x onerror="window.hacked = 6"> <b>bold?</b>');
  await see(page.getByRole("button", { name: /First token/ }));
  await see(page.getByText("<b>bold?</b>"));
  await see(answers(page).getByText("<script>window.hacked = 1</script>"));
  const found = await page.evaluate(() => {
    for (const link of document.querySelectorAll<HTMLElement>(".markdown a"))
      link.click();
    return {
      hacked: (window as { hacked?: number }).hacked,
      alive: document.querySelectorAll(
        ".markdown :is(img, script, iframe, form, input, [onerror], [onclick])",
      ).length,
      at: location.pathname,
    };
  });
  expect(found).toEqual({ hacked: undefined, alive: 0, at: "/" });
});

test("links and pictures open in the person's browser, the window stays", async () => {
  const page = await open({ reply: NASTY });
  await send(page, "Go");
  await see(page.getByRole("button", { name: /First token/ }));
  await page.getByRole("link", { name: "a real link" }).click();
  await page
    .getByRole("link", { name: "Image: A cat" })
    .click({ button: "middle" });
  expect(await calls(page, "open_external")).toEqual([
    { url: "https://example.org/page" },
    { url: "https://example.org/cat.png" },
  ]);
});

test("an error that nobody caught is shown", async () => {
  const page = await open();
  await page.evaluate(() => void Promise.reject(new Error("unforeseen")));
  await see(page.getByRole("alert").getByText(/unforeseen/));
  expect(takeFaults()).toEqual(["unforeseen"]);
});
