// What the user chose, kept in this browser.

const KEY = "chatwright.preferences";
const DEFAULTS = {
  language: "auto",
  theme: "auto",
  model: null,
  system: "",
  name: "",
  welcomed: false,
  documents: true,
  sampling: {},
};

/** How replies are drawn: an empty value leaves it to the server. `usual` is the server's own, shown by the slider. */
export const SAMPLING = [
  { name: "temperature", low: 0, high: 2, step: 0.05, usual: 0.7 },
  { name: "top_p", low: 0.05, high: 1, step: 0.05, usual: 0.95 },
  { name: "top_k", low: 0, high: 200, step: 1, usual: 0 },
  { name: "min_p", low: 0, high: 1, step: 0.01, usual: 0 },
  { name: "repetition_penalty", low: 1, high: 2, step: 0.05, usual: 1 },
  { name: "max_tokens", low: 16, high: 4096, step: 16, usual: 256 },
  { name: "seed", low: 0, high: null, step: 1, usual: null },
];

function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return typeof found === "object" && found ? { ...DEFAULTS, ...found } : { ...DEFAULTS };
  } catch {
    return { ...DEFAULTS };
  }
}

export const preferences = kept();

/** Change preferences and keep them. */
export function prefer(change) {
  Object.assign(preferences, change);
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // a browser that keeps nothing still shows the choice until the page closes
  }
}

/** The sampling that the user set, as the API names it. */
export const sampling = () => Object.fromEntries(Object.entries(preferences.sampling).filter(([, value]) => Number.isFinite(value)));

/** Show the page light or dark, as chosen or as the system has it. */
export function showTheme() {
  const { theme } = preferences;
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}
