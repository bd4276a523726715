/** The sentences that are complete in a streaming text after `from`, and where they end. */
export function finishedSentences(text: string, from: number): { said: string[]; upto: number } {
  const said: string[] = [];
  let upto = from;
  while (upto < text.length) {
    const rest = text.slice(upto);
    const fence = /^\s*(```|~~~)[^\n]*\n/.exec(rest);
    if (fence) {
      const mark = fence[1] ?? "```";
      const end = rest.indexOf(`\n${mark}`, fence[0].length - 1);
      if (end < 0) break;
      const lines = rest.slice(fence[0].length, Math.max(end, fence[0].length)).split("\n").length;
      said.push(`Code, ${lines} ${lines === 1 ? "line" : "lines"}.`);
      upto += end + 1 + mark.length;
      continue;
    }
    const match = /^\s*[^\n]*?(?:[.!?…:](?=\s)|\n)/.exec(rest);
    if (!match) break;
    const plain = plainText(match[0]);
    if (plain) said.push(plain);
    upto += match[0].length;
  }
  return { said, upto };
}

/** A line of Markdown as it would be read out. */
export function plainText(line: string): string {
  return line
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/^\s*(?:#{1,6}|>|[-*+]|\d+[.)])\s+/, "")
    .replace(/^[\s|:-]+$/, "")
    .replace(/[*_`~|]+/g, " ")
    .replace(/\s+/g, " ")
    .trim();
}
