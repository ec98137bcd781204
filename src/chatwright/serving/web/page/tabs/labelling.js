// Labelling: replies to put in order, best first, by dragging, by buttons or by keys.

import { get, post } from "../lib/api.js";
import { button, h, icon } from "../lib/dom.js";
import { number, t } from "../lib/i18n.js";
import { markdown } from "../lib/markdown.js";
import { preferences } from "../lib/preferences.js";
import { told } from "../lib/session.js";
import { announce, notice } from "../parts/dialog.js";
import { explained, failureBlock } from "../parts/failure.js";
import { grouped, moved, ranks } from "../lib/ranking.js";

export class LabellingTab {
  #task = null;
  #order = [];
  #ties = new Set();
  #cards = new Map();

  constructor(app) {
    this.app = app;
    this.element = h("div", { class: "page labelling" });
    this.#next();
  }

  focus() {
    this.#cards.get(this.#order[0])?.focus();
  }

  async #next() {
    const name = preferences.name.trim();
    // replies may have to be sampled first, which takes its time
    this.element.replaceChildren(h("p", { class: "lead", role: "status" }, t("labellingWaiting")));
    try {
      this.#task = await get(`api/labelling?name=${encodeURIComponent(name)}`);
    } catch (error) {
      this.element.replaceChildren(failureBlock(told(error), () => this.#next()));
      return;
    }
    if (!this.#task.replies) {
      this.element.replaceChildren(this.#finished());
      return;
    }
    this.#order = this.#task.replies.map((_, index) => index);
    this.#ties.clear();
    this.#build();
    this.focus();
  }

  #finished() {
    const { total = 0 } = this.#task;
    return h("div", { class: "welcome" }, icon("check"), h("h2", {}, t("labellingDone")), h("p", { class: "hint" }, t("labellingDoneHint", { total: number(total) })));
  }

  #build() {
    const { replies, done, total, prompt, messages = [] } = this.#task;
    this.#cards = new Map(replies.map((text, index) => [index, this.#card(text, index)]));
    this.list = h("ol", { class: "ranked", "aria-label": t("ranked") });
    const bar = h("progress", { max: String(total), value: String(done), "aria-label": t("progress") });
    const turns = messages.length ? messages : [{ role: "user", content: prompt }];
    this.element.replaceChildren(
      h("div", { class: "progress" }, bar, h("span", {}, t("labellingProgress", { done: number(done), total: number(total) }))),
      h("p", { class: "lead" }, t("labellingLead")),
      h("div", { class: "asked-list" }, turns.map(({ role, content }) => h("div", { class: role === "user" ? "bubble" : "bubble other" }, content))),
      this.list,
      h("div", { class: "page-actions sticky" }, h("span", { class: "hint keys-hint" }, t("labellingKeys")), button({ label: t("skipItem"), kind: "soft", press: () => this.#send([]) }), button({ label: t("submit"), sign: "check", kind: "main", press: () => this.#send() })),
    );
    this.#show();
  }

  #card(text, index) {
    const name = String.fromCharCode(65 + index);
    const grip = h("span", { class: "grip", title: t("drag") }, icon("grip"));
    const rank = h("span", { class: "rank" });
    const up = button({ label: t("moveUp", { name }), sign: "above", quiet: true, kind: "small up", press: () => this.#move(index, -1) });
    const down = button({ label: t("moveDown", { name }), sign: "below", quiet: true, kind: "small down", press: () => this.#move(index, 1) });
    const card = h(
      "li",
      { class: "rank-card", tabindex: "0", data: { name, index } },
      h("div", { class: "rank-head" }, grip, rank, h("span", { class: "name" }, t("replyName", { name })), up, down),
      markdown(text),
    );
    card.addEventListener("keydown", (event) => this.#key(event, index));
    grip.addEventListener("pointerdown", (event) => this.#drag(event, index, grip));
    return card;
  }

  /** Put cards and ties in their order. */
  #show() {
    const places = ranks(this.#order, this.#ties);
    const focused = document.activeElement;
    this.list.replaceChildren(
      ...this.#order.flatMap((index, place) => {
        const card = this.#cards.get(index);
        card.querySelector(".rank").textContent = String(places[place]);
        card.setAttribute("aria-label", t("cardLabel", { name: card.dataset.name, rank: places[place], count: this.#order.length }));
        card.querySelector(".up").disabled = place === 0;
        card.querySelector(".down").disabled = place === this.#order.length - 1;
        return place === 0 ? [card] : [this.#tie(place), card];
      }),
    );
    focused?.focus?.();
  }

  #tie(place) {
    const isTie = this.#ties.has(place);
    const toggle = button({ label: t(isTie ? "asGood" : "betterThan"), kind: "tie", "aria-pressed": String(isTie), title: t("tieHint"), press: () => this.#toggle(place) });
    return h("li", { class: "between", role: "none" }, toggle);
  }

  #toggle(place) {
    if (place < 1) return;
    const hadFocus = document.activeElement?.classList.contains("tie");
    if (!this.#ties.delete(place)) this.#ties.add(place);
    this.#show();
    if (hadFocus) this.list.querySelectorAll(".tie")[place - 1].focus();
    announce(t(this.#ties.has(place) ? "asGood" : "betterThan"));
  }

  #move(index, step) {
    this.#place(index, this.#order.indexOf(index) + step);
  }

  #place(index, place) {
    if (place < 0 || place >= this.#order.length || this.#order[place] === index) return;
    this.#order = moved(this.#order, index, place);
    this.#show();
    const card = this.#cards.get(index);
    announce(card.getAttribute("aria-label"));
    card.scrollIntoView({ block: "nearest" });
  }

  #key(event, index) {
    if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey) return;
    const place = this.#order.indexOf(index);
    const { key } = event;
    if (key === "ArrowUp" || key === "ArrowDown") {
      const step = key === "ArrowUp" ? -1 : 1;
      if (event.altKey || event.shiftKey) this.#move(index, step);
      else this.#cards.get(this.#order[place + step])?.focus();
    } else if (/^[1-9]$/.test(key)) {
      this.#place(index, Number(key) - 1);
    } else if (key === "=") {
      this.#toggle(place);
    } else if (key === "Enter") {
      this.#send();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  #drag(event, index, grip) {
    event.preventDefault();
    grip.setPointerCapture(event.pointerId);
    const card = this.#cards.get(index);
    card.classList.add("dragged");
    const move = ({ clientY }) => {
      const middles = this.#order.map((each) => this.#cards.get(each).getBoundingClientRect());
      const place = middles.findIndex(({ top, height }) => clientY < top + height / 2);
      const wanted = place < 0 ? this.#order.length - 1 : place - (place > this.#order.indexOf(index) ? 1 : 0);
      if (wanted === this.#order.indexOf(index)) return;
      this.#place(index, wanted);
      // taking a card out of the page for a moment ends its capture
      grip.setPointerCapture(event.pointerId);
    };
    const end = () => {
      card.classList.remove("dragged");
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", end);
      removeEventListener("pointercancel", end);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", end);
    addEventListener("pointercancel", end);
  }

  /** Send the ranking as it stands; an empty one leaves the comparison undecided. */
  async #send(ranking = grouped(this.#order, this.#ties)) {
    if (this.isSending) return;
    this.isSending = true;
    const name = preferences.name.trim();
    try {
      await post(`api/labelling/${encodeURIComponent(this.#task.id)}`, { ranking, ...(name && { name }) });
      notice(t("labellingThanks"));
      await this.#next();
    } catch (error) {
      notice(explained(error));
    }
    this.isSending = false;
  }
}
