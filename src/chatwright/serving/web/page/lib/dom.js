// Elements without markup: text stays text, whatever a model or a person wrote.

const SVG = "http://www.w3.org/2000/svg";

/** An element. `properties`: `class`, `on: {event: listener}`, `data: {…}`, ARIA and other attributes; true means present. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// One path each on a grid of 24, drawn as lines.
const ICONS = {
  chat: "M4 5.5h16v11H9.5L5 20v-3.5H4z",
  completion: "M4 6h16M4 11h10M4 16h6M17 14v6M14 17h6",
  translation: "M4 6h9M8.5 4v2M11.5 6c-.6 4-3.3 6.6-7 8M6 9.5c1 2.3 3 3.9 6 4.8M12.5 20l4-10 4 10M13.9 16.8h5.2",
  questions: "M6 3.5h8.5L19 8v12.5H6zM14 3.5V8.5h5M9.5 12.5h6M9.5 16h4",
  arena: "M4 5h7v14H4zM13 5h7v14h-7z",
  labelling: "M9 6h11M9 12h11M9 18h11M4 6l1 .8V4M4 11h1.6L4 13.3h1.8M4 16.5h1.7L4.8 18l.9 1.5H4",
  plus: "M12 5v14M5 12h14",
  search: "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM15.5 15.5 20 20",
  menu: "M4 7h16M4 12h16M4 17h16",
  more: "M12 5.5v.01M12 12v.01M12 18.5v.01",
  settings: "M4 8h9M17 8h3M15 6v4M4 16h3M11 16h9M9 14v4",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M7 7h10v10H7z",
  copy: "M9 9h10v10H9zM6 15H5V5h10v1",
  check: "M5 12.5 10 17.5 19 7",
  again: "M19 12a7 7 0 1 1-2.1-5M19 4v4h-4",
  edit: "M5 19l1-4L16 5l3 3L9 18zM14 7l3 3",
  up: "M7 11v9H4v-9zM7 11l4-7c1.8 0 2.6 1.3 2.3 3l-.6 3H19c1.1 0 1.7 1 1.4 2l-1.6 6.5c-.2.9-.9 1.5-1.8 1.5H7",
  down: "M17 13V4h3v9zM17 13l-4 7c-1.8 0-2.6-1.3-2.3-3l.6-3H5c-1.1 0-1.7-1-1.4-2l1.6-6.5C5.4 4.6 6.1 4 7 4h10",
  left: "M14.5 6l-6 6 6 6",
  right: "M9.5 6l6 6-6 6",
  above: "M6 14.5l6-6 6 6",
  below: "M6 9.5l6 6 6-6",
  bottom: "M12 5v14M6 13l6 6 6-6",
  close: "M6 6l12 12M18 6 6 18",
  download: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l.8 13h8.4L17 7M10.5 11v5M13.5 11v5",
  lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  key: "M14.5 5a4.5 4.5 0 1 1-3.6 7.2L4 19v2h3v-2h2v-2h2l1.8-1.8A4.5 4.5 0 0 1 14.5 5zM16 8.5v.01",
  light: "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM12 3v1.5M12 19.5V21M3 12h1.5M19.5 12H21M5.6 5.6l1.1 1.1M17.3 17.3l1.1 1.1M5.6 18.4l1.1-1.1M17.3 6.7l1.1-1.1",
  dark: "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z",
  auto: "M4 5h16v11H4zM9 20h6M12 16v4",
  language: "M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17zM3.5 12h17M12 3.5c2.5 2.6 3.5 5.4 3.5 8.5s-1 5.9-3.5 8.5c-2.5-2.6-3.5-5.4-3.5-8.5s1-5.9 3.5-8.5z",
  help: "M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17zM9.5 9.5a2.5 2.5 0 1 1 3.6 2.3c-.8.4-1.1.9-1.1 1.7M12 16.5v.01",
  grip: "M9 6v.01M15 6v.01M9 12v.01M15 12v.01M9 18v.01M15 18v.01",
  sparkle: "M12 4l1.8 5.2L19 11l-5.2 1.8L12 18l-1.8-5.2L5 11l5.2-1.8zM18.5 16v4M16.5 18h4",
  equal: "M5 9h14M5 15h14",
  warning: "M12 4 2.8 19.5h18.4zM12 10v4M12 16.8v.01",
};

/** A drawn sign, hidden from screen readers: the button that holds it carries the words. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of [["viewBox", "0 0 24 24"], ["class", "icon"], ["aria-hidden", "true"]]) svg.setAttribute(key, value);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button. `label` is read out, and shown too unless `quiet`. */
export function button({ label, sign, quiet = false, kind = "plain", press, ...more }) {
  const named = quiet ? { "aria-label": label, title: label } : {};
  return h(
    "button",
    { type: "button", class: `button ${kind}${quiet ? " quiet" : ""}`, ...named, ...more, on: press ? { click: press } : {} },
    sign ? icon(sign) : null,
    quiet ? null : h("span", {}, label),
  );
}

/** Whether a key press sends: Enter, but neither Shift+Enter nor the Enter that ends an input method's composition. */
export function isSendKey(event) {
  // 229 is how Safari tells of the Enter that closes its composition window
  return event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229;
}

/** Let a text area grow with what is in it, up to its own maximal height. */
export function growing(area) {
  const fit = () => {
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`;
  };
  area.addEventListener("input", fit);
  requestAnimationFrame(fit);
  return fit;
}

/** Call `work` at most once a frame, with the newest state. */
export function eachFrame(work) {
  let asked = 0;
  return () => {
    if (asked) return;
    asked = requestAnimationFrame(() => {
      asked = 0;
      work();
    });
  };
}

/** Hand a text to the user as a file. */
export function download(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
