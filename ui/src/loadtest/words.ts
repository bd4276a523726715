import type { LoadProgress, LoadReport, LoadRequest, LoadScenario } from "../bindings";
import { roughly } from "../bench/figures";
import { count, counted, duration, figures } from "../lib/format";

/** Of a hundred requests so many must have their first token in time. */
const ENOUGH_SHARE = 0.95;

/** The kinds of requests and what they are. */
export const SCENARIOS: Record<LoadScenario, { label: string; words: string }> = {
  chat: { label: "First messages", words: "A short message that begins a conversation" },
  follow_up: { label: "Follow-ups", words: "The next message of the same conversation" },
  long_prompt: { label: "Long prompts", words: "A message of about 800 tokens" },
  api: { label: "API calls", words: "Instructions and a question, with nothing before them" },
};

/** "4 people, 0.5 requests a second for 30 s". */
export function requestWords({ users, rate_per_second, seconds }: LoadRequest): string {
  const people = users === 1 ? "1 person" : `${count(users)} people`;
  const rate = figures(rate_per_second ?? 0).replace(/\.0*$|(\.\d*?)0+$/, "$1");
  return `${people}, ${rate} ${rate === "1" ? "request" : "requests"} a second for ${roughly(seconds)}`;
}

/** What a report comes to, and why; "none": it does not tell whether the machine keeps up. */
export type Verdict = { kind: "kept_up" | "behind" | "none"; title: string; words: string };

/** Whether the machine kept up. A cancelled test does not tell: the requests that it stopped count
 * nowhere. */
export function verdictOf(report: LoadReport): Verdict {
  const { good_share, request, requests, failed, seconds } = report;
  if (requests === 0 || good_share === null) {
    return {
      kind: "none",
      title: report.cancelled ? "Cancelled before anything was answered" : "No request arrived",
      words: report.cancelled
        ? "There is nothing to report."
        : "They come at random times: let the test run longer, or raise the rate.",
    };
  }
  const good = Math.round(good_share * requests);
  const target = duration(request.target_first_token_ms ?? 0);
  const words =
    `${count(good)} of ${counted(requests, "request")} (${percent(good_share)}) had the first token ` +
    `within ${target}${failed > 0 ? `, ${count(failed)} failed` : ""}.`;
  if (report.cancelled) {
    const after = seconds === null ? "" : ` after ${duration(seconds * 1000)}`;
    return { kind: "none", title: `Cancelled${after}`, words };
  }
  const people = request.users === 1 ? "1 person" : `${count(request.users)} people`;
  return good_share >= ENOUGH_SHARE
    ? { kind: "kept_up", title: `Keeps up with ${people}`, words }
    : { kind: "behind", title: `Does not keep up with ${people}`, words };
}

/** What the verdict goes by. */
export const RULE = `Keeping up means that at least ${Math.round(ENOUGH_SHARE * 100)} of 100 requests have their first token in time. Waiting counts from the moment a request should have begun.`;

/** A share as a percentage that never rounds up to all of it: "82 %", "99.8 %", "100 %". */
export function percent(share: number): string {
  if (share >= 1) return "100 %";
  const value = share * 100;
  return value > 99 ? `${(Math.floor(value * 10) / 10).toFixed(1)} %` : `${Math.round(value)} %`;
}

/** How far a running test is, in words. */
export function progressWords(progress: LoadProgress, total: number): string[] {
  const { arrived, answered, failed, loading } = progress;
  if (loading) return ["Loading the model"];
  const open = arrived - answered - failed;
  const left = total - (progress.seconds ?? 0);
  return [
    `${counted(arrived, "request")} so far`,
    `${count(answered)} answered`,
    failed > 0 ? `${count(failed)} failed` : "",
    `${count(open)} waiting or being answered`,
    left > 0 ? `about ${Math.max(1, Math.round(left))} s until the last arrives` : "",
  ].filter(Boolean);
}
