// Markdown to elements. Three walls stand between a model's words and the page: HTML in them is shown as text, what
// Marked makes passes DOMPurify, and the page's policy runs no script and loads nothing from elsewhere.

import { Marked } from "../vendor/marked/marked.esm.js";
import "../vendor/dompurify/purify.min.js";
import { coloured } from "./colours.js";
import { button, h } from "./dom.js";
import { drawFormulas, formulaRules } from "./formulas.js";
import { t } from "./i18n.js";

const { DOMPurify } = globalThis;
const TAGS = "a blockquote br code del div em h3 h4 h5 h6 hr input li ol p pre span strong table tbody td th thead tr ul".split(" ");
const ATTRIBUTES = "align checked class disabled href start title type".split(" ");
const CLASS = /^(?:language-[\w+#.-]{1,30}|formula (?:wide|short)|(?:hljs-[\w-]+|[\w-]+_)(?: (?:hljs-[\w-]+|[\w-]+_))*)$/;
const SAFE = {
  ALLOWED_TAGS: TAGS,
  ALLOWED_ATTR: ATTRIBUTES,
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.hasAttribute?.("class") && !CLASS.test(node.getAttribute("class"))) node.removeAttribute("class");
  if (node.tagName === "A") {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer nofollow");
  }
  if (node.tagName === "INPUT") {
    node.setAttribute("type", "checkbox");
    node.setAttribute("disabled", "");
  }
});

const escaped = (text) => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

const marked = new Marked({ gfm: true, breaks: true, async: false });
marked.use({
  extensions: formulaRules,
  renderer: {
    html: ({ text, block }) => (block ? `<p>${escaped(text.trim()).replaceAll("\n", "<br>")}</p>` : escaped(text)),
    heading({ tokens, depth }) {
      const level = Math.min(depth + 2, 6);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
    // loading an image would tell its server who reads, and when
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
    code({ text, lang }) {
      const name = (lang ?? "").trim().split(/\s/)[0].toLowerCase();
      return `<pre><code${name ? ` class="language-${escaped(name)}"` : ""}>${escaped(text)}</code></pre>`;
    },
  },
});

/** A text's Markdown that grows: only the blocks that changed are made again, so that what is selected stays selected. */
export class MarkdownView {
  #blocks = [];
  #links = "{}";
  /** Draws the text at the end of `element`, which holds nothing else. */
  constructor(element) {
    this.element = element;
  }

  /** Show `text`. */
  show(text) {
    const tokens = marked.lexer(text);
    const blocks = tokens.filter(({ type }) => type !== "space" && type !== "def");
    // a link's address may come long after the words that carry it
    const links = JSON.stringify(tokens.links);
    if (links !== this.#links) this.#forget(0);
    this.#links = links;
    let same = 0;
    while (same < blocks.length && same < this.#blocks.length && this.#blocks[same].raw === blocks[same].raw) same += 1;
    this.#forget(same);
    for (const token of blocks.slice(same)) {
      const nodes = made([token], tokens.links);
      this.element.append(...nodes);
      this.#blocks.push({ raw: token.raw, nodes });
    }
    drawFormulas(this.element);
  }

  /** Take away the blocks from the one at `first` on. */
  #forget(first) {
    for (const { nodes } of this.#blocks.splice(first)) for (const node of nodes) node.remove();
  }
}

/** The elements of a finished text. */
export function markdown(text) {
  const element = h("div", { class: "markdown" });
  new MarkdownView(element).show(text);
  return element;
}

function made(tokens, links) {
  const fragment = DOMPurify.sanitize(marked.parser(Object.assign(tokens, { links })), SAFE);
  for (const block of fragment.querySelectorAll("pre")) block.replaceWith(codeBlock(block));
  for (const table of fragment.querySelectorAll("table")) {
    const frame = h("div", { class: "table", role: "region", tabindex: "0", "aria-label": t("table") });
    table.replaceWith(frame);
    frame.append(table);
  }
  return [...fragment.childNodes];
}

function codeBlock(block) {
  const code = block.querySelector("code") ?? block;
  const language = (code.className.match(/language-(\S+)/) ?? [])[1] ?? "";
  const text = code.textContent.replace(/\n$/, "");
  const shown = h("code", {}, text);
  const colour = () => {
    const markup = coloured(text, language, colour);
    if (markup !== null) shown.replaceChildren(DOMPurify.sanitize(markup, SAFE));
  };
  colour();
  return h(
    "div",
    { class: "code" },
    h("div", { class: "code-head" }, h("span", {}, language || t("code")), copyButton(() => text)),
    h("pre", { tabindex: "0" }, shown),
  );
}

/** A button that copies a text, and says that it has. */
export function copyButton(text, kind = "small") {
  const made = button({
    label: t("copy"),
    sign: "copy",
    quiet: true,
    kind,
    press: async () => {
      const next = button({ label: t((await copied(text())) ? "copied" : "copyFailed"), sign: "check", quiet: true, kind });
      made.replaceChildren(...next.childNodes);
      made.setAttribute("aria-label", next.getAttribute("aria-label"));
      setTimeout(() => {
        made.replaceChildren(...button({ label: t("copy"), sign: "copy", quiet: true }).childNodes);
        made.setAttribute("aria-label", t("copy"));
      }, 1600);
    },
  });
  return made;
}

/** Whether a text went to the clipboard; pages that are not served safely have only the old way. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { class: "hidden", readonly: true, value: text });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
