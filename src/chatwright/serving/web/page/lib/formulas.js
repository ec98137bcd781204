// Formulas in Markdown: $x$, $$x$$, \(x\) and \[x\] are told from prose here, and drawn by KaTeX when the first one comes.

const INLINE = /^(?:\\\(([\s\S]+?)\\\)|\$(?![\s$])((?:\\.|[^\\$\n`])+?)(?<!\s)\$(?!\d))/;
const DISPLAYED = /^(?:\\\[([\s\S]+?)\\\]|\$\$([\s\S]+?)\$\$)/;

const escaped = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** Where a block may begin: only at the start of a line, so that a sum of money splits no paragraph. */
function blockStart(text) {
  const found = text.match(/\n(?:\$\$|\\\[)/);
  return found ? found.index + 1 : undefined;
}

function rule(name, level, pattern, tag) {
  return {
    name,
    level,
    start: level === "block" ? blockStart : (text) => text.match(/\$|\\[([]/)?.index,
    tokenizer(text) {
      const found = pattern.exec(text);
      return found ? { type: name, raw: found[0], formula: (found[1] ?? found[2]).trim() } : undefined;
    },
    renderer: ({ formula }) => `<${tag} class="formula ${level === "block" || name === "displayed" ? "wide" : "short"}">${escaped(formula)}</${tag}>`,
  };
}

/** Marked's rules. A block that holds one displayed formula alone is a block of its own. */
export const formulaRules = [
  rule("formulaBlock", "block", new RegExp(`${DISPLAYED.source}[ \\t]*(?:\\n+|$)`), "div"),
  rule("displayed", "inline", DISPLAYED, "span"),
  rule("formula", "inline", INLINE, "span"),
];

let loading = null;

function katex() {
  loading ??= new Promise((resolve, reject) => {
    const sheet = document.createElement("link");
    sheet.rel = "stylesheet";
    sheet.href = new URL("../vendor/katex/katex.min.css", import.meta.url).href;
    document.head.append(sheet);
    import("../vendor/katex/katex.min.js").then(() => resolve(globalThis.katex), reject);
  });
  return loading;
}

const LIMITS = { throwOnError: true, trust: false, strict: "ignore", maxSize: 20, maxExpand: 200 };

/** Draw every formula below `element`; one that KaTeX refuses stays as it was written. */
export async function drawFormulas(element) {
  const found = [...element.querySelectorAll(".formula:not(.drawn)")];
  if (!found.length) return;
  let drawer;
  try {
    drawer = await katex();
  } catch {
    return;
  }
  for (const place of found) {
    // another call may have drawn it while this one waited
    if (place.classList.contains("drawn")) continue;
    const written = place.textContent;
    place.classList.add("drawn");
    try {
      drawer.render(written, place, { ...LIMITS, displayMode: place.classList.contains("wide") });
    } catch {
      place.classList.add("refused");
      place.textContent = written;
    }
  }
}
