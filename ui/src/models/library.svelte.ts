import type { ModelSummary } from "../bindings";
import { preferences } from "../settings/settings.svelte";
import { engine } from "../shell/engine.svelte";
import { currentModel } from "./current";
import { byUse, matching, type Group } from "./groups";

/** What the view of the models shows. */
class Library {
  tab = $state<"library" | "get">("library");
  query = $state("");
  #chosen = $state<string | null>(null);

  /** The models that the search leaves, under their headings. */
  get groups(): Group[] {
    return byUse(matching(engine.models, this.query));
  }

  /** The model whose details are shown: the chosen one, else the one in use, else the first. */
  get selected(): ModelSummary | null {
    const all = this.groups.flatMap((group) => group.models);
    const named = (name: string | null) => all.find((model) => model.name === name);
    return named(this.#chosen) ?? named(currentModel()) ?? all[0] ?? null;
  }

  /** The name of the model that could be used from here: shown, usable, and not in use yet. */
  get usable(): string | null {
    const model = this.selected;
    return model && !model.problem && model.name !== currentModel() ? model.name : null;
  }

  select(name: string): void {
    this.#chosen = name;
  }

  /** Shows a model in the library. */
  show(name: string): void {
    this.tab = "library";
    this.query = "";
    this.#chosen = name;
  }

  use(name: string): void {
    void preferences.change({ model: name });
  }
}

export const library = new Library();
