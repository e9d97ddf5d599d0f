// The overview: what was used and what it cost, when, for what, and what runs now.
import { html, useMemo, useState } from "../html.js";
import { toQuery, useApi } from "../api.js";
import { conversationsAddress } from "../addresses.js";
import * as format from "../format.js";
import { useLive, useRefresh } from "../live.js";
import { binsBetween, nameBins, readPeriod } from "../periods.js";
import { useProjects } from "../projects.js";
import { setQuery } from "../router.js";
import { useSession } from "../session.js";
import { Bars } from "../components/bars.js";
import { Budget } from "../components/budget.js";
import { ActivityCard } from "../components/heat-map.js";
import { Card, Ranks, Table } from "../components/card.js";
import { Choice } from "../components/choice.js";
import { Latest } from "../components/latest.js";
import { Legend } from "../components/legend.js";
import { ReportHead } from "../components/report-head.js";
import { Stat } from "../components/stat.js";
import { Empty, Loaded } from "../components/states.js";

export const title = "Overview";

const SHOWN_MODELS = 6;

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
  return { starts: bins.map(({ start }) => start), labels: nameBins(bins, unit), names, tokens, costs };
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
      note=${totals.responses_per_prompt ? `${format.tenth(totals.responses_per_prompt)} responses each` : ""} />
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

function Budgets() {
  const { may } = useSession();
  const budgets = useApi("/api/budgets");
  useLive(["budget_threshold"], () => budgets.reload());
  if (budgets.data && !budgets.data.budgets.length) {
    return may("admin") ? html`<p class="small faint">No budgets are set. <a href="/settings/budgets">Set one</a></p>` : null;
  }
  return html`<${Card} title="Budgets"><${Loaded} of=${budgets} lines=${3}>${({ budgets: rows }) => html`<div class="grid grid-3">${rows.map((budget) => html`<${Budget} key=${budget.id} budget=${budget} />`)}</div>`}<//><//>`;
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
      key: row.project_id, name: format.projectName(row.project_path), title: row.project_path, share: share(projects)(row), values: costs(row),
      href: row.project_path && conversationsAddress({ project: row.project_path }),
    }))} />` : none)}<//><//>
    <${Card} title="Models" isFlush><${Loaded} of=${overview}>${({ models }) => (models.length ? html`<${Ranks} labels=${["Tokens", "Cost"]} rows=${models.map((row) => ({
      key: row.model, name: format.modelName(row.model), title: row.model, share: share(models)(row), values: costs(row),
      href: conversationsAddress({ model: row.model, project: query.project }),
    }))} />` : none)}<//><//>
    <${Card} title="Tools" isFlush><${Loaded} of=${overview}>${({ tools }) => (tools.length ? html`<${Ranks} labels=${["Failed", "Uses"]} rows=${tools.map((row) => ({
      key: row.tool, name: row.tool, share: row.uses / tools[0].uses,
      values: [row.error_count ? format.percent(1 - row.success_rate) : format.NOTHING, format.count(row.uses)],
      href: `/tools${toQuery({ tool: row.tool, project: query.project, period: query.period })}`,
    }))} />` : none)}<//><//>
  </div>`;
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
  const { name, unit, days, period } = readPeriod(query);
  const asked = { ...period, project: query.project };
  const overview = useApi("/api/analytics/overview", { ...asked, limit: 8, compare: days && "previous" });
  const usage = useApi("/api/analytics/token-usage", { ...asked, group_by: unit, breakdown: "model" });
  const activity = useApi("/api/analytics/activity", { ...asked, limit: 1 });
  const projects = useProjects();
  useRefresh(["analytics_update"], [overview, usage, activity]);
  if (projects && !projects.length && overview.data && !overview.data.totals.messages && !query.project) {
    return html`<div class="head"><h1>Overview</h1></div><${Welcome} />`;
  }
  const hint = name === "all" ? "Transcripts are read as soon as there are some." : html`<button class="button" onClick=${() => setQuery({ period: "all" })}>Show all there is</button>`;
  return html`
    <div class="head"><h1>Overview</h1><${ReportHead} query=${query} projects=${projects} /></div>
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
