// What stands beside the heading of reports: of which project, and of which time.
import { html } from "../html.js";
import * as format from "../format.js";
import { PERIODS, USUAL_PERIOD } from "../periods.js";
import { setQuery } from "../router.js";
import { Choice } from "./choice.js";

/** A choice of a project; `projects` are `{path}`, or null while they are not known. */
export function ProjectSelect({ value, projects, onChange }) {
  const others = projects ?? [];
  return html`<label class="visually-hidden" for="project">Project</label>
    <select class="select" id="project" value=${value ?? ""} onChange=${(event) => onChange(event.target.value)}>
      <option value="">All projects</option>
      ${value && !others.some(({ path }) => path === value) && html`<option value=${value}>${format.projectName(value)}</option>`}
      ${others.map(({ path }) => html`<option key=${path} value=${path} title=${path}>${format.projectName(path)}</option>`)}
    </select>`;
}

/** Project and period; both stand in the address. */
export function ReportHead({ query, projects }) {
  return html`<div class="row">
    <${ProjectSelect} value=${query.project} projects=${projects} onChange=${(project) => setQuery({ project, offset: null })} />
    <${Choice} label="Period" value=${Object.hasOwn(PERIODS, query.period) ? query.period : USUAL_PERIOD} options=${Object.entries(PERIODS).map(([key, { label }]) => [key, label])}
      onChange=${(value) => setQuery({ period: value === USUAL_PERIOD ? null : value, offset: null })} />
  </div>`;
}
