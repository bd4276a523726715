/** What a piece of a streaming answer does to the text that is already there. */
export type Joined = { kind: "joined"; text: string } | { kind: "known" } | { kind: "gap" };

/**
 * Joins a piece to the text at its place. Pieces may come twice (the text was read from
 * the store meanwhile): what is known is left out. A gap cannot be joined.
 */
export function join(text: string, offset: number, piece: string): Joined {
  if (offset > text.length) return { kind: "gap" };
  const fresh = piece.slice(text.length - offset);
  return fresh === "" ? { kind: "known" } : { kind: "joined", text: text + fresh };
}
