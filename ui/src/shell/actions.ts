import { tick } from "svelte";
import { bench } from "../bench/bench.svelte";
import type { FolderKind, Message } from "../bindings";
import { composer } from "../chat/composer.svelte";
import { copy } from "../chat/copy";
import { view as reading } from "../chat/follow.svelte";
import { thread } from "../chat/thread.svelte";
import { conversations } from "../conversations/conversations.svelte";
import { ipc } from "../ipc";
import { isKey, isTyping, type Key } from "../lib/keys";
import { library } from "../models/library.svelte";
import { placing } from "../models/placing.svelte";
import { profiles } from "../models/profiles.svelte";
import { preferences } from "../settings/settings.svelte";
import { engine } from "./engine.svelte";
import { layout } from "./layout.svelte";
import { measuring, measuringPlaces, resourcesBack } from "./measuring";
import { attempt, toasts } from "./toasts.svelte";

/** Something a person can do from anywhere: by its key, from the palette, or by a button. */
export type Action = {
  label: string;
  group: "Conversation" | "Answer" | "Models" | "Window";
  key?: Key;
  /** Whether there is anything to do it to just now. */
  ready?: () => boolean;
  run: () => void;
};

/** The message the focus is in, else the last of its kind. */
function focused(role: Message["role"]): Message | undefined {
  const id = document.activeElement?.closest<HTMLElement>("[data-message]")?.dataset.message;
  const own = thread.messages.find((message) => message.id === id && message.role === role);
  return own ?? thread.messages.findLast((message) => message.role === role);
}

function settledAnswer(): Message | undefined {
  const answer = focused("assistant");
  return answer && answer.status !== "streaming" ? answer : undefined;
}

function continuable(): Message | undefined {
  const answer = settledAnswer();
  return answer && canContinue(answer) ? answer : undefined;
}

/** Whether an answer broke off in a way that lets it be written on. */
export function canContinue(answer: Message): boolean {
  return (
    answer.status === "stopped" ||
    answer.status === "interrupted" ||
    (answer.status === "complete" && answer.receipt?.finish_reason === "length")
  );
}

/** The versions beside a message, and which one is shown. */
export function versionsOf(message: Message): { at: number; all: string[] } {
  return { at: Math.max(0, message.siblings.indexOf(message.id)), all: message.siblings };
}

function versioned(): Message | undefined {
  const id = document.activeElement?.closest<HTMLElement>("[data-message]")?.dataset.message;
  const many = (message: Message) => message.siblings.length > 1;
  const own = thread.messages.find((message) => message.id === id && many(message));
  return own ?? thread.messages.findLast(many);
}

function stepVersion(by: 1 | -1) {
  const message = versioned();
  const next = message && message.siblings[versionsOf(message).at + by];
  if (next) void reading.still(() => thread.choose(next));
}

async function copyAnswer() {
  const answer = focused("assistant");
  if (!answer) return;
  if (await copy(answer.text)) toasts.note("Answer copied");
}

/** Shows one of Tektra's folders in the system's file manager. */
export function openFolder(which: FolderKind): void {
  void attempt(() => ipc.openFolder(which));
}

/** Begins a new conversation with the cursor in the message field. */
export function newChat(): void {
  layout.show("chat");
  thread.startNew();
  composer.focus();
}

/** Shows the models worth having, and what is being downloaded. */
export function getModels(): void {
  library.tab = "get";
  layout.show("models");
}

/** Shows what Fast, Balanced and Quality are on this machine. */
function showProfiles() {
  library.tab = "profiles";
  layout.show("models");
}

function inLibrary() {
  return layout.view === "models" && library.tab === "library";
}

function inChat() {
  return layout.view === "chat";
}

/** Every action, by a short name that the buttons use too. */
export const actions = {
  newChat: {
    label: "New chat",
    group: "Conversation",
    key: { key: "n", mod: true },
    run: newChat,
  },
  search: {
    label: "Search conversations",
    group: "Conversation",
    key: { key: "f", mod: true, shift: true },
    run: () => {
      layout.view = "chat";
      layout.showList();
      setTimeout(() => document.getElementById("conversation-search")?.focus(), 0);
    },
  },
  previous: {
    label: "Previous conversation",
    group: "Conversation",
    key: { key: "ArrowUp", alt: true },
    ready: inChat,
    run: () => void conversations.step(-1),
  },
  next: {
    label: "Next conversation",
    group: "Conversation",
    key: { key: "ArrowDown", alt: true },
    ready: inChat,
    run: () => void conversations.step(1),
  },
  rename: {
    label: "Rename conversation",
    group: "Conversation",
    key: { key: "F2" },
    ready: () => inChat() && thread.id !== null,
    run: () => {
      layout.showList();
      conversations.search("");
      conversations.renaming = thread.id;
    },
  },
  remove: {
    label: "Delete conversation",
    group: "Conversation",
    key: { key: "Delete", mod: true, shift: true },
    ready: () => inChat() && thread.id !== null,
    run: () => {
      if (thread.id) void conversations.remove(thread.id);
    },
  },
  write: {
    label: "Go to the message field",
    group: "Conversation",
    key: { key: "l", mod: true },
    run: () => {
      layout.show("chat");
      composer.focus();
    },
  },
  edit: {
    label: "Edit message",
    group: "Conversation",
    key: { key: "e", mod: true, shift: true },
    ready: () => inChat() && !thread.streaming && focused("user") !== undefined,
    run: () => (thread.editing = focused("user")?.id ?? null),
  },
  stop: {
    label: "Stop the answer",
    group: "Answer",
    key: { key: "Escape" },
    ready: () => thread.streaming !== null,
    run: () => thread.stop(),
  },
  copy: {
    label: "Copy answer",
    group: "Answer",
    key: { key: "c", mod: true, shift: true },
    ready: () => inChat() && focused("assistant") !== undefined,
    run: () => void copyAnswer(),
  },
  regenerate: {
    label: "Answer again",
    group: "Answer",
    key: { key: "r", mod: true, shift: true },
    ready: () => inChat() && !thread.streaming && settledAnswer() !== undefined,
    run: () => {
      const answer = settledAnswer();
      if (answer) void thread.regenerate(answer.id);
    },
  },
  continue: {
    label: "Continue the answer",
    group: "Answer",
    key: { key: "Enter", mod: true, shift: true },
    ready: () => inChat() && !thread.streaming && continuable() !== undefined,
    run: () => {
      const answer = continuable();
      if (answer) void thread.continueAnswer(answer.id);
    },
  },
  olderVersion: {
    label: "Previous version",
    group: "Answer",
    key: { key: "ArrowLeft", alt: true },
    ready: () => inChat() && !thread.streaming && versioned() !== undefined,
    run: () => stepVersion(-1),
  },
  newerVersion: {
    label: "Next version",
    group: "Answer",
    key: { key: "ArrowRight", alt: true },
    ready: () => inChat() && !thread.streaming && versioned() !== undefined,
    run: () => stepVersion(1),
  },
  latest: {
    label: "Jump to latest",
    group: "Answer",
    key: { key: "End", mod: true },
    ready: () => inChat() && thread.messages.length > 0,
    run: () => reading.toEnd(),
  },
  findModel: {
    label: "Search models",
    group: "Models",
    key: { key: "f", mod: true },
    ready: () => layout.view === "models",
    run: () => {
      library.tab = "library";
      void tick().then(() => document.getElementById("model-search")?.focus());
    },
  },
  useModel: {
    label: "Use this model",
    group: "Models",
    key: { key: "Enter", mod: true },
    ready: () => inLibrary() && library.usable !== null,
    run: () => {
      if (library.usable) library.use(library.usable);
    },
  },
  unload: {
    label: "Unload now",
    group: "Models",
    key: { key: "u", mod: true, shift: true },
    ready: () => engine.model !== null && !engine.unloading,
    run: () => void engine.unload(),
  },
  getModels: {
    label: "Get models",
    group: "Models",
    key: { key: "d", mod: true },
    run: getModels,
  },
  profiles: {
    label: "Profiles",
    group: "Models",
    key: { key: "p", mod: true, shift: true },
    run: showProfiles,
  },
  useFast: {
    label: "Use the profile Fast",
    group: "Models",
    ready: () => engine.usable,
    run: () => void profiles.apply("fast"),
  },
  useBalanced: {
    label: "Use the profile Balanced",
    group: "Models",
    ready: () => engine.usable,
    run: () => void profiles.apply("balanced"),
  },
  useQuality: {
    label: "Use the profile Quality",
    group: "Models",
    ready: () => engine.usable,
    run: () => void profiles.apply("quality"),
  },
  savePlacement: {
    label: "Save the placement",
    group: "Models",
    key: { key: "s", mod: true },
    ready: () => inLibrary() && placing.canSave,
    run: () => void placing.save(),
  },
  lookForModels: {
    label: "Look for models again",
    group: "Models",
    key: { key: "F5" },
    run: () => void engine.lookAgain(),
  },
  ...measuring,
  palette: {
    label: "Find anything",
    group: "Window",
    key: { key: "k", mod: true },
    run: () => (layout.paletteOpen = !layout.paletteOpen),
  },
  chat: {
    label: "Chat",
    group: "Window",
    key: { key: "1", mod: true },
    run: () => layout.show("chat"),
  },
  models: {
    label: "Models",
    group: "Window",
    key: { key: "2", mod: true },
    run: () => {
      library.tab = "library";
      layout.show("models");
    },
  },
  ...measuringPlaces,
  settings: {
    label: "Settings",
    group: "Window",
    key: { key: ",", mod: true },
    run: () => layout.show("settings"),
  },
  list: {
    label: "Show or hide conversations",
    group: "Window",
    key: { key: "b", mod: true },
    run: () => {
      layout.view = "chat";
      layout.toggleList();
    },
  },
  model: {
    label: "Choose model",
    group: "Window",
    key: { key: "m", mod: true },
    run: () => document.getElementById("model-button")?.click(),
  },
  theme: {
    label: "Switch between light and dark",
    group: "Window",
    key: { key: "l", mod: true, shift: true },
    run: () => {
      const dark = document.documentElement.dataset.theme === "dark";
      void preferences.change({ theme: dark ? "light" : "dark" });
    },
  },
  keys: {
    label: "Keys",
    group: "Window",
    key: { key: "?" },
    run: () => (layout.keysOpen = true),
  },
} satisfies Record<string, Action>;

/** All actions in the order they are listed in. */
export const allActions: Action[] = Object.values(actions);

/** Does what a key pressed anywhere in the window stands for. */
export function onWindowKey(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing) return;
  if (event.key === "Escape") {
    if (escape()) event.preventDefault();
    return;
  }
  // A dialog has the window to itself, but for the key that opened it.
  if (layout.keysOpen || (layout.paletteOpen && !isKey(event, actions.palette.key))) return;
  for (const action of allActions) {
    if (!action.key || !isKey(event, action.key)) continue;
    if (!action.key.mod && !action.key.alt && isTyping(event.target)) return;
    event.preventDefault();
    if (action.ready?.() ?? true) action.run();
    return;
  }
}

/** Closes the nearest thing, or else stops the answer. */
function escape(): boolean {
  if (layout.drawerOpen) layout.closeDrawer();
  else if (layout.view === "benchmark" && bench.back()) return true;
  else if (layout.view === "resources" && resourcesBack()) return true;
  else if (layout.view !== "chat") layout.show("chat");
  else if (thread.streaming) thread.stop();
  else return false;
  return true;
}
