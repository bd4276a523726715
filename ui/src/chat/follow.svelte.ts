import { tick } from "svelte";

/** Nearer to the end than this counts as being there. */
const NEAR = 24;

/**
 * Keeps the end of the thread in view while the reader is at the end, and leaves the view
 * alone otherwise: what is being read never moves.
 */
class ReadingView {
  /** Whether the reader is at the end. */
  following = $state(true);
  #box: HTMLElement | null = null;
  #top = 0;

  /** Watches the scrolling box and what is in it. */
  attach(box: HTMLElement, content: HTMLElement): () => void {
    this.#box = box;
    const sizes = new ResizeObserver(() => this.#grown());
    sizes.observe(box);
    sizes.observe(content);
    const onScroll = () => this.#scrolled();
    // A small turn of the wheel must not be pulled back because it stayed near the end.
    const onWheel = (event: WheelEvent) => {
      if (event.deltaY < 0 && box.scrollTop > 0) this.following = false;
    };
    box.addEventListener("scroll", onScroll, { passive: true });
    box.addEventListener("wheel", onWheel, { passive: true });
    return () => {
      sizes.disconnect();
      box.removeEventListener("scroll", onScroll);
      box.removeEventListener("wheel", onWheel);
      this.#box = null;
    };
  }

  /** Goes to the end and stays there. */
  toEnd(): void {
    this.following = true;
    void tick().then(() => this.#grown());
  }

  /** Turns a page up or down. */
  page(by: 1 | -1): void {
    const box = this.#box;
    box?.scrollBy({ top: by * (box.clientHeight - 40) });
  }

  /** Does something that changes the thread below what is read, without going to its end. */
  async still(change: () => Promise<unknown>): Promise<void> {
    this.following = false;
    await change();
    await tick();
    this.#scrolled();
  }

  #grown() {
    const box = this.#box;
    if (box && this.following) {
      box.scrollTop = box.scrollHeight;
      this.#top = box.scrollTop;
    }
  }

  #scrolled() {
    const box = this.#box;
    if (!box) return;
    const rest = box.scrollHeight - box.clientHeight - box.scrollTop;
    const up = box.scrollTop < this.#top;
    this.#top = box.scrollTop;
    // Upwards it takes the very end, so that leaving it by a little is leaving it. A scroll that
    // went not up may be our own, reported late when the thread has grown again: it lets nothing go.
    if (up) this.following = rest <= 1;
    else if (rest <= NEAR) this.following = true;
  }
}

export const view = new ReadingView();
