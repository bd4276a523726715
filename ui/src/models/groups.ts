import type { ModelSummary, Origin, Suggestion } from "../bindings";
import { baseName } from "./download-words";
import { originName } from "./words";

/** Models under a heading. */
export type Group = { title: string; models: ModelSummary[] };

/** Where models are found, in the order in which they are preferred when none is chosen. */
const ORIGINS: Origin[] = ["tektra", "added", "lm_studio", "ollama", "jan", "hugging_face"];

function rank(model: ModelSummary): number {
  return ORIGINS.indexOf(model.origin);
}

/** The model that answers as long as none is chosen: Tektra's own come before those of others. */
export function firstUsable(models: ModelSummary[]): ModelSummary | undefined {
  return models.filter((model) => !model.problem).sort((a, b) => rank(a) - rank(b))[0];
}

/** The models that fit what was typed: every word is in the name, the type or the place. */
export function matching(models: ModelSummary[], query: string): ModelSummary[] {
  const words = query.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  return models.filter((model) => {
    const text = [model.name, model.architecture, model.quantization, originName(model.origin)]
      .join(" ")
      .toLocaleLowerCase();
    return words.every((word) => text.includes(word));
  });
}

/** What can be used before what cannot, each by place and then by name. */
export function byUse(models: ModelSummary[]): Group[] {
  const sorted = models.toSorted((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name, "en"));
  return [
    { title: "Ready to use", models: sorted.filter((model) => !model.problem) },
    { title: "Cannot be used", models: sorted.filter((model) => model.problem) },
  ].filter((group) => group.models.length > 0);
}

/** Whether a model is the file that a suggestion names. */
export function isFrom(model: ModelSummary, suggestion: Suggestion | null): boolean {
  return suggestion !== null && baseName(model.path) === baseName(suggestion.file);
}

/** The model that Tektra is set up with: it answers at once, and knows little. */
const STARTER = /^smollm2-135m/i;

/** Whether there is nothing to answer but the model that Tektra is set up with. */
export function onlyStarter(models: ModelSummary[]): boolean {
  const usable = models.filter((model) => !model.problem);
  return usable.length === 1 && STARTER.test(usable[0]?.name ?? "");
}
