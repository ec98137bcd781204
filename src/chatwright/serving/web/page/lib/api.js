// Calls to the server that sent this page, and to no other.

import { events } from "./sse.js";

const KEY = "chatwright.key";
const POLL_MS = 1000;

/** What went wrong, by `kind`: key, busy, unavailable, full, offline, refused, server. `retryAfter` is in seconds. */
export class ApiError extends Error {
  constructor(kind, message = "", { status = 0, retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { kind, status, retryAfter });
  }
}

let asking = null;
let askForKey = async () => null;

/** Who asks for a key: an async function of whether one was refused just now; null means the user gave none. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

let loading = null;
let tellLoading = async () => {};

/** Who shows that models are being loaded: a function of whether they still are, awaited when they are there. */
export function onLoading(tell) {
  tellLoading = tell;
}

export const hasKey = () => sessionStorage.getItem(KEY) !== null;
export const forgetKey = () => sessionStorage.removeItem(KEY);

/**
 * Ask the server; a 401 asks the user for the key and tries again, and so does a 503 once the models are loaded.
 * `body` may be a function, asked anew each time. Throws ApiError, or AbortError when stopped.
 */
export async function call(path, { method = "GET", body, signal } = {}) {
  let hasWaited = false;
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const response = await send(path, { method, body: typeof body === "function" ? body() : body, signal, key });
    if (response.ok) return response;
    if (response.status === 503 && !hasWaited && (await orStopped(loaded(), signal))) {
      hasWaited = true;
      continue;
    }
    if (response.status !== 401) throw await failure(response);
    if (!(await newKey(key))) throw await failure(response);
  }
}

async function send(path, { method, body, signal, key }) {
  const headers = { Accept: "application/json, text/event-stream" };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    return await fetch(new URL(path, document.baseURI), {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("offline", String(error.message ?? error));
  }
}

/** Whether all models are loaded, after waiting while they are; false where the server takes no requests for another reason. */
export function loaded() {
  loading ??= untilLoaded().finally(() => {
    loading = null;
  });
  return loading;
}

async function untilLoaded() {
  try {
    for (;;) {
      const response = await send("ready", { key: sessionStorage.getItem(KEY) });
      if (response.ok) return true;
      const said = await response.json().catch(() => null);
      if (said?.status !== "loading") return false;
      tellLoading(true);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  } finally {
    await tellLoading(false);
  }
}

/** What `work` resolves to, unless the signal comes first. */
function orStopped(work, signal) {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const stop = () => reject(new DOMException("stopped", "AbortError"));
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** Another key than `refused`, which is asked for once, however many calls wait for it. */
async function newKey(refused) {
  if (sessionStorage.getItem(KEY) !== refused) return true;
  asking ??= askForKey(refused !== null).then((key) => {
    if (key) sessionStorage.setItem(KEY, key);
    asking = null;
    return Boolean(key);
  });
  return asking;
}

async function failure(response) {
  const { status } = response;
  let said = {};
  try {
    said = (await response.json()).error ?? {};
  } catch {
    // an answer that is no JSON says nothing that a user could use
  }
  const wait = Number.parseFloat(response.headers.get("retry-after") ?? "");
  const retryAfter = Number.isFinite(wait) ? wait : null;
  return new ApiError(kindOf(status, said.code), said.message ?? "", { status, retryAfter });
}

const KINDS = { 401: "key", 429: "busy", 503: "unavailable" };

function kindOf(status, code) {
  if (code === "context_length_exceeded") return "full";
  return KINDS[status] ?? (status < 500 ? "refused" : "server");
}

export const get = async (path, options = {}) => (await call(path, options)).json();
export const post = async (path, body, options = {}) => (await call(path, { ...options, method: "POST", body })).json();

/**
 * A reply as it is written: `{text, thought, finish, usage, citations}` for each piece, only what the piece brought.
 * Takes chats and completions alike.
 */
export async function* stream(path, body, signal) {
  // a side of the arena tells no counts, which could tell who it is
  const counted = path.startsWith("v1/") ? { stream_options: { include_usage: true } } : {};
  const asked = () => ({ ...(typeof body === "function" ? body() : body), stream: true, ...counted });
  const response = await call(path, { method: "POST", body: asked, signal });
  for await (const data of events(response)) {
    // the connection ends next: leaving before it does would look like a client that went away
    if (data === "[DONE]") continue;
    let chunk;
    try {
      chunk = JSON.parse(data);
    } catch {
      throw new ApiError("server", data.slice(0, 200));
    }
    if (chunk.error) throw new ApiError("server", chunk.error.message ?? "");
    const choice = chunk.choices?.[0] ?? {};
    const delta = choice.delta ?? {};
    yield {
      text: delta.content ?? choice.text ?? "",
      thought: delta.reasoning_content ?? "",
      finish: choice.finish_reason ?? null,
      usage: chunk.usage ?? null,
      citations: delta.citations ?? choice.citations ?? chunk.citations ?? null,
    };
  }
}

/** What the server offers: `{status, models: [{id, abilities, context}], votes, documents}`. A server without /api/info offers its models for chat. */
export async function offers() {
  try {
    return await get("api/info");
  } catch (error) {
    if (error.status !== 404) throw error;
    const { data } = await get("v1/models");
    const models = data.map(({ id }) => ({ id, abilities: ["chat", "completion"] }));
    return { models, votes: false, documents: false };
  }
}
