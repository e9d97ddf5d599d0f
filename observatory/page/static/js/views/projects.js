// Projects: all of them, with what was done and spent in each.
import { html } from "../html.js";
import { useApi } from "../api.js";
import * as format from "../format.js";
import { useRefresh } from "../live.js";
import { setQuery } from "../router.js";
import { sortRows, useSort } from "../sorting.js";
import { Card, Table } from "../components/card.js";
import { NoRows, Pager } from "../components/pager.js";
import { Empty, Loaded } from "../components/states.js";
import { Ago } from "../components/time.js";

export const title = "Projects";

const PAGE = 100;
const number = (key, label, more = {}) => ({ key, label, sortBy: key, isNumber: true, width: "5.75rem", cell: (row) => format.count(row[key]), ...more });
const COLUMNS = [
  { key: "path", label: "Project", sortBy: "path", cell: (row) => html`<span class="path" title=${row.path}><span class="row"><a class="clip" href=${`/projects/${row.id}`}>${format.projectName(row.path)}</a>${row.visibility === "listed" && html`<span class="tag">not for everyone</span>`}</span>
    <span class="clip tiny faint">${row.path}</span></span>` },
  number("session_count", "Sessions"),
  number("message_count", "Messages", { isWide: true }),
  number("tool_use_count", "Tool uses", { isWide: true }),
  number("error_count", "Failed", { isWide: true, cell: (row) => (row.tool_use_count ? format.percent(row.error_count / row.tool_use_count) : format.NOTHING) }),
  number("total_tokens", "Tokens", { isWide: true, cell: (row) => html`<span title=${format.count(row.total_tokens)}>${format.compact(row.total_tokens)}</span>` }),
  number("cost_microdollars", "Cost", { cell: (row) => format.money(row.cost_microdollars, row.cost_complete) }),
  number("last_activity_at", "Last active", { isWide: true, width: "7.5rem", cell: (row) => html`<span class="muted small"><${Ago} at=${row.last_activity_at} /></span>` }),
];

export default function Projects({ query }) {
  const offset = Math.max(0, Number.parseInt(query.offset, 10) || 0);
  const projects = useApi("/api/projects", { limit: PAGE, offset });
  const sort = useSort("last_activity_at");
  useRefresh(["project_discovered", "analytics_update"], [projects]);
  if (projects.data) format.learnProjects(projects.data.projects.map(({ path }) => path));
  return html`<div class="head"><h1>Projects</h1></div>
    <${Card} title="All projects" isFlush actions=${projects.data && html`<span class="small muted number">${format.plural(projects.data.pagination.total, "project")}</span>`}>
      <${Loaded} of=${projects} lines=${8}>${({ projects: rows, pagination }) => (rows.length
        ? html`<${Table} caption="Projects with the sums over their conversations" columns=${COLUMNS} rows=${sortRows(rows, sort)} rowKey=${(row) => row.id} sort=${sort} />
          <${Pager} label="Pages of projects" pagination=${pagination} onMove=${(next) => setQuery({ offset: next || null }, { replace: false })} />`
        : html`<${NoRows} pagination=${pagination} onMove=${(next) => setQuery({ offset: next || null })}><${Empty} title="No projects yet">A project appears with its first conversation.<//><//>`)}<//>
    <//>`;
}
