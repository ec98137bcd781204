// One reply outside of a conversation: it grows in an element, can be stopped, and says how fast it came.

import { stream } from "../lib/api.js";
import { Clock } from "../lib/clock.js";
import { eachFrame, h } from "../lib/dom.js";
import { MarkdownView } from "../lib/markdown.js";
import { told } from "../lib/session.js";
import { citationsOf, markCitations, sources } from "./citations.js";
import { failureBlock } from "./failure.js";
import { parted, statsLine } from "./turn.js";

/** Ask `path` for a reply: `{content, status, stats, error, citations}`; `grown(reply)` is called with each piece. Never throws. */
export async function written({ path, body, signal, grown }) {
  const clock = new Clock();
  const reply = { content: "", thought: "", status: "writing", stats: null, error: null, citations: null, finish: null };
  let usage = null;
  try {
    for await (const piece of stream(path, body, signal)) {
      if (piece.text || piece.thought) clock.tick();
      reply.content += piece.text;
      reply.thought += piece.thought;
      reply.finish = piece.finish ?? reply.finish;
      reply.citations = piece.citations ?? reply.citations;
      usage = piece.usage ?? usage;
      reply.stats = clock.read(usage);
      grown(reply);
    }
    reply.status = "done";
  } catch (error) {
    reply.status = error.name === "AbortError" ? "stopped" : "failed";
    if (reply.status === "failed") reply.error = told(error);
  }
  grown(reply);
  return reply;
}

/** A reply as Markdown, with its speed below it. */
export class ReplyPane {
  /** `again()` tries once more after a failure; `below(reply)` gives `{buttons, form}` for a finished reply. */
  constructor({ again = null, below = () => ({}) } = {}) {
    Object.assign(this, { again, below });
    this.body = h("div", { class: "markdown" });
    this.text = new MarkdownView(this.body);
    this.tail = h("div", { class: "reply-tail" });
    this.element = h("div", { class: "pane reply" }, this.body, this.tail);
    this.show = this.show.bind(this);
    this.draw = eachFrame(() => this.#draw());
  }

  /** Show a reply as it stands. */
  show(reply) {
    this.reply = reply;
    this.draw();
  }

  #draw() {
    const { reply } = this;
    const isWriting = reply.status === "writing";
    const { text } = parted(reply);
    this.text.show(text);
    this.element.classList.toggle("writing", isWriting);
    this.element.classList.toggle("waiting", isWriting && !text);
    this.element.setAttribute("aria-busy", String(isWriting));
    if (isWriting) return;
    const citations = citationsOf(reply.citations);
    if (citations.length) markCitations(this.body, citations);
    const { buttons = [], form = null } = this.below(reply);
    const actions = h("div", { class: "actions" }, buttons, h("span", { class: "stats" }, statsLine(reply.stats)));
    const tail = [sources(citations), reply.error ? failureBlock(reply.error, this.again) : null, actions, form];
    this.tail.replaceChildren(...tail.filter(Boolean));
  }
}
