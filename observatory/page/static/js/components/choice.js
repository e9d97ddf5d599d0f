// A choice of a few, and tabs: both work with the arrow keys.
import { html, useRef } from "../html.js";

let made = 0;

/** Radio buttons side by side: `options` are `[value, label]`. */
export function Choice({ label, value, options, onChange }) {
  const name = useRef(`choice-${(made += 1)}`);
  return html`<fieldset class="choice"><legend class="visually-hidden">${label}</legend>
    ${options.map(([one, text]) => html`<label key=${one}>
      <input type="radio" name=${name.current} value=${one} checked=${one === value}
        onChange=${() => onChange(one)} /><span>${text}</span></label>`)}
  </fieldset>`;
}

/** Tabs: `tabs` are `[value, label]`; `children` is the panel of the chosen one. */
export function Tabs({ label, value, tabs, onChange, children }) {
  const id = useRef(`tabs-${(made += 1)}`);
  const list = useRef(null);
  function onKeyDown(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const index = (tabs.findIndex(([one]) => one === value) + step + tabs.length) % tabs.length;
    onChange(tabs[index][0]);
    list.current.children[index].focus();
  }
  return html`<div>
    <div class="tabs" role="tablist" aria-label=${label} ref=${list} onKeyDown=${onKeyDown}>
      ${tabs.map(([one, text]) => html`<button key=${one} role="tab" id=${`${id.current}-${one}`}
        aria-selected=${String(one === value)} aria-controls=${`${id.current}-panel`}
        tabindex=${one === value ? 0 : -1} onClick=${() => onChange(one)}>${text}</button>`)}
    </div>
    <div role="tabpanel" id=${`${id.current}-panel`} aria-labelledby=${`${id.current}-${value}`}>${children}</div>
  </div>`;
}
