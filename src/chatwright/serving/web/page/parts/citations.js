// Passages that a reply rests on: the number in the text and the list below it open the passage.

import { get } from "../lib/api.js";
import { button, h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { openDialog } from "./dialog.js";

const MARK = /\[(\d{1,3})\]/g;

/** The citations of a reply: `{number, id, title, text, source}` each. */
export const citationsOf = (list) => (Array.isArray(list) ? list : []);

/** Show a passage, and what stands around it in its document. It is another's text, and so only ever text. */
export function openPassage({ number, id, title, text, source }) {
  const before = h("span", { class: "around" });
  const after = h("span", { class: "around" });
  get(`api/documents/${encodeURIComponent(id)}`).then(
    (found) => {
      if (found.before) before.textContent = `${found.before.text}\n\n`;
      if (found.after) after.textContent = `\n\n${found.after.text}`;
    },
    // the passage itself is there all the same
    () => {},
  );
  return openDialog({
    title: `[${number}] ${title}`,
    kind: "sheet",
    content: () => [source === title ? null : h("p", { class: "hint" }, source), h("blockquote", { class: "passage", tabindex: "0" }, before, h("strong", {}, text), after)],
  });
}

/** The row of sources below a reply. */
export function sources(citations) {
  if (!citations.length) return null;
  return h(
    "div",
    { class: "sources" },
    h("span", { class: "sources-head" }, t("sources")),
    citations.map((citation) => button({ label: `${citation.number} · ${citation.title}`, kind: "chip", press: () => openPassage(citation) })),
  );
}

/** Turn each [n] in the text that names a citation into a button that opens it. */
export function markCitations(element, citations) {
  const known = new Map(citations.map((citation) => [String(citation.number), citation]));
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT, {
    acceptNode: (node) => (node.parentElement.closest("code, a, button, .formula") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT),
  });
  const texts = [];
  while (walker.nextNode()) texts.push(walker.currentNode);
  for (const node of texts) {
    const parts = node.data.split(MARK);
    if (parts.length === 1) continue;
    node.replaceWith(
      ...parts.map((part, index) => {
        if (index % 2 === 0) return part;
        const citation = known.get(part);
        return citation ? button({ label: part, kind: "mark", title: citation.title, "aria-label": t("openPassage", { number: part }), press: () => openPassage(citation) }) : `[${part}]`;
      }),
    );
  }
}
