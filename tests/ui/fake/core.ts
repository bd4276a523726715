import type {
  CoreEvent,
  EngineState,
  ErrorReport,
  LoadedModel,
  MessageStatus,
  Receipt,
  SendRequest,
  Settings,
  Started,
  Unloaded,
} from "../../../ui/src/bindings";
import { Bench } from "./bench";
import { Load } from "./load";
import { Models } from "./models";
import type { FakeOptions } from "./options";
import { Placements } from "./placement";
import { Profile } from "./profile";
import { Resources } from "./resources";
import { Store } from "./store";
import { Workshop } from "./workshop";

type Args = Record<string, unknown>;

export const model: LoadedModel = {
  name: "SmolLM2-135M",
  architecture: "llama",
  quantization: "Q4_K_M",
  context_length: 8192,
  device: "CPU",
  size_mib: 94,
  resident_mib: 172,
  load_ms: 812,
  warnings: [],
};

/** Plays the core behind the window: the same commands and events, with a scripted engine. */
export class Core {
  #store: Store;
  #models: Models;
  #placements: Placements;
  #workshop: Workshop;
  #bench: Bench;
  #resources: Resources;
  #loadTest: Load;
  #profile: Profile;
  #engine: EngineState;
  #settings: Settings;
  #stopped = new Set<string>();

  constructor(
    private options: FakeOptions,
    private emit: (event: CoreEvent) => void,
  ) {
    this.#store = new Store(options.stories);
    this.#models = new Models(options, emit);
    this.#placements = new Placements(options, (model) => {
      this.#settings = { ...this.#settings, model };
      return this.#settings;
    });
    this.#workshop = new Workshop(options, emit);
    this.#bench = new Bench(options, emit, (model) => {
      this.#settings = { ...this.#settings, model };
      return this.#settings;
    });
    this.#resources = new Resources(options.resources, emit);
    this.#loadTest = new Load(options.load, emit);
    this.#profile = new Profile(options.profile);
    this.#engine = options.engine;
    this.#settings = options.settings;
  }

  /** Answers one command; throws an ErrorReport as Tauri does. */
  async answer(command: string, args: Args): Promise<unknown> {
    const delay = this.options.delays[command];
    if (delay) await pause(delay);
    const failure = this.options.failures[command];
    if (failure) throw failure;
    const handler =
      this.#commands[command] ??
      this.#models.commands[command] ??
      this.#placements.commands[command] ??
      this.#workshop.commands[command] ??
      this.#bench.commands[command] ??
      this.#resources.commands[command] ??
      this.#loadTest.commands[command] ??
      this.#profile.commands[command];
    if (!handler)
      throw { code: "not_found", message: `No command ${command}.`, hint: "" };
    // What goes over the wire is a copy.
    return structuredClone(await handler(args));
  }

  #commands: Record<string, (args: Args) => unknown> = {
    startup: () => ({
      version: "0.1.0",
      data_folder: "/home/ada/.local/share/tektra",
      models_folder: "/home/ada/.local/share/tektra/models",
      logs_folder: "/home/ada/.local/state/tektra/logs",
    }),
    conversations_list: () => this.#store.list(),
    conversations_search: ({ query }) => this.#store.search(String(query)),
    conversation_open: ({ id }) => this.#store.open(String(id)),
    conversation_rename: ({ id, title }) => {
      this.#store.talk(String(id)).title = String(title);
      this.#changed();
      return null;
    },
    conversation_delete: ({ id }) => this.#mark(String(id), true),
    conversation_restore: ({ id }) => this.#mark(String(id), false),
    chat_send: ({ request }) => this.#send(request as SendRequest),
    chat_stop: ({ messageId }) => {
      this.#stopped.add(String(messageId));
      return null;
    },
    chat_continue: ({ messageId }) => this.#start(String(messageId), null),
    chat_regenerate: ({ messageId }) => {
      const old = this.#store.held(String(messageId));
      const fresh = this.#store.add(
        old.conversation_id,
        old.parent_id,
        "assistant",
        "",
      );
      return this.#start(fresh.id, null);
    },
    branch_select: ({ messageId }) => {
      const message = this.#store.held(String(messageId));
      const talk = this.#store.talk(message.conversation_id);
      talk.leaf = this.#store.leafBelow(message.id);
      return this.#store.open(talk.id);
    },
    engine_state: () => this.#engine,
    engine_warm: () => {
      void this.#load();
      return null;
    },
    engine_restart: () => {
      this.#set({ kind: "idle" });
      void this.#load();
      return null;
    },
    engine_unload: () => this.#unload(),
    settings_get: () => this.#settings,
    settings_set: ({ settings }) => {
      this.#settings = settings as Settings;
      return null;
    },
    open_external: () => null,
    open_folder: () => null,
  };

  #send({ conversation_id, parent_id, edit_of, text }: SendRequest): Started {
    const talk = conversation_id
      ? this.#store.talk(conversation_id)
      : this.#store.create(text.slice(0, 48));
    const after = edit_of
      ? this.#store.held(edit_of).parent_id
      : (parent_id ?? (talk.leaf || null));
    const question = this.#store.add(talk.id, after, "user", text);
    const answer = this.#store.add(talk.id, question.id, "assistant", "");
    return this.#start(answer.id, question.id);
  }

  #start(answerId: string, questionId: string | null): Started {
    const answer = this.#store.held(answerId);
    answer.status = "streaming";
    answer.error = null;
    this.#stopped.delete(answerId);
    setTimeout(() => void this.#stream(answerId), 0);
    return {
      conversation_id: answer.conversation_id,
      user_message: questionId ? this.#store.message(questionId) : null,
      answer: this.#store.message(answerId),
    };
  }

  async #stream(id: string) {
    this.#changed();
    const answer = this.#store.held(id);
    const talk = answer.conversation_id;
    const began = performance.now();
    await this.#load();
    const loaded = performance.now();
    this.#set({ kind: "thinking", model, waiting: 0 });
    this.emit({
      type: "answer_started",
      conversation_id: talk,
      message_id: id,
    });
    await pause(this.options.firstTokenMs);
    const words = this.options.reply.match(/\s*\S+/g) ?? [];
    let tokens = 0;
    let status: MessageStatus = "complete";
    for (let ticks = 0; words.length > 0; ticks++) {
      if (this.#stopped.has(id)) status = "stopped";
      if (this.options.crashAfterTicks === ticks) status = "interrupted";
      if (status !== "complete") break;
      for (const text of words.splice(0, this.options.wordsPerTick)) {
        const offset_utf16 = answer.text.length;
        answer.text += text;
        tokens++;
        this.emit({
          type: "answer_delta",
          conversation_id: talk,
          message_id: id,
          offset_utf16,
          text,
          tokens,
        });
      }
      await pause(this.options.tickMs);
    }
    answer.status = status;
    answer.receipt = receipt(
      tokens,
      loaded - began,
      performance.now() - began,
      status,
    );
    this.emit({
      type: "answer_finished",
      conversation_id: talk,
      message: this.#store.message(id),
    });
    this.#set(
      status === "interrupted"
        ? { kind: "failed", error: crash }
        : { kind: "ready", model },
    );
    this.#changed();
  }

  async #load() {
    if (this.#engine.kind !== "idle" && this.#engine.kind !== "failed") {
      while (
        this.#engine.kind === "starting" ||
        this.#engine.kind === "loading"
      )
        await pause(10);
      return;
    }
    this.#set({ kind: "starting" });
    await pause(this.options.startMs);
    const { name, size_mib } = model;
    this.#set({
      kind: "loading",
      model: name,
      size_mib,
      expected_ms: this.options.loadMs,
      done_mib: 0,
    });
    await pause(this.options.loadMs);
    this.#set({ kind: "ready", model });
  }

  #unload(): Unloaded[] {
    if (this.#engine.kind !== "ready") return [];
    const { name, resident_mib } = this.#engine.model;
    const unloaded: Unloaded = {
      model: name,
      why: { kind: "asked" },
      resident_before_mib: resident_mib ?? 0,
      resident_after_mib: 0,
      available_before_mib: 5120,
      available_after_mib: 5288,
      given_back_mib: 168,
      took_ms: 41.3,
    };
    this.#set({ kind: "idle" });
    this.emit({ type: "unloaded", unloaded });
    return [unloaded];
  }

  #mark(id: string, deleted: boolean): null {
    this.#store.talk(id).deleted = deleted;
    this.#changed();
    return null;
  }

  #set(next: EngineState) {
    this.#engine = next;
    this.emit({ type: "engine_state", state: next });
  }

  #changed() {
    this.emit({ type: "conversations_changed" });
  }
}

const crash: ErrorReport = {
  code: "engine_crashed",
  message: "The engine ended by itself.",
  hint: "Start it again. Your conversations are safe.",
};

function receipt(
  tokens: number,
  load: number,
  total: number,
  status: MessageStatus,
): Receipt {
  return {
    queue_ms: 0,
    load_ms: Math.round(load),
    ttft_ms: 412,
    total_ms: Math.round(total),
    prefill_tokens_per_second: 184.2,
    decode_tokens_per_second: 23.44,
    prompt_tokens: 38,
    cached_tokens: 0,
    completion_tokens: tokens,
    finish_reason:
      status === "stopped"
        ? "cancelled"
        : status === "complete"
          ? "stop"
          : "error",
    model: model.name,
    architecture: model.architecture,
    quantization: model.quantization,
    context_length: model.context_length,
    device: model.device,
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
