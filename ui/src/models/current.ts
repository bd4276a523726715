import { preferences } from "../settings/settings.svelte";
import { engine } from "../shell/engine.svelte";
import { firstUsable } from "./groups";

/** The model that is in use or would be. */
export function currentModel(): string | null {
  return preferences.now.model ?? engine.model?.name ?? firstUsable(engine.models)?.name ?? null;
}
