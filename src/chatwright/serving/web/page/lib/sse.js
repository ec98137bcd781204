// Server-sent events: bytes in pieces cut anywhere, events out.

/** Takes text in any pieces and gives the data of each finished event. */
export class EventParser {
  #rest = "";
  #data = [];

  /** The data of the events that `text` finishes, in their order. */
  feed(text) {
    const found = [];
    this.#rest += text;
    // a lone \r at the end may be the first half of \r\n
    const lines = this.#rest.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (this.#data.length) found.push(this.#data.join("\n"));
        this.#data = [];
      } else if (line.startsWith("data:")) {
        this.#data.push(line.slice(line[5] === " " ? 6 : 5));
      }
    }
    return found;
  }
}

/** The data of each event of a response; a character whose bytes come in two pieces stays whole. */
export async function* events(response) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder("utf-8");
  const parser = new EventParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      yield* parser.feed(decoder.decode(value, { stream: true }));
    }
    yield* parser.feed(`${decoder.decode()}\n\n`);
  } finally {
    // leaving early closes the connection, and the server stops writing
    reader.cancel().catch(() => {});
  }
}
