// Lists that are looked at page by page: where one is, and the pages before and behind it.
import { html } from "../html.js";
import { Empty } from "./states.js";
import * as format from "../format.js";

/** `pagination` is the API's; `onMove` is told the offset of another page. Nothing when there is one. */
export function Pager({ pagination: { total, limit, offset, has_more: hasMore }, onMove, label }) {
  if (!offset && !hasMore) return null;
  const end = total === undefined ? offset + limit : Math.min(offset + limit, total);
  return html`<nav class="pager" aria-label=${label}>
    <span class="muted number small">${format.count(offset + 1)}–${format.count(end)}${total !== undefined && ` of ${format.count(total)}`}</span>
    <button class="button" disabled=${!offset} onClick=${() => onMove(Math.max(0, offset - limit))}>Previous</button>
    <button class="button" disabled=${!hasMore} onClick=${() => onMove(offset + limit)}>Next</button>
  </nav>`;
}

/** In place of a page without rows: `children` when there are none at all, else the way back to those there are. */
export function NoRows({ pagination: { total, limit, offset }, onMove, children }) {
  if (!offset || !total) return children;
  const last = Math.floor((total - 1) / limit) * limit;
  return html`<${Empty} title="This page is empty"><button class="button" onClick=${() => onMove(last)}>To the last one with rows</button><//>`;
}
