// Conversations, kept in this browser: IndexedDB, or memory alone where the browser grants none.

import { restored } from "./tree.js";

const NAME = "chatwright";
const TABLE = "conversations";

const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

export class Store {
  #database = null;
  /** All conversations by id. */
  known = new Map();

  /** Whether what is written now is still there after the browser closes. */
  get lasts() {
    return this.#database !== null;
  }

  /** Open the store and read what it holds. */
  async open() {
    try {
      const request = indexedDB.open(NAME, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(TABLE, { keyPath: "id" });
      this.#database = await done(request);
      await this.read();
    } catch {
      this.#database = null;
    }
    return this;
  }

  /** Read everything again, for example because another tab has written. */
  async read() {
    if (!this.#database) return;
    const rows = await done(this.#database.transaction(TABLE).objectStore(TABLE).getAll());
    this.known = new Map(rows.map(restored).filter(Boolean).map((row) => [row.id, row]));
  }

  async put(conversation) {
    this.known.set(conversation.id, conversation);
    await this.#write((table) => table.put(structuredClone(conversation)));
  }

  async remove(id) {
    this.known.delete(id);
    await this.#write((table) => table.delete(id));
  }

  async clear() {
    this.known.clear();
    await this.#write((table) => table.clear());
  }

  async #write(change) {
    if (!this.#database) return;
    await done(change(this.#database.transaction(TABLE, "readwrite").objectStore(TABLE)));
  }

  /** Newest first. */
  list() {
    return [...this.known.values()].sort((a, b) => b.updated - a.updated);
  }
}
