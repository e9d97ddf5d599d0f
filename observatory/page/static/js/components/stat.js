// Numbers at a glance.
import { html } from "../html.js";
import * as format from "../format.js";

/** One of them; `share` is by how much it changed since the time before. */
export function Stat({ label, value, note, title: hint, share }) {
  const shown = format.change(share);
  return html`<div class="stat"><dt>${label}</dt><dd>
    <div class="stat-value" title=${hint}>${value}</div>
    <div class="stat-note">${shown && html`<span title="against as many days before">${share > 0 ? "↑" : share < 0 ? "↓" : ""} ${shown.replace(/^[^\d]/, "")}${note && " · "}</span>`}${note}</div>
  </dd></div>`;
}
