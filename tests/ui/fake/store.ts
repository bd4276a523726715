import type {
  Conversation,
  ConversationSummary,
  Message,
} from "../../../ui/src/bindings";
import type { Story } from "./options";

type Held = Omit<Message, "siblings">;
type Talk = {
  id: string;
  title: string;
  updated: number;
  leaf: string;
  deleted: boolean;
};

/** Conversations in memory, as trees like the real store's. */
export class Store {
  #talks = new Map<string, Talk>();
  #messages = new Map<string, Held>();
  #next = 1;

  constructor(stories: Story[]) {
    for (const { id, title, updated_at_ms, leaf, messages } of stories) {
      this.#talks.set(id, {
        id,
        title,
        updated: updated_at_ms,
        leaf,
        deleted: false,
      });
      for (const message of messages) {
        this.#messages.set(message.id, { ...message, conversation_id: id });
      }
    }
  }

  list(): ConversationSummary[] {
    return [...this.#talks.values()]
      .filter((talk) => !talk.deleted)
      .sort((a, b) => b.updated - a.updated)
      .map(({ id, title, updated }) => ({
        id,
        title,
        updated_at_ms: updated,
        snippet: "",
        streaming: [...this.#messages.values()].some(
          (message) =>
            message.conversation_id === id && message.status === "streaming",
        ),
      }));
  }

  search(query: string): ConversationSummary[] {
    const wanted = query.toLowerCase();
    return this.list().flatMap((summary) => {
      const hit = [...this.#messages.values()].find(
        (message) =>
          message.conversation_id === summary.id &&
          message.text.toLowerCase().includes(wanted),
      );
      if (!hit && !summary.title.toLowerCase().includes(wanted)) return [];
      const at = hit
        ? Math.max(0, hit.text.toLowerCase().indexOf(wanted) - 30)
        : 0;
      return [
        { ...summary, snippet: hit ? `…${hit.text.slice(at, at + 90)}…` : "" },
      ];
    });
  }

  open(id: string): Conversation {
    const talk = this.talk(id);
    const path: Message[] = [];
    let at: string | null = talk.leaf;
    while (at !== null) {
      const message = this.message(at);
      path.unshift(message);
      at = message.parent_id;
    }
    return { id, title: talk.title, messages: path };
  }

  talk(id: string): Talk {
    const talk = this.#talks.get(id);
    if (!talk) throw new Error(`no conversation ${id}`);
    return talk;
  }

  /** A message as it goes over the wire: a copy, with its versions. */
  message(id: string): Message {
    const held = this.held(id);
    const siblings = [...this.#messages.values()]
      .filter(
        (other) =>
          other.conversation_id === held.conversation_id &&
          other.parent_id === held.parent_id,
      )
      .map((other) => other.id);
    return { ...held, siblings };
  }

  held(id: string): Held {
    const held = this.#messages.get(id);
    if (!held) throw new Error(`no message ${id}`);
    return held;
  }

  create(title: string): Talk {
    const id = `talk-${this.#next++}`;
    const talk = { id, title, updated: Date.now(), leaf: "", deleted: false };
    this.#talks.set(id, talk);
    return talk;
  }

  add(
    talk: string,
    parent: string | null,
    role: Message["role"],
    text: string,
  ): Held {
    const message: Held = {
      id: `message-${this.#next++}`,
      conversation_id: talk,
      parent_id: parent,
      role,
      text,
      status: role === "user" ? "complete" : "streaming",
      error: null,
      receipt: null,
      created_at_ms: Date.now(),
    };
    this.#messages.set(message.id, message);
    const at = this.talk(talk);
    at.leaf = message.id;
    at.updated = Date.now();
    return message;
  }

  /** The end of the newest branch below a message. */
  leafBelow(id: string): string {
    const child = [...this.#messages.values()].findLast(
      (message) => message.parent_id === id,
    );
    return child ? this.leafBelow(child.id) : id;
  }
}
