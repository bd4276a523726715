import type { Latencies, LoadReport } from "../../ui/src/bindings";
import { plain as fourPeople } from "../../ui/src/loadtest/wish";

/** What is asked where nothing is changed. */
export { fourPeople };

/** Times that spread about a middle, in ms. */
export function times(count: number, middle: number): Latencies {
  return {
    count,
    p50_ms: middle,
    p90_ms: middle * 2.1,
    p95_ms: middle * 2.7,
    p99_ms: middle * 3.4,
    max_ms: middle * 3.6,
  };
}

const none: Latencies = {
  count: 0,
  p50_ms: null,
  p90_ms: null,
  p95_ms: null,
  p99_ms: null,
  max_ms: null,
};

/** A machine that is a little too slow for four people, and fails two of them. */
export const tooSlow: LoadReport = {
  request: fourPeople,
  model: "SmolLM2-135M",
  cancelled: false,
  seconds: 33.7,
  requests: 17,
  answered: 15,
  failed: 2,
  errors: [{ text: "The engine ended by itself.", count: 2 }],
  first_token: times(15, 212),
  total: times(15, 2140),
  scenarios: [
    { scenario: "chat", first_token: times(8, 148) },
    { scenario: "follow_up", first_token: times(4, 236) },
    { scenario: "long_prompt", first_token: times(3, 820) },
    { scenario: "api", first_token: none },
  ],
  tokens_per_second: 21.4,
  good_share: 12 / 17,
  goodput_per_second: 0.356,
};

/** A machine that has time to spare. */
export const fastEnough: LoadReport = {
  ...tooSlow,
  seconds: 31.2,
  answered: 17,
  failed: 0,
  errors: [],
  first_token: times(17, 88),
  total: times(17, 930),
  good_share: 1,
  goodput_per_second: 0.545,
  tokens_per_second: 42.8,
};

/** What is left of a test that was cancelled before anything was answered. */
export const nothing: LoadReport = {
  ...tooSlow,
  cancelled: true,
  seconds: 1.2,
  requests: 0,
  answered: 0,
  failed: 0,
  errors: [],
  first_token: none,
  total: none,
  scenarios: [],
  tokens_per_second: null,
  good_share: null,
  goodput_per_second: null,
};
