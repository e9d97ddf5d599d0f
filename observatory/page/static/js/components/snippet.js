// A snippet of a search: the API sends it as HTML whose only element is <mark>. It is taken apart
// here, so that whatever it holds is text.
import { html } from "../html.js";

const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', "#x27": "'", "#39": "'" };
const decode = (text) => text.replace(/&(amp|lt|gt|quot|#x27|#39);/g, (_, name) => ENTITIES[name]);

/** Text with its matches marked. */
export function Snippet({ text }) {
  return text.split("<mark>").map((part, index) => {
    if (!index) return decode(part);
    const [marked, ...rest] = part.split("</mark>");
    return html`<mark>${decode(marked)}</mark>${decode(rest.join(""))}`;
  });
}
