// @vitest-environment jsdom
import { expect, test } from "vitest";
import { render, sanitise } from "./markdown";

function drawn(markdown: string): HTMLElement {
  const box = document.createElement("div");
  box.innerHTML = render(markdown);
  return box;
}

test("a script is shown, not run", () => {
  const box = drawn("Look: <script>alert(1)</script>");
  expect(box.querySelector("script")).toBeNull();
  expect(box.textContent).toContain("<script>");
});

test.each([
  "<img src=x onerror=alert(1)>",
  '<a href="https://example.org" onclick="alert(1)">x</a>',
  "<svg onload=alert(1)></svg>",
  "<iframe src=https://example.org></iframe>",
  "<div\nonmouseover=alert(1)>x</div>",
  "`<b onclick=alert(1)>`",
])("no element of %s comes to life", (text) => {
  const box = drawn(text);
  expect(box.querySelector("img, svg, iframe, [onerror], [onclick], [onload], a")).toBeNull();
  expect(box.textContent).toContain("<");
});

test.each(["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "file:///etc/passwd"])(
  "a link to %s is only text",
  (href) => {
    const box = drawn(`[press](${href})`);
    expect(box.querySelector("a")).toBeNull();
    expect(box.textContent?.trim()).toBe("press");
  },
);

test("web and mail links stay", () => {
  const links = drawn("[a](https://example.org) [b](mailto:a@example.org)").querySelectorAll("a");
  expect([...links].map((link) => link.getAttribute("href"))).toEqual([
    "https://example.org",
    "mailto:a@example.org",
  ]);
});

test("a remote image is a link and is not loaded", () => {
  const box = drawn("![A cat](https://example.org/cat.png)");
  expect(box.querySelector("img")).toBeNull();
  expect(box.querySelector("a")?.getAttribute("href")).toBe("https://example.org/cat.png");
  expect(box.textContent?.trim()).toBe("Image: A cat");
});

test("an image that came with the text is shown", () => {
  const box = drawn("![dot](data:image/png;base64,iVBORw0KGgo=)");
  expect(box.querySelector("img")?.getAttribute("src")).toMatch(/^data:image\/png/);
});

test("harmless tags work", () => {
  expect(drawn("H<sub>2</sub>O").querySelector("sub")?.textContent).toBe("2");
});

test("the second wall holds by itself", () => {
  expect(sanitise('<img src="https://example.org/x.png">')).toBe("<img>");
  expect(sanitise('<p style="background:url(https://example.org)">x</p>')).toBe("<p>x</p>");
  expect(sanitise('<form action="https://example.org"><button>x</button></form>')).not.toContain(
    "form",
  );
  expect(sanitise("<style>p{}</style><p>x</p>")).toBe("<p>x</p>");
});

test.each(["$x^2$", "\\(x^2\\)", "$$\nx^2\n$$", "\\[\nx^2\n\\]"])("a formula %s", (text) => {
  const box = drawn(text);
  expect(box.querySelector(".katex")).not.toBeNull();
  expect(box.querySelector("math")).not.toBeNull();
  expect(box.textContent).not.toContain("x^2");
});

test("prices are not formulas", () => {
  expect(drawn("It costs $5 or $10 a month.").querySelector(".katex")).toBeNull();
});

test("code is escaped and named", () => {
  const box = drawn("- item\n\n  ```html\n  <b>x</b>\n  ```");
  expect(box.querySelector("figcaption span")?.textContent).toBe("HTML");
  expect(box.querySelector("code")?.textContent).toContain("<b>x</b>");
  expect(box.querySelector("button")?.hasAttribute("data-copy")).toBe(true);
});

test("a link defined elsewhere in the answer is found", () => {
  expect(render("[it][1]", "[1]: https://example.org")).toContain('href="https://example.org"');
});
