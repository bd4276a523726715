// Generated; do not edit.

import { invoke as __TAURI_INVOKE, type Channel } from "@tauri-apps/api/core";

/** Commands */
export const commands = {
  startup: () => typedError<StartupInfo, ErrorReport>(__TAURI_INVOKE("startup")),
  eventsSubscribe: (channel: Channel<CoreEvent>) =>
    typedError<null, ErrorReport>(__TAURI_INVOKE("events_subscribe", { channel })),
  conversationsList: () =>
    typedError<ConversationSummary[], ErrorReport>(__TAURI_INVOKE("conversations_list")),
  conversationsSearch: (query: string) =>
    typedError<ConversationSummary[], ErrorReport>(
      __TAURI_INVOKE("conversations_search", { query }),
    ),
  conversationOpen: (id: string) =>
    typedError<Conversation, ErrorReport>(__TAURI_INVOKE("conversation_open", { id })),
  conversationRename: (id: string, title: string) =>
    typedError<null, ErrorReport>(__TAURI_INVOKE("conversation_rename", { id, title })),
  conversationDelete: (id: string) =>
    typedError<null, ErrorReport>(__TAURI_INVOKE("conversation_delete", { id })),
  conversationRestore: (id: string) =>
    typedError<null, ErrorReport>(__TAURI_INVOKE("conversation_restore", { id })),
  chatSend: (request: SendRequest) =>
    typedError<Started, ErrorReport>(__TAURI_INVOKE("chat_send", { request })),
  chatStop: (messageId: string) =>
    typedError<null, ErrorReport>(__TAURI_INVOKE("chat_stop", { messageId })),
  chatContinue: (messageId: string) =>
    typedError<Started, ErrorReport>(__TAURI_INVOKE("chat_continue", { messageId })),
  chatRegenerate: (messageId: string) =>
    typedError<Started, ErrorReport>(__TAURI_INVOKE("chat_regenerate", { messageId })),
  branchSelect: (messageId: string) =>
    typedError<Conversation, ErrorReport>(__TAURI_INVOKE("branch_select", { messageId })),
  engineState: () => typedError<EngineState, ErrorReport>(__TAURI_INVOKE("engine_state")),
  engineWarm: () => typedError<null, ErrorReport>(__TAURI_INVOKE("engine_warm")),
  engineRestart: () => typedError<null, ErrorReport>(__TAURI_INVOKE("engine_restart")),
  modelsList: () => typedError<ModelSummary[], ErrorReport>(__TAURI_INVOKE("models_list")),
  settingsGet: () => typedError<Settings, ErrorReport>(__TAURI_INVOKE("settings_get")),
  settingsSet: (settings: Settings) =>
    typedError<null, ErrorReport>(__TAURI_INVOKE("settings_set", { settings })),
  openExternal: (url: string) =>
    typedError<null, ErrorReport>(__TAURI_INVOKE("open_external", { url })),
  openFolder: (which: FolderKind) =>
    typedError<null, ErrorReport>(__TAURI_INVOKE("open_folder", { which })),
};

/* Types */
export type Conversation = { id: string; title: string; messages: Message[] };

export type ConversationSummary = {
  id: string;
  title: string;
  updated_at_ms: number;
  snippet: string;
  streaming: boolean;
};

export type CoreEvent =
  | { type: "engine_state"; state: EngineState }
  | { type: "answer_started"; conversation_id: string; message_id: string }
  | {
      type: "answer_delta";
      conversation_id: string;
      message_id: string;
      offset_utf16: number;
      text: string;
      tokens: number;
    }
  | { type: "answer_finished"; conversation_id: string; message: Message }
  | { type: "conversations_changed" }
  | { type: "store_trouble"; error: ErrorReport | null };

export type EngineState =
  | { kind: "idle" }
  | { kind: "starting" }
  | { kind: "loading"; model: string; size_mib: number; expected_ms: number | null }
  | { kind: "ready"; model: LoadedModel }
  | { kind: "thinking"; model: LoadedModel; waiting: number }
  | { kind: "failed"; error: ErrorReport };

export type ErrorCode =
  | "no_model"
  | "model_not_found"
  | "model_unusable"
  | "context_overflow"
  | "empty_prompt"
  | "engine_missing"
  | "engine_failed"
  | "engine_crashed"
  | "store_newer"
  | "store_read_only"
  | "store_full"
  | "store_failed"
  | "not_found"
  | "invalid_input"
  | "interrupted";

export type ErrorReport = { code: ErrorCode; message: string; hint: string };

export type FinishReason = "stop" | "length" | "cancelled" | "error";

export type FolderKind = "data" | "models" | "logs";

export type LoadedModel = {
  name: string;
  architecture: string;
  quantization: string;
  context_length: number;
  device: string;
  size_mib: number;
};

export type Message = {
  id: string;
  conversation_id: string;
  parent_id: string | null;
  role: Role;
  text: string;
  status: MessageStatus;
  error: ErrorReport | null;
  receipt: Receipt | null;
  created_at_ms: number;
  siblings: string[];
};

export type MessageStatus = "complete" | "streaming" | "stopped" | "interrupted" | "failed";

export type ModelSummary = {
  name: string;
  path: string;
  size_mib: number;
  architecture: string;
  quantization: string;
  context_length: number;
  problem: ErrorReport | null;
};

export type Receipt = {
  queue_ms: number;
  load_ms: number;
  ttft_ms: number | null;
  total_ms: number;
  prefill_tokens_per_second: number | null;
  decode_tokens_per_second: number | null;
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
  finish_reason: FinishReason;
  model: string;
  architecture: string;
  quantization: string;
  context_length: number;
  device: string;
};

export type Role = "user" | "assistant";

export type SendRequest = {
  conversation_id: string | null;
  parent_id: string | null;
  edit_of: string | null;
  text: string;
};

export type Settings = {
  theme: Theme;
  model: string | null;
  system_prompt: string;
  temperature: number | null;
  max_tokens: number;
};

export type Started = { conversation_id: string; user_message: Message | null; answer: Message };

export type StartupInfo = {
  version: string;
  data_folder: string;
  models_folder: string;
  logs_folder: string;
};

export type Theme = "system" | "light" | "dark";

/* Tauri Specta runtime */
async function typedError<T, E>(
  result: Promise<T>,
): Promise<{ status: "ok"; data: T } | { status: "error"; error: E }> {
  try {
    return { status: "ok", data: await result };
  } catch (e) {
    if (e instanceof Error) throw e;
    return { status: "error", error: e as E };
  }
}
