// The audit log: what was done by whom.
import { html, useEffect } from "../../html.js";
import { request } from "../../api.js";
import { usePages } from "../../paging.js";
import { setQuery } from "../../router.js";
import { Card, Table } from "../../components/card.js";
import { Empty, Failure, Loading } from "../../components/states.js";
import { Ago } from "../../components/time.js";

const ACTIONS = [
  "user.register", "user.login", "user.login_failed", "user.logout", "user.password", "user.create", "user.update", "user.delete",
  "session.reuse", "link.used", "key.create", "key.revoke", "project.update", "project.retention", "conversation.trash",
  "conversation.delete_permanently", "conversation.export", "webhook.create", "webhook.update", "webhook.delete", "webhook.test",
  "webhook.redeliver", "budget.create", "budget.update", "budget.delete", "database.restore",
];
const BAD = new Set(["user.login_failed", "session.reuse"]);
const show = (value) => (Array.isArray(value) ? value.map(show).join(" ") : value !== null && typeof value === "object" ? JSON.stringify(value) : String(value));

/** An action as text that may be broken behind its dot and its underscores. */
const breakable = (action) => action.split(/(?<=[._])/).flatMap((part, index) => (index ? [html`<wbr />`, part] : [part]));

const COLUMNS = [
  { key: "action", label: "What", cell: (row) => html`<span class=${`mono small whole-words ${BAD.has(row.action) ? "bad" : ""}`}>${breakable(row.action)}</span>` },
  { key: "actor", label: "By whom", cell: (row) => html`<span class="path"><span class="clip">${row.actor_name ?? row.actor ?? "a stranger"}</span>${row.actor_name && row.actor_name !== row.actor && html`<span class="clip tiny faint">${row.actor}</span>`}</span>` },
  { key: "target", label: "To what", cell: (row) => html`<span class="path"><span class="mono small">${row.target}</span><span class="tiny faint">${Object.entries(row.details).map(([name, value]) => `${name}: ${show(value)}`).join(", ")}</span></span>` },
  { key: "address", label: "From", isWide: true, cell: (row) => html`<span class="mono small muted">${row.address}</span>` },
  { key: "at", label: "When", isNumber: true, cell: (row) => html`<span class="small muted"><${Ago} at=${row.created_at} /></span>` },
];

export function Audit({ query }) {
  const action = ACTIONS.includes(query.action) ? query.action : null;
  const { rows, error, isLoading, isDone, more, reload } = usePages(`audit ${action}`, async (cursor, signal) => {
    const { entries, pagination } = await request("/api/admin/audit", { params: { action, cursor, limit: 50 }, signal });
    return { rows: entries, pagination };
  });
  // What was read before is shown at once, and what was done since then added.
  useEffect(() => {
    if (rows.length) reload();
  }, [action]);
  let body = html`<${Loading} lines=${6} />`;
  if (rows.length) body = html`<div class="table-wrap" tabindex="0" role="region" aria-label="Audit log"><${Table} caption="What was done, the latest first" columns=${COLUMNS} rows=${rows} rowKey=${({ id }) => id} /></div>`;
  else if (isDone && !error) body = html`<${Empty} title="Nothing of this kind">Nothing like this was done so far.<//>`;
  return html`<${Card} title="Audit log" isFlush actions=${html`<div class="row"><label class="visually-hidden" for="action">What</label>
      <select class="select" id="action" value=${action ?? ""} onChange=${(event) => setQuery({ action: event.target.value })}><option value="">Everything</option>${ACTIONS.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select>
      <button class="button" onClick=${reload}>Look again</button></div>`}>
    <div aria-busy=${isLoading && !rows.length}>${error ? html`<${Failure} error=${error} retry=${more} />` : body}</div>
    ${rows.length > 0 && !isDone && html`<div class="card-more"><button class="button button-quiet" disabled=${isLoading} onClick=${more}>Show earlier ones</button></div>`}<//>`;
}
