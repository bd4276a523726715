import type { ProfileGoal, ProfileSummary } from "../bindings";
import { ipc } from "../ipc";
import { Failure } from "../lib/failure";
import { preferences } from "../settings/settings.svelte";
import { attempt, toasts } from "../shell/toasts.svelte";
import { placing } from "./placing.svelte";

/** A profile's name. */
export const PROFILE_NAMES: Record<ProfileGoal, string> = {
  fast: "Fast",
  balanced: "Balanced",
  quality: "Quality",
};

/** Fast, Balanced and Quality, as the core last computed them. */
class Profiles {
  /** null until they are known. */
  all = $state.raw<ProfileSummary[] | null>(null);
  failure = $state.raw<Failure | null>(null);
  /** The one that is being applied. */
  applying = $state<ProfileGoal | null>(null);
  #asked = 0;

  /** Asks for them; the last of several questions counts. */
  async look(): Promise<void> {
    const asked = ++this.#asked;
    try {
      const told = await ipc.profilesList();
      if (asked !== this.#asked) return;
      this.all = told;
      this.failure = null;
    } catch (thrown) {
      if (asked === this.#asked) this.failure = Failure.from(thrown);
    }
  }

  /** Uses a profile, with a way back. */
  async apply(goal: ProfileGoal): Promise<void> {
    if (this.applying) return;
    this.applying = goal;
    await attempt(() => this.#apply(goal));
    this.applying = null;
    await this.look();
  }

  async #apply(goal: ProfileGoal) {
    const profiles = this.all ?? (await ipc.profilesList());
    const model = profiles.find((profile) => profile.goal === goal)?.model;
    const before = preferences.now.model;
    // A profile sets the model's context too: without what was there it could not be taken back.
    const placement = model ? (await ipc.placementPlan(model, null)).wish : null;
    preferences.now = await ipc.profileApply(goal);
    if (model) placing.reread(model);
    toasts.undo(`Using the profile ${PROFILE_NAMES[goal]}: ${preferences.now.model}`, () => {
      void attempt(async () => {
        if (model && placement) {
          await ipc.placementSet(model, placement);
          placing.reread(model);
        }
        await preferences.change({ model: before });
        await this.look();
      });
    });
  }
}

export const profiles = new Profiles();
