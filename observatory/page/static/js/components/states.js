// What is shown when there is nothing, not yet anything, or something went wrong.
import { html } from "../html.js";

/** Nothing is there: a title, and what to do. */
export function Empty({ title, children }) {
  return html`<div class="state"><h2>${title}</h2><p>${children}</p></div>`;
}

/** Grey lines where something will be. */
export function Loading({ lines = 5, label = "Loading" }) {
  return html`<div class="bones" role="status"><span class="visually-hidden">${label}…</span>
    ${Array.from({ length: lines }, () => html`<div class="bone"></div>`)}</div>`;
}

/** Something went wrong: the server's words, and a way to try again. */
export function Failure({ error, retry }) {
  const needsMore = error.code === "FORBIDDEN";
  const words = Object.values(error.details?.fields ?? {}).flat().filter((one) => typeof one === "string");
  return html`<div class="state" role="alert">
    <h2>${needsMore ? "Not for you to see" : "That did not work"}</h2>
    ${words.length ? words.map((one) => html`<p key=${one}>${one}</p>`) : html`<p>${error.message}</p>`}
    ${error.requestId && html`<p class="tiny faint mono">${error.requestId}</p>`}
    ${retry && !needsMore && html`<button class="button" onClick=${retry}>Try again</button>`}
  </div>`;
}

/**
 * One of the three, or what `children(data)` draws. What is shown already stays, paler, while it is
 * read anew.
 */
export function Loaded({ of: { data, error, isLoading, reload }, lines, children }) {
  if (error && (data === null || isLoading === false)) return html`<${Failure} error=${error} retry=${reload} />`;
  if (data === null) return html`<${Loading} lines=${lines} />`;
  return html`<div class=${isLoading ? "is-stale" : ""} aria-busy=${isLoading}>${children(data)}</div>`;
}
