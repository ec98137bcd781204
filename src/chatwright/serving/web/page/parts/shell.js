// The frame around everything: the side column, the bar on top, and the tab that is open.

import { button, h } from "../lib/dom.js";
import { speak, t } from "../lib/i18n.js";
import { preferences, prefer } from "../lib/preferences.js";
import { openDialog } from "./dialog.js";
import { openSettings } from "./settings.js";
import { renamed, Sidebar } from "./sidebar.js";
import { ArenaTab } from "../tabs/arena.js";
import { ChatTab } from "../tabs/chat.js";
import { CompletionTab } from "../tabs/completion.js";
import { LabellingTab } from "../tabs/labelling.js";
import { QuestionsTab } from "../tabs/questions.js";
import { TranslationTab } from "../tabs/translation.js";

const TABS = { chat: ChatTab, completion: CompletionTab, translation: TranslationTab, questions: QuestionsTab, arena: ArenaTab, labelling: LabellingTab };
const ABILITIES = { chat: "chat", completion: "completion", translation: "translation", questions: "chat", arena: "chat" };

export class Shell {
  #root;
  #view = null;
  #kept = {};

  /** `info` is what the server offers. */
  constructor(root, session, info) {
    this.#root = root;
    Object.assign(this, { session, info, route: { tab: "chat", id: null }, isLoading: false });
    session.model = () => this.model("chat");
    session.extra = (model) => ({ ...(info.documents && preferences.documents && { documents: true }), ...this.room(model) });
    session.addEventListener("list", () => this.sidebar.showList());
    session.addEventListener("title", () => this.#showTitle());
    session.addEventListener("open", () => this.#followSession());
    session.addEventListener("turn", () => session.isWriting() || this.sidebar.showList());
    addEventListener("hashchange", () => this.#follow());
    addEventListener("keydown", (event) => this.#keys(event));
    this.rebuild();
  }

  /** The tabs that make sense with what is served, in their order. */
  tabs() {
    const { models, votes, labelling } = this.info;
    const able = (ability) => models.some(({ abilities }) => abilities.includes(ability));
    const isOffered = {
      arena: votes && able("chat"),
      labelling: votes && labelling,
    };
    return Object.keys(TABS).filter((name) => isOffered[name] ?? able(ABILITIES[name]));
  }

  able(ability) {
    return this.info.models.filter(({ abilities }) => abilities.includes(ability));
  }

  /** The id of the model that the tab asks: the one chosen, where it is able. */
  model(ability = ABILITIES[this.route.tab]) {
    const ids = this.able(ability).map(({ id }) => id);
    return ids.includes(preferences.model) ? preferences.model : (ids[0] ?? null);
  }

  /** The most tokens of a reply where the user set none: a quarter of the context, so that there is room to go on. */
  room(id) {
    const { max_tokens: most, models } = this.info;
    const context = models.find((model) => model.id === id)?.context;
    return context ? { max_tokens: Math.max(1, Math.floor(Math.min(most ?? context, context / 4))) } : {};
  }

  /** Say, or no longer, that models are being loaded. */
  loading(isLoading) {
    this.isLoading = isLoading;
    this.strip.textContent = isLoading ? t("modelLoading") : "";
  }

  /** What a tab keeps while another one is shown. */
  kept(name) {
    this.#kept[name] ??= {};
    return this.#kept[name];
  }

  /** Make everything anew, in the language that is chosen now; the focus goes to `focus`. */
  rebuild(focus = null) {
    speak();
    this.sidebar = new Sidebar(this);
    this.title = h("h1", { class: "title" });
    this.picker = h("div", { class: "picker" });
    this.main = h("main", { class: "room", id: "main" });
    this.strip = h("p", { class: "strip", role: "status" });
    this.loading(this.isLoading);
    this.frame = h(
      "div",
      { class: "frame" },
      h("a", { class: "skip", href: "#main", on: { click: (event) => this.#skip(event) } }, t("skip")),
      this.sidebar.element,
      h("div", { class: "backdrop", on: { click: () => this.drawer(false) } }),
      h(
        "div",
        { class: "content" },
        h(
          "header",
          { class: "bar" },
          button({ label: t("menu"), sign: "menu", quiet: true, kind: "plain only-phone", "aria-controls": "sidebar", "aria-expanded": "false", press: () => this.drawer(true) }),
          this.title,
          this.picker,
          button({ label: t("settings"), sign: "settings", quiet: true, press: () => this.settings() }),
          button({ label: t("newChat"), sign: "plus", quiet: true, kind: "plain only-phone", press: () => this.newChat() }),
        ),
        this.strip,
        this.main,
      ),
    );
    this.#root.replaceChildren(this.frame);
    this.#view?.close?.();
    this.#view = null;
    this.#follow();
    if (focus) this.#root.querySelector(focus)?.focus();
  }

  go(tab, id = null) {
    const hash = id ? `#/${tab}/${id}` : `#/${tab}`;
    if (location.hash === hash) this.#follow();
    else location.hash = hash;
  }

  newChat() {
    this.drawer(false);
    this.go("chat");
    this.#view?.focus?.();
  }

  drawer(isOpen) {
    const had = this.frame.classList.contains("drawer");
    this.frame.classList.toggle("drawer", isOpen);
    const opener = this.frame.querySelector("[aria-controls=sidebar]");
    opener.setAttribute("aria-expanded", String(isOpen));
    if (isOpen) this.sidebar.element.querySelector("button, a").focus();
    else if (had) opener.focus();
  }

  settings() {
    return openSettings(this);
  }

  help() {
    const keys = [["Enter", "help.send"], ["Shift + Enter", "help.line"], ["Esc", "help.stop"], ["/", "help.write"], ["Ctrl + K", "help.search"], ["Alt + N", "help.new"]];
    return openDialog({
      title: t("help"),
      content: () => [
        h("dl", { class: "keys" }, keys.map(([key, words]) => h("div", {}, h("dt", {}, key.split(" + ").map((part) => h("kbd", {}, part))), h("dd", {}, t(words))))),
        h("p", { class: "hint" }, t("help.privacy")),
        h("p", { class: "hint" }, t("help.mistakes")),
      ],
    });
  }

  /** The session moved to another conversation, or its turns changed. */
  #followSession() {
    if (this.route.tab === "chat") {
      const { id } = this.session.current;
      this.route.id = this.session.find(id) ? id : null;
      const hash = this.route.id ? `#/chat/${id}` : "#/chat";
      if (location.hash !== hash) history.replaceState(null, "", hash);
    }
    this.sidebar.showTabs();
    this.sidebar.showList();
    this.#showTitle();
  }

  #follow() {
    const [, tab, id = null] = location.hash.split("/");
    const offered = this.tabs();
    const shown = offered.includes(tab) ? tab : (offered[0] ?? null);
    const isOther = shown !== this.route.tab || !this.#view;
    this.route = { tab: shown, id: shown === "chat" ? id : null };
    if (shown === "chat" && id !== this.session.current.id && (id || this.session.find(this.session.current.id))) this.session.open(id);
    if (isOther) this.#show(shown);
    this.sidebar.showTabs();
    this.sidebar.showList();
    this.#showTitle();
  }

  #show(tab) {
    this.#view?.close?.();
    this.main.replaceChildren();
    if (!tab) {
      this.main.append(h("p", { class: "nothing" }, t("noModels")));
      return;
    }
    this.#view = new TABS[tab](this);
    this.main.append(this.#view.element);
    this.#showPicker();
    this.#view.focus?.();
  }

  #showTitle() {
    const { tab } = this.route;
    const { current } = this.session;
    const isKept = tab === "chat" && this.session.find(current.id) !== null;
    const text = isKept ? current.title || t("untitled") : t(`tab.${tab}`);
    const rename = () => renamed(this.session, current);
    this.title.replaceChildren(isKept ? h("button", { type: "button", class: "title-button", title: t("rename"), on: { click: rename } }, text) : text);
    document.title = isKept ? `${text} · Chatwright` : "Chatwright";
  }

  #showPicker() {
    const { tab } = this.route;
    const models = ABILITIES[tab] && tab !== "arena" ? this.able(ABILITIES[tab]) : [];
    if (models.length < 2) {
      this.picker.replaceChildren(...models.map(({ id }) => h("span", { class: "model" }, id)));
      return;
    }
    const select = h("select", { "aria-label": t("model"), on: { change: () => prefer({ model: select.value }) } }, models.map(({ id }) => h("option", { value: id }, id)));
    select.value = this.model();
    this.picker.replaceChildren(select);
  }

  #skip(event) {
    event.preventDefault();
    const target = this.main.querySelector("textarea, button, a");
    (target ?? this.main).focus();
  }

  #keys(event) {
    if (document.querySelector("dialog[open], .menu") || event.isComposing) return;
    const isWriting = /^(?:INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      this.drawer(matchMedia("(max-width: 800px)").matches);
      this.sidebar.search.focus();
    } else if (event.altKey && event.code === "KeyN") {
      this.newChat();
    } else if (event.key === "/" && !isWriting) {
      this.#view?.focus?.();
    } else if (event.key === "Escape" && this.frame.classList.contains("drawer")) {
      this.drawer(false);
    } else if (!this.#view?.key?.(event, isWriting)) {
      return;
    }
    event.preventDefault();
  }
}
