// A tab in which a model writes below an area of text: what stops it, and where the cursor goes.

export class WritingTab {
  running = null;

  close() {
    this.running?.abort();
  }

  focus() {
    if (matchMedia("(hover: hover)").matches) this.area.focus();
  }

  key(event) {
    if (event.key !== "Escape" || !this.running) return false;
    this.running.abort();
    return true;
  }
}
