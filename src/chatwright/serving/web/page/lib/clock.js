// How fast a reply came: time to the first token, and tokens a second after it.

/** Measures one reply. Times are in milliseconds. */
export class Clock {
  #begun = performance.now();
  #first = null;
  #last = null;
  #pieces = 0;

  /** A piece with text has come. */
  tick() {
    this.#last = performance.now();
    this.#first ??= this.#last;
    this.#pieces += 1;
  }

  /** `{first, rate, tokens}`: ms to the first token, tokens/s (null for fewer than two), tokens as the server counts them. */
  read(usage = null) {
    const tokens = usage?.completion_tokens ?? this.#pieces;
    const span = this.#first === null ? 0 : this.#last - this.#first;
    return {
      first: this.#first === null ? null : Math.round(this.#first - this.#begun),
      rate: span > 0 && tokens > 1 ? ((tokens - 1) / span) * 1000 : null,
      tokens,
    };
  }
}
