import { whenPainted } from "./painted";

/** How long a hidden window, which gets no animation frames, lets things wait. */
const HIDDEN_MS = 500;

/** A frame is followed by a rest of so many times what it took: where painting is slow, the model has the processor. */
const REST = 4;

/** However slow the painting, words keep coming. */
const LONGEST_REST_MS = 100;

/**
 * Collects items and hands them over together, once per animation frame at most: however
 * many words arrive in a frame, the page is painted once.
 */
export function frameQueue<T>(
  apply: (items: T[]) => void,
  painted: (run: () => void) => void = whenPainted,
): { push(item: T): void } {
  let waiting: T[] = [];
  let painting = false;
  let restedAt = 0;
  let rest = 0;
  let frame = 0;
  let timer = 0;

  function flush() {
    clearTimeout(rest);
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    const items = waiting;
    waiting = [];
    painting = true;
    const began = performance.now();
    apply(items);
    painted(() => {
      painting = false;
      const now = performance.now();
      restedAt = now + Math.min(REST * (now - began), LONGEST_REST_MS);
      if (waiting.length > 0) schedule();
    });
  }

  function schedule() {
    const ask = () => (frame = requestAnimationFrame(flush));
    const left = restedAt - performance.now();
    if (left > 0) rest = window.setTimeout(ask, left);
    else ask();
    timer = window.setTimeout(flush, HIDDEN_MS);
  }

  return {
    push(item) {
      waiting.push(item);
      if (waiting.length === 1 && !painting) schedule();
    },
  };
}
