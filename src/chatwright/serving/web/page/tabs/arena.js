// The arena: two replies to the same words, their models hidden until one has judged.

import { post } from "../lib/api.js";
import { button, h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { preferences, sampling } from "../lib/preferences.js";
import { told } from "../lib/session.js";
import { Composer } from "../parts/composer.js";
import { announce, notice } from "../parts/dialog.js";
import { explained, failureBlock } from "../parts/failure.js";
import { ReplyPane, written } from "../parts/writer.js";

const SIDES = ["a", "b"];
const VERDICTS = [["a", "left", "1"], ["tie", "equal", "2"], ["both_bad", "down", "3"], ["b", "right", "4"]];

/** What else tells the sides apart, where one model met itself. */
function way({ a, b, sampling: ways }, side) {
  const temperature = ways?.[side]?.temperature;
  return a === b && temperature !== undefined ? h("span", { class: "hint" }, t("arenaWay", { temperature })) : "";
}

export class ArenaTab {
  #stopper = null;
  #round = null;

  constructor(app) {
    this.app = app;
    this.kept = app.kept("arena");
    this.kept.judged ??= 0;
    this.stage = h("div", { class: "stage" });
    this.composer = new Composer({ send: (text) => this.#begin(text), stop: () => this.#stopper?.abort(), draft: this.kept, label: t("arenaWrite") });
    this.element = h("div", { class: "chat arena" }, h("div", { class: "scroller" }, this.stage), h("div", { class: "chat-foot" }, this.composer.element));
    this.#idle();
  }

  close() {
    this.#stopper?.abort();
  }

  focus() {
    if (matchMedia("(hover: hover)").matches) this.composer.focus();
  }

  key(event, isWriting) {
    if (event.key === "Escape" && this.#stopper) {
      this.#stopper.abort();
      return true;
    }
    const verdict = VERDICTS.find(([, , key]) => key === event.key);
    if (!verdict || isWriting || event.ctrlKey || event.altKey || event.metaKey || !this.#round?.ready) return false;
    this.#vote(verdict[0]);
    return true;
  }

  #idle() {
    this.stage.replaceChildren(
      h(
        "div",
        { class: "welcome" },
        h("img", { src: new URL("../mark.svg", import.meta.url).href, alt: "", width: "56", height: "56" }),
        h("h2", {}, t("arenaTitle")),
        h("p", { class: "hint" }, t("arenaLead")),
        h("div", { class: "examples" }, [1, 2, 3, 4].map((place) => h("button", { type: "button", class: "example", on: { click: () => this.composer.fill(t(`example.${place}`)) } }, t(`example.${place}`)))),
      ),
    );
  }

  async #begin(prompt) {
    const messages = [{ role: "user", content: prompt }];
    const system = preferences.system.trim();
    if (system) messages.unshift({ role: "system", content: system });
    const panes = Object.fromEntries(SIDES.map((side) => [side, this.#pane(side)]));
    const round = { prompt, messages, panes, ready: false };
    this.#round = round;
    this.verdicts = h("div", { class: "verdicts", role: "group", tabindex: "-1", "aria-label": t("judge") });
    this.stage.replaceChildren(
      h("article", { class: "turn asked" }, h("div", { class: "bubble" }, prompt)),
      h("div", { class: "duel" }, SIDES.map((side) => panes[side].card)),
      this.verdicts,
    );
    this.#stopper = new AbortController();
    this.composer.busy(true);
    try {
      await this.#fight(round, this.#stopper.signal);
    } catch (error) {
      if (error.name === "AbortError") this.#idle();
      else this.stage.replaceChildren(failureBlock(told(error), () => this.#begin(prompt)));
    }
    this.#stopper = null;
    this.composer.busy(false);
  }

  async #fight(round, signal) {
    const { messages, panes } = round;
    const { id } = await post("api/arena", { messages }, { signal });
    round.id = id;
    const replies = await Promise.all(
      SIDES.map((side) => {
        const path = `api/arena/${encodeURIComponent(id)}/${side}/chat`;
        return written({ path, body: { messages, ...sampling() }, signal, grown: (reply) => panes[side].show(reply) });
      }),
    );
    const isWhole = replies.every(({ status }) => status !== "failed");
    if (!isWhole) {
      this.verdicts.replaceChildren(h("p", { class: "hint" }, t("arenaBroken")), button({ label: t("tryAgain"), kind: "main", press: () => this.#begin(round.prompt) }));
      return;
    }
    round.ready = true;
    this.#askVerdict();
  }

  #pane(side) {
    const pane = new ReplyPane();
    const head = h("div", { class: "duel-head" }, h("span", { class: "side" }, side.toUpperCase()), h("span", { class: "hint" }, t("hiddenModel")));
    const card = h("section", { class: "duel-card", "aria-label": t("side", { side: side.toUpperCase() }), data: { side } }, head, pane.element);
    pane.element.classList.add("writing", "waiting");
    // speed tells models apart, so it shows only with their names
    card.classList.add("blind");
    return { pane, head, card, show: pane.show };
  }

  #askVerdict() {
    this.reason = h("input", { type: "text", class: "field", placeholder: t("reasonHint"), "aria-label": t("reason"), maxlength: "2000" });
    this.verdicts.replaceChildren(
      h("div", { class: "verdict-row" }, VERDICTS.map(([winner, sign, key]) => button({ label: t(`verdict.${winner}`), sign, kind: "verdict", "aria-keyshortcuts": key, data: { winner }, press: () => this.#vote(winner) }))),
      this.reason,
      h("p", { class: "hint keys-hint" }, t("arenaKeys")),
    );
    this.verdicts.scrollIntoView({ block: "nearest" });
    announce(t("arenaReady"));
    // the keys 1 to 4 judge, unless one is already writing the next words
    if (!this.kept.text) this.verdicts.focus({ preventScroll: true });
  }

  async #vote(winner) {
    const round = this.#round;
    if (!round.ready) return;
    round.ready = false;
    const reason = this.reason.value.trim();
    const name = preferences.name.trim();
    try {
      const models = await post(`api/arena/${encodeURIComponent(round.id)}/vote`, { winner, ...(reason && { reason }), ...(name && { name }) });
      this.kept.judged += 1;
      this.#reveal(winner, models);
    } catch (error) {
      round.ready = true;
      notice(explained(error));
    }
  }

  #reveal(winner, models) {
    const { panes, prompt } = this.#round;
    for (const side of SIDES) {
      const { card, head } = panes[side];
      card.classList.remove("blind");
      card.classList.toggle("won", winner === side);
      head.replaceChildren(h("span", { class: "side" }, side.toUpperCase()), h("strong", {}, models[side]), way(models, side), winner === side ? h("span", { class: "badge" }, t("won")) : "");
    }
    const again = button({ label: t("arenaSame"), sign: "again", kind: "soft", press: () => this.#begin(prompt) });
    const next = button({
      label: t("arenaNext"),
      kind: "main",
      press: () => {
        this.#idle();
        this.composer.focus();
      },
    });
    this.verdicts.replaceChildren(
      h("p", { class: "thanks", role: "status" }, t("arenaThanks", { verdict: t(`verdict.${winner}`), count: this.kept.judged })),
      h("div", { class: "verdict-row" }, again, next),
    );
    next.focus({ preventScroll: true });
  }
}
