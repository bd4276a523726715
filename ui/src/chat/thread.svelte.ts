import type { Conversation, ConversationSummary, CoreEvent, Message, Started } from "../bindings";
import { ipc } from "../ipc";
import { Failure } from "../lib/failure";
import { frameQueue } from "../lib/frame-queue";
import { recall, remember } from "../lib/remember";
import { engine } from "../shell/engine.svelte";
import { attempt, toasts } from "../shell/toasts.svelte";
import { join } from "./delta";

type Streamed = Extract<CoreEvent, { type: "answer_delta" | "answer_finished" }>;

/** At most this often a gap in a stream makes us read the conversation again. */
const REREAD_MS = 300;

/** The conversation on the screen: its messages, and the answers streaming into them. */
class Thread {
  id = $state<string | null>(null);
  title = $state("");
  messages = $state<Message[]>([]);
  /** A conversation is being read from the store. */
  opening = $state(false);
  /** Why the conversation could not be read. */
  broken = $state.raw<Failure | null>(null);
  /** Why the last message was not sent. */
  unsent = $state.raw<Failure | null>(null);
  sending = $state(false);
  /** The user message whose text is being edited. */
  editing = $state<string | null>(null);
  /** Counts up with each switch to another conversation, for the view to start afresh. */
  turn = $state(0);
  /** The answer that is being written here, if one is. */
  streaming = $derived(this.messages.find((message) => message.status === "streaming") ?? null);

  /** What came of answers while a request is open, which may bring them, or bring them as they were before. */
  #early: Streamed[] = [];
  #requests = 0;
  #rereadAt = Number.NEGATIVE_INFINITY;
  #rereading = false;
  #queue = frameQueue<Streamed>((events) => {
    for (const event of events) {
      if (event.type === "answer_delta") engine.measure(event.message_id, event.tokens);
    }
    this.#apply(events);
  });

  /** Opens what was open when the window was last closed. */
  async resume(known: ConversationSummary[]): Promise<void> {
    const id = recall<string>("last");
    if (id && known.some((one) => one.id === id)) await this.open(id);
  }

  startNew(): void {
    this.#leave(null);
    this.title = "";
    this.messages = [];
  }

  async open(id: string): Promise<void> {
    const turn = this.#leave(id);
    this.opening = true;
    try {
      const conversation = await this.#waiting(() => ipc.conversationOpen(id));
      if (turn === this.turn) this.#adopt(conversation);
    } catch (thrown) {
      if (turn !== this.turn) return;
      this.messages = [];
      this.title = "";
      this.broken = Failure.from(thrown);
    } finally {
      if (turn === this.turn) this.opening = false;
    }
  }

  /** Sends a message; true when it was taken, false when it still has to be kept. */
  async send(text: string): Promise<boolean> {
    return this.#ask(text, null, null);
  }

  /** Sends another wording of a message, as a branch beside it. */
  async resend(message: Message, text: string): Promise<boolean> {
    const sent = await this.#ask(text, message.parent_id, message.id);
    if (sent) this.editing = null;
    return sent;
  }

  stop(): void {
    const answer = this.streaming;
    if (answer) void attempt(() => ipc.chatStop(answer.id));
  }

  continueAnswer = (id: string) => this.#start(() => ipc.chatContinue(id));

  regenerate = (id: string) => this.#start(() => ipc.chatRegenerate(id));

  /** Shows the branch through another version of a message. */
  async choose(id: string): Promise<void> {
    const turn = this.turn;
    await attempt(async () => {
      const conversation = await this.#waiting(() => ipc.branchSelect(id));
      if (turn === this.turn) this.#adopt(conversation);
    });
  }

  /** Takes a changed title from the list. */
  retitle(all: ConversationSummary[]): void {
    const mine = all.find((one) => one.id === this.id);
    if (mine) this.title = mine.title;
  }

  take(event: CoreEvent): void {
    if (event.type === "answer_delta" || event.type === "answer_finished") this.#queue.push(event);
  }

  async #ask(text: string, parent: string | null, editOf: string | null): Promise<boolean> {
    const turn = this.turn;
    this.sending = true;
    this.unsent = null;
    try {
      const started = await this.#waiting(() =>
        ipc.chatSend({ conversation_id: this.id, parent_id: parent, edit_of: editOf, text }),
      );
      if (turn === this.turn) this.#graft(started);
      return true;
    } catch (thrown) {
      if (turn === this.turn) this.unsent = Failure.from(thrown);
      else toasts.trouble(thrown);
      return false;
    } finally {
      this.sending = false;
    }
  }

  async #start(request: () => Promise<Started>): Promise<void> {
    const turn = this.turn;
    await attempt(async () => {
      const started = await this.#waiting(request);
      if (turn === this.turn) this.#graft(started);
    });
  }

  #leave(id: string | null): number {
    this.id = id;
    this.broken = null;
    this.unsent = null;
    this.editing = null;
    this.opening = false;
    remember("last", id);
    return ++this.turn;
  }

  /** Runs a request whose answer brings messages; pieces that come before them are kept. */
  async #waiting<T>(request: () => Promise<T>): Promise<T> {
    this.#requests++;
    try {
      return await request();
    } finally {
      // The caller takes the answer in first; then nothing is early any more.
      setTimeout(() => {
        if (--this.#requests === 0) this.#early = [];
      }, 0);
    }
  }

  #adopt(conversation: Conversation) {
    this.title = conversation.title;
    this.messages = conversation.messages;
    this.broken = null;
    this.#replay();
  }

  /** Puts a started answer, and the message it answers, in their place. */
  #graft({ conversation_id, user_message, answer }: Started) {
    if (this.id !== conversation_id) {
      this.id = conversation_id;
      remember("last", conversation_id);
    }
    const fresh = user_message ? [user_message, answer] : [answer];
    const first = user_message ?? answer;
    const same = this.messages.findIndex((message) => message.id === first.id);
    const parent = this.messages.findIndex((message) => message.id === first.parent_id);
    const kept = same >= 0 ? same : parent + 1;
    this.messages = [...this.messages.slice(0, kept), ...fresh];
    this.#replay();
  }

  #replay() {
    const early = this.#early;
    this.#early = [];
    this.#apply(early);
  }

  #apply(events: Streamed[]) {
    // All of one frame's events in one go: Svelte then changes the page once.
    for (const event of events) {
      const id = event.type === "answer_delta" ? event.message_id : event.message.id;
      const at = this.messages.findIndex((message) => message.id === id);
      const message = this.messages[at];
      // Also of an answer that is here: one that goes on may end before the request that it should.
      if (this.#requests > 0) this.#early.push(event);
      if (!message) continue;
      if (event.type === "answer_finished") {
        this.messages[at] = event.message;
      } else if (message.status === "streaming") {
        const joined = join(message.text, event.offset_utf16, event.text);
        if (joined.kind === "joined") message.text = joined.text;
        if (joined.kind === "gap") this.#reread();
      }
    }
  }

  /** Reads the conversation again after a gap in the stream, quietly. */
  #reread() {
    if (this.#rereading) return;
    this.#rereading = true;
    const turn = this.turn;
    const early = this.#rereadAt + REREAD_MS - performance.now();
    setTimeout(
      () =>
        void attempt(async () => {
          const id = this.id;
          this.#rereading = false;
          this.#rereadAt = performance.now();
          if (id === null || turn !== this.turn) return;
          const conversation = await this.#waiting(() => ipc.conversationOpen(id));
          if (turn === this.turn) this.#adopt(conversation);
        }),
      Math.max(0, early),
    );
  }
}

export const thread = new Thread();
