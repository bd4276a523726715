import type { Download, DownloadState } from "../bindings";
import { estimate, size, transfer } from "../lib/format";

/** Whether something is being done for a download now. */
export function isRunning(state: DownloadState): boolean {
  return ["connecting", "downloading", "waiting", "verifying"].includes(state.kind);
}

/** What a download is doing, in a few words. */
export function stateWords(state: DownloadState): string {
  switch (state.kind) {
    case "connecting":
      return "Connecting";
    case "downloading":
      return "Downloading";
    case "waiting":
      return `No answer: next attempt in ${state.seconds} s`;
    case "verifying":
      return "Comparing with its checksum";
    case "paused":
      return "Paused";
    case "failed":
      return "Failed";
    case "done":
      return "In the library";
  }
}

/** How much of it is there, from 0 to 1; null where that is not known. */
export function partDone({ done_mib, total_mib, state }: Download): number | null {
  if (state.kind === "done") return 1;
  if (!total_mib) return null;
  return Math.min((done_mib ?? 0) / total_mib, 1);
}

/** The figures of a download, as far as they are known: "412 MiB of 2.33 GiB · 23.4 MiB/s · 2 min left". */
export function downloadFigures(download: Download): string[] {
  const { done_mib, total_mib, mib_per_second, seconds_left, state } = download;
  const done = done_mib ?? 0;
  const amount =
    state.kind === "done" && total_mib
      ? size(total_mib)
      : total_mib
        ? `${size(Math.round(done))} of ${size(total_mib)}`
        : done > 0
          ? size(Math.round(done))
          : "";
  const moving = state.kind === "downloading";
  const speed = moving && mib_per_second ? transfer(mib_per_second) : "";
  const left = moving && seconds_left !== null ? `${estimate(seconds_left * 1000)} left` : "";
  return [amount, speed, left].filter(Boolean);
}

/** The last part of a path or an address. */
export function baseName(path: string): string {
  return path.split(/[\\/]/).at(-1) ?? path;
}
