/** A colour and a shape for each series, so that they can be told apart without colours. */
const COLOURS = [
  "--part-weights",
  "--part-kv",
  "--part-compute",
  "--code-name",
  "--code-figure",
  "--part-reserve",
];

const SHAPES: ((r: number) => string)[] = [
  (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`,
  (r) => `M${-r * 0.9} ${-r * 0.9}h${r * 1.8}v${r * 1.8}h${-r * 1.8}z`,
  (r) => `M0 ${-r * 1.15}L${r * 1.1} ${r * 0.85}H${-r * 1.1}z`,
  (r) => `M0 ${-r * 1.25}L${r * 1.25} 0L0 ${r * 1.25}L${-r * 1.25} 0z`,
  (r) => `M0 ${r * 1.15}L${r * 1.1} ${-r * 0.85}H${-r * 1.1}z`,
];

/** The colour of the series at a place, as CSS. */
export function colourOf(index: number): string {
  return `var(${COLOURS[index % COLOURS.length] ?? "--accent"})`;
}

/** The outline of the marks of the series at a place, around 0, 0. */
export function shapeOf(index: number, radius: number): string {
  return (SHAPES[index % SHAPES.length] ?? SHAPES[0])?.(radius) ?? "";
}
