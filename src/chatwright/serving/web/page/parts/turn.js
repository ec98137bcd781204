// One turn of a conversation as it is shown.

import { button, growing, h, icon, isSendKey } from "../lib/dom.js";
import { number, t } from "../lib/i18n.js";
import { copyButton, MarkdownView } from "../lib/markdown.js";
import { messages, place } from "../lib/tree.js";
import { citationsOf, markCitations, sources } from "./citations.js";
import { failureBlock } from "./failure.js";
import { thumbs } from "./vote.js";

/** "0.41 s to the first token · 38 tokens/s · 96 tokens", as far as known. */
export function statsLine(stats) {
  if (!stats || stats.first === null) return "";
  const parts = [t("firstToken", { seconds: number(stats.first / 1000, 2) })];
  if (stats.rate) parts.push(t("rate", { rate: number(stats.rate, stats.rate < 10 ? 1 : 0) }));
  parts.push(t("tokens", { count: number(stats.tokens) }));
  return parts.join(" · ");
}

/** ◀ 2/3 ▶ for a turn that has more than one version, else null. */
function versions(conversation, id, turn) {
  const { index, count } = place(conversation, id);
  if (count < 2) return null;
  const step = (sign, by, label, disabled) => button({ label, sign, quiet: true, kind: "small", disabled, press: () => turn(by) });
  return h(
    "div",
    { class: "versions", role: "group", "aria-label": t("versions") },
    step("left", -1, t("versionBefore"), index === 0),
    h("span", {}, `${index + 1}/${count}`),
    step("right", 1, t("versionAfter"), index === count - 1),
  );
}

/** A turn of the user's: shown, or being edited. */
export class AskedView {
  constructor(app, conversation, node) {
    Object.assign(this, { app, conversation, node });
    this.element = h("article", { class: "turn asked", "aria-label": t("you"), data: { id: node.id } });
    this.show();
  }

  show() {
    const { session } = this.app;
    this.element.replaceChildren(
      h("div", { class: "bubble" }, this.node.content),
      h(
        "div",
        { class: "actions" },
        versions(this.conversation, this.node.id, (step) => session.turnTo(this.node.id, step)),
        button({ label: t("edit"), sign: "edit", quiet: true, kind: "small", press: () => this.edit() }),
        copyButton(() => this.node.content),
      ),
    );
  }

  edit() {
    const { session } = this.app;
    if (session.isWriting()) return;
    const area = h("textarea", { class: "field", rows: "2", value: this.node.content, "aria-label": t("edit") });
    const leave = () => {
      this.show();
      this.element.querySelector("button")?.focus();
    };
    const send = () => {
      const text = area.value.trim();
      if (text) session.edit(this.node.id, text);
    };
    growing(area);
    area.addEventListener("keydown", (event) => {
      if (isSendKey(event)) {
        event.preventDefault();
        send();
      } else if (event.key === "Escape" && !event.isComposing) {
        leave();
      }
    });
    this.element.replaceChildren(
      h(
        "div",
        { class: "editing" },
        area,
        h("div", { class: "editing-foot" }, h("span", { class: "hint" }, t("editHint")), button({ label: t("cancel"), press: leave }), button({ label: t("send"), kind: "main", press: send })),
      ),
    );
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }
}

/** A reply, which may still be growing. */
export class ReplyView {
  #state = "";

  constructor(app, conversation, node) {
    Object.assign(this, { app, conversation, node });
    this.thought = h("div", { class: "thought-text" });
    this.body = h("div", { class: "markdown" });
    this.text = new MarkdownView(this.body);
    this.tail = h("div", { class: "reply-tail" });
    this.details = h("details", { class: "thought", hidden: true }, h("summary", {}, t("thought")), this.thought);
    this.element = h(
      "article",
      { class: "turn reply", "aria-label": t("replyOf", { model: node.model ?? "" }), data: { id: node.id } },
      h("div", { class: "reply-head" }, icon("sparkle"), h("span", {}, node.model ?? t("model"))),
      this.details,
      this.body,
      this.tail,
    );
    this.update();
  }

  /** Show what has come since. */
  update() {
    const { node } = this;
    const { thought, text } = parted(node);
    const isWriting = node.status === "writing";
    this.details.hidden = !thought;
    this.thought.textContent = thought;
    this.text.show(text);
    this.element.classList.toggle("writing", isWriting);
    this.element.classList.toggle("waiting", isWriting && !text && !thought);
    this.element.setAttribute("aria-busy", String(isWriting));
    // what stands below the text is made again only when its kind changes, so that a form in it keeps its words
    const state = `${node.status} ${node.vote?.value} ${place(this.conversation, node.id).count}`;
    if (isWriting || state === this.#state) return;
    this.#state = state;
    this.#finish();
  }

  #finish() {
    const { node, app, conversation } = this;
    const citations = citationsOf(node.citations);
    if (citations.length) markCitations(this.body, citations);
    const again = () => app.session.regenerate(node.id);
    const notes = { stopped: t("stopped"), length: t("cutOff") };
    const note = notes[node.status] ?? notes[node.finish];
    const isEmpty = node.status === "done" && !node.content.trim();
    const { buttons, form } = this.#thumbs();
    this.tail.replaceChildren(
      ...[
        sources(citations),
        node.status === "failed" ? failureBlock(node.error, again, () => app.newChat()) : null,
        isEmpty ? h("p", { class: "note" }, t("emptyReply")) : null,
        note ? h("p", { class: "note" }, note) : null,
        h(
          "div",
          { class: "actions" },
          versions(conversation, node.id, (step) => app.session.turnTo(node.id, step)),
          node.content ? copyButton(() => node.content) : null,
          button({ label: t("regenerate"), sign: "again", quiet: true, kind: "small", press: again }),
          buttons,
          h("span", { class: "stats" }, statsLine(node.stats)),
        ),
        form,
      ].filter(Boolean),
    );
  }

  #thumbs() {
    const { node, app, conversation } = this;
    if (!app.info.votes || !node.content.trim()) return { buttons: [], form: null };
    return thumbs({
      vote: node.vote,
      about: () => ({ model: node.model, messages: messages(conversation, node.parent), reply: node.content, sampling: node.sampling }),
      keep: (vote) => {
        node.vote = { ...vote };
        this.#state = `${node.status} ${vote.value} ${place(conversation, node.id).count}`;
        app.session.note(conversation, node.id, { vote: node.vote });
      },
    });
  }
}

/** What a model thought aloud, apart from what it says: in a field of its own, or between <think> and </think>. */
export function parted({ content, thought = "" }) {
  const found = /^\s*<think>([\s\S]*?)(?:<\/think>|$)/.exec(content);
  if (!found) return { thought: thought.trim(), text: content };
  return { thought: `${thought}${found[1]}`.trim(), text: content.slice(found[0].length) };
}
