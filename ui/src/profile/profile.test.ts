// @vitest-environment jsdom
import { expect, test, vi } from "vitest";
import type { AnswerTrace } from "../bindings";
import { ipc } from "../ipc";
import { profile } from "./profile.svelte";

function trace(message_id: string): AnswerTrace {
  return { message_id, conversation_id: "c", title: "", started_ms: null, total_ms: 90, spans: [] };
}

const profileTraces = vi.spyOn(ipc, "profileTraces");

test("a zoom ends when another answer is shown", async () => {
  profileTraces.mockResolvedValue([trace("a")]);
  await profile.look();
  profile.zoom = { from: 10, to: 20 };
  await profile.look();
  expect(profile.stretch).toEqual({ from: 10, to: 20 });
  profileTraces.mockResolvedValue([trace("b"), trace("a")]);
  await profile.look();
  expect(profile.stretch).toEqual({ from: 0, to: 90 });
});

test("an answer that was chosen stays, and its zoom with it", async () => {
  profile.choose("a");
  profile.zoom = { from: 10, to: 20 };
  profileTraces.mockResolvedValue([trace("c"), trace("b"), trace("a")]);
  await profile.look();
  expect(profile.trace?.message_id).toBe("a");
  expect(profile.stretch).toEqual({ from: 10, to: 20 });
});

test("an older look does not undo a newer one", async () => {
  const answers: ((traces: AnswerTrace[]) => void)[] = [];
  profileTraces.mockImplementation(() => new Promise((answer) => answers.push(answer)));
  const looks = [profile.look(), profile.look()];
  answers[1]?.([trace("new")]);
  answers[0]?.([trace("old")]);
  await Promise.all(looks);
  expect(profile.traces.map(({ message_id }) => message_id)).toEqual(["new"]);
});
