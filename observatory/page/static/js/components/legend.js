// The colours of the parts of charts.
import { html } from "../html.js";

const HIGHEST = 7;

/** The number of the colour of a part: the last one is for all that have no own. */
export const colourOf = (index) => Math.min(index + 1, HIGHEST);

/** Which colour is which part. */
export function Legend({ names }) {
  return html`<ul class="legend">${names.map((name, index) => html`<li key=${name}>
    <span class=${`swatch swatch-${colourOf(index)}`}></span><span class="clip">${name}</span></li>`)}</ul>`;
}
