import { describe, expect, test } from "vitest";
import type { Latencies, LoadReport } from "../bindings";
import { markdownOf, rowsOf } from "./table";
import { expectedRequests, plain, problems, shares } from "./wish";
import { percent, progressWords, requestWords, verdictOf } from "./words";

function times(count: number, ms: number | null): Latencies {
  return { count, p50_ms: ms, p90_ms: ms, p95_ms: ms, p99_ms: ms, max_ms: ms };
}

const report: LoadReport = {
  request: plain,
  model: "SmolLM2",
  cancelled: false,
  seconds: 31,
  requests: 20,
  answered: 20,
  failed: 0,
  errors: [],
  first_token: times(20, 300),
  total: times(20, 1500),
  scenarios: [
    { scenario: "chat", first_token: times(20, 300) },
    { scenario: "api", first_token: times(0, null) },
  ],
  tokens_per_second: 30,
  good_share: 0.95,
  goodput_per_second: 0.6,
};

describe("what is asked", () => {
  test("the plain request is sound", () => {
    expect(problems(plain)).toEqual({});
  });

  test("what is out of bounds is named, and what would be right", () => {
    const wrong = problems({
      ...plain,
      users: 257,
      rate_per_second: 0,
      seconds: 2.5,
      target_first_token_ms: NaN,
      max_tokens: 0,
    });
    expect(Object.keys(wrong).sort()).toEqual([
      "max_tokens",
      "rate_per_second",
      "seconds",
      "target_first_token_ms",
      "users",
    ]);
    expect(wrong.users).toBe("A whole number from 1 to 256.");
  });

  test("it cannot grow for longer than it lasts", () => {
    expect(problems({ ...plain, seconds: 10, ramp_seconds: 11 })).toEqual({
      ramp_seconds: "A whole number from 0 to 10.",
    });
  });

  test("something has to be asked", () => {
    const mix = plain.mix.map((one) => ({ ...one, weight: 0 }));
    expect(problems({ ...plain, mix }).mix).toBe("At least one kind of request is needed.");
  });

  test("shares and the expected number follow", () => {
    expect(shares(plain.mix).get("follow_up")).toBe(30);
    expect(expectedRequests(plain)).toBe(15);
    expect(expectedRequests({ ...plain, ramp_seconds: 30 })).toBe(7.5);
  });
});

describe("what came of it", () => {
  test("the request in words", () => {
    expect(requestWords(plain)).toBe("4 people, 0.5 requests a second for 30 s");
    expect(requestWords({ ...plain, users: 1, rate_per_second: 10 })).toContain(
      "1 person, 10 requests",
    );
    expect(requestWords({ ...plain, rate_per_second: 100 })).toContain("100 requests a second");
    expect(requestWords({ ...plain, rate_per_second: 1 })).toContain("1 request a second");
  });

  test("95 of 100 in time keep up, fewer do not", () => {
    expect(verdictOf(report).title).toBe("Keeps up with 4 people");
    const behind = verdictOf({ ...report, good_share: 0.9, failed: 1 });
    expect(behind.title).toBe("Does not keep up with 4 people");
    expect(behind.words).toBe(
      "18 of 20 requests (90 %) had the first token within 500 ms, 1 failed.",
    );
  });

  test("a cancelled test has no verdict, and tells of what was answered until then", () => {
    const cancelled = { ...report, cancelled: true, seconds: 12.34 };
    expect(verdictOf(cancelled)).toEqual({
      kind: "none",
      title: "Cancelled after 12.3 s",
      words: "19 of 20 requests (95 %) had the first token within 500 ms.",
    });
    expect(markdownOf(cancelled)).toContain("Cancelled after 12.3 s: 19 of 20 requests");
  });

  test("nothing is not failure", () => {
    const none = { ...report, requests: 0, good_share: null };
    expect(verdictOf(none).title).toBe("No request arrived");
    expect(verdictOf({ ...none, cancelled: true }).kind).toBe("none");
  });

  test("a share never rounds up to all", () => {
    expect(percent(0.9999)).toBe("99.9 %");
    expect(percent(1)).toBe("100 %");
    expect(percent(0.824)).toBe("82 %");
  });

  test("the table has no rows for what was not asked, nor parts of a single kind", () => {
    expect(rowsOf(report).map(({ label }) => label)).toEqual(["First token", "Whole answer"]);
    expect(markdownOf(report)).toContain("| Whole answer | 20 | 1.50 s |");
  });

  test("progress counts what is open", () => {
    const words = progressWords(
      { loading: false, seconds: 12, arrived: 9, answered: 5, failed: 1 },
      30,
    );
    expect(words).toEqual([
      "9 requests so far",
      "5 answered",
      "1 failed",
      "3 waiting or being answered",
      "about 18 s until the last arrives",
    ]);
  });
});
