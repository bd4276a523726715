/** Whether a number is whole and between two bounds. */
export function isWhole(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

/** Digits in groups of three, as in 1,500 or 20,000.5. */
const GROUPED = /^[1-9]\d{0,2}(,\d{3})+(\.\d+)?$/;

/** A number as typed, or NaN: grouping commas are understood, and the comma of those who write 0,5. */
export function typedNumber(typed: string): number {
  const bare = typed.trim();
  if (bare === "") return Number.NaN;
  return Number(GROUPED.test(bare) ? bare.replaceAll(",", "") : bare.replace(",", "."));
}
