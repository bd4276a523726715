// Every figure in the window is written by these functions: units always, digits grouped,
// measures at three significant figures, counts exact.

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** Writers of numbers by their decimal places: making one takes longer than everything it writes in a second. */
const measures = new Map<number, Intl.NumberFormat>();

function measure(value: number, places: number): string {
  let writer = measures.get(places);
  if (!writer) {
    writer = new Intl.NumberFormat("en", {
      minimumFractionDigits: places,
      maximumFractionDigits: places,
    });
    measures.set(places, writer);
  }
  return writer.format(value);
}

const twoDigits = (n: number) => String(n).padStart(2, "0");

/** A count, exact: `12345` is "12,345". */
export function count(n: number): string {
  return grouped.format(n);
}

/** A count with its noun: "1 token", "2,048 tokens". */
export function counted(n: number, noun: string): string {
  return `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
}

/** A measure at three significant figures: 23.4, 412, 1,230. */
export function figures(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const magnitude = Math.floor(Math.log10(Math.abs(value)));
  // Rounding may carry into the next magnitude (9.996 is 10.0), so round first, then count places.
  const step = 10 ** (magnitude - 2);
  const rounded = Math.round(value / step) * step;
  const places = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(rounded))));
  return measure(rounded, places);
}

/** A measured time: "412 ms", "1.23 s", "2 min 5 s". */
export function duration(ms: number): string {
  if (ms < 999.5) return `${ms < 1 ? figures(Math.max(ms, 0)) : grouped.format(ms)} ms`;
  if (ms < 59_950) return `${figures(ms / 1000)} s`;
  const seconds = Math.round(ms / 1000);
  const rest = seconds % 60;
  const minutes = Math.floor(seconds / 60);
  return rest === 0 ? `${count(minutes)} min` : `${count(minutes)} min ${rest} s`;
}

/** A time still to come, in the coarse words of an estimate: "1 s", "about" is the caller's. */
export function estimate(ms: number): string {
  const seconds = Math.max(1, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return `${count(minutes)} min`;
}

/** A measured time that may be short, at three significant figures: "2.14 ms", "412 ms", "1.23 s". */
export function brief(ms: number): string {
  return ms > 0 && ms < 99.95 ? `${figures(ms)} ms` : duration(ms);
}

/** A size in MiB: "94 MiB", "4.21 GiB", and where a whole MiB would be coarse "0.482 MiB". */
export function size(mib: number): string {
  if (mib >= 1023.5) return `${figures(mib / 1024)} GiB`;
  const whole = mib >= 10 || Number.isInteger(mib);
  return `${whole ? grouped.format(mib) : figures(mib)} MiB`;
}

/** How fast bytes come: "23.4 MiB/s". */
export function transfer(mibPerSecond: number): string {
  return `${figures(mibPerSecond)} MiB/s`;
}

/** A model's parameters: "135 M", "1.72 B"; empty when they are not known. */
export function parameters(millions: number | null): string {
  if (!millions) return "";
  return millions < 999.5 ? `${figures(millions)} M` : `${figures(millions / 1000)} B`;
}

/** A speed: "23.4 tok/s". */
export function speed(tokensPerSecond: number): string {
  return `${figures(tokensPerSecond)} tok/s`;
}

/** A moment on the person's clock for the name of a file: "2026-11-23-1640". */
export function stamp(ms: number): string {
  const at = new Date(ms);
  const day = `${at.getFullYear()}-${twoDigits(at.getMonth() + 1)}-${twoDigits(at.getDate())}`;
  return `${day}-${twoDigits(at.getHours())}${twoDigits(at.getMinutes())}`;
}

/** A moment of the day as the person's clock shows it: "16:40:05". */
export function clock(ms: number): string {
  const at = new Date(ms);
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map(twoDigits).join(":");
}

/** A moment as the person's clock shows it, with the date: "23 Nov 2026, 16:40". */
export function moment(ms: number): string {
  return new Date(ms).toLocaleString("en-GB", {
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
  });
}
