// The conversations that were active last, as they go on.
import { html, useEffect, useState } from "../html.js";
import { useApi } from "../api.js";
import { conversationAddress } from "../addresses.js";
import * as format from "../format.js";
import { useLive } from "../live.js";
import { describeMessage } from "../saying.js";
import { Empty, Loaded } from "./states.js";
import { Ago } from "./time.js";

const LIVE_MS = 10 * 60_000;

/** A few of them, of all projects or of one. */
export function Latest({ project }) {
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
      <span class="facts"><span class="clip">${said.get(row.id) ?? (project ? [format.plural(row.message_count, "message"), ...row.models.map(format.modelName)].join(", ") : format.projectName(row.project_path))}</span></span>
      <span class="facts facts-end">${format.money(row.cost_microdollars, row.cost_complete)}</span>
    </li>`)}</ol>`;
  }}<//>`;
}
