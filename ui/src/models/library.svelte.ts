import type { ModelSummary } from "../bindings";
import { preferences } from "../settings/settings.svelte";
import { engine } from "../shell/engine.svelte";
import { currentModel } from "./current";
import { byUse, matching, type Group } from "./groups";

/** A page of what is shown of a model. */
export type Page = "overview" | "placement" | "quantization";

/** Whether a model is no more than the material that a usable one is made of. */
function isMaterial(model: ModelSummary): boolean {
  return model.runs_on === "convert";
}

/** The pages that a model has. */
export function pagesOf(model: ModelSummary): Page[] {
  if (isMaterial(model)) return ["overview", "quantization"];
  return model.problem ? ["overview"] : ["overview", "placement", "quantization"];
}

/** What the view of the models shows. */
class Library {
  tab = $state<"library" | "profiles" | "get">("library");
  query = $state("");
  #chosen = $state<string | null>(null);
  #page = $state.raw<{ model: string; page: Page } | null>(null);

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

  /** The page that is shown of a model: the one turned to, else the one that it is chosen for. */
  pageOf(model: ModelSummary): Page {
    const pages = pagesOf(model);
    const turned = this.#page?.model === model.name ? this.#page.page : null;
    if (turned && pages.includes(turned)) return turned;
    return isMaterial(model) ? "quantization" : "overview";
  }

  turnTo(model: ModelSummary, page: Page): void {
    this.#page = { model: model.name, page };
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
