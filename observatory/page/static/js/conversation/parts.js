// Small parts of rows: what can be opened, texts that are cut, output, lists, trees of values.
import { html, useState } from "../html.js";
import * as format from "../format.js";
import { Icon } from "../components/icon.js";
import { cutLines, parseAnsi } from "./text.js";
import { useReading } from "./reading.js";

const SHOWN_LINES = 40;
const MOST_CHARACTERS = 400_000;

/** A row of one line that opens to show more. */
export function Fold({ isOpen, onToggle, icon, head, children, tone = "" }) {
  return html`<div class=${`fold ${tone} ${isOpen ? "fold-open" : ""}`}>
    <button type="button" class="fold-head" aria-expanded=${String(isOpen)} onClick=${onToggle} data-fold>
      <span class="fold-icon"><${Icon} name=${icon} size=${15} /></span>${head}</button>
    ${isOpen && html`<div class="fold-body">${children}</div>`}
  </div>`;
}

/** A link to a message that copies its address. */
export function CopyLink({ message }) {
  return html`<a class="button button-quiet button-icon copy-link" href=${`?message=${encodeURIComponent(message.id)}`} data-message=${message.id}
    aria-label="Copy link to this message" title="Copy link to this message"><${Icon} name="link" size=${14} /></a>`;
}

/** A button that has all of a message read, whose texts were cut. */
export function ReadWhole({ message, length, what = "Show all" }) {
  const reading = useReading();
  const [state, setState] = useState("");
  const read = () => {
    setState("reading");
    reading.readWhole(message.id).catch((error) => setState(error.message));
  };
  return html`<div class="row more"><button type="button" class="button" disabled=${state === "reading"} onClick=${read}>
    ${state === "reading" ? "Reading…" : `${what}${length ? ` (${format.count(length)} characters)` : ""}`}</button>
    ${state && state !== "reading" && html`<span class="small bad" role="alert">${state}</span>`}</div>`;
}

/** Lines of which a long text first shows some; `draw` makes what is shown of a text. */
export function Lines({ text, most = SHOWN_LINES, draw }) {
  const [begun, lines] = cutLines(text, most);
  const sought = useReading()?.sought ?? [];
  const isSought = sought.length > 0 && begun.length < text.length && sought.some((word) => text.toLowerCase().indexOf(word) > begun.length - word.length);
  const [isChosen, setIsLong] = useState(null);
  const isLong = isChosen ?? isSought;
  const isCut = begun.length < text.length && lines > most + 5;
  const shown = isCut && !isLong ? begun : text.slice(0, MOST_CHARACTERS);
  return html`${draw(shown)}
    ${isCut && html`<button type="button" class="button more" onClick=${() => setIsLong(!isLong)}>${isLong ? "Show less" : `Show all ${format.count(lines)} lines`}</button>`}
    ${text.length > MOST_CHARACTERS && isLong && html`<p class="small muted">Shown are the first ${format.count(MOST_CHARACTERS)} of ${format.count(text.length)} characters; the export has all.</p>`}`;
}

/** What a program wrote, in the colours of a terminal. */
export function Output({ text, label = "Output", isBad = false }) {
  if (!text.trim()) return html`<p class="small faint">No output</p>`;
  return html`<${Lines} text=${text} draw=${(shown) => html`<pre class=${`output ${isBad ? "output-bad" : ""}`} tabindex="0" role="region" aria-label=${label}
    >${parseAnsi(shown).map(({ text: run, classes }) => (classes.length ? html`<span class=${classes.join(" ")}>${run}</span>` : run))}</pre>`} />`;
}

const MOST_ENTRIES = 100;

/** A value as a tree that opens. */
export function Tree({ value, depth = 0 }) {
  if (value === null || typeof value !== "object") return html`<${Leaf} value=${value} />`;
  const entries = Array.isArray(value) ? value.map((item, index) => [index, item]) : Object.entries(value);
  if (!entries.length) return html`<span class="faint">${Array.isArray(value) ? "[]" : "{}"}</span>`;
  if (depth > 30) return html`<span class="faint">…</span>`;
  return html`<dl class="tree">${entries.slice(0, MOST_ENTRIES).map(([key, item]) => html`<${Entry} key=${key} name=${key} value=${item} depth=${depth} />`)}</dl>
    ${entries.length > MOST_ENTRIES && html`<p class="tiny faint">and ${format.count(entries.length - MOST_ENTRIES)} more</p>`}`;
}

function Entry({ name, value, depth }) {
  const isDeep = value !== null && typeof value === "object";
  const [isOpen, setIsOpen] = useState(depth < 1);
  const count = isDeep ? Object.keys(value).length : 0;
  if (!isDeep || !count) return html`<div class="tree-entry"><dt>${name}</dt><dd><${Tree} value=${value} depth=${depth + 1} /></dd></div>`;
  return html`<div class="tree-entry tree-deep"><dt><button type="button" class="tree-fold" aria-expanded=${String(isOpen)} onClick=${() => setIsOpen(!isOpen)}>
      ${name}<span class="faint"> ${Array.isArray(value) ? `[${count}]` : `{${count}}`}</span></button></dt>
    ${isOpen && html`<dd><${Tree} value=${value} depth=${depth + 1} /></dd>`}</div>`;
}

function Leaf({ value }) {
  if (typeof value !== "string") return html`<span class="tree-value">${String(value)}</span>`;
  if (!value.includes("\n")) return html`<span class="tree-text">${value || html`<span class="faint">""</span>`}</span>`;
  return html`<${Lines} text=${value} most=${12} draw=${(shown) => html`<pre class="tree-lines">${shown}</pre>`} />`;
}

/** Labelled values side by side. */
export function Facts({ facts }) {
  const shown = facts.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
  if (!shown.length) return null;
  return html`<dl class="fact-list">${shown.map(([label, value]) => html`<div key=${label}><dt>${label}</dt><dd>${value}</dd></div>`)}</dl>`;
}
