// Tools: how much each is used, how often it fails and why, how long it takes, and where to look at that.
import { html, useEffect, useMemo, useState } from "../html.js";
import { request, toQuery, useApi } from "../api.js";
import { conversationAddress, conversationsAddress } from "../addresses.js";
import * as format from "../format.js";
import { useRefresh } from "../live.js";
import { pileRows, readPeriod } from "../periods.js";
import { useProjects } from "../projects.js";
import { readQuery, setQuery } from "../router.js";
import { useSession } from "../session.js";
import { sortRows, useSort } from "../sorting.js";
import { Bars } from "../components/bars.js";
import { Card, Ranks, Table } from "../components/card.js";
import { Choice } from "../components/choice.js";
import { Icon } from "../components/icon.js";
import { Legend } from "../components/legend.js";
import { ReportHead } from "../components/report-head.js";
import { Snippet } from "../components/snippet.js";
import { Stat } from "../components/stat.js";
import { Empty, Failure, Loaded, Loading } from "../components/states.js";
import { Ago } from "../components/time.js";

export const title = "Tools";

const SHOWN_TOOLS = 12;
const SHOWN_PARTS = 6;
const SHOWN_SLOW = 9;
const SHOWN_FAILED = 6;
// What clients put around what went wrong.
const WRAPPING = /&lt;\/?tool_use_error&gt;/g;
const OUTCOMES = [
  ["succeeded", (row) => row.success_count],
  ["failed", (row) => row.error_count],
  ["rejected or interrupted", (row) => row.rejected_count + row.interrupted_count],
];

const words = (category) => category.replaceAll("_", " ");
const failedOf = (row) => row.error_count + row.rejected_count + row.interrupted_count;
const failedShare = (row) => (row.uses ? failedOf(row) / row.uses : 0);
/** What an MCP server's tool is called there: its name begins with the server's. */
const nameOf = ({ tool, server }) => (server && tool.startsWith(`mcp__${server}__`) ? tool.slice(server.length + 7) : tool);
/** The address of this view with another tool chosen, or none. */
const toolAddress = (tool) => `/tools${toQuery({ ...readQuery(), tool })}`;

function Totals({ totals, previous }) {
  const change = previous?.change ?? {};
  return html`<dl class="card stats">
    <${Stat} label="Uses" value=${format.compact(totals.uses)} title=${format.count(totals.uses)} share=${change.uses}
      note=${totals.running_count ? `${format.count(totals.running_count)} unanswered` : ""} />
    <${Stat} label="Failed" value=${totals.uses ? format.percent(totals.error_count / totals.uses) : format.NOTHING} note=${`${format.plural(totals.error_count, "use")}`} />
    <${Stat} label="Rejected" value=${format.count(totals.rejected_count)} note=${totals.interrupted_count ? `${format.count(totals.interrupted_count)} interrupted` : "by people"} />
    <${Stat} label="Half are faster than" value=${format.duration(totals.p50_ms)} note="estimated" />
    <${Stat} label="95% are faster than" value=${format.duration(totals.p95_ms)} note="with waiting for people" />
    <${Stat} label="All together" value=${format.duration(totals.total_duration_ms)} note=${`the longest ${format.duration(totals.max_ms)}`} />
  </dl>`;
}

function Chart({ name, piled, none }) {
  if (!piled) return html`<div><h3 class="muted">${name}</h3><${Empty} title=${none}>There was nothing in this time.<//></div>`;
  const sum = piled.parts.reduce((total, { values }) => total + values.reduce((a, b) => a + b, 0), 0);
  const description = `${name} over time: ${format.count(sum)} in all, from ${piled.labels[0]} to ${piled.labels.at(-1)}.`;
  return html`<div class="chart-block"><div class="chart-title"><h3 class="muted">${name}</h3><${Legend} names=${piled.parts.map((part) => part.name)} /></div>
    <${Bars} starts=${piled.starts} parts=${piled.parts} labels=${piled.labels} format=${format.count} formatAxis=${format.compact} description=${description} syncKey="tools" /></div>`;
}

/** Return the largest parts by name, and one for all others, as `pileRows` takes them. */
function largest(sums, valueOf) {
  const names = [...sums].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  const own = names.length > SHOWN_PARTS + 1 ? names.slice(0, SHOWN_PARTS) : names;
  const others = names.slice(own.length);
  const parts = own.map((name) => [words(name), (row) => valueOf(row, name)]);
  if (others.length) parts.push(["other", (row) => others.reduce((sum, name) => sum + (valueOf(row, name) ?? 0), 0)]);
  return parts;
}

/** Rows over time of the projects that use most tools: the report is asked once for each of them. */
function useByProject(projects, asked, unit) {
  const [rows, setRows] = useState(null);
  const key = JSON.stringify([projects, asked, unit]);
  useEffect(() => {
    if (!projects) return undefined;
    const controller = new AbortController();
    Promise.all(projects.map((project) => request("/api/analytics/tools", { params: { ...asked, project, group_by: unit }, signal: controller.signal }))).then(
      (reports) => {
        const byDate = new Map();
        reports.forEach((report, index) => report.rows.forEach((row) => {
          byDate.set(row.date, { ...(byDate.get(row.date) ?? { date: row.date }), [projects[index]]: row.uses });
        }));
        setRows([...byDate.values()].sort((a, b) => (a.date < b.date ? -1 : 1)));
      },
      () => controller.signal.aborted || setRows([]),
    );
    return () => controller.abort();
  }, [key]);
  return rows;
}

function OverTime({ times, places, when, asked }) {
  const [by, setBy] = useState("outcome");
  const projects = by === "project" && places.data ? places.data.rows.filter((row) => row.project_path).slice(0, SHOWN_PARTS).map((row) => row.project_path) : null;
  const ofProjects = useByProject(projects, asked, when.unit);
  const uses = useMemo(() => {
    if (!times.data) return null;
    if (by === "outcome") return pileRows(times.data.rows, when, OUTCOMES);
    return ofProjects && projects && pileRows(ofProjects, when, projects.map((path) => [format.projectName(path), (row) => row[path]]));
  }, [times.data, by, ofProjects]);
  const wrong = useMemo(() => times.data && pileRows(
    times.data.rows, when, largest(Object.entries(times.data.totals.error_categories), (row, name) => row.error_categories[name]),
  ), [times.data]);
  return html`<${Card} title="Over time" actions=${html`<${Choice} label="Uses by" value=${by} options=${[["outcome", "By outcome"], ["project", "By project"]]} onChange=${setBy} />`}>
    <${Loaded} of=${times} lines=${8}>${() => html`<div class="grid grid-2">
      ${by === "project" && !ofProjects ? html`<${Loading} lines=${8} />` : html`<${Chart} name="Uses" piled=${uses} none="No tools were used" key=${by} />`}
      <${Chart} name="What went wrong" piled=${wrong} none="Nothing went wrong" />
    </div>`}<//>
  <//>`;
}

function FailedCell({ row }) {
  const failed = failedOf(row);
  if (!failed) return html`<span class="faint">${format.NOTHING}</span>`;
  return html`<span title=${`${format.count(row.error_count)} failed, ${format.count(row.rejected_count)} rejected, ${format.count(row.interrupted_count)} interrupted`}>
    <span class="muted">${format.count(failed)}</span> <span class=${failedShare(row) > 0.1 ? "bad" : ""}>${format.percent(failedShare(row))}</span></span>`;
}

const COLUMNS = (chosen) => [
  { key: "tool", label: "Tool", sortBy: "tool", cell: (row) => html`<a href=${toolAddress(row.tool === chosen ? null : row.tool)} title=${row.tool} aria-current=${row.tool === chosen ? "true" : undefined}>${nameOf(row)}${row.server && html` <span class="tiny faint">${row.server}</span>`}</a>` },
  { key: "uses", label: "Uses", sortBy: "uses", isNumber: true, cell: (row) => format.count(row.uses) },
  { key: "failed", label: "Went wrong", sortBy: "failed", isNumber: true, cell: (row) => html`<${FailedCell} row=${row} />` },
  { key: "why", label: "Mostly", isWide: true, cell: (row) => html`<span class="small muted">${Object.entries(row.error_categories).slice(0, 2).map(([name]) => words(name)).join(", ")}</span>` },
  { key: "p50", label: "p50", sortBy: "p50_ms", isNumber: true, isWide: true, cell: (row) => format.duration(row.p50_ms) },
  { key: "p95", label: "p95", sortBy: "p95_ms", isNumber: true, cell: (row) => format.duration(row.p95_ms) },
  { key: "max", label: "Longest", sortBy: "max_ms", isNumber: true, isWide: true, cell: (row) => format.duration(row.max_ms) },
  { key: "total", label: "In all", sortBy: "total_duration_ms", isNumber: true, isWide: true, cell: (row) => format.duration(row.total_duration_ms) },
];

function ToolsCard({ tools, chosen }) {
  const sort = useSort("uses");
  const [isLong, setIsLong] = useState(false);
  return html`<${Card} title="Each tool" isFlush>
    <${Loaded} of=${tools} lines=${8}>${({ rows }) => {
      if (!rows.length) return html`<${Empty} title="No tools were used">A longer period or another project may have some.<//>`;
      const sorted = sortRows(rows.map((row) => ({ ...row, failed: failedShare(row) })), sort);
      const shown = isLong ? sorted : sorted.filter((row, index) => index < SHOWN_TOOLS || row.tool === chosen);
      return html`<div class="table-wrap" tabindex="0" role="region" aria-label="Each tool"><${Table} caption="Uses, failures and durations of each tool" columns=${COLUMNS(chosen)} rows=${shown} rowKey=${(row) => row.tool}
          rowClass=${(row) => (row.tool === chosen ? "is-chosen" : "")} sort=${sort} /></div>
        ${rows.length > shown.length && html`<div class="card-more"><button class="button button-quiet" onClick=${() => setIsLong(true)}>Show all ${format.count(rows.length)} tools</button></div>`}`;
    }}<//>
  <//>`;
}

function Categories({ times }) {
  return html`<${Card} title="Why they failed" isFlush><${Loaded} of=${times}>${({ totals }) => {
    const rows = Object.entries(totals.error_categories);
    const sum = rows.reduce((all, [, number]) => all + number, 0);
    if (!rows.length) return html`<${Empty} title="Nothing failed">Every use of this time went well.<//>`;
    return html`<${Ranks} labels=${["Share", "Uses"]} rows=${rows.map(([name, number]) => ({
      key: name, name: words(name), share: number / rows[0][1], values: [format.percent(number / sum), format.count(number)],
    }))} />`;
  }}<//><//>`;
}

function Places({ places }) {
  return html`<${Card} title="Projects" isFlush><${Loaded} of=${places}>${({ rows }) => (rows.length
    ? html`<${Ranks} labels=${["Went wrong", "Uses"]} rows=${rows.slice(0, 10).map((row) => ({
      key: row.project_id, name: format.projectName(row.project_path), title: row.project_path, share: row.uses / rows[0].uses,
      values: [failedOf(row) ? format.percent(failedShare(row)) : format.NOTHING, format.count(row.uses)],
      href: row.project_path && `/tools${toQuery({ ...readQuery(), project: row.project_path })}`,
    }))} />`
    : html`<${Empty} title="Nothing yet">There was nothing in this time.<//>`)}<//><//>`;
}

const STATUS_LOOKS = { error: "bad", rejected: "warn", interrupted: "warn" };

function Slowest({ slowest, mayRead, chosen }) {
  const nameOfUse = (row) => (chosen ? format.projectName(row.project_path) : row.tool);
  return html`<${Card} title="Slowest uses" isFlush><${Loaded} of=${slowest}>${({ rows }) => (rows.length
    ? html`<ol class="lines">${rows.map((row) => html`<li key=${row.tool_use_id}><div class="line">
        ${mayRead ? html`<a class="whole clip" href=${conversationAddress(row.conversation_id, row.message_id)}>${nameOfUse(row)}</a>` : html`<span>${nameOfUse(row)}</span>`}
        <span class="number">${format.duration(row.execution_time_ms)}</span>
        <span class="small muted clip" title=${row.project_path}>${chosen ? row.tool : format.projectName(row.project_path)}${row.status !== "success" && html` · <span class=${STATUS_LOOKS[row.status] ?? ""}>${row.status === "error" ? "failed" : row.status}</span>`}</span>
        <span class="small faint"><${Ago} at=${row.started_at} /></span></div></li>`)}</ol>`
    : html`<${Empty} title="Nothing was slow">No use took a second or more.<//>`)}<//><//>`;
}

function Failing({ failing, query }) {
  const all = conversationsAddress({ q: `is:error${query.tool ? ` tool:${query.tool}` : ""}`, project: query.project, sort: "time" });
  return html`<${Card} title="Latest failures" isFlush actions=${html`<a class="small" href=${all}>All</a>`}><${Loaded} of=${failing}>${({ hits }) => (hits.length
    ? html`<ol class="lines">${hits.map((hit) => html`<li key=${hit.message_id}><div class="line">
        <a class="whole clip" href=${conversationAddress(hit.conversation_id, hit.message_id)} title=${hit.conversation_title}>${hit.conversation_title}</a>
        <span class="small faint"><${Ago} at=${hit.timestamp} /></span></div>
        <div class="small muted hit-text mono"><${Snippet} text=${hit.snippet.replace(WRAPPING, "")} /></div></li>`)}</ol>`
    : html`<${Empty} title="Nothing failed">Every use of this time went well.<//>`)}<//><//>`;
}

export default function Tools({ query }) {
  const { may } = useSession();
  const when = readPeriod(query);
  const projects = useProjects();
  const place = { ...when.period, project: query.project };
  const asked = { ...place, tool: query.tool };
  const times = useApi("/api/analytics/tools", { ...asked, group_by: when.unit, compare: when.days && "previous" });
  const tools = useApi("/api/analytics/tools", place);
  const places = useApi("/api/analytics/tools", { ...asked, group_by: "project" });
  const slowest = useApi("/api/analytics/tools/slowest", { ...asked, limit: SHOWN_SLOW });
  const mayRead = may("conversations:read");
  const failing = useApi(mayRead ? "/api/search" : null, {
    is_error: true, kind: "tool_result", tool: query.tool, project: query.project, sort: "time", limit: SHOWN_FAILED,
    after: when.days && new Date(`${when.period.from}T00:00:00`).toISOString(),
  });
  useRefresh(["analytics_update"], [times, tools, places, slowest, failing]);
  return html`
    <div class="head"><div class="row"><h1>Tools</h1>${query.tool && html`<a class="chip" href=${toolAddress(null)} aria-label=${`Take away: Tool ${query.tool}`}><span class="clip">${query.tool}</span><${Icon} name="close" size=${14} /></a>`}</div><${ReportHead} query=${query} projects=${projects} /></div>
    ${times.error?.status === 404 ? html`<section class="card"><${Failure} error=${times.error} retry=${() => setQuery({ project: null, tool: null })} /></section>` : html`<div class="stack">
      <${Loaded} of=${times} lines=${2}>${({ totals, previous }) => html`<${Totals} totals=${totals} previous=${previous} />`}<//>
      <${OverTime} times=${times} places=${places} when=${when} asked=${asked} />
      <${ToolsCard} tools=${tools} chosen=${query.tool} />
      <div class="grid grid-2"><${Categories} times=${times} /><${Places} places=${places} /></div>
      <div class="grid grid-2"><${Slowest} slowest=${slowest} mayRead=${mayRead} chosen=${query.tool} />${mayRead && html`<${Failing} failing=${failing} query=${query} />`}</div>
    </div>`}`;
}
