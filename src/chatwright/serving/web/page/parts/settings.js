// The settings: what the model is told, how it draws, how the page looks, and what the browser keeps.

import { forgetKey, hasKey } from "../lib/api.js";
import { button, growing, h } from "../lib/dom.js";
import { exportAll } from "../lib/export.js";
import { t } from "../lib/i18n.js";
import { preferences, prefer, SAMPLING, showTheme } from "../lib/preferences.js";
import { confirmed, notice, openDialog } from "./dialog.js";

/** Open the settings at the side. */
export function openSettings(app) {
  return openDialog({
    title: t("settings"),
    kind: "sheet",
    content: (close) => [systemPrompt(app), drawing(app), looks(app, close), person(app), kept(app, close)],
  });
}

const section = (title, ...content) => h("section", { class: "settings" }, h("h3", {}, title), content);

function systemPrompt(app) {
  const { session } = app;
  const area = h("textarea", { class: "field", rows: "3", value: session.current.system, placeholder: t("systemHint"), "aria-label": t("system") });
  const always = h("input", { type: "checkbox", checked: preferences.system !== "" && preferences.system === session.current.system });
  growing(area);
  const changed = () => {
    session.setSystem(area.value);
    if (always.checked) prefer({ system: area.value });
  };
  area.addEventListener("input", changed);
  always.addEventListener("change", () => prefer({ system: always.checked ? area.value : "" }));
  return section(t("system"), area, h("label", { class: "check" }, always, h("span", {}, t("systemAlways"))));
}

/** The most tokens that a reply may have: as the server limits it, else what a model's context holds. */
function mostTokens({ info }) {
  const contexts = info.models.map(({ context }) => context).filter(Boolean);
  return info.max_tokens ?? (contexts.length ? Math.max(...contexts) : null);
}

function drawing(app) {
  const high = mostTokens(app);
  const usual = app.room(app.model() ?? app.model("chat")).max_tokens;
  const limits = { ...(high && { high }), ...(usual && { usual }) };
  const rows = SAMPLING.map((each) => samplingRow(each.name === "max_tokens" ? { ...each, ...limits } : each));
  const reset = button({
    label: t("allDefault"),
    kind: "link",
    press: () => {
      prefer({ sampling: {} });
      for (const { show } of rows) show();
    },
  });
  return section(t("sampling"), h("p", { class: "hint" }, t("samplingHint")), rows.map(({ element }) => element), reset);
}

function samplingRow({ name, low, high, step, usual }) {
  const label = t(`sampling.${name}`);
  const field = h("input", { type: "number", class: "field", min: low, max: high, step: step === 0.05 ? 0.01 : step, placeholder: t("default"), "aria-label": label });
  const slider = high === null ? null : h("input", { type: "range", min: low, max: high, step, "aria-label": label, tabindex: "-1" });
  const show = () => {
    const value = preferences.sampling[name];
    field.value = value ?? "";
    if (slider) slider.value = value ?? usual;
    slider?.classList.toggle("unset", value === undefined);
  };
  const set = (text) => {
    const { [name]: _, ...others } = preferences.sampling;
    const value = text === "" ? Number.NaN : Number(text);
    const isRight = Number.isFinite(value) && value >= low && (high === null || value <= high);
    field.setAttribute("aria-invalid", String(text !== "" && !isRight));
    prefer({ sampling: isRight ? { ...others, [name]: value } : others });
  };
  field.addEventListener("input", () => {
    set(field.value);
    if (slider) slider.value = preferences.sampling[name] ?? usual;
    slider?.classList.toggle("unset", preferences.sampling[name] === undefined);
  });
  slider?.addEventListener("input", () => {
    set(slider.value);
    show();
  });
  show();
  const what = h("span", { class: "row-name" }, label, h("small", {}, t(`sampling.${name}.hint`)));
  return { element: h("div", { class: "row" }, what, slider, field), show };
}

function choice(name, label, values, change) {
  const inputs = values.map(([value, words]) =>
    h(
      "label",
      {},
      h("input", { type: "radio", name, value, checked: preferences[name] === value, on: { change: () => change(value) } }),
      h("span", {}, words),
    ),
  );
  return h("fieldset", { class: "choice" }, h("legend", {}, label), h("div", {}, inputs));
}

function looks(app, close) {
  const theme = choice("theme", t("theme"), [["auto", t("auto")], ["light", t("light")], ["dark", t("dark")]], (value) => {
    prefer({ theme: value });
    showTheme();
  });
  const language = choice("language", t("language"), [["auto", t("auto")], ["en", "English"], ["zh", "中文"]], (value) => {
    prefer({ language: value });
    close();
    app.rebuild();
    app.settings();
  });
  return section(t("looks"), language, theme);
}

function person(app) {
  if (!app.info.votes) return null;
  const name = h("input", { class: "field", type: "text", value: preferences.name, placeholder: t("nameHint"), maxlength: "80", "aria-label": t("name") });
  name.addEventListener("input", () => prefer({ name: name.value.trim() }));
  return section(t("name"), h("p", { class: "hint" }, t("nameWhy")), name);
}

function kept(app, close) {
  const { session } = app;
  const count = session.list().length;
  const file = h("input", { type: "file", accept: "application/json,.json", class: "hidden", tabindex: "-1", "aria-label": t("import") });
  file.addEventListener("change", async () => {
    const found = await readJson(file.files[0]);
    const brought = found ? await session.bring(found) : 0;
    notice(brought ? t("imported", { count: brought }) : t("importFailed"));
  });
  const clear = async () => {
    const title = t("deleteAll");
    if (!(await confirmed({ title, hint: t("deleteAllHint", { count }), send: t("delete") }))) return;
    await session.clear();
    close();
    app.go("chat");
  };
  return section(
    t("data"),
    h("p", { class: "hint" }, session.lasts ? t("dataHint", { count }) : t("dataNotKept")),
    h(
      "div",
      { class: "chips" },
      button({ label: t("exportAll"), sign: "download", kind: "soft", disabled: count === 0, press: () => exportAll(session.list()) }),
      button({ label: t("import"), sign: "plus", kind: "soft", press: () => file.click() }),
      file,
      button({ label: t("deleteAll"), sign: "trash", kind: "soft danger-text", disabled: count === 0, press: clear }),
      hasKey()
        ? button({
            label: t("forgetKey"),
            sign: "key",
            kind: "soft",
            press: () => {
              forgetKey();
              notice(t("keyForgotten"));
              close();
            },
          })
        : null,
    ),
  );
}

async function readJson(file) {
  try {
    return JSON.parse(await file.text());
  } catch {
    return null;
  }
}
