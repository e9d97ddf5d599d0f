// A card with a heading, and tables and ranks that stand in one.
import { html } from "../html.js";

/** A part of a view with a heading; `actions` stand beside that. */
export function Card({ title, actions, isFlush = false, children }) {
  return html`<section class="card" aria-label=${title}>
    <div class="card-head"><h2>${title}</h2>${actions}</div>
    <div class=${isFlush ? "card-flush" : "card-body"}>${children}</div>
  </section>`;
}

/**
 * A table. `columns` are `{key, label, isNumber, isWide, width, cell(row), sortBy}`; the first one names the
 * row, one that `isWide` is left out on small screens. Where columns have a `width` the others share the rest. `caption` is read out and not shown. With `sort`
 * (`{key, onSort}`) the headings of columns with a `sortBy` choose what rows are ordered by: the caller orders them.
 */
export function Table({ caption, columns, rows, rowKey = (row, index) => index, sort, rowClass }) {
  const [first, ...others] = columns;
  const value = (column, row) => (column.cell ? column.cell(row) : row[column.key]);
  const look = ({ isNumber, isWide }) => `${isNumber ? "number" : ""} ${isWide ? "wide-cell" : ""}`;
  const isFixed = columns.some(({ width }) => width);
  return html`<table class=${`table ${isFixed ? "table-fixed" : ""}`}><caption class="visually-hidden">${caption}</caption>
    <thead><tr>${columns.map((column) => {
      const isChosen = sort && column.sortBy && sort.key === column.sortBy;
      return html`<th key=${column.key} scope="col" class=${look(column)} style=${column.width && { width: column.width }} aria-sort=${isChosen ? (sort.isAscending ? "ascending" : "descending") : undefined}>
        ${sort && column.sortBy ? html`<button title=${`Order by ${column.label.toLowerCase()}`} onClick=${() => sort.onSort(column.sortBy, column)}>${column.label}${isChosen && html`<span aria-hidden="true"> ${sort.isAscending ? "↑" : "↓"}</span>`}</button>` : column.label}</th>`;
    })}</tr></thead>
    <tbody>${rows.map((row, index) => html`<tr key=${rowKey(row, index)} class=${rowClass?.(row)}>
      <th scope="row" class=${look(first)}>${value(first, row)}</th>
      ${others.map((column) => html`<td key=${column.key} class=${look(column)}>${value(column, row)}</td>`)}
    </tr>`)}</tbody>
  </table>`;
}

/**
 * Names with a bar behind each. `rows` are `{key, name, title, href, share, values}`; `labels` are
 * those of the values.
 */
export function Ranks({ labels, rows }) {
  return html`<div class="ranks-head" aria-hidden="true"><span></span>
      <span class="rank-value">${labels.map((label) => html`<span>${label}</span>`)}</span></div>
    <ul class="ranks">${rows.map((row) => html`<li class="rank" key=${row.key}>
      <span class="rank-bar" style=${{ width: `${Math.max(0, Math.min(1, row.share)) * 100}%` }}></span>
      <span class="clip" title=${row.title ?? row.name}>${row.href ? html`<a href=${row.href} aria-current=${row.isCurrent ? "true" : undefined}>${row.name}</a>` : row.name}</span>
      <span class="rank-value">${row.values.map((value, index) => html`<span>
        <span class="visually-hidden">${labels[index]}: </span>${value}</span>`)}</span>
    </li>`)}</ul>`;
}
