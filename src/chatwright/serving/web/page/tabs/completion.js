// Completion: a text that the model goes on with.

import { button, eachFrame, growing, h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { copyButton } from "../lib/markdown.js";
import { sampling } from "../lib/preferences.js";
import { failureBlock } from "../parts/failure.js";
import { statsLine } from "../parts/turn.js";
import { written } from "../parts/writer.js";
import { WritingTab } from "../parts/writing.js";

export class CompletionTab extends WritingTab {
  constructor(app) {
    super();
    this.app = app;
    this.kept = app.kept("completion");
    this.area = h("textarea", { class: "field tall", rows: "7", value: this.kept.text ?? "", placeholder: t("completionHint"), "aria-label": t("completionText") });
    this.area.addEventListener("input", () => this.#changed());
    this.area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) this.#write();
    });
    this.fit = growing(this.area);
    this.writer = button({ label: t("continue"), sign: "completion", kind: "main", press: () => this.#write() });
    this.stopper = button({ label: t("stop"), sign: "stop", kind: "main", press: () => this.running?.abort() });
    this.result = h("div", { class: "result" });
    this.element = h(
      "div",
      { class: "page" },
      h("p", { class: "lead" }, t("completionLead")),
      this.area,
      h("div", { class: "page-actions" }, h("span", { class: "hint" }, t("ctrlEnter")), this.stopper, this.writer),
      this.result,
    );
    this.#busy(false);
    if (this.kept.reply) this.#show(this.kept.reply);
  }

  #changed() {
    this.kept.text = this.area.value;
    this.writer.disabled = !this.area.value.trim();
  }

  #busy(isBusy) {
    this.writer.hidden = isBusy;
    this.stopper.hidden = !isBusy;
    this.#changed();
  }

  async #write() {
    const prompt = this.area.value;
    if (!prompt.trim() || this.running) return;
    this.running = new AbortController();
    this.#busy(true);
    const draw = eachFrame(() => this.#show(this.kept.reply));
    const grown = (reply) => {
      this.kept.reply = { ...reply, prompt };
      draw();
    };
    const model = this.app.model();
    const drawn = sampling();
    const body = () => ({ model, prompt, ...this.app.room(model), ...drawn });
    await written({ path: "v1/completions", body, signal: this.running.signal, grown });
    this.running = null;
    this.#busy(false);
  }

  #show(reply) {
    const whole = reply.prompt + reply.content;
    const isWriting = reply.status === "writing";
    const take = () => {
      this.area.value = whole;
      this.kept.reply = null;
      this.#changed();
      this.fit();
      this.result.replaceChildren();
      this.area.focus();
    };
    const foot = [
      copyButton(() => whole),
      button({ label: t("again"), sign: "again", quiet: true, kind: "small", press: () => this.#write() }),
      reply.content ? button({ label: t("takeOver"), kind: "soft", press: take }) : null,
      h("span", { class: "stats" }, statsLine(reply.stats)),
    ];
    this.result.replaceChildren(
      h("p", { class: `continued${isWriting ? " writing" : ""}`, "aria-busy": String(isWriting) }, h("span", { class: "given" }, reply.prompt), h("span", { class: "made" }, reply.content)),
      ...(reply.error ? [failureBlock(reply.error, () => this.#write())] : []),
      ...(isWriting ? [] : [h("div", { class: "actions always" }, foot)]),
    );
  }
}
