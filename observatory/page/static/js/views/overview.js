// The overview: what was used and what it cost, when, for what, and what runs now.
import { html, useEffect, useMemo, useRef, useState } from "../html.js";
import { useApi } from "../api.js";
import { conversationAddress, conversationsAddress } from "../addresses.js";
import * as format from "../format.js";
import { useLive } from "../live.js";
import { setQuery } from "../router.js";
import { describeMessage } from "../saying.js";
import { useSession } from "../session.js";
import { Bars, Legend } from "../components/bars.js";
import { Card, Ranks, Table } from "../components/card.js";
import { Choice } from "../components/choice.js";
import { Empty, Loaded } from "../components/states.js";
import { Ago } from "../components/time.js";

export const title = "Overview";

const PERIODS = {
  "7d": { label: "7 days", days: 7, unit: "day" },
  "30d": { label: "30 days", days: 30, unit: "day" },
  "90d": { label: "90 days", days: 90, unit: "day" },
  "1y": { label: "Year", days: 365, unit: "week" },
  all: { label: "All", days: null, unit: "month" },
};
const LONG_AGO = "2023-01-01";
const SHOWN_MODELS = 6;
const LIVE_MS = 10 * 60_000;
const REFRESH_MS = 5_000;

const dayOf = (date) =>
  `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, "0")}-${String(date.getDate()).padStart(2, "0")}`;

function periodOf(name) {
  const now = new Date();
  const { days } = PERIODS[name];
  const from = days ? dayOf(new Date(now.getFullYear(), now.getMonth(), now.getDate() - days + 1)) : LONG_AGO;
  return { from, to: dayOf(now), timezone: format.TIMEZONE };
}

/** Return the beginnings of all days, weeks or months between two, which no bar may be missing of. */
function binsBetween(first, last, unit) {
  const bins = [];
  const [year, month, day = 1] = first.split("-").map(Number);
  const at = new Date(year, month - 1, day);
  if (unit === "week") at.setDate(at.getDate() - ((at.getDay() + 6) % 7));
  if (unit === "month") at.setDate(1);
  for (; bins.length < 2000; ) {
    const name = unit === "month" ? dayOf(at).slice(0, 7) : dayOf(at);
    if (name > last) break;
    bins.push({ name, start: at.getTime() / 1000 });
    if (unit === "month") at.setMonth(at.getMonth() + 1);
    else at.setDate(at.getDate() + (unit === "week" ? 7 : 1));
  }
  return bins;
}

/** Return what charts are drawn from: bars, and of each model its tokens and costs in them. */
function pileUp(rows, { from, to, unit, isAll }) {
  if (!rows.length) return null;
  const last = unit === "month" ? to.slice(0, 7) : to;
  const bins = binsBetween(isAll ? rows[0].date : from, isAll ? rows.at(-1).date : last, unit);
  const places = new Map(bins.map(({ name }, index) => [name, index]));
  const sums = new Map();
  for (const row of rows) {
    const sum = sums.get(row.model) ?? { model: row.model, cost: 0, tokens: 0 };
    sum.cost += row.cost_microdollars ?? 0;
    sum.tokens += row.total_tokens;
    sums.set(row.model, sum);
  }
  const ranked = [...sums.values()].sort((a, b) => b.cost - a.cost || b.tokens - a.tokens).map(({ model }) => model);
  const own = ranked.length > SHOWN_MODELS + 1 ? ranked.slice(0, SHOWN_MODELS) : ranked;
  const names = own.map(format.modelName);
  if (own.length < ranked.length) names.push("other models");
  const empty = () => names.map((name) => ({ name, values: new Array(bins.length).fill(0) }));
  const [tokens, costs] = [empty(), empty()];
  for (const row of rows) {
    const place = places.get(row.date);
    const index = own.includes(row.model) ? own.indexOf(row.model) : names.length - 1;
    if (place === undefined) continue;
    tokens[index].values[place] += row.total_tokens;
    costs[index].values[place] += row.cost_microdollars ?? 0;
  }
  const labels = bins.map(({ name }) => (unit === "week" ? `Week of ${format.reportDate(name)}` : format.reportDate(name)));
  return { starts: bins.map(({ start }) => start), labels, names, tokens, costs };
}

function Stat({ label, value, note, title: hint, share }) {
  const shown = format.change(share);
  return html`<div class="stat"><dt>${label}</dt><dd>
    <div class="stat-value" title=${hint}>${value}</div>
    <div class="stat-note">${shown && html`<span title="against as many days before">${share > 0 ? "↑" : share < 0 ? "↓" : ""} ${shown.replace(/^[^\d]/, "")}${note && " · "}</span>`}${note}</div>
  </dd></div>`;
}

function Totals({ totals, previous }) {
  const change = previous?.change ?? {};
  return html`<dl class="card stats">
    <${Stat} label="Cost" value=${format.money(totals.cost_microdollars, totals.cost_complete)} share=${change.cost_microdollars}
      title=${totals.cost_complete ? undefined : `${format.count(totals.unpriced_tokens)} tokens are of models without a known price`}
      note=${totals.cost_complete ? "" : "not all prices known"} />
    <${Stat} label="Tokens" value=${format.compact(totals.total_tokens)} title=${format.count(totals.total_tokens)} share=${change.total_tokens}
      note=${html`${format.compact(totals.output_tokens)} written`} />
    <${Stat} label="Sessions" value=${format.count(totals.active_sessions)} share=${change.active_sessions}
      note=${totals.active_subagents ? format.plural(totals.active_subagents, "subagent") : ""} />
    <${Stat} label="Prompts" value=${format.count(totals.prompts)} share=${change.prompts}
      note=${totals.responses_per_prompt ? `${totals.responses_per_prompt.toFixed(1)} responses each` : ""} />
    <${Stat} label="Read from cache" value=${format.percent(totals.cache_hit_rate)} note="of what models read" />
    <${Stat} label="Saved by caching" value=${format.money(totals.cache_savings_microdollars)} note=${totals.cache_savings_rate === null ? "" : `${format.percent(totals.cache_savings_rate)} of the price`} />
  </dl>`;
}

function UsageTable({ name: what, piled, of, show }) {
  const columns = [
    { key: "label", label: "When" },
    { key: "sum", label: "All", isNumber: true, cell: ({ index }) => html`<strong>${show(of.reduce((sum, { values }) => sum + values[index], 0))}</strong>` },
    ...of.map(({ name, values }) => ({ key: name, label: name, isNumber: true, cell: ({ index }) => (values[index] ? show(values[index]) : html`<span class="faint">${format.NOTHING}</span>`) })),
  ];
  const rows = piled.labels.map((label, index) => ({ label, index })).filter(({ index }) => of.some(({ values }) => values[index])).reverse();
  return html`<div class="scroll-table" tabindex="0" role="region" aria-label=${`${what} over time`}><${Table} caption=${`${what} over time, the latest first`} columns=${columns} rows=${rows} rowKey=${({ label }) => label} /></div>`;
}

function Usage({ piled, isTable }) {
  const charts = [
    ["Cost", piled.costs, format.money, format.compactMoney],
    ["Tokens", piled.tokens, format.compact, format.compact],
  ];
  return html`<div class="grid grid-2">${charts.map(([name, parts, show, showAxis]) => {
    const sum = parts.reduce((total, { values }) => total + values.reduce((a, b) => a + b, 0), 0);
    const description = `${name} over time by model: ${show(sum)} in all, from ${piled.labels[0]} to ${piled.labels.at(-1)}. The table has the numbers.`;
    return html`<div key=${name}><h3 class="muted">${name}</h3>
      ${isTable
        ? html`<${UsageTable} name=${name} piled=${piled} of=${parts} show=${show} />`
        : html`<${Bars} starts=${piled.starts} parts=${parts} labels=${piled.labels} format=${show} formatAxis=${showAxis} description=${description} syncKey="usage" />`}
    </div>`;
  })}</div>`;
}

function UsageCard({ usage, period, unit, isAll, hint }) {
  const [shape, setShape] = useState("chart");
  const piled = useMemo(
    () => usage.data && pileUp(usage.data.rows, { ...period, unit, isAll }),
    [usage.data],
  );
  return html`<${Card} title="Usage by model" actions=${html`<${Choice} label="Show as" value=${shape}
      options=${[["chart", "Chart"], ["table", "Table"]]} onChange=${setShape} />`}>
    <${Loaded} of=${usage} lines=${8}>${() => (piled
      ? html`<div class="stack"><${Legend} names=${piled.names} /><${Usage} piled=${piled} isTable=${shape === "table"} /></div>`
      : html`<${Empty} title="Nothing was used in this time">${hint}<//>`)}<//>
  <//>`;
}

function HeatMap({ rows }) {
  // A quarter of the hours with anything in them has each shade.
  const ranked = rows.map(({ messages }) => messages).filter(Boolean).sort((a, b) => a - b);
  const level = (messages) => (messages ? 1 + Math.min(3, Math.floor((4 * ranked.indexOf(messages)) / ranked.length)) : 0);
  const long = format.weekdays("long");
  return html`<table class="heat"><caption class="visually-hidden">Messages by weekday and hour</caption>
    <thead><tr><td></td>${[0, 6, 12, 18].map((hour) => html`<th key=${hour} colspan="6" scope="colgroup">${format.hour(hour)}</th>`)}</tr></thead>
    <tbody>${format.weekdays().map((name, weekday) => html`<tr key=${weekday}><th scope="row">${name}</th>
      ${rows.slice(weekday * 24, weekday * 24 + 24).map(({ hour, messages, cost_microdollars: cost }) => html`<td key=${hour} class=${`heat-${level(messages)}`}
        title=${`${long[weekday]}, ${format.hour(hour)}: ${format.plural(messages, "message")}${cost ? `, ${format.money(cost)}` : ""}`}>
        <span class="visually-hidden">${messages}</span></td>`)}</tr>`)}</tbody>
  </table>`;
}

function ActivityCard({ activity }) {
  return html`<${Card} title="When it happens" actions=${html`<span class="heat-scale" aria-hidden="true">less <i></i><i></i><i></i><i></i><i></i> more</span>`}>
    <${Loaded} of=${activity} lines=${7}>${({ rows }) => html`<${HeatMap} rows=${rows} />`}<//>
  <//>`;
}

function Latest({ project }) {
  const latest = useApi("/api/conversations", { limit: 6, kind: "session", project_path: project, fields: "id,kind,title,project_path,updated_at,message_count,total_tokens,cost_microdollars,cost_complete,error_count,models" });
  const [changed, setChanged] = useState(new Map());
  const [said, setSaid] = useState(new Map());
  useLive(["conversation_started", "conversation_updated", "conversation_ended", "conversation_deleted", "message_added"], (event) => {
    if (event.type === "resync" || event.type === "conversation_deleted") return latest.reload();
    if (event.type === "message_added") {
      const text = describeMessage(event.data.message);
      return text && setSaid((old) => new Map(old).set(event.conversation_id, text));
    }
    const { conversation } = event.data;
    if (conversation.kind !== "session" || (project && conversation.project_path !== project)) return undefined;
    return setChanged((old) => new Map(old).set(conversation.id, conversation));
  });
  useEffect(() => setChanged(new Map()), [latest.data]);
  return html`<${Loaded} of=${latest} lines=${6}>${({ conversations }) => {
    const rows = new Map([...conversations.map((row) => [row.id, row]), ...changed]);
    const shown = [...rows.values()].sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1)).slice(0, 6);
    if (!shown.length) return html`<${Empty} title="No conversations yet">Sessions appear here as soon as they begin.<//>`;
    return html`<ol>${shown.map((row) => html`<li key=${row.id} class="conversation">
      <a class="clip" href=${conversationAddress(row.id)} title=${row.title}>${row.title}</a>
      <span class="small muted row">${Date.now() - new Date(row.updated_at) < LIVE_MS && html`<span class="dot dot-live"></span><span class="visually-hidden">running</span>`}<${Ago} at=${row.updated_at} /></span>
      <span class="facts"><span class="clip">${said.get(row.id) ?? format.projectName(row.project_path)}</span></span>
      <span class="facts facts-end">${format.money(row.cost_microdollars, row.cost_complete)}</span>
    </li>`)}</ol>`;
  }}<//>`;
}

function Budgets() {
  const { may } = useSession();
  const budgets = useApi("/api/budgets");
  useLive(["budget_threshold"], () => budgets.reload());
  if (budgets.data && !budgets.data.budgets.length) {
    return may("admin") ? html`<p class="small faint">No budgets are set. <a href="/docs#createBudget">How to set one</a></p>` : null;
  }
  return html`<${Card} title="Budgets"><${Loaded} of=${budgets} lines=${3}>${({ budgets: rows }) => html`<div class="grid grid-3">${rows.map((budget) => html`<${Budget} key=${budget.id} budget=${budget} />`)}</div>`}<//><//>`;
}

function Budget({ budget: { name, period, project_path: project, limit_microdollars: dollars, limit_tokens: tokens, state } }) {
  const used = state.used_percent;
  const look = used >= 100 ? "meter-bad" : used >= 80 ? "meter-warn" : "";
  const spent = dollars === null ? format.compact(state.spent_tokens) : format.money(state.spent_microdollars, state.cost_complete);
  const limit = dollars === null ? `${format.compact(tokens)} tokens` : format.money(dollars);
  return html`<div class="budget"><div class="row"><strong class="clip grow" title=${project ?? "all projects"}>${name}</strong>
      <span class="number muted">${used === null ? "–" : `${Math.round(used)}%`}</span></div>
    <div class=${`meter ${look}`} role="meter" aria-label=${`${name}: used`} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.min(100, Math.round(used ?? 0))}>
      <span style=${{ width: `${Math.min(100, used ?? 0)}%` }}></span></div>
    <div class="small muted">${spent} of ${limit} this ${period}${state.projected_percent === null ? "" : `, heading for ${Math.round(state.projected_percent)}%`}</div></div>`;
}

function Tops({ overview, query }) {
  const share = (rows) => {
    const most = Math.max(1, ...rows.map((row) => row.cost_microdollars ?? 0));
    return (row) => (row.cost_microdollars ?? 0) / most;
  };
  const costs = (row) => [format.compact(row.total_tokens), format.money(row.cost_microdollars, row.cost_complete)];
  const none = html`<${Empty} title="Nothing yet">There was nothing in this time.<//>`;
  return html`<div class="grid grid-3">
    <${Card} title="Projects" isFlush><${Loaded} of=${overview}>${({ projects }) => (projects.length ? html`<${Ranks} labels=${["Tokens", "Cost"]} rows=${projects.map((row) => ({
      key: row.project_id, name: row.project_name ?? "no project", title: row.project_path, share: share(projects)(row), values: costs(row),
      href: row.project_path && conversationsAddress({ project: row.project_path }),
    }))} />` : none)}<//><//>
    <${Card} title="Models" isFlush><${Loaded} of=${overview}>${({ models }) => (models.length ? html`<${Ranks} labels=${["Tokens", "Cost"]} rows=${models.map((row) => ({
      key: row.model, name: format.modelName(row.model), title: row.model, share: share(models)(row), values: costs(row),
      href: conversationsAddress({ model: row.model, project: query.project }),
    }))} />` : none)}<//><//>
    <${Card} title="Tools" isFlush><${Loaded} of=${overview}>${({ tools }) => (tools.length ? html`<${Ranks} labels=${["Failed", "Uses"]} rows=${tools.map((row) => ({
      key: row.tool, name: row.tool, share: row.uses / tools[0].uses,
      values: [row.error_count ? format.percent(1 - row.success_rate) : format.NOTHING, format.count(row.uses)],
      href: conversationsAddress({ q: `tool:${row.tool}`, project: query.project }),
    }))} />` : none)}<//><//>
  </div>`;
}

/** Read reports anew when numbers change, and not more often than makes sense. */
function useRefresh(...loads) {
  const timer = useRef(null);
  useLive(["analytics_update"], () => {
    timer.current ??= setTimeout(() => {
      timer.current = null;
      for (const { reload } of loads) reload();
    }, REFRESH_MS);
  });
  useEffect(() => () => clearTimeout(timer.current), []);
}

/** What is shown before anything was ever read. */
function Welcome() {
  const status = useApi("/api/live/status");
  const folders = status.data?.watcher.folders ?? [];
  return html`<section class="card"><${Empty} title="Nothing has been read yet">
    ${folders.length ? html`Transcripts are read from ${folders.map(({ path }) => html`<code key=${path}>${path}</code> `)}as soon as there are some.` : "Transcripts are read as soon as there are some."}<//></section>`;
}

export default function Overview({ query }) {
  const { may } = useSession();
  const name = query.period in PERIODS ? query.period : "30d";
  const { unit, days } = PERIODS[name];
  const period = periodOf(name);
  const asked = { ...period, project: query.project };
  const overview = useApi("/api/analytics/overview", { ...asked, limit: 8, compare: days && "previous" });
  const usage = useApi("/api/analytics/token-usage", { ...asked, group_by: unit, breakdown: "model" });
  const activity = useApi("/api/analytics/activity", { ...asked, limit: 1 });
  const projects = useApi("/api/projects", { limit: 100, fields: "path,name" });
  useRefresh(overview, usage, activity);
  const others = projects.data?.projects ?? [];
  useLive(["project_discovered"], () => projects.reload());
  if (projects.data && !others.length && overview.data && !overview.data.totals.messages && !query.project) {
    return html`<div class="head"><h1>Overview</h1></div><${Welcome} />`;
  }
  const hint = name === "all" ? "Transcripts are read as soon as there are some." : html`<button class="button" onClick=${() => setQuery({ period: "all" })}>Show all there is</button>`;
  return html`
    <div class="head"><h1>Overview</h1><div class="row">
      <label class="visually-hidden" for="project">Project</label>
      <select class="select" id="project" value=${query.project ?? ""} onChange=${(event) => setQuery({ project: event.target.value })}>
        <option value="">All projects</option>
        ${query.project && !others.some(({ path }) => path === query.project) && html`<option value=${query.project}>${format.projectName(query.project)}</option>`}
        ${others.map(({ path, name: shown }) => html`<option key=${path} value=${path} title=${path}>${shown}</option>`)}
      </select>
      <${Choice} label="Period" value=${name} options=${Object.entries(PERIODS).map(([key, { label }]) => [key, label])}
        onChange=${(value) => setQuery({ period: value === "30d" ? null : value })} />
    </div></div>
    <div class="stack">
      <${Loaded} of=${overview} lines=${2}>${({ totals, previous }) => html`<${Totals} totals=${totals} previous=${previous} />`}<//>
      <${UsageCard} usage=${usage} period=${period} unit=${unit} isAll=${!days} hint=${hint} />
      <div class="grid grid-2">
        <${ActivityCard} activity=${activity} />
        ${may("conversations:read") && html`<${Card} title="Latest conversations" isFlush actions=${html`<a class="small" href="/conversations">All</a>`}><${Latest} project=${query.project} /><//>`}
      </div>
      <${Tops} overview=${overview} query=${query} />
      <${Budgets} />
    </div>`;
}
