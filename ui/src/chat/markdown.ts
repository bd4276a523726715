import DOMPurify from "dompurify";
import { Marked, type Token, type Tokens } from "marked";
import { formulas } from "./formulas";
import { escapeHtml, highlight, languageLabel } from "./highlight";

// An answer is text from outside: it may format itself, and do nothing else. Three walls:
// HTML in it is shown as text but for a few harmless tags, the result is sanitised,
// and the content security policy bars what would still get through.

const HARMLESS = /^<\/?(?:br|sub|sup|kbd|b|i|u|s|em|strong|mark|small|del|ins)\s*\/?>$/i;
const OPENABLE = /^(?:https?:\/\/|mailto:)/i;
const LOCAL_IMAGE = /^data:image\/(?:png|jpe?g|gif|webp);base64,[a-z0-9+/=\s]+$/i;

const marked = new Marked({ gfm: true, breaks: false }, ...formulas, {
  renderer: {
    html({ text, block }) {
      const parts = text.split(/(<[^<>]*>)/);
      const shown = parts.map((part) => (HARMLESS.test(part) ? part : escapeHtml(part))).join("");
      return block ? `<p>${shown}</p>` : shown;
    },
    link({ href, tokens }) {
      const label = this.parser.parseInline(tokens);
      if (!OPENABLE.test(href)) return label;
      return `<a href="${escapeHtml(href)}" title="${escapeHtml(href)}">${label}</a>`;
    },
    // Loading a remote image would tell a stranger that this was read: it stays a link.
    image({ href, text }) {
      const name = escapeHtml(text);
      if (LOCAL_IMAGE.test(href)) return `<img src="${escapeHtml(href)}" alt="${name}">`;
      if (!OPENABLE.test(href)) return `<span class="image">Image: ${name || "unnamed"}</span>`;
      const address = escapeHtml(href);
      return `<a class="image" href="${address}" title="${address}">Image: ${name || address}</a>`;
    },
    code: ({ text, lang }) => codeHtml(text, languageOf(lang)),
    table({ header, rows }) {
      const cell = (tag: string, { tokens, align }: Tokens.TableCell) =>
        `<${tag}${align ? ` align="${align}"` : ""}>${this.parser.parseInline(tokens)}</${tag}>`;
      const head = header.map((one) => cell("th", one)).join("");
      const body = rows.map((row) => `<tr>${row.map((one) => cell("td", one)).join("")}</tr>`);
      return `<div class="table" tabindex="0" role="region" aria-label="Table"><table><thead><tr>${head}</tr></thead><tbody>${body.join("")}</tbody></table></div>`;
    },
    checkbox: ({ checked }) =>
      `<input type="checkbox" disabled aria-label="${checked ? "Done" : "To do"}"${checked ? " checked" : ""}> `,
  },
});

/** The first word after a code fence, which names its language. */
export function languageOf(info: string | undefined): string {
  return (info ?? "").trim().split(/\s+/)[0]?.toLowerCase() ?? "";
}

/** Code inside a list or quote; at the top level CodeBlock.svelte draws the same. */
function codeHtml(code: string, language: string): string {
  return (
    `<figure class="code"><figcaption><span>${escapeHtml(languageLabel(language))}</span>` +
    `<button type="button" data-copy>Copy</button></figcaption>` +
    `<pre tabindex="0"><code>${highlight(code, language)}</code></pre></figure>`
  );
}

/** Top-level tokens of a text, as Markdown sees them. */
export function lex(text: string): Token[] {
  return marked.lexer(text);
}

/** One block of Markdown as safe HTML. `definitions` are the text's link definitions. */
export function render(block: string, definitions = ""): string {
  const html = marked.parse(definitions ? `${block}\n\n${definitions}` : block, { async: false });
  return sanitise(html);
}

/** HTML without anything that acts: no scripts, handlers, frames, forms or remote loads. */
export function sanitise(html: string): string {
  // KaTeX repeats each formula's source in an annotation, which would be read out twice.
  const spoken = html.replace(/<annotation[\s\S]*?<\/annotation>/g, "");
  return DOMPurify.sanitize(spoken, {
    USE_PROFILES: { html: true, mathMl: true, svg: true },
    FORBID_TAGS: ["style", "form", "textarea", "select", "option", "audio", "video", "source"],
    FORBID_ATTR: ["srcset", "action", "formaction", "background", "poster", "ping"],
    ADD_ATTR: ["data-copy"],
  });
}

DOMPurify.addHook("uponSanitizeAttribute", (_node, attribute) => {
  const { attrName, attrValue } = attribute;
  if (attrName === "href" || attrName === "xlink:href") {
    attribute.keepAttr = OPENABLE.test(attrValue);
  }
  if (attrName === "src") attribute.keepAttr = LOCAL_IMAGE.test(attrValue);
  // KaTeX places its glyphs by inline styles; none of them needs an address.
  if (attrName === "style" && /url\s*\(|@import|expression/i.test(attrValue)) {
    attribute.keepAttr = false;
  }
});
