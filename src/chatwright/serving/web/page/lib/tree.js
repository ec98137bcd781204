// A conversation is a tree: an edited turn or another reply is a further child, and one path through it is shown.

const ROOT = "root";

export const newId = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (n) => n.toString(16).padStart(2, "0")).join("");

/** A conversation with nothing in it. */
export function newConversation({ model = null, system = "" } = {}) {
  const now = Date.now();
  const root = { id: ROOT, parent: null, children: [], chosen: null };
  return { id: newId(), title: "", created: now, updated: now, model, system, nodes: { [ROOT]: root } };
}

/** The turns that are shown, first to last. */
export function path(conversation) {
  const shown = [];
  for (let id = conversation.nodes[ROOT].chosen; id; id = conversation.nodes[id].chosen) shown.push(conversation.nodes[id]);
  return shown;
}

export const leaf = (conversation) => path(conversation).at(-1)?.id ?? ROOT;

/** Add a turn below `parent` and show it. */
export function add(conversation, parent, turn) {
  const node = { id: newId(), parent, children: [], chosen: null, created: Date.now(), ...turn };
  conversation.nodes[node.id] = node;
  conversation.nodes[parent].children.push(node.id);
  conversation.nodes[parent].chosen = node.id;
  conversation.updated = node.created;
  return node;
}

/** `{index, count}` of a turn among the versions of it. */
export function place(conversation, id) {
  const { children } = conversation.nodes[conversation.nodes[id].parent];
  return { index: children.indexOf(id), count: children.length };
}

/** Show the version `step` away from the turn `id`; whatever was chosen below it comes along. */
export function turnTo(conversation, id, step) {
  const parent = conversation.nodes[conversation.nodes[id].parent];
  const index = parent.children.indexOf(id) + step;
  if (index >= 0 && index < parent.children.length) parent.chosen = parent.children[index];
  return parent.chosen;
}

/** What the model is sent: the turns down to and with `last`. A turn that was never answered is left out with its failed reply. */
export function messages(conversation, last) {
  const turns = [];
  for (let id = last; id !== ROOT; id = conversation.nodes[id].parent) turns.unshift(conversation.nodes[id]);
  const kept = [];
  for (const { role, content } of turns) {
    if (role === "assistant" && content === "") kept.pop();
    else kept.push({ role, content });
  }
  const system = conversation.system.trim();
  return system ? [{ role: "system", content: system }, ...kept] : kept;
}

/** A title from the first words, at most `most` characters, cut between words where there are any. */
export function titleOf(text, most = 42) {
  const line = text.trim().split("\n")[0].replace(/^[#>\s*-]+/, "").replace(/\s+/g, " ");
  const letters = Array.from(line);
  if (letters.length <= most) return line;
  const cut = letters.slice(0, most).join("");
  const space = cut.lastIndexOf(" ");
  return `${space > most / 2 ? cut.slice(0, space) : cut}…`;
}

/** Whether every word of `query` stands in the title or a turn. */
export function contains(conversation, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const turns = Object.values(conversation.nodes).map((node) => node.content ?? "");
  const all = [conversation.title, ...turns].join("\n").toLowerCase();
  return words.every((word) => all.includes(word));
}

/** Mend what was kept: a reply that was being written when the page closed has stopped. Null if it is no conversation. */
export function restored(value) {
  const isWhole =
    typeof value?.id === "string" && typeof value.nodes === "object" && Array.isArray(value.nodes?.[ROOT]?.children);
  if (!isWhole) return null;
  const nodes = {};
  for (const [id, node] of Object.entries(value.nodes)) {
    if (id !== ROOT && (typeof node.content !== "string" || !value.nodes[node.parent])) return null;
    nodes[id] = node.status === "writing" ? { ...node, status: "stopped" } : node;
  }
  const { title = "", created = Date.now(), updated = created, model = null, system = "" } = value;
  return { id: value.id, title: String(title), created, updated, model, system: String(system), nodes };
}
