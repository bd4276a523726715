import { recall, remember } from "../lib/remember";

/** Below this width the conversation list is a drawer over the thread. */
const NARROW = "(max-width: 900px)";

/** A place of the rail. */
export type View = "chat" | "models" | "benchmark" | "resources" | "settings";

/** What the window shows, apart from any content. */
class Layout {
  view = $state<View>("chat");
  narrow = $state(false);
  paletteOpen = $state(false);
  keysOpen = $state(false);
  #docked = $state(recall<boolean>("list") ?? true);
  #drawer = $state(false);

  /** Whether the conversation list is to be seen, docked or as a drawer. */
  get listOpen(): boolean {
    return this.narrow ? this.#drawer : this.#docked;
  }

  get drawerOpen(): boolean {
    return this.narrow && this.#drawer;
  }

  toggleList(): void {
    if (this.narrow) {
      this.#drawer = !this.#drawer;
    } else {
      this.#docked = !this.#docked;
      remember("list", this.#docked);
    }
  }

  showList(): void {
    if (!this.listOpen) this.toggleList();
  }

  closeDrawer(): void {
    this.#drawer = false;
  }

  show(view: View): void {
    this.view = view;
    this.#drawer = false;
  }

  /** Follows the width of the window; the returned function stops that. */
  watch(): () => void {
    const query = matchMedia(NARROW);
    const follow = () => {
      this.narrow = query.matches;
      this.#drawer = false;
    };
    follow();
    query.addEventListener("change", follow);
    return () => query.removeEventListener("change", follow);
  }
}

export const layout = new Layout();
