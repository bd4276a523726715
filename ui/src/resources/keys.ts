import { timeline } from "./timeline.svelte";

/** How much one press or one notch of the wheel zooms. */
const CLOSER = 0.7;
/** How far a zoomed picture moves, as a part of its length. */
const MOVE = 0.25;
const FAR = 10;

const keys: Record<string, (event: KeyboardEvent) => void> = {
  ArrowLeft: ({ shiftKey }) => timeline.step(shiftKey ? -FAR : -1),
  ArrowRight: ({ shiftKey }) => timeline.step(shiftKey ? FAR : 1),
  "+": () => timeline.zoomBy(CLOSER),
  "=": () => timeline.zoomBy(CLOSER),
  "-": () => timeline.zoomBy(1 / CLOSER),
  "[": () => timeline.move(-MOVE),
  "]": () => timeline.move(MOVE),
  " ": () => timeline.toggleHold(),
};

/** Does what a key pressed among the charts stands for. */
export function onChartKey(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  // A control among the charts has its own use for Space.
  if (event.key === " " && event.target !== event.currentTarget) return;
  const run = keys[event.key];
  if (!run) return;
  event.preventDefault();
  run(event);
}

/** Zooms with Ctrl and the wheel, or a pinch; moves what is zoomed with a wheel turned sideways. */
export function onChartWheel(event: WheelEvent): void {
  if (event.ctrlKey) {
    event.preventDefault();
    if (event.deltaY !== 0) timeline.zoomBy(event.deltaY < 0 ? CLOSER : 1 / CLOSER);
  } else if (timeline.isZoomed && event.deltaX !== 0) {
    event.preventDefault();
    timeline.move(Math.sign(event.deltaX) * (MOVE / 4));
  }
}
