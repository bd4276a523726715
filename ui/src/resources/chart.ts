import type { ResourceSample } from "../bindings";

export type Read = (sample: ResourceSample) => number | null;

/** One line of a chart, or one layer of a stack. */
export type Series = {
  label: string;
  /** A CSS variable. */
  color: string;
  /** Lines are told apart by this too, not by colour alone. */
  dash?: number[];
  /** The figure of a sample; null where there is none, which is never drawn as 0. */
  read: Read;
  /** Where the line runs, if not at the figure itself: on top of the layers below. */
  draw?: Read;
};

/** Series on one axis from 0, over the time axis that all charts share. */
export type Chart = {
  id: string;
  /** The heading it is under. */
  group: string;
  title: string;
  series: Series[];
  /** Writes a figure with its unit. */
  write: (value: number) => string;
  /** Where the axis ends; null: above the highest figure. */
  top: number | null;
  /** The end of the axis above a highest figure, where it is not just a round one. */
  end?: (high: number) => number;
  /** Layers on one another rather than lines. */
  stacked?: boolean;
  /** What else is known of a moment. */
  notes?: (sample: ResourceSample) => string[];
};

export const DASH = [6, 4];
export const DOTS = [2, 3];

/** A chart of one line. */
export function line(
  id: string,
  group: string,
  title: string,
  write: Chart["write"],
  top: number | null,
  label: string,
  color: string,
  read: Read,
): Chart {
  return { id, group, title, write, top, series: [{ label, color, read }] };
}
