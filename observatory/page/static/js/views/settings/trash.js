// The trash: conversations that can be restored, or removed for good.
import { html, useState } from "../../html.js";
import { request, useApi } from "../../api.js";
import { announce } from "../../announcing.js";
import * as format from "../../format.js";
import { useLive } from "../../live.js";
import { Card } from "../../components/card.js";
import { Confirm } from "../../components/confirm.js";
import { NoRows, Pager } from "../../components/pager.js";
import { Empty, Loaded } from "../../components/states.js";
import { Ago } from "../../components/time.js";

const PAGE = 50;

export function Trash() {
  const [offset, setOffset] = useState(0);
  const trash = useApi("/api/conversations", { deleted: true, limit: PAGE, offset, fields: "id,kind,title,project_path,updated_at,message_count" });
  const [asked, setAsked] = useState(null);
  const [error, setError] = useState(null);
  useLive(["conversation_deleted"], () => trash.reload());
  async function restore({ id }) {
    setError(null);
    try {
      await request(`/api/conversations/${encodeURIComponent(id)}/restore`, { method: "POST" });
      announce("It is restored.");
      trash.reload();
    } catch (failure) {
      setError(failure);
    }
  }
  async function remove() {
    await request(`/api/conversations/${encodeURIComponent(asked.id)}`, { method: "DELETE", params: { permanent: true } });
    announce("It is removed for good.");
    await trash.reload();
  }
  return html`<${Card} title="Trash" isFlush actions=${html`<span class="small muted number">${trash.data && format.plural(trash.data.pagination.total, "conversation")}</span>`}>
    ${error && html`<p class="notice notice-bad card-notice" role="alert">${error.message}</p>`}
    <${Loaded} of=${trash} lines=${4}>${({ conversations: rows, pagination }) => (rows.length
      ? html`<ul class="lines">${rows.map((row) => html`<li key=${row.id}><div class="line"><span class="clip" title=${row.title}>${row.title}</span><span class="small faint"><${Ago} at=${row.updated_at} /></span></div>
          <div class="row"><span class="small muted grow-line">${format.projectName(row.project_path)}, ${format.plural(row.message_count, "message")}${row.kind === "subagent" && ", subagent"}</span>
            <button class="button button-small" aria-label=${`Restore ${row.title}`} onClick=${() => restore(row)}>Restore</button>
            <button class="button button-small button-danger" aria-label=${`Remove ${row.title} for good`} onClick=${() => setAsked(row)}>Remove for good</button></div></li>`)}</ul>
        <${Pager} label="Pages of the trash" pagination=${pagination} onMove=${setOffset} />`
      : html`<${NoRows} pagination=${pagination} onMove=${setOffset}><${Empty} title="The trash is empty">Conversations that are deleted come here first.<//><//>`)}<//><//>
    ${asked && html`<${Confirm} title="Remove it for good?" action="Remove for good" onConfirm=${remove} onClose=${() => setAsked(null)}>
      <p><strong>${asked.title}</strong> goes with all its messages, tool uses and subagents, from the search and from all sums. An uploaded file goes, too. Nothing brings it back, also not reading its transcript again.</p><//>`}`;
}
