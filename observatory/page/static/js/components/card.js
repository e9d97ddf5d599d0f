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
 * A table. `columns` are `{key, label, isNumber, cell(row)}`; the first one names the row. `caption`
 * is read out and not shown.
 */
export function Table({ caption, columns, rows, rowKey = (row, index) => index }) {
  const [first, ...others] = columns;
  const value = (column, row) => (column.cell ? column.cell(row) : row[column.key]);
  return html`<table class="table"><caption class="visually-hidden">${caption}</caption>
    <thead><tr>${columns.map((column) => html`<th key=${column.key} scope="col" class=${column.isNumber ? "number" : ""}>${column.label}</th>`)}</tr></thead>
    <tbody>${rows.map((row, index) => html`<tr key=${rowKey(row, index)}>
      <th scope="row">${value(first, row)}</th>
      ${others.map((column) => html`<td key=${column.key} class=${column.isNumber ? "number" : ""}>${value(column, row)}</td>`)}
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
      <span class="clip" title=${row.title ?? row.name}>${row.href ? html`<a href=${row.href}>${row.name}</a>` : row.name}</span>
      <span class="rank-value">${row.values.map((value, index) => html`<span>
        <span class="visually-hidden">${labels[index]}: </span>${value}</span>`)}</span>
    </li>`)}</ul>`;
}
