// Translation: a text on one side, what a model of pairs makes of it on the other.

import { post } from "../lib/api.js";
import { button, h } from "../lib/dom.js";
import { number, t } from "../lib/i18n.js";
import { copyButton } from "../lib/markdown.js";
import { told } from "../lib/session.js";
import { failureBlock } from "../parts/failure.js";
import { WritingTab } from "../parts/writing.js";

export class TranslationTab extends WritingTab {
  constructor(app) {
    super();
    this.app = app;
    this.kept = app.kept("translation");
    this.area = h("textarea", { class: "field tall", rows: "9", value: this.kept.text ?? "", placeholder: t("translationHint"), "aria-label": t("translationSource") });
    this.area.addEventListener("input", () => this.#changed());
    this.area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) this.#translate();
    });
    this.result = h("div", { class: "translated", role: "region", "aria-label": t("translationResult"), "aria-live": "polite", tabindex: "0" });
    this.tail = h("div", { class: "reply-tail" });
    this.sender = button({ label: t("translate"), sign: "translation", kind: "main", press: () => this.#translate() });
    this.element = h(
      "div",
      { class: "page wide" },
      h("p", { class: "lead" }, t("translationLead")),
      h("div", { class: "pair" }, this.area, h("div", { class: "pair-right" }, this.result, this.tail)),
      h("div", { class: "page-actions" }, h("span", { class: "hint" }, t("ctrlEnter")), this.sender),
    );
    this.#changed();
    this.#show();
  }

  #changed() {
    this.kept.text = this.area.value;
    this.sender.disabled = !this.area.value.trim();
  }

  async #translate() {
    const text = this.area.value.trim();
    if (!text) return;
    this.running?.abort();
    const stopper = new AbortController();
    this.running = stopper;
    this.result.classList.add("waiting");
    const begun = performance.now();
    try {
      const answer = await post("api/translate", { model: this.app.model(), text }, { signal: stopper.signal });
      const [found] = answer.translations;
      Object.assign(this.kept, { found, seconds: (performance.now() - begun) / 1000, error: null });
    } catch (error) {
      if (error.name === "AbortError") return;
      this.kept.error = told(error);
    }
    this.result.classList.remove("waiting");
    this.#show();
  }

  #show() {
    const { found = "", error = null, seconds = null } = this.kept;
    this.result.replaceChildren(found || h("span", { class: "hint" }, t("translationEmpty")));
    const below = error ? [failureBlock(error, () => this.#translate())] : found ? [copyButton(() => found), h("span", { class: "stats" }, t("seconds", { seconds: number(seconds, 2) }))] : [];
    this.tail.replaceChildren(...below);
  }
}
