// Settings: what one may change of oneself and, for admins, of the server.
import { html, useEffect, useRef } from "../html.js";
import { ApiError } from "../api.js";
import { useSession } from "../session.js";
import { Empty, Failure } from "../components/states.js";
import { ApiKeys } from "./settings/api-keys.js";
import { Audit } from "./settings/audit.js";
import { Budgets } from "./settings/budgets.js";
import { Profile } from "./settings/profile.js";
import { Retention } from "./settings/retention.js";
import { Server } from "./settings/server.js";
import { Trash } from "./settings/trash.js";
import { Users } from "./settings/users.js";
import { Webhooks } from "./settings/webhooks.js";

export const title = "Settings";

// Each section by the last part of its address; who lacks the permission is not told of it.
const SECTIONS = {
  profile: { label: "Profile", Component: Profile },
  keys: { label: "API keys", Component: ApiKeys },
  users: { label: "People", Component: Users, permission: "admin" },
  budgets: { label: "Budgets", Component: Budgets, permission: "admin" },
  webhooks: { label: "Webhooks", Component: Webhooks, permission: "admin" },
  retention: { label: "Retention", Component: Retention, permission: "admin" },
  trash: { label: "Trash", Component: Trash, permission: "conversations:write" },
  server: { label: "Server", Component: Server, permission: "admin" },
  audit: { label: "Audit log", Component: Audit, permission: "admin" },
};

export default function Settings({ params, query }) {
  const { may } = useSession();
  const name = params.section ?? "profile";
  const section = Object.hasOwn(SECTIONS, name) ? SECTIONS[name] : null;
  const shown = Object.entries(SECTIONS).filter(([, { permission }]) => may(permission));
  const list = useRef(null);
  // On small screens the names are a row that scrolls sideways.
  useEffect(() => {
    const chosen = list.current.querySelector("[aria-current]");
    if (chosen) list.current.scrollLeft = chosen.offsetLeft - (list.current.clientWidth - chosen.offsetWidth) / 2;
  }, [name]);
  let body;
  if (!section) body = html`<section class="card"><${Empty} title="There are no such settings">The address leads nowhere. <a href="/settings">To the first</a><//></section>`;
  else if (!may(section.permission)) body = html`<section class="card"><${Failure} error=${new ApiError(`This takes the permission ${section.permission}.`, { code: "FORBIDDEN" })} /></section>`;
  else body = html`<${section.Component} query=${query} />`;
  return html`<div class="head"><h1>Settings</h1></div>
    <div class="sections">
      <nav class="nav sections-nav" aria-label="Settings" ref=${list}><ul>${shown.map(([key, { label }]) => html`<li key=${key}>
        <a href=${`/settings/${key}`} aria-current=${key === name ? "page" : undefined}>${label}</a></li>`)}</ul></nav>
      <div class="stack">${body}</div>
    </div>`;
}
