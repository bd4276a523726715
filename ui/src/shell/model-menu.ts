import type { ModelSummary } from "../bindings";
import { size } from "../lib/format";
import { currentModel } from "../models/current";
import { preferences } from "../settings/settings.svelte";
import { getModels, openFolder } from "./actions";
import { engine } from "./engine.svelte";
import type { MenuItem } from "./menu.svelte";

/** What there is to know about a model in one line, or why it cannot be used. */
export function modelNote(model: ModelSummary): string {
  if (model.problem) return model.problem.message;
  return [model.architecture, model.quantization, size(model.size_mib)].filter(Boolean).join(" · ");
}

/** The models as a menu; what cannot be used is there, grey, with its reason. */
export function modelItems(): MenuItem[] {
  void engine.lookAgain();
  const current = currentModel();
  const models = engine.models.map((model): MenuItem => ({
    label: model.name,
    note: modelNote(model),
    disabled: model.problem !== null,
    checked: model.name === current,
    run: () => void preferences.change({ model: model.name }),
  }));
  return models.length > 0
    ? models
    : [
        {
          label: "Get a model",
          note: "There is none yet. Tektra suggests one for this machine.",
          run: getModels,
        },
        {
          label: "Open models folder",
          note: "A GGUF file put there is found.",
          run: () => openFolder("models"),
        },
      ];
}
