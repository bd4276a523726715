import { recall, remember } from "../lib/remember";
import { columnsOf, nearest, type Column, type Timed } from "./history";
import { resources } from "./resources.svelte";
import { lengthOf, within, zoomed, type Span } from "./span";

/** How many minutes the charts can show. */
export const RANGES_MIN = [1, 2, 5, 10];

/** How long figures that nobody looks at may stand. */
const CALM_MS = 5000;

/** The one time axis of all charts: what it spans, whether it stands still, and the moment pointed at. */
class Timeline {
  #minutes = $state(wishedRange());
  #asked = $state(false);
  #zoom = $state.raw<Span | null>(null);
  /** What was known when the picture was held. */
  #kept = $state.raw<Timed[] | null>(null);
  #pointed = $state<number | null>(null);

  readonly span = $derived.by((): Span => this.#zoom ?? this.#whole);
  readonly columns = $derived.by((): Column[] =>
    columnsOf(this.known, this.span.from, this.span.to),
  );
  /** The sample whose figures are told: that of the moment pointed at, else the last. */
  readonly told = $derived.by((): Timed | null =>
    this.pointed === null ? (this.known.at(-1) ?? null) : nearest(this.columns, this.pointed),
  );

  /** As what is told, but of the last five seconds at best while nothing is pointed at: for figures out of sight. */
  readonly calm = $derived.by((): Timed | null => {
    const { told } = this;
    const age = (told?.at_ms ?? 0) - (this.#calm?.at_ms ?? -Infinity);
    if (this.pointed !== null || age < 0 || age >= CALM_MS) this.#calm = told;
    return this.#calm;
  });
  #calm: Timed | null = null;

  /** The moment pointed at, Unix ms, or null; one that has left the span is not pointed at any more. */
  get pointed(): number | null {
    const { from, to } = this.span;
    const at = this.#pointed;
    return at !== null && at >= from && at <= to ? at : null;
  }

  set pointed(at: number | null) {
    this.#pointed = at;
  }

  /** The samples that can be shown: all, or those of the moment the picture was held. */
  get known(): Timed[] {
    return this.#kept ?? resources.samples;
  }

  get #whole(): Span {
    const to = this.known.at(-1)?.at_ms ?? Date.now();
    return { from: to - this.#minutes * 60_000, to };
  }

  get minutes(): number {
    return this.#minutes;
  }

  set minutes(minutes: number) {
    this.#minutes = minutes;
    remember("resources.minutes", minutes);
    this.reset();
  }

  /** Whether the picture stands still: by wish, or because it is zoomed. */
  get held(): boolean {
    return this.#asked || this.#zoom !== null;
  }

  get isZoomed(): boolean {
    return this.#zoom !== null;
  }

  toggleHold(): void {
    const hold = !this.held;
    this.#zoom = null;
    this.#asked = hold;
    this.#kept = hold ? resources.samples : null;
  }

  /** Shows only a part of the time; the picture is held for as long. */
  zoomTo(span: Span): void {
    this.#kept ??= resources.samples;
    this.pointed = null;
    this.#zoom = within(span, this.#whole);
  }

  /** Zooms in (factor under 1) or out, about the moment pointed at. */
  zoomBy(factor: number, about = this.pointed): void {
    const { from, to } = this.span;
    const wider = zoomed(this.span, factor, about ?? (from + to) / 2);
    if (lengthOf(wider) >= lengthOf(this.#whole)) this.reset();
    else this.zoomTo(wider);
  }

  /** Moves what is zoomed by a part of its own length. */
  move(part: number): void {
    if (!this.#zoom) return;
    const by = part * lengthOf(this.#zoom);
    this.zoomTo({ from: this.#zoom.from + by, to: this.#zoom.to + by });
  }

  /** Shows the whole range again, live unless it was held before the zoom. */
  reset(): void {
    this.#zoom = null;
    if (!this.#asked) this.#kept = null;
  }

  /** Back to live, as the view is left. */
  release(): void {
    this.#asked = false;
    this.pointed = null;
    this.reset();
  }

  /** Points at the sample so many further on: from nothing at the last one, past it at nothing. */
  step(by: number): void {
    const { from, to } = this.span;
    const moments = this.columns
      .filter(({ at, sample }) => sample !== null && at >= from && at <= to)
      .map(({ at }) => at);
    const now = this.pointed;
    const at = now === null ? moments.length : moments.findLastIndex((moment) => moment <= now);
    this.pointed = moments[Math.max(at + by, 0)] ?? null;
  }
}

function wishedRange(): number {
  const kept = recall<number>("resources.minutes");
  return kept !== null && RANGES_MIN.includes(kept) ? kept : 2;
}

export const timeline = new Timeline();
