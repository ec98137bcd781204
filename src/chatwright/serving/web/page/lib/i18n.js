// The page's words in the user's language, and numbers and days as it writes them.

import { preferences } from "./preferences.js";
import english from "../words/en.js";
import chinese from "../words/zh.js";

const WORDS = { en: english, zh: chinese };
const TAGS = { en: "en", zh: "zh-CN" };

/** `en` or `zh`: as chosen, else the browser's first language that is one of them. */
export function language() {
  if (preferences.language in WORDS) return preferences.language;
  const asked = navigator.languages ?? [navigator.language];
  return asked.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag in WORDS) ?? "en";
}

/** The words for `key`, with `{name}` filled from `values`. */
export function t(key, values = {}) {
  const text = WORDS[language()][key] ?? WORDS.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

export const speak = () => document.documentElement.setAttribute("lang", TAGS[language()]);

export const number = (value, digits = 0) => new Intl.NumberFormat(TAGS[language()], { maximumFractionDigits: digits }).format(value);

/** Which group a time belongs to: today, yesterday, week, earlier. */
export function age(time, now = Date.now()) {
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  const day = 24 * 3600 * 1000;
  if (time >= midnight) return "today";
  if (time >= midnight - day) return "yesterday";
  return time >= midnight - 6 * day ? "week" : "earlier";
}
