// Markdown as elements: marked makes HTML of it, DOMPurify leaves of that only what is listed here.
// HTML in a text is shown as the text that it is.
import { html, useEffect, useLayoutEffect, useRef, useState } from "../html.js";
import { highlightWhenSeen } from "./highlighting.js";

const TAGS = [
  "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "span", "strong",
  "table", "tbody", "td", "th", "thead", "tr", "ul",
];
const RULES = {
  ALLOWED_TAGS: TAGS,
  ALLOWED_ATTR: ["href", "class", "start", "align"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const LANGUAGE = /^language-[\w+#.-]+$/;
const OWN_CLASSES = new Set(["picture", "markup"]);
const LONGEST = 300_000;
const KEPT = 300;
const kept = new Map();
let loading = null;
let render = null;

const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");

async function load() {
  const [{ Marked }, { default: DOMPurify }] = await Promise.all([
    import("../../vendor/marked.js"), import("../../vendor/dompurify.js"),
  ]);
  const marked = new Marked({ gfm: true, breaks: true, async: false });
  marked.use({
    renderer: {
      html: ({ text, block }) => (block ? `<p class="markup">${escape(text.trimEnd())}</p>` : escape(text)),
      image: ({ href, text }) => `<span class="picture">${escape(`${text || "picture"} (${href})`)}</span>`,
      checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    },
  });
  DOMPurify.addHook("uponSanitizeAttribute", (node, data) => {
    if (data.attrName === "class") data.keepAttr = (node.nodeName === "CODE" && LANGUAGE.test(data.attrValue)) || OWN_CLASSES.has(data.attrValue);
    if (data.attrName === "align") data.keepAttr = ["left", "center", "right"].includes(data.attrValue);
  });
  DOMPurify.addHook("afterSanitizeAttributes", (node) => {
    if (node.nodeName === "A" && node.hasAttribute("href")) {
      node.setAttribute("target", "_blank");
      node.setAttribute("rel", "noopener noreferrer");
    }
  });
  render = (text) => DOMPurify.sanitize(marked.parse(text), RULES);
}

/** Return a function from text to a fragment of the document, or null while that is being loaded. */
export function loadMarkdown() {
  loading ??= load().catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

function draw(text) {
  let fragment = kept.get(text);
  if (!fragment) {
    fragment = render(text);
    for (const pre of fragment.querySelectorAll("pre")) frameCode(pre);
    for (const table of fragment.querySelectorAll("table")) frameTable(table);
    kept.set(text, fragment);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  }
  return fragment.cloneNode(true);
}

function frameCode(pre) {
  const frame = document.createElement("div");
  frame.className = "code";
  pre.replaceWith(frame);
  pre.tabIndex = 0;
  const copy = document.createElement("button");
  copy.className = "copy button button-quiet";
  copy.type = "button";
  copy.textContent = "Copy";
  copy.dataset.copy = "";
  frame.append(copy, pre);
}

function frameTable(table) {
  const frame = document.createElement("div");
  frame.className = "table-wrap";
  frame.tabIndex = 0;
  table.replaceWith(frame);
  frame.append(table);
}

/** Text as markdown; as it is until that can be drawn, and when it is very long. */
export function Markdown({ text, className = "" }) {
  const element = useRef(null);
  const [isReady, setIsReady] = useState(render !== null);
  const isPlain = !isReady || text.length > LONGEST;
  useEffect(() => {
    if (!isReady) loadMarkdown().then(() => setIsReady(true), () => {});
  }, []);
  useLayoutEffect(() => {
    if (isPlain) return undefined;
    element.current.replaceChildren(draw(text));
    return highlightWhenSeen(element.current.querySelectorAll("pre > code[class]"));
  }, [text, isPlain]);
  if (isPlain) return html`<div class=${`prose plain ${className}`} key="plain">${text}</div>`;
  return html`<div class=${`prose ${className}`} ref=${element} key="drawn"></div>`;
}
