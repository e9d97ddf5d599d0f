// People: accounts, and what each may do.
import { html, useState } from "../../html.js";
import { request, useApi } from "../../api.js";
import { announce } from "../../announcing.js";
import { useSession } from "../../session.js";
import { Card, Table } from "../../components/card.js";
import { Confirm } from "../../components/confirm.js";
import { Dialog } from "../../components/dialog.js";
import { Checks, Field, Form, useForm } from "../../components/form.js";
import { Icon } from "../../components/icon.js";
import { NoRows, Pager } from "../../components/pager.js";
import { Empty, Loaded } from "../../components/states.js";
import { Ago } from "../../components/time.js";

const ROLES = [
  ["viewer", "viewer: reads conversations and sums"],
  ["member", "member: reads, writes and uploads"],
  ["analyst", "analyst: sums alone, no text"],
  ["admin", "admin: everything, and accounts"],
];

function AddUser({ onClose, onDone }) {
  const form = useForm(async (values) => {
    await request("/api/users", { method: "POST", body: Object.fromEntries(values) });
    announce("The account is made.");
    await onDone();
    onClose();
  });
  return html`<${Dialog} title="Add a person" onClose=${onClose}><${Form} form=${form} names=${["email", "name", "password", "role"]} action="Add" onCancel=${onClose}>
    <div class="form-row"><${Field} label="Email" name="email" type="email" form=${form} autofocus /><${Field} label="Name" name="name" form=${form} maxlength="100" /></div>
    <${Field} label="Role" name="role" form=${form} options=${ROLES} value="member" />
    <${Field} label="Password" name="password" type="password" form=${form} autocomplete="new-password" hint="8 characters and more. Tell it to them; they change it under Profile." />
  <//><//>`;
}

function ChangeUser({ user, isSelf, onClose, onDone, onRemove }) {
  const form = useForm(async (values) => {
    const body = { name: values.get("name"), role: values.get("role"), disabled: values.has("disabled") };
    if (values.get("password")) body.password = values.get("password");
    await request(`/api/users/${user.id}`, { method: "PATCH", body });
    announce("Saved.");
    await onDone();
    onClose();
  });
  return html`<${Dialog} title=${user.name || user.email} onClose=${onClose}><${Form} form=${form} names=${["name", "role", "password", "disabled"]} action="Save" onCancel=${onClose}>
    <p class="small muted">${user.email}</p>
    <${Field} label="Name" name="name" form=${form} value=${user.name} maxlength="100" />
    <${Field} label="Role" name="role" form=${form} options=${ROLES} value=${user.role} />
    <${Field} label="New password" name="password" type="password" form=${form} autocomplete="new-password" hint="Empty: it stays. Another one ends all sign-ins of this account." />
    <${Checks} label="Access" name="disabled" form=${form} chosen=${user.disabled ? ["true"] : []} options=${[["true", "Disabled", "May not sign in; sign-ins and keys are refused at once."]]} />
    ${isSelf && html`<p class="notice notice-warn small">This is your own account.</p>`}
    <button type="button" class="button button-danger" onClick=${onRemove}><${Icon} name="trash" />Remove this account</button>
  <//><//>`;
}

export function Users() {
  const { user: self } = useSession();
  const [offset, setOffset] = useState(0);
  const users = useApi("/api/users", { limit: 50, offset });
  const [open, setOpen] = useState(null);
  const close = () => setOpen(null);
  async function remove() {
    await request(`/api/users/${open.user.id}`, { method: "DELETE" });
    announce("The account is removed.");
    await users.reload();
  }
  const columns = [
    { key: "name", label: "Person", cell: (user) => html`<span class="path"><button class="linklike clip" onClick=${() => setOpen({ kind: "change", user })}>${user.name || user.email}</button>${user.name && html`<span class="clip tiny faint">${user.email}</span>`}</span>` },
    { key: "role", label: "Role", cell: (user) => html`<span class="row"><span class=${`tag ${user.role === "admin" ? "tag-accent" : ""}`}>${user.role}</span>${user.disabled && html`<span class="tag tag-bad">disabled</span>`}${user.id === self?.id && html`<span class="tag">you</span>`}</span>` },
    { key: "login", label: "Last signed in", isWide: true, cell: (user) => html`<span class="small muted">${user.last_login_at ? html`<${Ago} at=${user.last_login_at} />` : "never"}</span>` },
    { key: "created", label: "Added", isWide: true, cell: (user) => html`<span class="small muted"><${Ago} at=${user.created_at} /></span>` },
  ];
  return html`<${Card} title="People" isFlush actions=${html`<button class="button button-primary" onClick=${() => setOpen({ kind: "add" })}><${Icon} name="plus" />Add a person</button>`}>
    <${Loaded} of=${users} lines=${4}>${({ users: rows, pagination }) => (rows.length
      ? html`<div class="table-wrap" tabindex="0" role="region" aria-label="People"><${Table} caption="Accounts" columns=${columns} rows=${rows} rowKey=${({ id }) => id} /></div>
        <${Pager} label="Pages of people" pagination=${pagination} onMove=${setOffset} />`
      : html`<${NoRows} pagination=${pagination} onMove=${setOffset}><${Empty} title="No accounts yet">Each person who looks gets one, with a role that says what they may do.<//><//>`)}<//><//>
    ${open?.kind === "add" && html`<${AddUser} onClose=${close} onDone=${users.reload} />`}
    ${open?.kind === "change" && html`<${ChangeUser} user=${open.user} isSelf=${open.user.id === self?.id} onClose=${close} onDone=${users.reload} onRemove=${() => setOpen({ kind: "remove", user: open.user })} key="change" />`}
    ${open?.kind === "remove" && html`<${Confirm} title=${`Remove ${open.user.email}?`} action="Remove the account" onConfirm=${remove} onClose=${close}>
      <p>Their sign-ins and API keys end at once, and they are taken from lists of who sees a project. Conversations stay. That can not be taken back; disabling can.</p><//>`}`;
}
