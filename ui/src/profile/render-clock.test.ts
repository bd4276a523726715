import { expect, test } from "vitest";
import type { CoreEvent, Message } from "../bindings";
import { RenderClock, type Rendered } from "./render-clock";

type Streamed = Extract<CoreEvent, { type: "answer_delta" | "answer_finished" }>;

function piece(id: string): Streamed {
  return {
    type: "answer_delta",
    conversation_id: "c",
    message_id: id,
    offset_utf16: 0,
    text: "x",
    tokens: 1,
  };
}

function end(id: string): Streamed {
  return { type: "answer_finished", conversation_id: "c", message: { id } as Message };
}

/** A clock that the test turns, and frames that it paints. */
function world() {
  const told: Rendered[] = [];
  const frames: (() => void)[] = [];
  const time = { now: 0 };
  const clock = new RenderClock(
    (rendered) => told.push(rendered),
    () => time.now,
    (run) => frames.push(run),
  );
  const paint = (at: number) => {
    time.now = at;
    frames.splice(0).forEach((run) => run());
  };
  const take = (event: Streamed, at: number) => {
    time.now = at;
    clock.take(event);
  };
  return { told, frames, clock, paint, take };
}

test("a frame counts from its first piece, and the end tells the sum", () => {
  const { told, frames, paint, take } = world();
  take(piece("a"), 0);
  take(piece("a"), 4);
  expect(frames).toHaveLength(1);
  paint(10);
  take(piece("a"), 20);
  take(end("a"), 22);
  expect(told).toEqual([]);
  paint(26);
  expect(told).toEqual([{ messageId: "a", milliseconds: 16, frames: 2 }]);
});

test("a frame that a hidden window held up does not count", () => {
  const { told, paint, take } = world();
  take(piece("a"), 0);
  paint(60_000);
  take(end("a"), 60_100);
  paint(60_108);
  expect(told).toEqual([{ messageId: "a", milliseconds: 8, frames: 1 }]);
});

test("an answer that ends out of sight tells what was painted of it, once", () => {
  const { told, paint, clock, take } = world();
  take(piece("a"), 0);
  paint(6);
  take(piece("a"), 10);
  clock.end("a");
  clock.end("b");
  paint(14);
  clock.end("a");
  expect(told).toEqual([{ messageId: "a", milliseconds: 6, frames: 1 }]);
});

test("answers are told apart", () => {
  const { told, paint, take } = world();
  take(piece("a"), 0);
  take(end("b"), 2);
  paint(5);
  expect(told).toEqual([{ messageId: "b", milliseconds: 3, frames: 1 }]);
});
