/** How long a hidden window, which gets no animation frames, lets things wait. */
const HIDDEN_MS = 500;

/**
 * Collects items and hands them over together, once per animation frame: however many
 * words arrive in a frame, the page is painted once.
 */
export function frameQueue<T>(apply: (items: T[]) => void): { push(item: T): void } {
  let waiting: T[] = [];
  let frame = 0;
  let timer = 0;

  function flush() {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    const items = waiting;
    waiting = [];
    apply(items);
  }

  return {
    push(item) {
      waiting.push(item);
      if (waiting.length > 1) return;
      frame = requestAnimationFrame(flush);
      timer = window.setTimeout(flush, HIDDEN_MS);
    },
  };
}
