// What went wrong, in the user's words, with what to do about it.

import { button, h, icon } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

/** One sentence for an error of the API's, or for one kept with a turn. */
export function explained({ kind, message = "", retryAfter = null }) {
  if (kind === "busy") return retryAfter ? t("error.busyFor", { seconds: Math.ceil(retryAfter) }) : t("error.busy");
  if (kind === "unavailable") return t("error.unavailable");
  if (kind === "full") return t("error.tooLong");
  if (kind === "key") return t("error.key");
  if (kind === "offline") return t("error.offline");
  if (kind === "refused") return message || t("error.refused");
  return message ? t("error.serverSays", { message }) : t("error.server");
}

/** The sentence as a block, with a button to try again; where the context is full, one for a new chat, if there is `newChat`. */
export function failureBlock(error, again, newChat = null) {
  const isFull = error.kind === "full";
  const [label, press] = isFull ? [t("newChat"), newChat] : [t("tryAgain"), again];
  return h(
    "div",
    { class: "failure", role: "alert" },
    icon("warning"),
    h("span", {}, isFull && newChat ? t("error.full") : explained(error)),
    press ? button({ label, kind: "link", press }) : null,
  );
}
