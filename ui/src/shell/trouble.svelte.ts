import type { CoreEvent, ErrorReport } from "../bindings";

/** A trouble of the store that lasts, such as a full disk. */
class Trouble {
  store = $state.raw<ErrorReport | null>(null);

  take(event: CoreEvent): void {
    if (event.type === "store_trouble") this.store = event.error;
  }
}

export const trouble = new Trouble();
