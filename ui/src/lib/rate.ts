/** Below this much history a rate would be a guess. */
const LEAST_MS = 250;
const WINDOW_MS = 1000;

/**
 * Tokens per second over the last second of one streaming answer.
 *
 * Fed with the running count of the answer, so a lost or merged sample costs nothing.
 */
export class RateMeter {
  #samples: { at: number; tokens: number }[] = [];

  /** Notes that `tokens` had been written in all at the time `at` (ms, any steady clock). */
  note(tokens: number, at: number): void {
    const last = this.#samples.at(-1);
    if (last && tokens < last.tokens) this.#samples = [];
    this.#samples.push({ at, tokens });
    // One sample from before the window stays, so that the window is always covered.
    while (this.#samples.length > 2 && (this.#samples[1]?.at ?? at) <= at - WINDOW_MS) {
      this.#samples.shift();
    }
  }

  /** The rate at the time `at`, or null while there is too little to tell. */
  rate(at: number): number | null {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (!first || !last || last.at - first.at < LEAST_MS) return null;
    // A stall counts: the time since the last token is part of the span once it is long.
    const span = Math.max(last.at - first.at, at - first.at - LEAST_MS);
    return ((last.tokens - first.tokens) * 1000) / span;
  }

  /** Forgets everything: another answer begins. */
  reset(): void {
    this.#samples = [];
  }
}
