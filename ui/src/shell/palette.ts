import type { Component } from "svelte";
import Cpu from "@lucide/svelte/icons/cpu";
import MessageSquare from "@lucide/svelte/icons/message-square";
import Zap from "@lucide/svelte/icons/zap";
import type { ConversationSummary } from "../bindings";
import { thread } from "../chat/thread.svelte";
import { conversations } from "../conversations/conversations.svelte";
import type { Key } from "../lib/keys";
import { preferences } from "../settings/settings.svelte";
import { allActions, openFolder } from "./actions";
import { engine } from "./engine.svelte";
import { layout } from "./layout.svelte";
import { rank } from "./rank";

/** One thing the palette can do. */
export type Entry = {
  id: string;
  kind: "Action" | "Conversation" | "Model";
  icon: Component;
  label: string;
  note?: string;
  key?: Key;
  run: () => void;
};

const MOST = 12;
const MOST_UNASKED = 5;

function actionEntries(): Entry[] {
  const keyed = allActions
    .filter((action) => (action.ready?.() ?? true) && action.label !== "Find anything")
    .map((action): Entry => ({
      id: `action ${action.label}`,
      kind: "Action",
      icon: Zap,
      label: action.label,
      ...(action.key ? { key: action.key } : {}),
      run: action.run,
    }));
  const folders = (["models", "data", "logs"] as const).map((which): Entry => ({
    id: `folder ${which}`,
    kind: "Action",
    icon: Zap,
    label: `Open ${which} folder`,
    run: () => openFolder(which),
  }));
  return [...keyed, ...folders];
}

function conversationEntry(conversation: ConversationSummary): Entry {
  return {
    id: conversation.id,
    kind: "Conversation",
    icon: MessageSquare,
    label: conversation.title || "Untitled",
    run: () => {
      layout.show("chat");
      void thread.open(conversation.id);
    },
  };
}

function modelEntries(): Entry[] {
  return engine.models
    .filter((model) => !model.problem)
    .map((model): Entry => ({
      id: `model ${model.name}`,
      kind: "Model",
      icon: Cpu,
      label: `Use ${model.name}`,
      note: model.quantization,
      run: () => void preferences.change({ model: model.name }),
    }));
}

/** What the palette offers for what is typed: the best of everything, or a little of each. */
export function entriesFor(query: string): Entry[] {
  const actions = actionEntries();
  const talks = conversations.all
    .filter((conversation) => conversation.id !== thread.id || layout.view !== "chat")
    .map(conversationEntry);
  const models = modelEntries();
  if (!query.trim()) {
    return [...talks.slice(0, MOST_UNASKED), ...actions.slice(0, MOST), ...models];
  }
  return rank([...actions, ...talks, ...models], query, (entry) => entry.label).slice(0, MOST);
}
