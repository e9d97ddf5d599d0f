// Retention: for how long the conversations of each project are kept.
import { html, useEffect, useState } from "../../html.js";
import { request, useTurns } from "../../api.js";
import { announce } from "../../announcing.js";
import * as format from "../../format.js";
import { useProjects } from "../../projects.js";
import { Card } from "../../components/card.js";
import { Dialog } from "../../components/dialog.js";
import { Field, Form, useForm } from "../../components/form.js";
import { Pager } from "../../components/pager.js";
import { Failure, Empty, Loading } from "../../components/states.js";

const PAGE = 20;
const ACTIONS = [["trash", "move them to the trash"], ["remove", "remove them for good"]];

const tell = ({ days, action }) => (days === null ? "kept for ever" : `${action === "remove" ? "removed for good" : "to the trash"} after ${format.plural(days, "day")}`);

const isFinal = ({ days, action }) => days !== null && action === "remove";

/** Projects with their rules: the API tells one project's at a time. */
function useRules(offset) {
  const [state, setState] = useState({ rows: null, pagination: null, error: null });
  const { turn, reload, tellRead } = useTurns();
  useEffect(() => {
    const controller = new AbortController();
    const ask = (path, params) => request(path, { params, signal: controller.signal });
    ask("/api/projects", { limit: PAGE, offset, fields: "id,path,conversation_count" })
      .then(async ({ projects, pagination }) => {
        const rows = await Promise.all(projects.map(async (project) => ({ ...project, rule: await ask(`/api/projects/${project.id}/retention`) })));
        setState({ rows, pagination, error: null });
      })
      .catch((error) => controller.signal.aborted || setState((old) => ({ ...old, error })))
      .then(() => controller.signal.aborted || tellRead());
    return () => controller.abort();
  }, [offset, turn]);
  return { ...state, reload };
}

/** Return a number of days; nothing is none, and not null, which is for ever: the server refuses it. */
const readDays = (text) => (text === "" ? "" : Number(text));

function Edit({ project: { id, path, rule }, onClose, onDone }) {
  const [kind, setKind] = useState(rule.is_default ? "default" : rule.days === null ? "ever" : "days");
  const [action, setAction] = useState(rule.action);
  const form = useForm(async (values) => {
    const address = `/api/projects/${id}/retention`;
    if (kind === "default") await request(address, { method: "DELETE" });
    else if (kind === "ever") await request(address, { method: "PUT", body: { days: null } });
    else await request(address, { method: "PUT", body: { days: readDays(values.get("days")), action } });
    announce("Saved.");
    await onDone();
    onClose();
  });
  const isDanger = kind === "days" && action === "remove";
  return html`<${Dialog} title=${`How long ${format.projectName(path)} is kept`} onClose=${onClose}><${Form} form=${form} names=${["days", "action"]} action=${isDanger ? "Remove for good from then on" : "Save"} isDanger=${isDanger} onCancel=${onClose}>
    <${Field} label="Conversations are kept" name="kind" value=${kind} options=${[["default", "as the server has it"], ["ever", "for ever"], ["days", "for some days after their last activity"]]} onChange=${(event) => setKind(event.target.value)} />
    ${kind === "days" && html`<div class="form-row"><${Field} label="Days" name="days" type="number" min="1" max="36500" form=${form} value=${rule.days ?? 90} />
      <${Field} label="Then" name="action" form=${form} value=${action} options=${ACTIONS} onChange=${(event) => setAction(event.target.value)} /></div>`}
    ${isDanger && html`<p class="notice notice-bad small">What is older than that is removed at the next upkeep, with its messages, search index and uploaded file. Nothing brings it back.</p>`}
    ${kind === "days" && action === "trash" && html`<p class="small muted">From the trash they can be restored, as long as it is not emptied.</p>`}
  <//><//>`;
}

export function Retention() {
  const [offset, setOffset] = useState(0);
  const { rows, pagination, error, reload } = useRules(offset);
  // Names that several have are told apart.
  useProjects();
  const [open, setOpen] = useState(null);
  let body = html`<${Loading} lines=${5} />`;
  if (error) body = html`<${Failure} error=${error} retry=${reload} />`;
  else if (rows && !rows.length) body = html`<${Empty} title="No projects yet">A project appears with its first conversation.<//>`;
  else if (rows) body = html`<ul class="lines">${rows.map((row) => html`<li key=${row.id}><div class="line"><span class="clip" title=${row.path}>${format.projectName(row.path)} <span class="small faint">${format.plural(row.conversation_count, "conversation")}</span></span>
      <button class="button button-small" aria-label=${`Change how long ${row.path} is kept`} onClick=${() => setOpen(row)}>Change</button>
      <span class="small"><span class=${isFinal(row.rule) ? "bad" : row.rule.is_default ? "muted" : ""}>${tell(row.rule)}</span>${row.rule.is_default && html` <span class="faint">by default</span>`}</span></div></li>`)}</ul>
    <${Pager} label="Pages of projects" pagination=${pagination} onMove=${setOffset} />`;
  return html`<${Card} title="Retention" isFlush actions=${html`<p class="small muted">The server's own rule is the setting <code>RETENTION_DAYS</code>.</p>`}><div aria-busy=${!rows && !error}>${body}</div><//>
    ${open && html`<${Edit} project=${open} key=${open.id} onClose=${() => setOpen(null)} onDone=${reload} />`}`;
}
