import { SvelteMap } from "svelte/reactivity";
import type { PlacementPlan, PlacementWish } from "../bindings";
import { ipc } from "../ipc";
import { Failure } from "../lib/failure";
import { attempt, toasts } from "../shell/toasts.svelte";
import { AUTOMATIC, sameWish } from "./placement";

/** Where models are to be computed: what is stored, what is changed and not saved yet, and the
 * plan on the screen. */
class Placing {
  /** The model whose placement is on the screen. */
  model = $state<string | null>(null);
  plan = $state.raw<PlacementPlan | null>(null);
  failure = $state.raw<Failure | null>(null);
  saving = $state(false);
  /** Grows whenever another plan has to be asked for. */
  turn = $state(0);
  #stored = new SvelteMap<string, PlacementWish>();
  // Kept while other models are looked at: what a person has set up is not lost by a look.
  #edits = new SvelteMap<string, PlacementWish>();
  /** The models of which what is stored has been asked for and is up to date. */
  #known = new Set<string>();

  /** What is wished for now; null until the core has told what is stored. */
  get wish(): PlacementWish | null {
    if (this.model === null) return null;
    return this.#edits.get(this.model) ?? this.#stored.get(this.model) ?? null;
  }

  get isAutomatic(): boolean {
    return this.wish !== null && sameWish(this.wish, AUTOMATIC);
  }

  isEdited(model: string): boolean {
    return this.#edits.has(model);
  }

  get canSave(): boolean {
    return (
      this.model !== null &&
      this.isEdited(this.model) &&
      !this.saving &&
      this.plan?.refused.length === 0
    );
  }

  /** Begins with a model; the returned function ends that. */
  open(model: string): () => void {
    this.model = model;
    this.plan = null;
    this.failure = null;
    this.#known.delete(model);
    return () => {
      if (this.model === model) this.model = null;
    };
  }

  /** Asks anew for what is stored of a model, as something else has stored it. */
  reread(model: string): void {
    this.#known.delete(model);
    this.turn++;
  }

  /** Asks the core for the plan of what is wished; an answer that has become stale is dropped. */
  async ask(isStale: () => boolean): Promise<void> {
    const { model } = this;
    if (model === null) return;
    try {
      const stored = this.#known.has(model) ? null : await ipc.placementPlan(model, null);
      if (isStale()) return;
      if (stored) {
        this.#stored.set(model, stored.wish);
        this.#known.add(model);
      }
      const edit = this.#edits.get(model) ?? null;
      const plan = stored && !edit ? stored : await ipc.placementPlan(model, edit);
      if (isStale()) return;
      this.plan = plan;
      this.failure = null;
    } catch (thrown) {
      if (!isStale()) this.failure = Failure.from(thrown);
    }
  }

  /** Changes what is wished; nothing is stored yet. */
  change(patch: Partial<PlacementWish>): void {
    const { model, wish } = this;
    if (model === null || wish === null) return;
    this.#edit(model, { ...wish, ...patch });
  }

  /** Stores what is wished, with a way back. */
  async save(): Promise<void> {
    const { model, wish } = this;
    if (!this.canSave || model === null || wish === null) return;
    await this.#replace(model, wish, `Saved the placement of ${model}`);
  }

  /** Takes back what is not saved, with a way back. */
  discard(): void {
    const { model, wish } = this;
    if (model === null || wish === null) return;
    this.#edit(model, null);
    toasts.undo(`Discarded the changes of ${model}’s placement`, () => this.#edit(model, wish));
  }

  /** Leaves everything to Tektra again, at once, with a way back. */
  async reset(): Promise<void> {
    const { model } = this;
    if (model === null) return;
    await this.#replace(model, AUTOMATIC, `The placement of ${model} is automatic again`);
  }

  async #replace(model: string, wish: PlacementWish, said: string) {
    const [before, edit] = [this.#stored.get(model), this.#edits.get(model)];
    this.saving = true;
    const stored = await this.#store(model, wish);
    this.saving = false;
    if (!stored || !before) return;
    toasts.undo(said, () => {
      void this.#store(model, before).then((back) => {
        if (back && edit) this.#edit(model, edit);
      });
    });
  }

  async #store(model: string, wish: PlacementWish): Promise<boolean> {
    return attempt(async () => {
      await ipc.placementSet(model, wish);
      this.#stored.set(model, wish);
      this.#edits.delete(model);
      this.turn++;
    });
  }

  #edit(model: string, wish: PlacementWish | null) {
    const stored = this.#stored.get(model);
    if (!wish || (stored && sameWish(wish, stored))) this.#edits.delete(model);
    else this.#edits.set(model, wish);
    this.turn++;
  }
}

export const placing = new Placing();
