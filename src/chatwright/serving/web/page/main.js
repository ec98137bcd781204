// Starts the page: opens what the browser keeps, asks what the server offers, and shows it.

import { loaded, offers, onKeyNeeded, onLoading } from "./lib/api.js";
import { h } from "./lib/dom.js";
import { speak, t } from "./lib/i18n.js";
import { showTheme } from "./lib/preferences.js";
import { Session } from "./lib/session.js";
import { Store } from "./lib/store.js";
import { askLine } from "./parts/dialog.js";
import { failureBlock } from "./parts/failure.js";
import { Shell } from "./parts/shell.js";

const root = document.querySelector("#app");
let shell = null;

async function start() {
  root.replaceChildren(h("p", { class: "loading", role: "status" }, t("loading")));
  try {
    const info = await offers();
    const session = new Session(await new Store().open());
    shell = new Shell(root, session, info);
    // whoever then sends something is told what is wrong
    if (info.status === "loading") loaded().catch(() => {});
  } catch (error) {
    root.replaceChildren(h("div", { class: "loading" }, failureBlock(error, start)));
  }
}

onLoading(async (isLoading) => {
  if (!shell || shell.isLoading === isLoading) return;
  shell.loading(isLoading);
  if (isLoading) return;
  try {
    // a model's context is known only now
    Object.assign(shell.info, await offers());
  } catch {
    // what was offered before still holds
  }
});
onKeyNeeded((wasRefused) =>
  askLine({ title: t("keyTitle"), hint: t(wasRefused ? "keyRefused" : "keyHint"), label: t("key"), type: "password", send: t("keySend") }),
);
showTheme();
speak();
start();
