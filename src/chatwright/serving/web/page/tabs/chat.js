// The chat: the turns of the open conversation, and the box to write in.

import { button, eachFrame, h, icon } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { preferences, prefer } from "../lib/preferences.js";
import { shown } from "../lib/session.js";
import { Composer } from "../parts/composer.js";
import { announce, notice } from "../parts/dialog.js";
import { AskedView, ReplyView } from "../parts/turn.js";

const NEAR = 80;

export class ChatTab {
  #replies = new Map();
  #follows = true;
  #listeners = [];

  constructor(app) {
    this.app = app;
    const { session } = app;
    this.turns = h("div", { class: "turns", role: "log", "aria-label": t("conversation"), "aria-live": "off" });
    this.scroller = h("div", { class: "scroller", on: { scroll: () => this.#scrolled() } }, this.turns);
    this.jump = button({ label: t("jump"), sign: "bottom", quiet: true, kind: "soft round jump", press: () => this.#toEnd(true) });
    this.composer = new Composer({
      send: (text) => this.#send(text),
      stop: () => session.stop(),
      draft: app.kept("chat"),
      label: t("write"),
      extra: app.info.documents ? this.#documents() : null,
    });
    this.element = h("div", { class: "chat" }, this.scroller, h("div", { class: "chat-foot" }, this.jump, this.composer.element));
    this.jump.hidden = true;
    this.#hear("open", () => this.#show());
    const update = eachFrame(() => this.#update());
    this.#hear("turn", update);
    this.#show();
  }

  #hear(type, listener) {
    this.app.session.addEventListener(type, listener);
    this.#listeners.push([type, listener]);
  }

  close() {
    for (const [type, listener] of this.#listeners) this.app.session.removeEventListener(type, listener);
  }

  focus() {
    // on a phone the keyboard would cover what one came to read
    if (matchMedia("(hover: hover)").matches) this.composer.focus();
  }

  key(event) {
    if (event.key !== "Escape" || !this.app.session.isWriting()) return false;
    this.app.session.stop();
    return true;
  }

  #send(text) {
    prefer({ welcomed: true });
    this.#follows = true;
    this.app.session.send(text);
  }

  /** All turns, anew where they are not shown yet. */
  #show() {
    const { session } = this.app;
    const { current } = session;
    const turns = shown(current);
    this.#replies.clear();
    const views = turns.map((node) => {
      if (node.role === "user") return new AskedView(this.app, current, node);
      const view = new ReplyView(this.app, current, node);
      this.#replies.set(node.id, view);
      return view;
    });
    this.turns.replaceChildren(...(views.length ? views.map(({ element }) => element) : [this.#welcome()]));
    this.element.classList.toggle("empty", views.length === 0);
    this.composer.busy(session.isWriting());
    this.#follows = true;
    requestAnimationFrame(() => this.#toEnd());
  }

  #update() {
    const { session } = this.app;
    const isWriting = session.isWriting();
    for (const view of this.#replies.values()) if (view.node.status === "writing" || view.element.classList.contains("writing")) view.update();
    if (this.composer.isBusy && !isWriting) announce(t("replyDone"));
    if (this.composer.isBusy !== isWriting) this.composer.busy(isWriting);
    if (this.#follows && !this.#isEmpty) this.#toEnd();
    else this.#scrolled();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.#follows = scrollHeight - scrollTop - clientHeight < NEAR;
    this.jump.hidden = this.#follows || this.#isEmpty;
  }

  get #isEmpty() {
    return this.element.classList.contains("empty");
  }

  #toEnd(smooth = false) {
    this.#follows = true;
    this.jump.hidden = true;
    // the welcome is read from its top
    const top = this.#isEmpty ? 0 : this.scroller.scrollHeight;
    this.scroller.scrollTo({ top, behavior: smooth ? "smooth" : "instant" });
  }

  /** Whether replies are looked up in the server's documents. */
  #documents() {
    const toggle = button({ label: t("documents"), sign: "questions", quiet: true, kind: "plain round", "aria-pressed": String(preferences.documents) });
    toggle.addEventListener("click", () => {
      prefer({ documents: !preferences.documents });
      toggle.setAttribute("aria-pressed", String(preferences.documents));
      notice(t(preferences.documents ? "documentsOn" : "documentsOff"));
    });
    return toggle;
  }

  #welcome() {
    const { app } = this;
    const model = app.info.models.find(({ id }) => id === app.model("chat"));
    const examples = model?.examples?.length ? model.examples.slice(0, 4) : [1, 2, 3, 4].map((place) => t(`example.${place}`));
    return h(
      "div",
      { class: "welcome" },
      h("img", { src: new URL("../mark.svg", import.meta.url).href, alt: "", width: "56", height: "56" }),
      h("h2", {}, t("welcome")),
      h("p", { class: "hint" }, t("welcomeModel", { model: model?.id ?? "" })),
      h("div", { class: "examples" }, examples.map((text) => h("button", { type: "button", class: "example", on: { click: () => this.composer.fill(text) } }, text))),
      preferences.welcomed ? null : this.#hints(),
    );
  }

  #hints() {
    const kinds = [["lock", "private"], ...(this.app.info.votes ? [["up", "votes"]] : []), ["edit", "branches"]];
    return h(
      "ul",
      { class: "hints", "aria-label": t("firstVisit") },
      kinds.map(([sign, name]) => h("li", {}, icon(sign), h("span", {}, h("strong", {}, t(`hint.${name}`)), t(`hint.${name}.text`)))),
    );
  }
}
