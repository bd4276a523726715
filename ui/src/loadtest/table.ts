import type { Latencies, LoadReport } from "../bindings";
import { duration } from "../lib/format";
import { requestWords, SCENARIOS, verdictOf } from "./words";

/** The columns of a table of waiting times. */
export const PERCENTILES = [
  { key: "p50_ms", label: "p50", words: "Half are faster" },
  { key: "p90_ms", label: "p90", words: "9 of 10 are faster" },
  { key: "p95_ms", label: "p95", words: "95 of 100 are faster" },
  { key: "p99_ms", label: "p99", words: "99 of 100 are faster" },
  { key: "max_ms", label: "max", words: "The slowest" },
] as const;

/** A line of the table; `part`: of the one before it. */
export type Row = { name: string; label: string; part: boolean; times: Latencies };

/** What waited how long: first tokens, those of each kind where there are several, whole answers. */
export function rowsOf({ first_token, scenarios, total }: LoadReport): Row[] {
  const asked = scenarios.filter(({ first_token: times }) => times.count > 0);
  const parts = asked.length > 1 ? asked : [];
  return [
    { name: "first", label: "First token", part: false, times: first_token },
    ...parts.map(({ scenario, first_token: times }) => ({
      name: scenario,
      label: SCENARIOS[scenario].label,
      part: true,
      times,
    })),
    { name: "total", label: "Whole answer", part: false, times: total },
  ];
}

/** A report as a table for an issue or a page. */
export function markdownOf(report: LoadReport): string {
  const { title, words } = verdictOf(report);
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  return [
    `${report.model}: ${requestWords(report.request)}. ${title}: ${words}`,
    "",
    line(["", "answers", ...PERCENTILES.map(({ label }) => label)]),
    line(["---", ...Array<string>(PERCENTILES.length + 1).fill("---:")]),
    ...rowsOf(report).map(({ label, times }) =>
      line([
        label,
        String(times.count),
        ...PERCENTILES.map(({ key }) => {
          const value = times[key];
          return value === null ? "–" : duration(value);
        }),
      ]),
    ),
    "",
  ].join("\n");
}
