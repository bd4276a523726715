import type {
  CoreEvent,
  EngineState,
  LoadedModel,
  ModelSummary,
  Receipt,
  Unloaded,
} from "../bindings";
import { ipc } from "../ipc";
import { RateMeter } from "../lib/rate";
import { unloadNotice } from "../models/words";
import { attempt, toasts } from "./toasts.svelte";

/** The engine as the core last described it, its models, and how fast it writes. */
class Engine {
  now = $state.raw<EngineState>({ kind: "idle" });
  /** When the present state began (performance.now), for times left. */
  since = $state(0);
  models = $state.raw<ModelSummary[]>([]);
  modelsKnown = $state(false);
  /** What the last unload gave back, until that is read. */
  unloads = $state.raw<Unloaded[]>([]);
  unloading = $state(false);
  /** Tokens per second of the answer being written, or null. */
  rate = $state<number | null>(null);
  /** Tokens per second of the last finished answer, or null. */
  lastRate = $state<number | null>(null);
  /** Ids of the answers the engine has begun to work on. */
  #begun = $state.raw<ReadonlySet<string>>(new Set());
  #meter = new RateMeter();
  #metered = "";
  #warming = false;
  #heard = false;

  /** Whether there is a model that can answer. */
  get usable(): boolean {
    return this.models.some((model) => !model.problem);
  }

  /** The model in memory, if one is. */
  get model(): LoadedModel | null {
    return this.now.kind === "ready" || this.now.kind === "thinking" ? this.now.model : null;
  }

  async start(): Promise<void> {
    const told = await ipc.engineState();
    // An event that came meanwhile is newer than this answer.
    if (!this.#heard) this.#take(told);
    await this.look();
  }

  /** Reads the models folder again. */
  async look(): Promise<void> {
    this.models = await ipc.modelsList();
    this.modelsKnown = true;
  }

  lookAgain = () => attempt(() => this.look());

  restart = () => attempt(() => ipc.engineRestart());

  /** Takes the model out of memory, after the answer that is being written. */
  async unload(): Promise<void> {
    this.unloading = true;
    await attempt(async () => {
      this.unloads = await ipc.engineUnload();
    });
    this.unloading = false;
  }

  /** Starts the engine ahead of the first question, once for each time it is idle. */
  warm(): void {
    if (this.now.kind !== "idle" || this.#warming) return;
    this.#warming = true;
    // Should it fail, the failed state of the engine tells; there is nothing to add.
    ipc.engineWarm().catch(() => {});
  }

  /** Whether the engine has begun to work on this answer. */
  hasBegun(messageId: string): boolean {
    return this.#begun.has(messageId);
  }

  take(event: CoreEvent): void {
    if (event.type === "engine_state") {
      this.#heard = true;
      this.#take(event.state);
    }
    // What was asked for is told by the answer to the question.
    if (event.type === "unloaded" && event.unloaded.why.kind !== "asked") {
      this.unloads = [event.unloaded];
      toasts.note(unloadNotice(event.unloaded));
    }
    if (event.type === "answer_started") this.#begun = new Set([...this.#begun, event.message_id]);
    if (event.type === "answer_finished") {
      this.#begun = new Set([...this.#begun].filter((id) => id !== event.message.id));
      this.#finished(event.message.receipt);
    }
  }

  /** Notes the running token count of an answer. */
  measure(messageId: string, tokens: number): void {
    if (messageId !== this.#metered) this.#meter.reset();
    this.#metered = messageId;
    this.#meter.note(tokens, performance.now());
  }

  /** Brings {@link rate} up to date; called a few times a second, as a figure that
   * changes with every word cannot be read. */
  readRate(): void {
    this.rate = this.#metered ? this.#meter.rate(performance.now()) : null;
  }

  #finished(receipt: Receipt | null) {
    this.#meter.reset();
    this.#metered = "";
    this.rate = null;
    if (receipt?.decode_tokens_per_second) this.lastRate = receipt.decode_tokens_per_second;
  }

  #take(next: EngineState) {
    if (next.kind !== this.now.kind) this.since = performance.now();
    if (next.kind !== "idle") this.#warming = false;
    this.now = next;
  }
}

export const engine = new Engine();
