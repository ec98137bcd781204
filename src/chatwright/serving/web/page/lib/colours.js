// Colour for code: highlight.js, with a language's grammar fetched when it is first met.

import core from "../vendor/highlight/core.min.js";

const ALIASES = {
  bash: "bash", sh: "bash", shell: "bash", zsh: "bash", console: "bash",
  c: "cpp", cpp: "cpp", "c++": "cpp", h: "cpp", cc: "cpp",
  css: "css", diff: "diff", patch: "diff", dockerfile: "dockerfile", docker: "dockerfile",
  go: "go", golang: "go", ini: "ini", toml: "ini", java: "java",
  javascript: "javascript", js: "javascript", mjs: "javascript", jsx: "javascript",
  json: "json", jsonl: "json", latex: "latex", tex: "latex", makefile: "makefile", make: "makefile",
  markdown: "markdown", md: "markdown", python: "python", py: "python", python3: "python", pycon: "python",
  r: "r", rust: "rust", rs: "rust", sql: "sql", typescript: "typescript", ts: "typescript", tsx: "typescript",
  xml: "xml", html: "xml", svg: "xml", yaml: "yaml", yml: "yaml",
};
const coming = new Map();

/** The markup of coloured code, or null while its grammar is on the way or where there is none. `arrived` is called when it has come. */
export function coloured(code, language, arrived) {
  const name = Object.hasOwn(ALIASES, language) ? ALIASES[language] : null;
  if (!name) return null;
  if (core.getLanguage(name)) return core.highlight(code, { language: name, ignoreIllegals: true }).value;
  if (!coming.has(name)) {
    const fetched = import(`../vendor/highlight/languages/${name}.min.js`);
    coming.set(name, fetched.then(({ default: grammar }) => core.registerLanguage(name, grammar)).catch(() => {}));
  }
  coming.get(name).then(() => core.getLanguage(name) && arrived());
  return null;
}
