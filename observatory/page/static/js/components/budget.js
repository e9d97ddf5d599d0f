// A budget and how far it is used.
import { html } from "../html.js";
import * as format from "../format.js";

/** One of those that the API lists. */
export function Budget({ budget: { name, period, project_path: project, limit_microdollars: dollars, limit_tokens: tokens, state } }) {
  const used = state.used_percent;
  const look = used >= 100 ? "meter-bad" : used >= 80 ? "meter-warn" : "";
  const spent = dollars === null ? format.compact(state.spent_tokens) : format.money(state.spent_microdollars, state.cost_complete);
  const limit = dollars === null ? `${format.compact(tokens)} tokens` : format.money(dollars);
  return html`<div class="budget"><div class="row"><strong class="clip grow" title=${`${name} (${project ?? "all projects"})`}>${name}</strong>
      <span class="number muted">${used === null ? "–" : `${Math.round(used)}%`}</span></div>
    <div class=${`meter ${look}`} role="meter" aria-label=${`${name}: used`} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.min(100, Math.round(used ?? 0))}>
      <span style=${{ width: `${Math.min(100, used ?? 0)}%` }}></span></div>
    <div class="small muted">${spent} of ${limit} this ${period}${state.projected_percent === null ? "" : `, heading for ${Math.round(state.projected_percent)}%`}</div></div>`;
}
