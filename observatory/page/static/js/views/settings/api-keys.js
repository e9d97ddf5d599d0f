// API keys: for programs that ask the server by themselves.
import { html, useState } from "../../html.js";
import { request, useApi } from "../../api.js";
import { announce } from "../../announcing.js";
import * as format from "../../format.js";
import { useProjects } from "../../projects.js";
import { useSession } from "../../session.js";
import { Card } from "../../components/card.js";
import { Choice } from "../../components/choice.js";
import { Confirm } from "../../components/confirm.js";
import { Dialog } from "../../components/dialog.js";
import { Checks, CopyField, Field, Form, useForm } from "../../components/form.js";
import { Icon } from "../../components/icon.js";
import { NoRows, Pager } from "../../components/pager.js";
import { Empty, Loaded } from "../../components/states.js";
import { Ago, DateTime } from "../../components/time.js";

const SCOPES = {
  "conversations:read": "read conversations, messages and files, search and export them",
  "conversations:write": "make, change and delete conversations",
  "files:write": "upload transcripts and have them read",
  "analytics:read": "read sums over conversations, without their text",
  "metrics:read": "read the numbers for Prometheus",
  admin: "everything, and accounts",
};
const LIVES = [["30d", "30 days"], ["90d", "90 days"], ["365d", "a year"], ["", "never"]];

function NewKey({ onClose, onMade }) {
  const { may } = useSession();
  const projects = useProjects();
  const [made, setMade] = useState(null);
  const [isLimited, setIsLimited] = useState(false);
  const form = useForm(async (values) => {
    const body = { name: values.get("name"), scopes: values.getAll("scopes") };
    if (values.get("expires_at")) body.expires_at = values.get("expires_at");
    if (isLimited) body.project_ids = values.getAll("project_ids").map(Number);
    setMade(await request("/api/api-keys", { method: "POST", body }));
    announce("The key was made. It is shown this once.");
    onMade();
  });
  if (made) {
    return html`<${Dialog} title="The key is made" onClose=${onClose} isKept>
      <p><strong>Copy it now: it is shown this once.</strong> What is kept of it can not be turned back into the key.</p>
      <${CopyField} label=${made.name} value=${made.key} />
      <p class="small muted">A program sends it as <code>X-API-Key</code> or <code>Authorization: Bearer</code>. It holds ${made.expires_at ? html`until <${DateTime} at=${made.expires_at} />` : "until it is revoked"}.</p>
      <div class="form-end"><button class="button button-primary" onClick=${onClose}>Done</button></div><//>`;
  }
  return html`<${Dialog} title="New API key" onClose=${onClose}><${Form} form=${form} names=${["name", "scopes", "expires_at", "project_ids"]} action="Make the key" onCancel=${onClose}>
    <div class="form-row"><${Field} label="Name" name="name" form=${form} hint="What it is for, such as prometheus" maxlength="100" autofocus />
      <${Field} label="Ends after" name="expires_at" form=${form} options=${LIVES} value="90d" /></div>
    <${Checks} label="What it may do" name="scopes" form=${form} chosen=${["conversations:read"]} options=${Object.entries(SCOPES).filter(([scope]) => may(scope)).map(([scope, hint]) => [scope, scope, hint])} />
    <label class="check"><input type="checkbox" checked=${isLimited} onChange=${(event) => setIsLimited(event.target.checked)} /><span>Only for some projects</span></label>
    ${isLimited && html`<${Checks} label="Projects" name="project_ids" form=${form} options=${(projects ?? []).map(({ id, path }) => [id, format.projectName(path)])} />`}
  <//><//>`;
}

function ProjectTags({ ids, projects }) {
  if (!ids) return html`<span class="small muted">all projects</span>`;
  const names = ids.map((id) => format.projectName(projects?.find((project) => project.id === id)?.path ?? `number ${id}`));
  return html`<span class="small muted clip" title=${names.join(", ")}>only ${names.slice(0, 2).join(", ")}${names.length > 2 && ` and ${names.length - 2} more`}</span>`;
}

const hasEnded = (key) => key.expires_at && new Date(key.expires_at) <= Date.now();

export function ApiKeys() {
  const { may } = useSession();
  const projects = useProjects();
  const [owner, setOwner] = useState(may("admin") ? "all" : "me");
  const [offset, setOffset] = useState(0);
  const [isMaking, setIsMaking] = useState(false);
  const [revoked, setRevoked] = useState(null);
  const keys = useApi("/api/api-keys", { owner, limit: 50, offset });
  async function revoke() {
    await request(`/api/api-keys/${revoked.id}`, { method: "DELETE" });
    announce("The key is revoked.");
    await keys.reload();
  }
  return html`<${Card} title="API keys" isFlush actions=${html`<div class="row">${may("admin") && html`<${Choice} label="Whose keys" value=${owner} options=${[["all", "Everybody's"], ["me", "Mine"]]} onChange=${(value) => { setOwner(value); setOffset(0); }} />`}
      <button class="button button-primary" onClick=${() => setIsMaking(true)}><${Icon} name="plus" />New key</button></div>`}>
    <${Loaded} of=${keys} lines=${4}>${({ api_keys: rows, pagination }) => (rows.length
      ? html`<ul class="lines">${rows.map((key) => html`<li key=${key.id}><div class="row"><strong>${key.name}</strong><span class="mono tiny faint grow">${key.prefix}…</span>
          <button class="button button-small button-danger" aria-label=${`Revoke ${key.name}`} onClick=${() => setRevoked(key)}>Revoke</button></div>
        <div class="row small muted"><span class="chips">${key.scopes.map((scope) => html`<span class=${`tag ${scope === "admin" ? "tag-warn" : ""}`} key=${scope}>${scope}</span>`)}</span><${ProjectTags} ids=${key.project_ids} projects=${projects} />
          <span class="grow"></span><span class="faint">${key.last_used_at ? html`used <${Ago} at=${key.last_used_at} />` : "never used"}${hasEnded(key) ? html`, <span class="bad">ended</span>` : key.expires_at ? html`, ends <${DateTime} at=${key.expires_at} />` : ", never ends"}</span></div></li>`)}</ul>
        <${Pager} label="Pages of keys" pagination=${pagination} onMove=${setOffset} />`
      : html`<${NoRows} pagination=${pagination} onMove=${setOffset}><${Empty} title="No keys">A program takes one to ask the server. What it may do is yours to say.<//><//>`)}<//><//>
    ${isMaking && html`<${NewKey} onClose=${() => setIsMaking(false)} onMade=${keys.reload} />`}
    ${revoked && html`<${Confirm} title=${`Revoke ${revoked.name}?`} action="Revoke the key" onConfirm=${revoke} onClose=${() => setRevoked(null)}>
      <p>Programs that use it are refused from now on. That can not be taken back; another key can be made.</p><//>`}`;
}
