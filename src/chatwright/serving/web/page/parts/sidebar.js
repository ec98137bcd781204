// The column at the side: where one can go, and the conversations so far.

import { button, h, icon } from "../lib/dom.js";
import { exportJson, exportMarkdown } from "../lib/export.js";
import { age, language, t } from "../lib/i18n.js";
import { preferences, prefer, showTheme } from "../lib/preferences.js";
import { contains } from "../lib/tree.js";
import { askLine, notice, openMenu } from "./dialog.js";

const THEMES = { auto: "light", light: "dark", dark: "auto" };

export class Sidebar {
  #query = "";

  constructor(app) {
    this.app = app;
    this.tabs = h("nav", { class: "tabs", "aria-label": t("tabs") });
    this.list = h("nav", { class: "history", "aria-label": t("history") });
    this.search = h("input", {
      type: "search",
      class: "search",
      placeholder: t("search"),
      "aria-label": t("search"),
      on: {
        input: () => {
          this.#query = this.search.value;
          this.showList();
        },
      },
    });
    this.element = h(
      "aside",
      { class: "sidebar", id: "sidebar", "aria-label": t("sidebar") },
      h(
        "div",
        { class: "brand" },
        h("img", { src: new URL("../mark.svg", import.meta.url).href, alt: "", width: "28", height: "28" }),
        h("span", {}, "Chatwright"),
        button({ label: t("close"), sign: "close", quiet: true, kind: "plain only-phone", press: () => app.drawer(false) }),
      ),
      this.tabs,
      h("div", { class: "find" }, this.search, button({ label: t("newChat"), sign: "plus", quiet: true, kind: "soft", press: () => app.newChat() })),
      this.list,
      this.#foot(),
    );
    this.showTabs();
    this.showList();
  }

  #foot() {
    const { app } = this;
    const other = language() === "zh" ? "en" : "zh";
    const theme = button({
      label: t(`theme.${preferences.theme}`),
      sign: preferences.theme,
      quiet: true,
      press: () => {
        prefer({ theme: THEMES[preferences.theme] });
        showTheme();
        app.rebuild(".foot .theme");
      },
    });
    theme.classList.add("theme");
    return h(
      "div",
      { class: "foot" },
      h(
        "button",
        {
          type: "button",
          class: "button plain language",
          lang: other === "zh" ? "zh-CN" : "en",
          on: {
            click: () => {
              prefer({ language: other });
              app.rebuild(".foot .language");
            },
          },
        },
        icon("language"),
        h("span", {}, other === "zh" ? "中文" : "English"),
      ),
      theme,
      button({ label: t("help"), sign: "help", quiet: true, press: () => app.help() }),
      button({ label: t("settings"), sign: "settings", quiet: true, press: () => app.settings() }),
    );
  }

  showTabs() {
    const { app } = this;
    const { current } = app.session;
    const open = app.session.find(current.id) ? `#/chat/${current.id}` : "#/chat";
    const links = app.tabs().map((name) =>
      h(
        "a",
        { href: name === "chat" ? open : `#/${name}`, data: { tab: name }, class: "tab", "aria-current": app.route.tab === name ? "page" : null, on: { click: () => app.drawer(false) } },
        icon(name),
        h("span", {}, t(`tab.${name}`)),
      ),
    );
    this.tabs.replaceChildren(...(links.length > 1 ? links : []));
  }

  /** The conversations that match the search, by age. */
  showList() {
    const { session } = this.app;
    const all = session.list();
    const found = this.#query.trim() ? all.filter((conversation) => contains(conversation, this.#query)) : all;
    const groups = new Map();
    for (const conversation of found) {
      const name = age(conversation.updated);
      groups.set(name, [...(groups.get(name) ?? []), conversation]);
    }
    const shown = [...groups].map(([name, members]) =>
      h("section", {}, h("h2", {}, t(`age.${name}`)), h("ul", {}, members.map((conversation) => this.#entry(conversation)))),
    );
    const empty = h("p", { class: "nothing" }, all.length ? t("noMatch") : t("noHistory"));
    this.list.replaceChildren(...(shown.length ? shown : [empty]));
  }

  #entry(conversation) {
    const { app } = this;
    const isOpen = app.route.tab === "chat" && app.session.current.id === conversation.id;
    const more = button({ label: t("moreOf", { title: conversation.title }), sign: "more", quiet: true, kind: "small", "aria-haspopup": "menu", "aria-expanded": "false" });
    more.addEventListener("click", () => openMenu(more, this.#menu(conversation)));
    return h(
      "li",
      { class: "entry" },
      h(
        "a",
        { href: `#/chat/${conversation.id}`, "aria-current": isOpen ? "page" : null, title: conversation.title, on: { click: () => app.drawer(false) } },
        conversation.title || t("untitled"),
      ),
      app.session.isWriting(conversation.id) ? h("span", { class: "dot", role: "img", "aria-label": t("writing") }) : null,
      more,
    );
  }

  #menu(conversation) {
    const { session } = this.app;
    return [
      { label: t("rename"), sign: "edit", press: () => renamed(session, conversation) },
      { label: t("exportMarkdown"), sign: "download", press: () => exportMarkdown(conversation, { user: t("you"), assistant: t("model") }) },
      { label: t("exportJson"), sign: "download", press: () => exportJson(conversation) },
      {
        label: t("delete"),
        sign: "trash",
        danger: true,
        press: async () => {
          const undo = await session.remove(conversation.id);
          if (this.app.route.id === conversation.id) this.app.go("chat");
          notice(t("deleted", { title: conversation.title }), undo);
        },
      },
    ];
  }
}

/** Ask for a new title. */
export async function renamed(session, conversation) {
  const title = await askLine({ title: t("rename"), label: t("title"), value: conversation.title, send: t("save") });
  if (title) await session.rename(conversation.id, title);
}
