import katex from "katex";
import type { MarkedExtension, TokenizerAndRendererExtension, Tokens } from "marked";
import markedKatex from "marked-katex-extension";

const options = { throwOnError: false, strict: false } as const;

// Many models write \( … \) and \[ … \] where others write $ … $ and $$ … $$.
const inline: TokenizerAndRendererExtension = {
  name: "parenFormula",
  level: "inline",
  start: (text) => text.match(/\\[([]/)?.index,
  tokenizer(text): Tokens.Generic | undefined {
    const match = /^\\\(([\s\S]+?)\\\)/.exec(text) ?? /^\\\[([\s\S]+?)\\\]/.exec(text);
    if (!match) return undefined;
    return {
      type: "parenFormula",
      raw: match[0],
      text: match[1] ?? "",
      display: match[0].startsWith("\\["),
    };
  },
  renderer: (token) => draw(String(token.text), Boolean(token.display)),
};

const block: TokenizerAndRendererExtension = {
  name: "bracketFormula",
  level: "block",
  start: (text) => text.match(/^ {0,3}\\\[/m)?.index,
  tokenizer(text): Tokens.Generic | undefined {
    const match = /^ {0,3}\\\[([\s\S]+?)\\\][ \t]*(?:\n+|$)/.exec(text);
    if (!match) return undefined;
    return { type: "bracketFormula", raw: match[0], text: match[1] ?? "" };
  },
  renderer: (token) => draw(String(token.text), true),
};

function draw(formula: string, displayMode: boolean): string {
  return katex.renderToString(formula.trim(), { ...options, displayMode });
}

/** Formulas in all four ways of writing them. */
export const formulas: MarkedExtension[] = [markedKatex(options), { extensions: [block, inline] }];
