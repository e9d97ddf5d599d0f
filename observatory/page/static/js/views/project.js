// One project: what was done lately, when of the day, and with which tools.
import { html, useEffect, useState } from "../html.js";
import { request, toQuery, useApi } from "../api.js";
import { conversationsAddress } from "../addresses.js";
import * as format from "../format.js";
import { useRefresh } from "../live.js";
import { LONG_AGO } from "../periods.js";
import { useSession } from "../session.js";
import { Card, Ranks } from "../components/card.js";
import { ActivityCard } from "../components/heat-map.js";
import { Latest } from "../components/latest.js";
import { Checks, Field, Form, useForm } from "../components/form.js";
import { Dialog } from "../components/dialog.js";
import { Stat } from "../components/stat.js";
import { Empty, Failure, Loaded, Loading } from "../components/states.js";


export const title = "Project";

const WINDOWS = [["last_24_hours", "24 hours"], ["last_7_days", "7 days"], ["last_30_days", "30 days"]];
const ROWS = [
  ["Conversations", (row) => format.count(row.active_conversations)],
  ["Prompts", (row) => format.count(row.prompts)],
  ["Messages", (row) => format.count(row.messages)],
  ["Tool uses", (row) => format.count(row.tool_uses)],
  ["Failed", (row) => (row.tool_uses ? format.percent(row.errors / row.tool_uses) : format.NOTHING)],
  ["Tokens", (row) => html`<span title=${format.count(row.total_tokens)}>${format.compact(row.total_tokens)}</span>`],
  ["Cost", (row) => format.money(row.cost_microdollars, row.cost_complete)],
];

function Lately({ statistics }) {
  return html`<table class="table"><caption class="visually-hidden">What was done lately</caption>
    <thead><tr><th scope="col"><span class="visually-hidden">What</span></th>${WINDOWS.map(([key, label]) => html`<th key=${key} scope="col" class="number">${label}</th>`)}</tr></thead>
    <tbody>${ROWS.map(([label, show]) => html`<tr key=${label}><th scope="row">${label}</th>${WINDOWS.map(([key]) => html`<td key=${key} class="number">${show(statistics[key])}</td>`)}</tr>`)}</tbody></table>`;
}

function VisibilityDialog({ project, onClose, onDone }) {
  const users = useApi("/api/users", { limit: 100 });
  const [isListed, setIsListed] = useState(project.visibility === "listed");
  const unseen = (project.user_ids ?? []).filter((id) => !users.data?.users.some((user) => user.id === id));
  const form = useForm(async (values) => {
    const body = { visibility: values.get("visibility") };
    // Who could not be ticked here stays as it is.
    if (body.visibility === "listed" && users.data) body.user_ids = [...values.getAll("user_ids").map(Number), ...unseen];
    await request(`/api/projects/${project.id}`, { method: "PATCH", body });
    await onDone();
  });
  return html`<${Dialog} title="Who sees this project" onClose=${onClose}><${Form} form=${form} names=${["visibility", "user_ids"]} action="Save" onCancel=${onClose}>
    <${Field} label="It is there for" name="visibility" form=${form} value=${project.visibility} options=${[["everyone", "everyone"], ["listed", "admins and those ticked"]]}
      onChange=${(event) => setIsListed(event.target.value === "listed")} hint="For everybody else it does not exist, with all that is in it." />
    ${isListed && (users.data ? html`<${Checks} label="People" name="user_ids" form=${form} chosen=${project.user_ids ?? []} options=${users.data.users.map((user) => [user.id, user.name || user.email, user.role])} />` : users.error ? html`<${Failure} error=${users.error} />` : html`<${Loading} lines=${3} />`)}
  <//><//>`;
}

function Sums({ project }) {
  const { usage } = project;
  return html`<dl class="card stats">
    <${Stat} label="Cost" value=${format.money(project.cost_microdollars, project.cost_complete)} note=${project.cost_complete ? "in all" : "not all prices known"} />
    <${Stat} label="Tokens" value=${format.compact(project.total_tokens)} title=${format.count(project.total_tokens)} note=${`${format.compact(usage.output_tokens)} written`} />
    <${Stat} label="Sessions" value=${format.count(project.session_count)} note=${format.plural(project.conversation_count - project.session_count, "subagent")} />
    <${Stat} label="Messages" value=${format.count(project.message_count)} />
    <${Stat} label="Tool uses" value=${format.count(project.tool_use_count)} note=${project.tool_use_count ? `${format.percent(project.error_count / project.tool_use_count)} failed` : ""} />
    <${Stat} label="Last active" value=${project.first_activity_at ? format.day(project.last_activity_at) : format.NOTHING} note=${project.first_activity_at ? `since ${format.day(project.first_activity_at)}` : ""} />
  </dl>`;
}

export default function Project({ params }) {
  const { may } = useSession();
  const project = useApi(`/api/projects/${encodeURIComponent(params.project_id)}`, { timezone: format.TIMEZONE });
  const [isAsked, setIsAsked] = useState(false);
  const { path } = project.data ?? {};
  const activity = useApi(path ? "/api/analytics/activity" : null, { project: path, from: LONG_AGO, timezone: format.TIMEZONE, limit: 1 });
  useRefresh(["analytics_update"], [project, activity]);
  useEffect(() => {
    if (path) document.title = `${format.projectName(path)} · Observatory`;
  }, [path]);
  if (project.error?.status === 404) return html`<div class="head"><h1>Project</h1></div><section class="card"><${Empty} title="There is no such project">It is not there, or not for you to see. <a href="/projects">All projects</a><//></section>`;
  const by = toQuery({ project: path });
  return html`<div class="head"><div class="grow"><h1>${path ? format.projectName(path) : "Project"}</h1>${path && html`<p class="small muted mono">${path}</p>`}</div>
      ${path && html`<div class="row">${may("conversations:read") && html`<a class="button" href=${conversationsAddress({ project: path })}>Conversations</a>`}
        <a class="button" href=${`/${by}`}>Costs</a><a class="button" href=${`/tools${by}`}>Tools</a>${may("conversations:read") && html`<a class="button" href=${`/files${by}`}>Files</a>`}
        ${may("admin") && html`<button class="button" onClick=${() => setIsAsked(true)}>Who sees it</button>`}</div>`}</div>
    <${Loaded} of=${project} lines=${8}>${(data) => html`<div class="stack">
      <${Sums} project=${data} />
      <div class="grid grid-2">
        <${Card} title="Lately" isFlush><${Lately} statistics=${data.statistics} />
          ${data.peak_hours.length > 0 && html`<p class="small muted card-note">Busiest hours of 30 days: ${data.peak_hours.map(({ hour }) => format.hourOfDay(hour)).join(", ")}</p>`}<//>
        <${ActivityCard} activity=${activity} />
      </div>
      <div class="grid grid-2">
          <${Card} title="Most used tools of 30 days" isFlush>${data.most_used_tools.length
            ? html`<${Ranks} labels=${["Failed", "Uses"]} rows=${data.most_used_tools.map((row) => ({
              key: row.tool, name: row.tool, share: row.uses / data.most_used_tools[0].uses, href: `/tools${toQuery({ project: path, tool: row.tool })}`,
              values: [row.errors ? format.percent(row.errors / row.uses) : format.NOTHING, format.count(row.uses)],
            }))} />`
            : html`<${Empty} title="None lately">No tools were used in the last 30 days.<//>`}<//>
          ${may("conversations:read") && html`<${Card} title="Latest conversations" isFlush actions=${html`<a class="small" href=${conversationsAddress({ project: path })}>All</a>`}><${Latest} project=${path} /><//>`}
      </div>
      ${data.visibility === "listed" && html`<p class="small muted">This project is there for admins${(data.user_ids ?? []).length ? ` and ${format.plural(data.user_ids.length, "person", "people")} more` : ""} only.</p>`}
    </div>`}<//>
    ${isAsked && project.data && html`<${VisibilityDialog} project=${project.data} onClose=${() => setIsAsked(false)} onDone=${async () => { await project.reload(); setIsAsked(false); }} />`}`;
}
