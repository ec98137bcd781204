// Thumbs: one press counts at once; a reason and a better answer may follow.

import { post } from "../lib/api.js";
import { button, growing, h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { preferences, prefer } from "../lib/preferences.js";
import { announce, notice } from "./dialog.js";
import { explained } from "./failure.js";

const REASONS = { 1: ["correct", "clear", "helpful"], "-1": ["wrong", "offTopic", "unclear", "tooLong", "harmful"] };

/**
 * The thumbs of a reply, and the form that opens below it: `{buttons, form}`.
 * `vote` is the vote so far or null, `about()` gives what was voted on, `keep(vote)` notes the vote.
 */
export function thumbs({ vote, about, keep }) {
  const form = h("div", { class: "vote-form" });
  let given = vote ?? null;
  const show = () => {
    up.setAttribute("aria-pressed", String(given?.value === 1));
    down.setAttribute("aria-pressed", String(given?.value === -1));
  };
  const cast = async (change) => {
    const before = given;
    given = { ...given, ...change };
    show();
    const name = preferences.name.trim();
    const { id = null, value, reason = "", better = "" } = given;
    const body = { ...about(), value, ...(reason && { reason }), ...(better && { better }), ...(name && { name }) };
    try {
      given.id = await sent(body, id);
      keep(given);
      return true;
    } catch (error) {
      given = before;
      show();
      notice(explained(error));
      return false;
    }
  };
  const press = (value) => async () => {
    form.replaceChildren();
    const isOther = given?.value !== value;
    if (isOther && !(await cast({ value, reason: "", better: "" }))) return;
    form.replaceChildren(details({ given, cast, close: () => form.replaceChildren() }));
    form.querySelector("textarea")?.focus({ preventScroll: true });
    form.scrollIntoView({ block: "nearest" });
    if (isOther) announce(t("voteCounted"));
  };
  const up = button({ label: t("good"), sign: "up", quiet: true, kind: "small", press: press(1) });
  const down = button({ label: t("bad"), sign: "down", quiet: true, kind: "small", press: press(-1) });
  show();
  return { buttons: [up, down], form };
}

/** Send a vote; with the `id` of an earlier one, the server changes that one instead of counting another. Gives its id. */
async function sent(body, id) {
  if (id === null) return (await post("api/votes", body)).id;
  try {
    return (await post("api/votes", { ...body, id })).id;
  } catch (error) {
    // the server has no such vote any more, for example because its database is another one
    if (error.status !== 404) throw error;
    return sent(body, null);
  }
}

function details({ given, cast, close }) {
  const reason = h("textarea", { class: "field", rows: "1", value: given.reason ?? "", placeholder: t("reasonHint") });
  const better = h("textarea", { class: "field", rows: "2", value: given.better ?? "", placeholder: t("betterHint") });
  const name = h("input", { class: "field", type: "text", value: preferences.name, placeholder: t("nameHint"), autocomplete: "nickname", maxlength: "80" });
  growing(reason);
  growing(better);
  const chips = REASONS[given.value].map((key) =>
    button({
      label: t(`reason.${key}`),
      kind: "chip",
      press: () => {
        reason.value = reason.value.trim() ? `${reason.value.trim()}; ${t(`reason.${key}`)}` : t(`reason.${key}`);
        reason.focus();
      },
    }),
  );
  const send = async () => {
    prefer({ name: name.value.trim() });
    if (!(await cast({ reason: reason.value.trim(), better: better.value.trim() }))) return;
    close();
    notice(t("voteThanks"));
  };
  const form = h(
    "section",
    { class: "card", "aria-label": t("voteMore") },
    h("div", { class: "card-head" }, h("h3", {}, given.value === 1 ? t("voteGood") : t("voteBad")), button({ label: t("close"), sign: "close", quiet: true, kind: "small", press: close })),
    h("div", { class: "chips" }, chips),
    h("label", { class: "labelled" }, h("span", {}, t("reason")), reason),
    h("label", { class: "labelled" }, h("span", {}, t("better")), better),
    h(
      "div",
      { class: "card-foot" },
      h("label", { class: "labelled narrow" }, h("span", {}, t("name")), name),
      button({ label: t("sendVote"), kind: "main", press: send }),
    ),
  );
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
  });
  return form;
}
