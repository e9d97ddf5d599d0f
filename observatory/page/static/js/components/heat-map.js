// When it happens: the hours of the week, darker where there is more.
import { html } from "../html.js";
import * as format from "../format.js";
import { Card } from "./card.js";
import { Loaded } from "./states.js";

function HeatMap({ rows }) {
  // A quarter of the hours with anything in them has each shade.
  const ranked = rows.map(({ messages }) => messages).filter(Boolean).sort((a, b) => a - b);
  const level = (messages) => (messages ? 1 + Math.min(3, Math.floor((4 * ranked.indexOf(messages)) / ranked.length)) : 0);
  const long = format.weekdays("long");
  return html`<table class="heat"><caption class="visually-hidden">Messages by weekday and hour</caption>
    <thead><tr><td></td>${[0, 6, 12, 18].map((hour) => html`<th key=${hour} colspan="6" scope="colgroup">${format.hour(hour)}</th>`)}</tr></thead>
    <tbody>${format.weekdays().map((name, weekday) => html`<tr key=${weekday}><th scope="row">${name}</th>
      ${rows.slice(weekday * 24, weekday * 24 + 24).map(({ hour, messages, cost_microdollars: cost }) => html`<td key=${hour} class=${`heat-${level(messages)}`}
        title=${`${long[weekday]}, ${format.hour(hour)}: ${format.plural(messages, "message")}${cost ? `, ${format.money(cost)}` : ""}`}>
        <span class="visually-hidden">${messages}</span></td>`)}</tr>`)}</tbody>
  </table>`;
}

/** The card of it; `activity` is a load of that report. */
export function ActivityCard({ activity }) {
  return html`<${Card} title="When it happens" actions=${html`<span class="heat-scale" aria-hidden="true">less <i></i><i></i><i></i><i></i><i></i> more</span>`}>
    <${Loaded} of=${activity} lines=${7}>${({ rows }) => html`<${HeatMap} rows=${rows} />`}<//>
  <//>`;
}
