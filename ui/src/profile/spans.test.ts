import { describe, expect, test } from "vitest";
import type { AnswerTrace, Span } from "../bindings";
import { median, neighbour, placed, restOf, seen, stagesOf, ticks, totalOf, usual } from "./spans";

function span(
  name: Span["name"],
  start_ms: number | null,
  duration_ms: number | null,
  depth = 1,
): Span {
  return { name, start_ms, duration_ms, depth, detail: null };
}

function trace(spans: Span[], total_ms: number | null = 100): AnswerTrace {
  return {
    message_id: "a",
    conversation_id: "c",
    title: "",
    started_ms: null,
    total_ms,
    spans,
  };
}

const answer = trace([
  span("answer", 0, 100, 0),
  span("queue", 0, 10),
  span("prefill", 10, 20),
  span("decode", 30, 60),
  span("sample", 30, 5, 2),
  span("render", 35, 7, 2),
]);

describe("stages", () => {
  test("each name stands once at its depth, its times added up, and the answer itself is none of them", () => {
    const twice = trace([span("answer", 0, 9, 0), span("store", 0, 2), span("store", 5, 3)]);
    expect(stagesOf(twice).map(({ name, ms }) => [name, ms])).toEqual([["store", 5]]);
  });

  test("what is saved while writing is told apart from what is saved at the end", () => {
    const saved = trace([
      span("answer", 0, 100, 0),
      span("decode", 0, 90),
      span("store", 0, 5, 2),
      span("store", 96, 4),
    ]);
    expect(stagesOf(saved).map(({ name, depth, ms }) => [name, depth, ms])).toEqual([
      ["decode", 1, 90],
      ["store", 2, 5],
      ["store", 1, 4],
    ]);
    expect(restOf(saved)).toBe(6);
    expect(usual([saved], { name: "store", depth: 1 })).toBe(4);
  });

  test("the rest is what no outermost stage takes", () => {
    expect(restOf(answer)).toBe(10);
    expect(restOf(trace([span("decode", 0, 140)]))).toBe(0);
  });

  test("what is not known is left out, and the end is that of the last span", () => {
    const holes = trace(
      [span("queue", null, 4), span("decode", 10, 50), span("ipc", 3, null)],
      null,
    );
    expect(placed(holes).map(({ name }) => name)).toEqual(["decode"]);
    expect(totalOf(holes)).toBe(60);
    expect(totalOf(trace([], null))).toBe(0);
  });

  test("what is usual is the median of the answers that had the stage", () => {
    const others = [8, 30, 20].map((ms) => trace([span("prefill", 0, ms)]));
    expect(usual([answer, ...others], { name: "prefill", depth: 1 })).toBe(20);
    expect(usual([...others, trace([])], { name: "load", depth: 1 })).toBeNull();
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(median([])).toBeNull();
  });
});

describe("the picture", () => {
  test("a span is cut at the edges of the stretch, and absent outside of it", () => {
    const [, , prefill] = placed(answer);
    if (!prefill) throw new Error("no span");
    expect(seen(prefill, { from: 0, to: 100 })).toEqual({ left: 0.1, width: expect.closeTo(0.2) });
    expect(seen(prefill, { from: 20, to: 40 })).toEqual({ left: 0, width: 0.5 });
    expect(seen(prefill, { from: 50, to: 60 })).toBeNull();
    expect(seen(prefill, { from: 5, to: 5 })).toBeNull();
  });

  test("moments are round, and no more than wished", () => {
    expect(ticks({ from: 0, to: 100 }, 5).map(({ at }) => at)).toEqual([0, 20, 40, 60, 80, 100]);
    expect(ticks({ from: 3, to: 3 }, 4)).toEqual([]);
  });

  test.each([
    [0.13, 0.49, ["0.2 ms", "0.3 ms", "0.4 ms"]],
    [2.95, 3.34, ["3.0 ms", "3.1 ms", "3.2 ms", "3.3 ms"]],
    [900, 1100, ["900 ms", "950 ms", "1.00 s", "1.05 s", "1.10 s"]],
    [5540, 5541, ["5.5400 s", "5.5405 s", "5.5410 s"]],
    [0, 8000, ["0 ms", "2 s", "4 s", "6 s", "8 s"]],
    [58_000, 66_000, ["58 s", "1 min", "1 min 2 s", "1 min 4 s", "1 min 6 s"]],
  ])("from %d ms to %d ms each moment has a text of its own", (from, to, texts) => {
    expect(ticks({ from, to }, 4).map(({ text }) => text)).toEqual(texts);
  });
});

describe("arrows", () => {
  const spans = placed(answer);
  const at = (name: string) => spans.findIndex((one) => one.name === name);

  test("left and right stay at the depth", () => {
    expect(neighbour(spans, at("queue"), "ArrowRight")).toBe(at("prefill"));
    expect(neighbour(spans, at("render"), "ArrowLeft")).toBe(at("sample"));
    expect(neighbour(spans, at("queue"), "ArrowLeft")).toBeNull();
  });

  test("up leads outwards, down into it", () => {
    expect(neighbour(spans, at("render"), "ArrowUp")).toBe(at("decode"));
    expect(neighbour(spans, at("decode"), "ArrowDown")).toBe(at("sample"));
    expect(neighbour(spans, at("prefill"), "ArrowDown")).toBeNull();
  });

  test("Home and End lead to the first and the last", () => {
    expect(neighbour(spans, 3, "Home")).toBe(0);
    expect(neighbour(spans, 0, "End")).toBe(spans.length - 1);
    expect(neighbour(spans, 0, "a")).toBeNull();
  });
});
