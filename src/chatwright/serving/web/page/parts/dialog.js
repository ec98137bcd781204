// Dialogs, menus and short notices. The browser's own <dialog> keeps the focus inside and closes on Escape.

import { button, h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

/**
 * Open a dialog; resolves to what `close(value)` was given, or null when it was dismissed.
 * `content` is a function of `close`. `kind`: "box" in the middle, "sheet" at the side.
 */
export function openDialog({ title, content, kind = "box" }) {
  return new Promise((resolve) => {
    let value = null;
    const close = (given = null) => {
      value = given;
      dialog.close();
    };
    const dialog = h(
      "dialog",
      { class: `dialog ${kind}`, "aria-label": title },
      h("header", { class: "dialog-head" }, h("h2", {}, title), button({ label: t("close"), sign: "close", quiet: true, press: () => close() })),
      h("div", { class: "dialog-body" }, content(close)),
    );
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) close();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(value);
    });
    document.body.append(dialog);
    dialog.showModal();
    dialog.querySelector("[autofocus]")?.focus();
  });
}

/** Ask for one line; resolves to it, or to null. */
export function askLine({ title, hint = "", label, value = "", type = "text", send }) {
  return openDialog({
    title,
    content: (close) => {
      const field = h("input", { type, value, autofocus: true, autocomplete: "off", spellcheck: "false", class: "field" });
      const finish = () => field.value.trim() && close(field.value.trim());
      field.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && !event.isComposing) finish();
      });
      return [
        hint ? h("p", { class: "hint" }, hint) : null,
        h("label", { class: "labelled" }, h("span", {}, label), field),
        h(
          "div",
          { class: "dialog-actions" },
          button({ label: t("cancel"), press: () => close() }),
          button({ label: send, kind: "main", press: finish }),
        ),
      ];
    },
  });
}

/** Ask whether to do what cannot be undone; resolves to true or null. */
export function confirmed({ title, hint, send }) {
  return openDialog({
    title,
    content: (close) => [
      h("p", { class: "hint" }, hint),
      h(
        "div",
        { class: "dialog-actions" },
        button({ label: t("cancel"), press: () => close(), autofocus: true }),
        button({ label: send, kind: "danger", press: () => close(true) }),
      ),
    ],
  });
}

/** A menu of `{label, sign, press, danger}` at a button; arrows move, Escape closes. */
export function openMenu(anchor, items) {
  const made = items.map(({ label, sign, press, danger = false }) =>
    h("div", { role: "none" }, button({ label, sign, kind: danger ? "item danger-text" : "item", role: "menuitem", tabindex: "-1", press: () => close(press) })),
  );
  const menu = h("div", { class: "menu", role: "menu", "aria-label": anchor.getAttribute("aria-label") }, made);
  const buttons = [...menu.querySelectorAll("button")];
  const close = (then = null) => {
    removeEventListener("pointerdown", outside, true);
    removeEventListener("resize", dismissed);
    menu.remove();
    anchor.setAttribute("aria-expanded", "false");
    anchor.focus();
    then?.();
  };
  const dismissed = () => close();
  const outside = (event) => {
    if (!menu.contains(event.target)) close();
  };
  menu.addEventListener("keydown", (event) => {
    const index = buttons.indexOf(document.activeElement);
    const next = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (next !== undefined) buttons.at(next % buttons.length).focus();
    else if (event.key === "Escape" || event.key === "Tab") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  document.body.append(menu);
  const box = anchor.getBoundingClientRect();
  const below = box.bottom + menu.offsetHeight + 8 < innerHeight;
  menu.style.top = `${below ? box.bottom + 4 : Math.max(8, box.top - menu.offsetHeight - 4)}px`;
  menu.style.left = `${Math.max(8, Math.min(box.left, innerWidth - menu.offsetWidth - 8))}px`;
  anchor.setAttribute("aria-expanded", "true");
  addEventListener("pointerdown", outside, true);
  addEventListener("resize", dismissed);
  buttons[0].focus();
}

const notices = h("div", { class: "notices", role: "status", "aria-live": "polite" });

/** Say something for a few seconds; `undo` offers a way back. */
export function notice(text, undo = null) {
  if (!notices.isConnected) document.body.append(notices);
  const shown = h("div", { class: "notice" }, h("span", {}, text));
  if (undo) {
    shown.append(
      button({
        label: t("undo"),
        kind: "link",
        press: () => {
          shown.remove();
          undo();
        },
      }),
    );
  }
  notices.replaceChildren(shown);
  setTimeout(() => shown.remove(), undo ? 8000 : 4000);
}

const spoken = h("div", { class: "hidden", role: "status", "aria-live": "polite" });

/** Tell screen readers alone. */
export function announce(text) {
  if (!spoken.isConnected) document.body.append(spoken);
  spoken.textContent = text;
}
