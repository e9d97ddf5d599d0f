// Keys: each view says which it has, and the help dialog shows them all.
import { html, useEffect, useRef } from "./html.js";
import { Dialog } from "./components/dialog.js";

const groups = new Set();
const SEQUENCE_MS = 1200;
let begun = null;

/**
 * Have keys do something as long as a component is there. `shortcuts` are `{keys, label, run}`;
 * `keys` is what is pressed, such as `j`, `/` or, one after another, `g o`. One without `run` is
 * only told of: the browser does it.
 */
export function useShortcuts(shortcuts, title) {
  const group = useRef({ title, shortcuts });
  group.current.shortcuts = shortcuts;
  useEffect(() => {
    groups.add(group.current);
    return () => groups.delete(group.current);
  }, []);
}

function isTyping(target) {
  return target.isContentEditable || target.matches?.("textarea, select, input:not([type=radio], [type=checkbox])");
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
  const now = performance.now();
  const pressed = begun && now - begun.at < SEQUENCE_MS ? `${begun.key} ${event.key}` : event.key;
  const all = [...groups].reverse().flatMap(({ shortcuts }) => shortcuts).filter(({ run }) => run);
  const found = all.find(({ keys }) => keys === pressed) ?? all.find(({ keys }) => keys === event.key);
  begun = { key: event.key, at: now };
  if (!found) return;
  begun = null;
  event.preventDefault();
  found.run(event);
});

/** All keys that do something now. */
export function HelpDialog({ onClose }) {
  return html`<${Dialog} title="Keyboard shortcuts" onClose=${onClose}>
    ${[...groups].map(({ title, shortcuts }) => html`<section class="stack" aria-label=${title}><h3>${title}</h3>
      <dl class="keys">${shortcuts.filter(({ label }) => label).map(({ keys, label }) => html`
        <dt>${keys.split(" ").map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${label}</dd>`)}</dl></section>`)}
    <p class="small muted">What is shown here can be asked for by programs, too: <a href="/docs">the API</a>.</p>
  <//>`;
}
