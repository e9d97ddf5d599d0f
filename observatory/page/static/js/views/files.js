// Files: those that agents read and changed most, and the conversations that did.
import { html } from "../html.js";
import { toQuery, useApi } from "../api.js";
import { conversationAddress, conversationsAddress } from "../addresses.js";
import * as format from "../format.js";
import { useRefresh } from "../live.js";
import { readPeriod } from "../periods.js";
import { useProjects } from "../projects.js";
import { readQuery, setQuery } from "../router.js";
import { Card, Table } from "../components/card.js";
import { Dialog } from "../components/dialog.js";
import { Legend } from "../components/legend.js";
import { Pager } from "../components/pager.js";
import { ReportHead } from "../components/report-head.js";
import { Empty, Loaded } from "../components/states.js";
import { Ago } from "../components/time.js";

export const title = "Files";

const PAGE = 50;
const SORTS = ["edits", "reads", "reworks", "conversations"];
const PARTS = ["reads", "edits", "writes"];

/** Return the project that a path lies in, if it is one of those that are known. */
function projectOf(path, projects) {
  const inside = (projects ?? []).filter((project) => path.startsWith(project.path) && /^[\\/]/.test(path.slice(project.path.length)));
  return inside.sort((a, b) => b.path.length - a.path.length)[0]?.path ?? null;
}

function FileName({ path, projects, isAllProjects }) {
  const project = projectOf(path, projects);
  const [name, folder] = format.splitPath(project ? path.slice(project.length + 1) : path);
  return html`<span class="path" title=${path}><a class="clip" href=${`/files${toQuery({ ...readQuery(), path })}`}>${name}</a>
    <span class="clip tiny faint">${project && isAllProjects && html`<span class="muted">${format.projectName(project)}</span> `}${folder}</span></span>`;
}

function Touches({ row, most }) {
  return html`<span class="touches" aria-hidden="true">${PARTS.map((part, index) => row[part] > 0 && html`<i key=${part} class=${`swatch-${index + 1}`} style=${{ width: `${(100 * row[part]) / most}%` }}></i>`)}</span>`;
}

function FilesTable({ rows, projects, query }) {
  const most = Math.max(1, ...rows.map((row) => row.reads + row.edits + row.writes));
  const sort = { key: SORTS.includes(query.sort) ? query.sort : SORTS[0], onSort: (key) => setQuery({ sort: key === SORTS[0] ? null : key, offset: null }) };
  const number = (key, label, more = {}) => ({ key, label, isNumber: true, width: "5.5rem", sortBy: SORTS.includes(key) ? key : undefined, cell: (row) => (row[key] ? format.count(row[key]) : html`<span class="faint">${format.NOTHING}</span>`), ...more });
  const columns = [
    { key: "path", label: "File", cell: ({ path }) => html`<${FileName} path=${path} projects=${projects} isAllProjects=${!query.project} />` },
    { key: "touches", label: html`<${Legend} names=${PARTS} />`, isWide: true, width: "15rem", cell: (row) => html`<${Touches} row=${row} most=${most} />` },
    number("reads", "Reads"),
    number("edits", "Edits"),
    number("writes", "Writes", { isWide: true }),
    number("reworks", "Reworks", { isWide: true }),
    number("conversations", "Conversations", { isWide: true, width: "7.5rem" }),
    { key: "last_at", label: "Last", isNumber: true, isWide: true, width: "7.5rem", cell: (row) => html`<span class="muted small"><${Ago} at=${row.last_at} /></span>` },
  ];
  return html`<${Table} caption="Files with how often they were read and changed" columns=${columns} rows=${rows} rowKey=${(row) => row.path} sort=${sort} />`;
}

function FileDialog({ path, asked }) {
  const close = () => setQuery({ path: null });
  const file = useApi("/api/analytics/files", { ...asked, path, limit: 100 });
  return html`<${Dialog} title=${format.splitPath(path)[0]} onClose=${close} isWide>
    <p class="small muted mono">${path}</p>
    <${Loaded} of=${file} lines=${4}>${({ rows: [row], conversations }) => (row
      ? html`<p class="row small"><span class="tag">${format.plural(row.reads, "read")}</span><span class="tag">${format.plural(row.edits, "edit")}</span>
          <span class="tag">${format.plural(row.writes, "write")}</span>${row.reworks > 0 && html`<span class="tag" title="edits after a conversation's first">${format.plural(row.reworks, "rework")}</span>`}
          <a href=${conversationsAddress({ q: `"${path}"` })}>Search for its name</a></p>
        <ol class="lines lines-flush">${conversations.map((one) => html`<li key=${one.conversation_id}><div class="line">
          <a class="whole clip" href=${conversationAddress(one.conversation_id)} title=${one.title}>${one.title ?? one.conversation_id}</a>
          <span class="small faint"><${Ago} at=${one.last_at} /></span>
          <span class="small muted clip">${format.projectName(one.project_path)}</span>
          <span class="small muted number">${format.plural(one.reads, "read")}, ${format.plural(one.edits, "edit")}</span></div></li>`)}</ol>`
      : html`<${Empty} title="Not touched in this time">A longer period may tell of it.<//>`)}<//>
  <//>`;
}

export default function Files({ query }) {
  const { period, name } = readPeriod(query);
  const projects = useProjects();
  const asked = { ...period, project: query.project };
  const offset = Math.max(0, Number.parseInt(query.offset, 10) || 0);
  // One more than is shown tells whether there is another page.
  const files = useApi("/api/analytics/files", { ...asked, sort_by: SORTS.includes(query.sort) ? query.sort : null, limit: PAGE + 1, offset });
  useRefresh(["analytics_update"], [files]);
  return html`
    <div class="head"><h1>Files</h1><${ReportHead} query=${query} projects=${projects} /></div>
    <${Card} title="Touched by agents" isFlush actions=${html`<span class="small faint">a rework is an edit after a conversation's first</span>`}>
      <${Loaded} of=${files} lines=${10}>${({ rows }) => (rows.length
        ? html`<${FilesTable} rows=${rows.slice(0, PAGE)} projects=${projects} query=${query} />
          <${Pager} label="Pages of files" pagination=${{ limit: Math.min(PAGE, rows.length), offset, has_more: rows.length > PAGE }} onMove=${(next) => { setQuery({ offset: next ? Math.round(next / PAGE) * PAGE : null }, { replace: false }); window.scrollTo(0, 0); }} />`
        : html`<${Empty} title="No files were touched in this time">${name === "all" ? "Files appear here when agents read or change some." : html`<button class="button" onClick=${() => setQuery({ period: "all", offset: null })}>Show all there is</button>`}<//>`)}<//>
    <//>
    ${query.path && html`<${FileDialog} path=${query.path} asked=${asked} key=${query.path} />`}`;
}
