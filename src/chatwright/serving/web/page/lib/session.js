// The conversations and the replies being written in them. Whoever shows them listens: `list`, `open`, `turn`.

import { ApiError, stream } from "./api.js";
import { Clock } from "./clock.js";
import { preferences, sampling } from "./preferences.js";
import { add, leaf, messages, newConversation, path, restored, titleOf, turnTo } from "./tree.js";

export class Session extends EventTarget {
  #store;
  #running = new Map();
  #channel = null;
  /** The conversation that is open; a new one is kept only once something is said in it. */
  current = newConversation();
  /** Gives the id of the model to ask. */
  model = () => null;
  /** Gives what a request to a model carries beside the messages and the sampling that the user set. */
  extra = (model) => ({});

  constructor(store) {
    super();
    this.#store = store;
    this.#listen();
  }

  #listen() {
    if (!("BroadcastChannel" in globalThis)) return;
    this.#channel = new BroadcastChannel("chatwright");
    this.#channel.onmessage = async () => {
      if (this.#running.size) return;
      await this.#store.read();
      this.current = this.#store.known.get(this.current.id) ?? this.current;
      this.#tell("list");
      this.#tell("open");
    };
  }

  #tell(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  async #keep(conversation) {
    await this.#store.put(conversation);
    this.#channel?.postMessage(conversation.id);
  }

  get lasts() {
    return this.#store.lasts;
  }

  list = () => this.#store.list();
  find = (id) => this.#store.known.get(id) ?? null;
  isWriting = (id = this.current.id) => this.#running.has(id);

  /** Open a conversation; an unknown id, or none, opens a new one. */
  open(id = null) {
    const found = this.find(id) ?? (this.current.id === id ? this.current : null);
    this.current = found ?? newConversation({ system: preferences.system });
    this.#tell("open");
    return found !== null;
  }

  /** Say something at the end of the path, and have it answered. */
  async send(content) {
    const conversation = this.current;
    if (!conversation.title) conversation.title = titleOf(content);
    const asked = add(conversation, leaf(conversation), { role: "user", content });
    await this.#answer(conversation, asked.id);
  }

  /** Say a turn of the user's in other words, on a branch of its own. */
  async edit(id, content) {
    const conversation = this.current;
    const asked = add(conversation, conversation.nodes[id].parent, { role: "user", content });
    await this.#answer(conversation, asked.id);
  }

  /** Have a turn answered once more; the replies so far stay beside the new one. */
  async regenerate(id) {
    await this.#answer(this.current, this.current.nodes[id].parent);
  }

  stop(id = this.current.id) {
    this.#running.get(id)?.abort();
  }

  turnTo(id, step) {
    turnTo(this.current, id, step);
    this.#tell("open");
    this.#keep(this.current);
  }

  /** Note something about a turn, as a vote. */
  async note(conversation, id, change) {
    Object.assign(conversation.nodes[id], change);
    await this.#keep(conversation);
  }

  async rename(id, title) {
    await this.#keep(Object.assign(this.find(id), { title }));
    this.#tell("list");
    if (id === this.current.id) this.#tell("title");
  }

  async setSystem(system) {
    this.current.system = system;
    if (this.find(this.current.id)) await this.#keep(this.current);
  }

  /** Take a conversation away; the returned function puts it back. */
  async remove(id) {
    const gone = this.find(id);
    this.stop(id);
    await this.#store.remove(id);
    this.#channel?.postMessage(id);
    if (id === this.current.id) this.open();
    this.#tell("list");
    return async () => {
      await this.#keep(restored(gone));
      this.#tell("list");
    };
  }

  async clear() {
    for (const id of this.#running.keys()) this.stop(id);
    await this.#store.clear();
    this.open();
    this.#tell("list");
  }

  /** Take conversations from an exported file's value; gives how many. */
  async bring(value) {
    const rows = (Array.isArray(value?.conversations) ? value.conversations : [value]).map(restored).filter(Boolean);
    for (const row of rows) await this.#keep(row);
    this.#tell("list");
    return rows.length;
  }

  async #answer(conversation, asked) {
    if (this.#running.has(conversation.id)) return;
    const turn = { role: "assistant", content: "", thought: "", status: "writing", model: this.model(), sampling: sampling() };
    const reply = add(conversation, asked, turn);
    conversation.model = reply.model;
    const stopper = new AbortController();
    this.#running.set(conversation.id, stopper);
    const kept = this.#keep(conversation);
    this.#tell("list");
    if (conversation === this.current) this.#tell("open");
    await this.#write(conversation, reply, asked, stopper.signal);
    this.#running.delete(conversation.id);
    await kept;
    // it may have been deleted while it was being answered
    if (this.find(conversation.id)) await this.#keep(conversation);
    this.#tell("turn", reply.id);
  }

  async #write(conversation, reply, asked, signal) {
    const clock = new Clock();
    let usage = null;
    let saved = performance.now();
    try {
      const { model } = reply;
      const said = messages(conversation, asked);
      const body = () => ({ model, messages: said, ...this.extra(model), ...reply.sampling });
      for await (const piece of stream("v1/chat/completions", body, signal)) {
        if (piece.text || piece.thought) clock.tick();
        reply.content += piece.text;
        reply.thought += piece.thought;
        usage = piece.usage ?? usage;
        if (piece.citations) reply.citations = piece.citations;
        if (piece.finish) reply.finish = piece.finish;
        reply.stats = clock.read(usage);
        this.#tell("turn", reply.id);
        if (performance.now() - saved > 2000) {
          saved = performance.now();
          if (this.find(conversation.id)) this.#store.put(conversation);
        }
      }
      reply.status = "done";
    } catch (error) {
      reply.status = error.name === "AbortError" ? "stopped" : "failed";
      if (reply.status === "failed") reply.error = told(error);
    }
  }
}

/** An error as it is kept with a turn. */
export function told(error) {
  if (!(error instanceof ApiError)) return { kind: "offline", message: String(error.message ?? error) };
  const { kind, message, retryAfter } = error;
  return { kind, message, retryAfter };
}

/** The turns shown of a conversation. */
export const shown = path;
