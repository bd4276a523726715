import type { CoreEvent } from "../bindings";
import { whenPainted } from "../lib/painted";

/** A frame later than this was held up by a window that could not be seen. */
const LATEST_MS = 1000;

/** What the page spent on an answer: the sum over its frames, and how many there were. */
export type Rendered = { messageId: string; milliseconds: number; frames: number };

type Answer = { milliseconds: number; frames: number };

/** Measures the time from the arrival of an answer's pieces to the frame that shows them. */
export class RenderClock {
  #answers = new Map<string, Answer>();
  /** The first piece of an answer that waits for the next frame, and when it came. */
  #waiting = new Map<string, number>();
  #ended = new Set<string>();
  #asked = false;

  constructor(
    private onend: (rendered: Rendered) => void,
    private now: () => number = () => performance.now(),
    private painted: (run: () => void) => void = (run) =>
      requestAnimationFrame(() => whenPainted(run)),
  ) {}

  /** Takes a piece of an answer that is on the screen, or its end. */
  take(event: Extract<CoreEvent, { type: "answer_delta" | "answer_finished" }>): void {
    const id = event.type === "answer_delta" ? event.message_id : event.message.id;
    if (!this.#waiting.has(id)) this.#waiting.set(id, this.now());
    if (event.type === "answer_finished") this.#ended.add(id);
    if (this.#asked) return;
    this.#asked = true;
    this.painted(() => this.#paint());
  }

  /** Ends an answer that is no longer on the screen. */
  end(messageId: string): void {
    this.#waiting.delete(messageId);
    this.#tell(messageId);
  }

  #paint() {
    this.#asked = false;
    for (const [id, arrived] of this.#waiting) {
      const took = this.now() - arrived;
      const { milliseconds, frames } = this.#answers.get(id) ?? { milliseconds: 0, frames: 0 };
      if (took > LATEST_MS) continue;
      this.#answers.set(id, { milliseconds: milliseconds + took, frames: frames + 1 });
    }
    this.#waiting.clear();
    for (const id of this.#ended) this.#tell(id);
    this.#ended.clear();
  }

  /** Tells what an answer took, where it was ever painted, and forgets it. */
  #tell(messageId: string) {
    const answer = this.#answers.get(messageId);
    this.#answers.delete(messageId);
    if (answer) this.onend({ messageId, ...answer });
  }
}
