import type { Token, Tokens } from "marked";
import { languageOf, lex } from "./markdown";

/** One top-level piece of an answer; equal blocks need not be drawn again. */
export type Block =
  { kind: "markdown"; raw: string } | { kind: "code"; raw: string; code: string; language: string };

/**
 * Splits a growing text into its top-level blocks.
 *
 * Only the tail is read again when the text has merely grown, and blocks that did not change
 * stay the same objects, so that a word at the end costs the same in a long answer as in a short one.
 */
export class BlockSplitter {
  #text = "";
  #blocks: Block[] = [];
  /** Length of the text up to the start of each block. */
  #starts: number[] = [];

  /** The link definitions (`[name]: address`) of the whole text, for blocks that use them. */
  definitions = "";

  split(text: string): Block[] {
    if (text === this.#text) return this.#blocks;
    const grown = this.#text !== "" && text.startsWith(this.#text);
    // The last two blocks may still change or join; what lies before them is settled.
    const kept = grown ? Math.max(0, this.#blocks.length - 2) : 0;
    const from = kept > 0 ? (this.#starts[kept] ?? 0) : 0;
    if (!grown) this.definitions = "";

    const before = this.#blocks;
    const blocks = this.#blocks.slice(0, kept);
    const starts = this.#starts.slice(0, kept);
    let at = from;
    for (const token of lex(text.slice(from))) {
      if (token.type === "def") this.#define(token.raw);
      else if (token.type !== "space") {
        const next = blockOf(token);
        const old = before[blocks.length];
        blocks.push(old && same(old, next) ? old : next);
        starts.push(at);
      }
      at += token.raw.length;
    }
    this.#text = text;
    this.#blocks = blocks;
    // Tabs and carriage returns are rewritten by the lexer, which would shift the starts.
    this.#starts = at === text.length ? starts : [];
    if (at !== text.length) this.#text = "";
    return blocks;
  }

  #define(raw: string) {
    const line = raw.trim();
    if (!this.definitions.includes(line)) this.definitions += `${line}\n`;
  }
}

function blockOf(token: Token): Block {
  if (token.type !== "code") return { kind: "markdown", raw: token.raw };
  const { raw, text, lang } = token as Tokens.Code;
  return { kind: "code", raw, code: text, language: languageOf(lang) };
}

function same(a: Block, b: Block): boolean {
  return a.kind === b.kind && a.raw === b.raw;
}
