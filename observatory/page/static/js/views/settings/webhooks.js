// Webhooks: addresses that are told of what happens, and how that went.
import { html, useState } from "../../html.js";
import { request, useApi } from "../../api.js";
import { announce } from "../../announcing.js";
import * as format from "../../format.js";
import { useProjects } from "../../projects.js";
import { Card, Table } from "../../components/card.js";
import { Confirm } from "../../components/confirm.js";
import { Dialog } from "../../components/dialog.js";
import { Checks, CopyField, Field, Form, useForm } from "../../components/form.js";
import { Icon } from "../../components/icon.js";
import { Empty, Loaded } from "../../components/states.js";
import { Ago } from "../../components/time.js";

const EVENTS = [
  "conversation_started", "conversation_updated", "conversation_ended", "conversation_deleted", "message_added",
  "tool_use_finished", "project_discovered", "file_processing_update", "analytics_update", "budget_threshold",
];
const STATUSES = { delivered: "tag-good", pending: "tag-accent", dead: "tag-bad", dropped: "" };
const words = (name) => name.replaceAll("_", " ");

function Secret({ secret, onClose }) {
  return html`<${Dialog} title="The secret that signs" onClose=${onClose} isKept>
    <p><strong>Copy it now: it is shown this once.</strong> The receiver checks with it that what comes is from here.</p>
    <${CopyField} label="Secret" value=${secret} />
    <p class="small muted">How a receiver checks it stands in <a href="/docs">the API's documentation</a>.</p>
    <div class="form-end"><button class="button button-primary" onClick=${onClose}>Done</button></div><//>`;
}

function Edit({ webhook, onClose, onDone }) {
  const projects = useProjects();
  const filters = webhook?.filters ?? {};
  const form = useForm(async (values) => {
    const body = {
      url: values.get("url"), description: values.get("description"), events: values.getAll("events"), is_active: values.has("is_active"),
      filters: { project_path: values.get("project_path") || null, tool: values.get("tool") || null, role: filters.role ?? null, conversation_id: filters.conversation_id ?? null },
    };
    const path = webhook ? `/api/webhooks/${webhook.id}` : "/api/webhooks";
    const { secret } = await request(path, { method: webhook ? "PATCH" : "POST", body });
    announce("Saved.");
    await onDone(secret);
  });
  const known = (projects ?? []).map(({ path }) => [path, format.projectName(path)]);
  if (filters.project_path && !known.some(([path]) => path === filters.project_path)) known.push([filters.project_path, filters.project_path]);
  return html`<${Dialog} title=${webhook ? "Change the webhook" : "New webhook"} onClose=${onClose}><${Form} form=${form} names=${["url", "description", "events", "filters", "is_active"]} action=${webhook ? "Save" : "Add"} onCancel=${onClose}>
    <${Field} label="Address" name="url" type="url" form=${form} value=${webhook?.url} hint="Begins with https or http, and leads to the public Internet unless the server allows more" autofocus />
    <${Field} label="Description" name="description" form=${form} value=${webhook?.description} maxlength="500" />
    <${Checks} label="Events" name="events" form=${form} hint="None ticked: all of them" chosen=${webhook?.events ?? ["conversation_ended"]} options=${EVENTS.map((one) => [one, words(one)])} />
    <div class="form-row"><${Field} label="Only of a project" name="project_path" options=${[["", "all projects"], ...known]} value=${filters.project_path ?? ""} key=${known.length} />
      <${Field} label="Only of a tool" name="tool" value=${filters.tool} hint="Such as Bash; empty: of all" maxlength="200" /></div>
    ${form.errorsOf("filters").length > 0 && html`<p class="small bad">${form.errorsOf("filters").join(" ")}</p>`}
    <${Checks} label="State" name="is_active" form=${form} chosen=${webhook?.is_active ?? true ? ["true"] : []} options=${[["true", "Active", "Otherwise nothing is sent, and what happens meanwhile is missed."]]} />
  <//><//>`;
}

function tellEvents({ events, filters }) {
  const what = events.length ? `${events.slice(0, 3).map(words).join(", ")}${events.length > 3 ? ` and ${events.length - 3} more` : ""}` : "all events";
  const only = [filters.project_path && format.projectName(filters.project_path), filters.tool, filters.role, filters.conversation_id].filter(Boolean);
  return only.length ? `${what}, only of ${only.join(", ")}` : what;
}

const ERROR_WORDS = { http_status: "answered" };

function Deliveries({ webhook, onClose }) {
  const [status, setStatus] = useState("");
  const deliveries = useApi(`/api/webhooks/${webhook.id}/deliveries`, { limit: 30, status });
  const [error, setError] = useState(null);
  async function act(path, told) {
    setError(null);
    try {
      await request(`/api/webhooks/${webhook.id}/${path}`, { method: "POST" });
      announce(told);
      deliveries.reload();
    } catch (failure) {
      setError(failure);
    }
  }
  const columns = [
    { key: "event", label: "Event", cell: (row) => words(row.event_type) },
    { key: "status", label: "State", cell: (row) => html`<span class="path"><span><span class=${`tag ${STATUSES[row.status]}`}>${row.status}</span></span>
      ${(row.last_error || row.last_status) && row.status !== "delivered" && html`<span class="tiny faint">${words(ERROR_WORDS[row.last_error] ?? row.last_error ?? "")} ${row.last_status}</span>`}</span>` },
    { key: "attempts", label: "Attempts", isNumber: true, isWide: true, cell: (row) => format.count(row.attempts) },
    { key: "at", label: "Made", isNumber: true, cell: (row) => html`<span class="small muted"><${Ago} at=${row.created_at} />${row.status === "pending" && row.next_attempt_at && html`<br />next <${Ago} at=${row.next_attempt_at} />`}</span>` },
    { key: "actions", label: html`<span class="visually-hidden">Actions</span>`, cell: (row) => html`<span class="actions">${["dead", "delivered"].includes(row.status) && html`<button class="button button-small" onClick=${() => act(`deliveries/${row.id}/redeliver`, "It is sent again.")}>Send again</button>`}</span>` },
  ];
  return html`<${Dialog} title="Deliveries" onClose=${onClose} isWide>
    <p class="small muted mono">${webhook.url}</p>
    <div class="row"><label class="visually-hidden" for="delivery-status">State</label>
      <select class="select" id="delivery-status" value=${status} onChange=${(event) => setStatus(event.target.value)}><option value="">Any state</option>${Object.keys(STATUSES).map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select>
      <span class="grow"></span><button class="button" onClick=${deliveries.reload}><${Icon} name="again" />Look again</button>
      <button class="button button-primary" onClick=${() => act("test", "A test is sent.")}>Send a test</button></div>
    ${error && html`<p class="notice notice-bad" role="alert">${error.message}</p>`}
    <${Loaded} of=${deliveries} lines=${4}>${({ deliveries: rows }) => (rows.length
      ? html`<div class="table-wrap" tabindex="0" role="region" aria-label="Deliveries"><${Table} caption="Deliveries, the latest first" columns=${columns} rows=${rows} rowKey=${({ id }) => id} /></div>`
      : html`<${Empty} title="Nothing was sent yet">A test shows whether the receiver can be reached.<//>`)}<//><//>`;
}

function State({ webhook: { is_active: isActive, state } }) {
  if (!isActive) return html`<span class="tag tag-bad" title=${state.switched_off === "gone" ? "the receiver answered 410" : state.switched_off === "failing" ? "20 in a row could not be delivered" : "switched off by hand"}>off${state.switched_off && `: ${state.switched_off}`}</span>`;
  if (state.dead_in_a_row) return html`<span class="tag tag-warn">${format.plural(state.dead_in_a_row, "failure")} in a row</span>`;
  return html`<span class="tag tag-good">active</span>`;
}

export function Webhooks() {
  const webhooks = useApi("/api/webhooks", { limit: 100 });
  const [open, setOpen] = useState(null);
  const close = () => setOpen(null);
  const done = async (secret) => {
    // Shown this once, so nothing is waited for.
    if (secret) setOpen({ kind: "secret", secret });
    await webhooks.reload();
    if (!secret) close();
  };
  async function remove() {
    await request(`/api/webhooks/${open.webhook.id}`, { method: "DELETE" });
    announce("The webhook is removed.");
    await webhooks.reload();
  }
  async function rotate() {
    const { secret } = await request(`/api/webhooks/${open.webhook.id}`, { method: "PATCH", body: { rotate_secret: true } });
    // Behind the question, which closes itself when this is done.
    setTimeout(() => setOpen({ kind: "secret", secret }));
  }
  const button = (kind, webhook, label, more = "") => html`<button class=${`button button-small ${more}`} aria-label=${`${label}: ${webhook.url}`} onClick=${() => setOpen({ kind, webhook })}>${label}</button>`;
  return html`<${Card} title="Webhooks" isFlush actions=${html`<button class="button button-primary" onClick=${() => setOpen({ kind: "edit" })}><${Icon} name="plus" />New webhook</button>`}>
    <${Loaded} of=${webhooks} lines=${4}>${({ webhooks: rows }) => (rows.length
      ? html`<ul class="lines">${rows.map((webhook) => html`<li key=${webhook.id}><div class="line">
          <button class="linklike clip" title=${webhook.url} onClick=${() => setOpen({ kind: "edit", webhook })}>${webhook.url}</button><${State} webhook=${webhook} />
          <span class="small muted clip">${[webhook.description, tellEvents(webhook)].filter(Boolean).join(" · ")}</span></div>
        <div class="row"><span class="small faint grow-line">${webhook.state.last_delivered_at ? html`Delivered <${Ago} at=${webhook.state.last_delivered_at} />` : "Nothing delivered yet"}${webhook.state.pending_deliveries > 0 && `, ${format.count(webhook.state.pending_deliveries)} waiting`}</span>
          ${button("deliveries", webhook, "Deliveries")}${button("rotate", webhook, "New secret")}${button("remove", webhook, "Remove", "button-danger")}</div></li>`)}</ul>`
      : html`<${Empty} title="No webhooks">One has an address told when conversations end, budgets are reached, and more.<//>`)}<//><//>
    ${open?.kind === "edit" && html`<${Edit} webhook=${open.webhook} onClose=${close} onDone=${done} />`}
    ${open?.kind === "secret" && html`<${Secret} secret=${open.secret} onClose=${close} />`}
    ${open?.kind === "deliveries" && html`<${Deliveries} webhook=${open.webhook} onClose=${() => { close(); webhooks.reload(); }} />`}
    ${open?.kind === "rotate" && html`<${Confirm} title="Make a new secret?" action="Make a new secret" onConfirm=${rotate} onClose=${close}>
      <p>What is sent to <span class="mono">${open.webhook.url}</span> is signed with it from now on. The receiver refuses that until it knows the new one.</p><//>`}
    ${open?.kind === "remove" && html`<${Confirm} title="Remove this webhook?" action="Remove the webhook" onConfirm=${remove} onClose=${close}>
      <p>Nothing is sent to <span class="mono">${open.webhook.url}</span> any more, and what waits for it goes. That can not be taken back.</p><//>`}`;
}
