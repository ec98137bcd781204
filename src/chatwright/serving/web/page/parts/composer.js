// The box that one writes in: Enter sends, Shift+Enter breaks the line, and the button stops what is being written.

import { button, growing, h, isSendKey } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

export class Composer {
  /**
   * `send(text)` is called with what was written; `stop()` when the user stops the reply; `draft` holds the text;
   * `extra` stands before it.
   */
  constructor({ send, stop, draft, label, hint = t("composerHint"), extra = null }) {
    this.draft = draft;
    this.send = send;
    this.area = h("textarea", {
      class: "composer-text",
      rows: "1",
      value: draft.text ?? "",
      placeholder: label,
      "aria-label": label,
      enterkeyhint: "send",
    });
    this.fit = growing(this.area);
    this.sender = button({ label: t("send"), sign: "send", quiet: true, kind: "main round", press: () => this.#submit() });
    this.stopper = button({ label: t("stop"), sign: "stop", quiet: true, kind: "main round", press: stop });
    this.area.addEventListener("input", () => this.#changed());
    this.area.addEventListener("keydown", (event) => {
      if (isSendKey(event)) {
        event.preventDefault();
        this.#submit();
      }
    });
    this.element = h(
      "div",
      { class: "composer" },
      h("div", { class: "composer-box" }, extra, this.area, this.sender, this.stopper),
      h("p", { class: "composer-hint" }, hint),
    );
    this.busy(false);
  }

  /** While a reply is being written one can go on writing, but not send. */
  busy(isBusy) {
    const hadFocus = [this.sender, this.stopper].includes(document.activeElement);
    this.isBusy = isBusy;
    this.sender.hidden = isBusy;
    this.stopper.hidden = !isBusy;
    if (hadFocus) (isBusy ? this.stopper : this.area).focus();
    this.#changed();
  }

  focus() {
    this.area.focus({ preventScroll: true });
  }

  /** Put a text into the box, ready to be changed. */
  fill(text) {
    this.area.value = text;
    this.#changed();
    this.fit();
    this.focus();
  }

  #changed() {
    this.draft.text = this.area.value;
    this.sender.disabled = this.isBusy || !this.area.value.trim();
  }

  #submit() {
    const text = this.area.value.trim();
    if (!text || this.isBusy) return;
    this.fill("");
    this.send(text);
  }
}
