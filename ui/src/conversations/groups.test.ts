import { expect, test } from "vitest";
import { byDay } from "./groups";

const now = new Date(2026, 10, 23, 0, 30);

function at(...when: [number, number, number, number, number]) {
  const date = new Date(...when);
  return {
    id: date.toISOString(),
    title: "",
    updated_at_ms: date.getTime(),
    snippet: "",
    streaming: false,
  };
}

test("days are those of the calendar, not of 24 hours", () => {
  const groups = byDay(
    [
      at(2026, 10, 23, 0, 10),
      at(2026, 10, 22, 23, 50),
      at(2026, 10, 22, 0, 0),
      at(2026, 10, 21, 23, 59),
      at(2026, 10, 16, 0, 0),
      at(2026, 10, 15, 23, 59),
      at(2025, 0, 1, 0, 0),
    ],
    now,
  );
  expect(groups.map((group) => [group.title, group.conversations.length])).toEqual([
    ["Today", 1],
    ["Yesterday", 2],
    ["Previous 7 days", 2],
    ["Older", 2],
  ]);
});

test("empty groups are not shown", () => {
  expect(byDay([], now)).toEqual([]);
  expect(byDay([at(2026, 10, 23, 0, 10)], now).map((group) => group.title)).toEqual(["Today"]);
});
