import type { LoadRequest, LoadScenario } from "../bindings";
import { count } from "../lib/format";
import { isWhole } from "../lib/numbers";

/** The same as the terminal begins with, where nothing else is said. */
export const plain: LoadRequest = {
  users: 4,
  rate_per_second: 0.5,
  seconds: 30,
  ramp_seconds: 0,
  max_tokens: 48,
  target_first_token_ms: 500,
  mix: [
    { scenario: "chat", weight: 5 },
    { scenario: "follow_up", weight: 3 },
    { scenario: "long_prompt", weight: 2 },
    { scenario: "api", weight: 0 },
  ],
};

/** What is typed as a number. */
export type Field = Exclude<keyof LoadRequest, "mix"> | "mix";

const MOST_USERS = 256;
const MOST_RATE = 1000;
const MOST_SECONDS = 3600;
const MOST_TOKENS = 8192;
const MOST_TARGET_MS = 600_000;
const MOST_WEIGHT = 100;

/** What is wrong with a request, by field, in words that say what would be right. */
export function problems(request: LoadRequest): Partial<Record<Field, string>> {
  const found: Partial<Record<Field, string>> = {};
  const whole = (field: "users" | "seconds" | "ramp_seconds" | "max_tokens", least: number) => {
    const most = {
      users: MOST_USERS,
      seconds: MOST_SECONDS,
      ramp_seconds: isWhole(request.seconds, 1, MOST_SECONDS) ? request.seconds : MOST_SECONDS,
      max_tokens: MOST_TOKENS,
    }[field];
    if (isWhole(request[field], least, most)) return;
    found[field] = `A whole number from ${count(least)} to ${count(most)}.`;
  };
  whole("users", 1);
  whole("seconds", 1);
  whole("ramp_seconds", 0);
  whole("max_tokens", 1);
  const rate = request.rate_per_second ?? 0;
  if (!(rate > 0 && rate <= MOST_RATE)) {
    found.rate_per_second = `More than 0, at most ${count(MOST_RATE)}.`;
  }
  const target = request.target_first_token_ms ?? 0;
  if (!(target > 0 && target <= MOST_TARGET_MS)) {
    found.target_first_token_ms = `More than 0, at most ${count(MOST_TARGET_MS)} ms.`;
  }
  const { mix } = request;
  if (!mix.every(({ weight }) => isWhole(weight, 0, MOST_WEIGHT))) {
    found.mix = `Whole numbers from 0 to ${count(MOST_WEIGHT)}.`;
  } else if (!mix.some(({ weight }) => weight > 0)) {
    found.mix = "At least one kind of request is needed.";
  }
  return found;
}

/** How many requests are to be expected: while the rate grows, half of it on average. */
export function expectedRequests({ rate_per_second, seconds, ramp_seconds }: LoadRequest): number {
  return (rate_per_second ?? 0) * (seconds - ramp_seconds / 2);
}

/** The share of each kind of request, in percent. */
export function shares(mix: LoadRequest["mix"]): Map<LoadScenario, number> {
  const all = mix.reduce((sum, { weight }) => sum + weight, 0);
  return new Map(mix.map(({ scenario, weight }) => [scenario, all > 0 ? (100 * weight) / all : 0]));
}
