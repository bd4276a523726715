import type { BenchFormat, BenchRunSummary } from "../bindings";
import { stamp } from "../lib/format";

/** What a run can be written as, and what that is good for. */
export const FORMATS: {
  format: BenchFormat;
  label: string;
  words: string;
  ending: string;
  type: string;
}[] = [
  {
    format: "markdown",
    label: "Markdown",
    words: "A table for an issue or a page",
    ending: ".md",
    type: "text/markdown",
  },
  {
    format: "csv",
    label: "CSV",
    words: "A row for each figure, for a spreadsheet",
    ending: ".csv",
    type: "text/csv",
  },
  {
    format: "json",
    label: "JSON",
    words: "Everything, every sample included",
    ending: ".json",
    type: "application/json",
  },
  {
    format: "llama_bench_json",
    label: "llama-bench JSON",
    words: "As llama-bench writes it, for tools that read that",
    ending: "-llama-bench.json",
    type: "application/json",
  },
];

/** The name of a file about a run: "tektra-bench-quick-2026-11-23-1640.csv". */
export function fileName({ preset, started_ms }: BenchRunSummary, ending: string): string {
  return `tektra-bench-${preset}${started_ms === null ? "" : `-${stamp(started_ms)}`}${ending}`;
}

/** Gives something to the WebView to save, as a download. */
export function save(name: string, content: Blob): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  // Not put into the page: there a click on a link means the person's browser.
  link.click();
  // The download reads the address after the click.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Puts a picture on the clipboard; false when the system did not let us. */
export async function copyPicture(picture: Blob): Promise<boolean> {
  try {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
    return true;
  } catch {
    return false;
  }
}

/** What is drawn on a canvas, as a PNG: written at once, where `toBlob` waits for the browser to be idle, up to ten seconds. */
export function toPng(canvas: HTMLCanvasElement): Blob {
  const [, base64 = ""] = canvas.toDataURL("image/png").split(",");
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  return new Blob([bytes], { type: "image/png" });
}
