import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Chart } from "./chart";
import type { Column, Mark } from "./history";
import { palette } from "./palette.svelte";
import { AXIS_PX, momentsOf, RIGHT_PX, roundTop, type Span } from "./span";

/** Below this a drag is a click with an unsteady hand. */
const LEAST_DRAG_PX = 5;
/** Layers thinner than this are named by the legend alone. */
const LABEL_PX = 16;

/** What is drawn at one time. */
export type Picture = { chart: Chart; columns: Column[]; span: Span; marks: Mark[] };

/** What a person does with the pointer. */
export type Pointing = {
  onpoint: (at: number | null) => void;
  onzoom: (span: Span) => void;
  onreset: () => void;
};

function dataOf({ chart, columns }: Picture): uPlot.AlignedData {
  return [
    columns.map(({ at }) => at),
    ...chart.series.map(({ read, draw = read }) =>
      columns.map(({ sample }) => (sample ? draw(sample) : null)),
    ),
  ];
}

/** The readings that no line shows, as nothing is known before and after them. */
function lonely(plot: uPlot, series: number): number[] {
  const values = plot.data[series] ?? [];
  const isNone = (at: number) => (values[at] ?? null) === null;
  return [...values.keys()].filter((at) => !isNone(at) && isNone(at - 1) && isNone(at + 1));
}

/** A chart on a canvas, which draws once for each picture it is given. */
export class Plot {
  #picture: Picture;
  #plot: uPlot;

  constructor(box: HTMLElement, picture: Picture, pointing: Pointing) {
    this.#picture = picture;
    this.#plot = new uPlot(this.#options(box, pointing), dataOf(picture), box);
    const { over } = this.#plot;
    over.addEventListener("mousemove", (event) => {
      if (event.buttons > 0) return;
      pointing.onpoint(this.#plot.posToVal(event.clientX - over.getBoundingClientRect().left, "x"));
    });
    over.addEventListener("mouseleave", (event) => {
      if (event.buttons === 0) pointing.onpoint(null);
    });
  }

  show(picture: Picture): void {
    this.#picture = picture;
    this.#plot.setData(dataOf(picture));
  }

  /** Paints what is shown in the colours of the present theme. */
  repaint(): void {
    this.#plot.redraw(false);
  }

  resize(width: number, height: number): void {
    this.#plot.setSize({ width, height });
  }

  /** Puts the crosshair at a moment, or away. */
  point(at: number | null): void {
    const { from, to } = this.#picture.span;
    const seen = at !== null && at >= from && at <= to;
    const left = seen ? this.#plot.valToPos(at, "x") : -10;
    if (Math.abs((this.#plot.cursor.left ?? -10) - left) < 0.5) return;
    this.#plot.setCursor({ left, top: seen ? 0 : -10 }, false);
  }

  destroy(): void {
    this.#plot.destroy();
  }

  #options(box: HTMLElement, pointing: Pointing): uPlot.Options {
    const { chart } = this.#picture;
    const muted = () => palette.color("--muted");
    const grid = { stroke: () => palette.color("--line"), width: 1 };
    const font = `11px ${palette.color("--font")}`;
    return {
      width: box.clientWidth,
      height: box.clientHeight,
      padding: [8, RIGHT_PX, 6, 0],
      legend: { show: false },
      scales: {
        x: {
          time: false,
          range: () => [this.#picture.span.from, this.#picture.span.to],
        },
        y: {
          range: (_, _low, high) => [0, this.#picture.chart.top ?? this.#endOf(high)],
        },
      },
      axes: [
        {
          size: 0,
          ticks: { show: false },
          grid,
          splits: (plot) => momentsOf(this.#picture.span, plot.width - AXIS_PX - RIGHT_PX),
          values: (_, moments) => moments.map(() => ""),
        },
        {
          size: AXIS_PX,
          gap: 6,
          stroke: muted,
          font,
          ticks: { show: false },
          grid,
          splits: (_, _axis, _low, high) => [0, high / 2, high],
          values: (_, values) =>
            values.map((value) => (value === 0 ? "0" : this.#picture.chart.write(value))),
        },
      ],
      series: [
        {},
        ...chart.series.map(({ color, dash }, at): uPlot.Series => ({
          stroke: () => palette.color(color),
          width: 1.5,
          ...(dash ? { dash } : {}),
          ...(chart.stacked && at === 0 ? { fill: () => palette.faded(color) } : {}),
          points: { show: true, size: 3, fill: () => palette.color(color), filter: lonely },
        })),
      ],
      bands: chart.stacked
        ? chart.series.slice(1).map(({ color }, at) => ({
            series: [at + 2, at + 1] as [number, number],
            fill: () => palette.faded(color),
          }))
        : [],
      cursor: {
        y: false,
        drag: { x: true, y: false, setScale: false, dist: LEAST_DRAG_PX },
        points: { size: 6, stroke: () => "transparent" },
        bind: {
          dblclick: () => () => {
            pointing.onreset();
            return null;
          },
        },
      },
      hooks: {
        drawClear: [(plot) => this.#paintAnswers(plot)],
        draw: chart.stacked ? [(plot) => this.#paintNames(plot)] : [],
        setSelect: [
          (plot) => {
            const { left, width } = plot.select;
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            if (width < LEAST_DRAG_PX) return;
            pointing.onzoom({
              from: plot.posToVal(left, "x"),
              to: plot.posToVal(left + width, "x"),
            });
          },
        ],
      },
    };
  }

  #endOf(high: number): number {
    const { end = roundTop } = this.#picture.chart;
    return end(high);
  }

  /** A quiet ground behind the time in which an answer was written. */
  #paintAnswers(plot: uPlot) {
    const { ctx, bbox } = plot;
    const { marks, span } = this.#picture;
    ctx.save();
    ctx.fillStyle = palette.color("--accent-soft");
    for (const { started_ms, ended_ms } of marks) {
      if (ended_ms < span.from || started_ms > span.to) continue;
      const left = Math.max(plot.valToPos(started_ms, "x", true), bbox.left);
      const right = Math.min(plot.valToPos(ended_ms, "x", true), bbox.left + bbox.width);
      ctx.fillRect(left, bbox.top, Math.max(right - left, devicePixelRatio), bbox.height);
    }
    ctx.restore();
  }

  /** The names of the layers in the layers, where there is room. */
  #paintNames(plot: uPlot) {
    const { ctx, bbox } = plot;
    const first = this.#picture.columns.find(
      ({ at, sample }) => sample && at >= this.#picture.span.from,
    );
    if (!first?.sample) return;
    const { sample } = first;
    const left = Math.max(plot.valToPos(first.at, "x", true), bbox.left) + 8 * devicePixelRatio;
    ctx.save();
    ctx.fillStyle = palette.color("--text");
    ctx.font = `${11 * devicePixelRatio}px ${palette.color("--font")}`;
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    for (const { label, read, draw = read } of this.#picture.chart.series) {
      const upper = draw(sample);
      const own = read(sample);
      if (upper === null || own === null) continue;
      const top = plot.valToPos(upper, "y", true);
      const bottom = plot.valToPos(upper - own, "y", true);
      if (bottom - top < LABEL_PX * devicePixelRatio) continue;
      if (left + ctx.measureText(label).width > bbox.left + bbox.width) continue;
      ctx.fillText(label, left, (top + bottom) / 2);
    }
    ctx.restore();
  }
}
