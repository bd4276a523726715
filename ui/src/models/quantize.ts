import type { ModelSummary, Precision, Precisions, Quality } from "../bindings";
import { figures, speed } from "../lib/format";

/** Precisions that are asked for by their width: the others are single types. */
const BY_WIDTH = /^(int\d|fp?16|fp?32)$/i;

/** A tenth of a percent is the least that a loss is told in. */
const LEAST_LOSS = 0.05;

/** Whether a precision is one of the few that a person need know. */
export function isCommon(choice: Precision): boolean {
  return BY_WIDTH.test(choice.kind);
}

/** The model as it is here: what its other precisions are compared with. */
export function baseline(told: Precisions, model: ModelSummary): Precision {
  const known = [...told.siblings, ...told.choices].find((one) => one.installed === model.name);
  return (
    known ?? {
      kind: model.quantization,
      format: model.quantization,
      size_mib: model.size_mib,
      need_mib: null,
      fits: true,
      tokens_per_second: null,
      speed_measured: false,
      quality: { loss_percent: null, measured: false, perplexity: null },
      problem: null,
      installed: model.name,
      download: null,
      parts: [],
    }
  );
}

/** The files of a model that exist, this one among them, the smallest first. A folder is none of them. */
export function existing(told: Precisions, model: ModelSummary): Precision[] {
  const own = told.siblings.some((one) => one.installed === model.name);
  const all = told.must_convert || own ? told.siblings : [baseline(told, model), ...told.siblings];
  return all.toSorted((a, b) => (a.size_mib ?? 0) - (b.size_mib ?? 0));
}

/** The precision to begin with: a common one that fits and is not here yet, else what can be done at all. */
export function preferred(choices: Precision[]): string | null {
  const possible = choices.filter((one) => !one.problem);
  const best =
    possible.find((one) => isCommon(one) && one.fits && !one.installed) ??
    possible.find((one) => one.fits && !one.installed) ??
    possible[0];
  return best?.kind ?? null;
}

/** How far a figure is from that of the model as it is: "+31 %", "−48 %"; empty where that is not known. */
export function change(value: number | null, from: number | null): string {
  if (value === null || !from) return "";
  const percent = Math.round((value / from - 1) * 100);
  if (percent === 0) return "±0 %";
  return `${percent > 0 ? "+" : "−"}${Math.abs(percent).toLocaleString("en")} %`;
}

/** How fast a precision writes: measured exactly, estimated in round figures. */
export function speedWords({ tokens_per_second, speed_measured }: Precision): string {
  if (tokens_per_second === null) return "";
  if (speed_measured) return speed(tokens_per_second);
  const round = tokens_per_second >= 10 ? Math.round(tokens_per_second) : null;
  return `${round?.toLocaleString("en") ?? tokens_per_second.toFixed(1)} tok/s`;
}

/** What a precision loses: "3.1 %", "< 0.1 %". */
export function lossWords({ loss_percent }: Quality): string {
  if (loss_percent === null) return "";
  const amount = Math.abs(loss_percent);
  if (loss_percent === 0) return "0 %";
  if (amount < LEAST_LOSS) return loss_percent > 0 ? "< 0.1 %" : "0 %";
  const sign = loss_percent < 0 ? "−" : "";
  return `${sign}${amount < 100 ? amount.toFixed(1) : figures(amount)} %`;
}

/** On what a figure rests. */
export function basis(measured: boolean): string {
  return measured ? "measured" : "estimate";
}

/** The exceptions that were written down, one in each line. */
export function rulesOf(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
}
