/**
 * Orders entries by how well their label fits what was typed, leaving out those that do not:
 * every typed word must begin a word of the label, or at least be somewhere in it.
 */
export function rank<T>(entries: T[], query: string, label: (entry: T) => string): T[] {
  const words = query.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  return entries
    .map((entry, index) => ({ entry, index, score: fit(label(entry).toLocaleLowerCase(), words) }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score || a.index - b.index)
    .map(({ entry }) => entry);
}

function fit(label: string, words: string[]): number {
  let score = 1;
  for (const word of words) {
    const at = label.indexOf(word);
    if (at < 0) return 0;
    if (at === 0) score += 3;
    else if (label.includes(` ${word}`)) score += 2;
    else score += 1;
  }
  return score;
}
