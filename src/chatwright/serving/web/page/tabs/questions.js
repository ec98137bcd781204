// Questions over a text: the text stays, the questions come and go.

import { button, h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { copyButton } from "../lib/markdown.js";
import { sampling } from "../lib/preferences.js";
import { Composer } from "../parts/composer.js";
import { notice } from "../parts/dialog.js";
import { thumbs } from "../parts/vote.js";
import { ReplyPane, written } from "../parts/writer.js";
import { WritingTab } from "../parts/writing.js";

const MOST_BYTES = 2_000_000;

export class QuestionsTab extends WritingTab {
  constructor(app) {
    super();
    this.app = app;
    this.kept = app.kept("questions");
    this.kept.asked ??= [];
    this.area = h("textarea", { class: "field tall", rows: "8", value: this.kept.text ?? "", placeholder: t("questionsHint"), "aria-label": t("questionsText") });
    this.area.addEventListener("input", () => {
      this.kept.text = this.area.value;
    });
    this.area.addEventListener("dragover", (event) => event.preventDefault());
    this.area.addEventListener("drop", (event) => {
      const [file] = event.dataTransfer.files;
      if (!file) return;
      event.preventDefault();
      this.#take(file);
    });
    const file = h("input", { type: "file", accept: ".txt,.md,.csv,.json,text/*", class: "hidden", tabindex: "-1", "aria-label": t("openFile") });
    file.addEventListener("change", () => this.#take(file.files[0]));
    this.composer = new Composer({ send: (text) => this.#ask(text), stop: () => this.running?.abort(), draft: this.kept, label: t("askText") });
    this.answers = h("div", { class: "answers", role: "log", "aria-live": "off", "aria-label": t("answers") });
    this.element = h(
      "div",
      { class: "page" },
      h("p", { class: "lead" }, t("questionsLead")),
      this.area,
      h("div", { class: "page-actions" }, button({ label: t("openFile"), sign: "questions", kind: "soft", press: () => file.click() }), file),
      this.composer.element,
      this.answers,
    );
    for (const entry of this.kept.asked) if (entry.reply) this.#entry(entry).show(entry.reply);
  }

  async #take(file) {
    if (!file || file.size > MOST_BYTES) {
      if (file) notice(t("fileTooLarge"));
      return;
    }
    this.area.value = await file.text();
    this.kept.text = this.area.value;
  }

  #messages(question) {
    return [{ role: "user", content: `${this.area.value.trim()}\n\n${question}` }];
  }

  async #ask(question) {
    if (!this.area.value.trim()) {
      notice(t("questionsNoText"));
      this.composer.fill(question);
      this.area.focus();
      return;
    }
    this.running = new AbortController();
    this.composer.busy(true);
    const body = { model: this.app.model(), messages: this.#messages(question), ...sampling() };
    const asked = () => ({ ...this.app.room(body.model), ...body });
    const entry = { question, body, reply: null, vote: null };
    this.kept.asked.push(entry);
    const pane = this.#entry(entry);
    const grown = (reply) => {
      entry.reply = reply;
      pane.show(reply);
    };
    await written({ path: "v1/chat/completions", body: asked, signal: this.running.signal, grown });
    this.running = null;
    this.composer.busy(false);
  }

  #entry(entry) {
    const pane = new ReplyPane({ below: (reply) => this.#below(entry, reply) });
    this.answers.prepend(h("article", { class: "answer" }, h("h3", {}, entry.question), pane.element));
    pane.element.classList.add("writing", "waiting");
    return pane;
  }

  #below(entry, { content }) {
    if (!content.trim()) return {};
    const copy = copyButton(() => content);
    if (!this.app.info.votes) return { buttons: [copy] };
    const { model, messages, ...drawn } = entry.body;
    const about = () => ({ model, messages, reply: content, sampling: drawn });
    const { buttons, form } = thumbs({ vote: entry.vote, about, keep: (vote) => Object.assign(entry, { vote: { ...vote } }) });
    return { buttons: [copy, ...buttons], form };
  }
}
