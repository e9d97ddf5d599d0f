// Colours of code: the library is loaded with the first code that comes into sight. What it makes is
// taken apart here into elements with classes, so that whatever it holds is text.
import { html, useLayoutEffect, useRef } from "../html.js";

const LONGEST = 60_000;
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', "#x27": "'" };
const ALIASES = { sh: "bash", shell: "bash", zsh: "bash", console: "bash", jsx: "javascript", tsx: "typescript", py: "python", toml: "ini" };
let library = null;

const load = () => {
  library ??= import("../../vendor/highlight.js").then((module) => module.default, (error) => {
    library = null;
    throw error;
  });
  return library;
};

const decode = (text) => text.replace(/&(amp|lt|gt|quot|#x27);/g, (_, name) => ENTITIES[name]);

/** The library's spans as nodes. */
function toNodes(marked) {
  const root = document.createDocumentFragment();
  const above = [root];
  for (const piece of marked.split(/(<span class="[\w -]*">|<\/span>)/)) {
    if (piece.startsWith("<span")) {
      const span = document.createElement("span");
      span.className = piece.slice(13, -2);
      above.at(-1).append(span);
      above.push(span);
    } else if (piece === "</span>") above.pop();
    else if (piece) above.at(-1).append(decode(piece));
  }
  return root;
}

async function highlight(element, language) {
  const text = element.textContent;
  const name = ALIASES[language] ?? language;
  if (text.length > LONGEST) return;
  const hljs = await load();
  if (!hljs.getLanguage(name) || element.textContent !== text) return;
  element.replaceChildren(toNodes(hljs.highlight(text, { language: name, ignoreIllegals: true }).value));
}

const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    observer.unobserve(target);
    const language = target.dataset.language ?? /language-([\w+#.-]+)/.exec(target.className)?.[1];
    if (language) highlight(target, language.toLowerCase()).catch(() => {});
  }
}, { rootMargin: "200px" });

/** Have code elements coloured once they come into sight; returns what ends that. */
export function highlightWhenSeen(elements) {
  const watched = [...elements];
  for (const element of watched) observer.observe(element);
  return () => watched.forEach((element) => observer.unobserve(element));
}

/** Code, coloured if its language is known; with numbers of lines from `start` on, if that is given; `isWrapped` breaks long lines. */
export function Code({ text, language = null, start = null, isWrapped = false, label = "Code" }) {
  const element = useRef(null);
  useLayoutEffect(() => {
    element.current.textContent = text;
    return language ? highlightWhenSeen([element.current]) : undefined;
  }, [text, language]);
  const lines = start === null ? 0 : text.split("\n").length;
  return html`<div class="code"><button class="copy button button-quiet" type="button" data-copy>Copy</button>
    <pre tabindex="0" role="region" aria-label=${label} class=${lines ? "numbered" : isWrapped ? "wrapped" : ""}>${lines > 0 && html`<span class="line-numbers" aria-hidden="true"
      >${Array.from({ length: lines }, (_, index) => start + index).join("\n")}</span>`}<code ref=${element} data-language=${language}></code></pre></div>`;
}
