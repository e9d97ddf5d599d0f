// The changes of a file: lines that went and came, with their numbers and the words that differ.
import { html, useEffect, useMemo, useState } from "../html.js";
import * as format from "../format.js";
import { compare } from "./differences.js";

const SHOWN_LINES = 60;
const WORDS = { "+": "added", "-": "removed", " ": "" };
let library = null;
let loading = null;

const load = () => {
  loading ??= import("../../vendor/diff.js").then((module) => {
    library = module;
  }, (error) => {
    loading = null;
    throw error;
  });
  return loading;
};

function useDiff() {
  const [, setIsReady] = useState(library !== null);
  useEffect(() => {
    if (!library) load().then(() => setIsReady(true), () => {});
  }, []);
  return library;
}

/** One change; `before` null shows all lines as added. */
export function Change({ before, after, start = 1, isNumbered = true, note = null }) {
  const diff = useDiff();
  const [isLong, setIsLong] = useState(false);
  const found = useMemo(() => diff && compare(diff, before, after, start), [diff, before, after, start]);
  if (!found) return html`<p class="small faint" role="status">Comparing…</p>`;
  const { hunks, added, removed } = found;
  const lines = hunks.reduce((sum, hunk) => sum + hunk.length, 0);
  let room = isLong ? Infinity : SHOWN_LINES;
  const shown = hunks.map((hunk) => {
    const part = hunk.slice(0, Math.max(0, room));
    room -= hunk.length;
    return part;
  }).filter((part) => part.length);
  return html`<figure class="change">
    <figcaption class="small muted"><span class="good">+${format.count(added)}</span> <span class="bad">−${format.count(removed)}</span>
      <span class="visually-hidden">${format.plural(added, "line")} added, ${format.count(removed)} removed</span>${note && html` <span>${note}</span>`}</figcaption>
    ${lines > 0 && html`<div class="change-lines" tabindex="0" role="region" aria-label="Changed lines"><table class="diff"><tbody>
      ${shown.map((hunk, index) => html`${index > 0 && html`<tr class="diff-gap"><td colspan="3">⋯</td></tr>`}
        ${hunk.map((line) => html`<${Line} line=${line} isNumbered=${isNumbered} />`)}`)}</tbody></table></div>`}
    ${lines > SHOWN_LINES && html`<button type="button" class="button more" onClick=${() => setIsLong(!isLong)}>${isLong ? "Show less" : `Show all ${format.count(lines)} lines`}</button>`}
  </figure>`;
}

function Line({ line: { kind, old, new: fresh, text, parts }, isNumbered }) {
  const look = { "+": "diff-new", "-": "diff-old", " ": "" }[kind];
  return html`<tr class=${look}>${isNumbered && html`<td class="diff-number">${old ?? ""}</td><td class="diff-number">${fresh ?? ""}</td>`}
    <td class="diff-text"><span class="diff-sign" aria-hidden="true">${kind}</span>${WORDS[kind] && html`<span class="visually-hidden">${WORDS[kind]}: </span>`}${
      parts ? parts.map(({ text: part, isChanged }) => (isChanged ? html`<span class="diff-word">${part}</span>` : part)) : text}</td></tr>`;
}
