// A conversation as a file: JSON with all branches, Markdown with the path that is shown.

import { download } from "./dom.js";
import { path } from "./tree.js";

/** A file name from a title, with nothing in it that a system refuses. */
export function fileName(title, ending) {
  const plain = title.replace(/[^\p{L}\p{N}\p{M} _-]+/gu, "").trim().replace(/\s+/g, "-").slice(0, 60);
  return `${plain || "conversation"}.${ending}`;
}

const pretty = (value) => `${JSON.stringify(value, null, 2)}\n`;

/** What an exported file holds: the tree, and the shown path as messages for other programs. */
export function exported(conversation) {
  const messages = path(conversation).map(({ role, content }) => ({ role, content }));
  const system = conversation.system.trim();
  return { ...conversation, messages: system ? [{ role: "system", content: system }, ...messages] : messages };
}

/** The shown path as Markdown. */
export function asMarkdown(conversation, names) {
  const system = conversation.system.trim();
  const turns = path(conversation).map((node) => {
    const who = node.role === "user" ? names.user : node.model || names.assistant;
    return `## ${who}\n\n${node.content.trim()}\n`;
  });
  const quoted = system ? [`> ${system.replaceAll("\n", "\n> ")}\n`] : [];
  return [`# ${conversation.title}\n`, ...quoted, ...turns].join("\n");
}

export function exportJson(conversation) {
  download(fileName(conversation.title, "json"), pretty(exported(conversation)), "application/json");
}

export function exportMarkdown(conversation, names) {
  download(fileName(conversation.title, "md"), asMarkdown(conversation, names), "text/markdown");
}

export function exportAll(conversations) {
  const day = new Date().toISOString().slice(0, 10);
  download(`chatwright-${day}.json`, pretty({ conversations: conversations.map(exported) }), "application/json");
}
