// Ingest: which transcripts there are, how far each was read, what could not be, and bringing more.
import { html, useEffect, useRef, useState } from "../html.js";
import { request, useApi } from "../api.js";
import { announce } from "../announcing.js";
import { conversationAddress } from "../addresses.js";
import * as format from "../format.js";
import { useLive, useRefresh } from "../live.js";
import { setQuery } from "../router.js";
import { useSession } from "../session.js";
import { Card, Table } from "../components/card.js";
import { Confirm } from "../components/confirm.js";
import { Dialog } from "../components/dialog.js";
import { Icon } from "../components/icon.js";
import { NoRows, Pager } from "../components/pager.js";
import { Stat } from "../components/stat.js";
import { Empty, Loaded } from "../components/states.js";
import { Ago, DateTime } from "../components/time.js";

export const title = "Ingest";

const PAGE = 25;
const SECRETS = 8;
const STATUSES = { completed: ["tag-good", "read"], processing: ["tag-accent", "reading"], pending: ["tag-warn", "waits"], error: ["tag-bad", "failed"] };
const ROLES = { session: "session", subagent: "subagent", workflow_subagent: "workflow subagent", workflow_journal: "workflow journal" };
const WATCHER = { running: ["dot-good", "Follows"], catching_up: ["dot-live", "Catching up"] };
const MODES = { events: "told of changes", polling: "looks again and again" };

function Status({ status }) {
  const [look, words] = STATUSES[status] ?? ["", status];
  return html`<span class=${`tag ${look}`}>${words}</span>`;
}

function Watcher({ live }) {
  return html`<${Card} title="Watcher">
    <${Loaded} of=${live} lines=${3}>${({ watcher, streams, live_conversations: running }) => {
      const [look, words] = WATCHER[watcher.state] ?? ["dot-warn", "Does not run"];
      return html`<div class="stack"><dl class="stats stats-inside">
          <${Stat} label="State" value=${html`<span class="row stat-state"><span class=${`dot ${look}`}></span>${words}</span>`} note=${watcher.started_at ? html`since <${Ago} at=${watcher.started_at} />` : "observatory serve and watch run it"} />
          <${Stat} label="Behind" value=${watcher.lag_seconds ? format.duration(watcher.lag_seconds * 1000) : "nothing"} note=${watcher.waiting_files ? `${format.plural(watcher.waiting_files, "file")}, ${format.size(watcher.waiting_bytes)} wait` : "all is read"} />
          <${Stat} label="Last read" value=${html`<${Ago} at=${watcher.last_read_at} />`} note=${watcher.last_change_at ? html`last change <${Ago} at=${watcher.last_change_at} />` : "nothing changed since it started"} />
          <${Stat} label="Running now" value=${format.count(running)} note=${format.plural(streams.open.sse + streams.open.websocket + streams.open.poll, "listener")} /></dl>
        ${watcher.last_failure && html`<p class="notice notice-warn"><strong>Last failure</strong>, <${Ago} at=${watcher.last_failure_at} />: ${watcher.last_failure}</p>`}
        ${watcher.folders.length > 0 && html`<ul class="sources" aria-label="Folders that are followed">${watcher.folders.map((folder) => html`<li key=${folder.path} class="row"><${Icon} name="folder" />
          <span class="mono clip grow" title=${folder.path}>${folder.path}</span><span class="small muted">${format.plural(folder.files, "file")}${MODES[folder.mode] ? `, ${MODES[folder.mode]}` : ""}</span></li>`)}</ul>`}</div>`;
    }}<//><//>`;
}

function UploadedLine({ upload: { name, isSending, file, error } }) {
  return html`<li><div class="line"><span class="clip" title=${name}>${name}</span>
    ${isSending ? html`<span class="tag tag-accent">being sent…</span>` : error ? html`<span class="tag tag-bad">refused</span>` : html`<${Status} status=${file.status} />`}
    ${file && html`<span class="small muted">${format.plural(file.message_count, "message")}${file.bad_line_count > 0 && html`, <span class="bad">${format.plural(file.bad_line_count, "bad line")}</span>`}</span>
      <span class="small row">${file.conversations.slice(0, 3).map((id) => html`<a key=${id} href=${conversationAddress(id)}>Look at it</a>`)}</span>`}
    ${error && html`<span class="small bad">${Object.values(error.details?.fields ?? {}).flat().join(" ") || error.message}</span>`}</div></li>`;
}

function Uploads({ onDone }) {
  const [uploads, setUploads] = useState([]);
  const [isOver, setIsOver] = useState(false);
  const input = useRef(null);
  const update = (key, more) => setUploads((old) => old.map((one) => (one.key === key ? { ...one, ...more } : one)));
  async function send(files) {
    const added = [...files].map((file) => ({ key: `${file.name} ${performance.now()} ${Math.random()}`, name: file.name, source: file, isSending: true }));
    setUploads((old) => [...added, ...old]);
    for (const { key, name, source } of added) {
      const body = new FormData();
      body.append("file", source, name);
      try {
        update(key, { isSending: false, file: await request("/api/files/upload", { method: "POST", body }) });
        announce(`${name} is there.`);
      } catch (error) {
        update(key, { isSending: false, error });
        announce(`${name} was refused.`);
      }
    }
    onDone();
  }
  function onDrop(event) {
    event.preventDefault();
    setIsOver(false);
    send(event.dataTransfer.files);
  }
  return html`<${Card} title="Bring transcripts"><div class="stack">
    <div class=${`drop ${isOver ? "drop-over" : ""}`} onDragOver=${(event) => { event.preventDefault(); setIsOver(true); }} onDragLeave=${() => setIsOver(false)} onDrop=${onDrop}>
      <${Icon} name="upload" size=${22} /><p>Drop <code>.jsonl</code> files here, also gzipped ones</p>
      <button class="button" onClick=${() => input.current.click()}>Choose files</button>
      <input type="file" multiple accept=".jsonl,.gz" hidden ref=${input} aria-label="Transcripts to upload" onChange=${(event) => { send(event.target.files); event.target.value = ""; }} />
      <p class="tiny faint">They are kept beside the database and read at once; nothing is counted twice.</p></div>
    ${uploads.length > 0 && html`<ul class="lines lines-flush" aria-label="Uploads">${uploads.map((upload) => html`<${UploadedLine} key=${upload.key} upload=${upload} />`)}</ul>`}
  </div><//>`;
}

function Progress({ file }) {
  const share = file.size ? Math.min(1, file.byte_offset / file.size) : 1;
  const isWaiting = share < 1 && file.status === "completed";
  const words = `${format.size(file.byte_offset)} of ${format.size(file.size)}${isWaiting ? "; the last line is not finished" : ""}`;
  return html`<span class="row progress-cell" title=${words}><span class="meter cell-meter" role="meter" aria-label=${`${file.filename}: read`} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.floor(share * 100)} aria-valuetext=${words}><span style=${{ width: `${share * 100}%` }}></span></span>
    <span class="number small muted">${share === 1 || isWaiting ? format.size(file.byte_offset) : format.percent(share)}${isWaiting && html` <span class="faint">+ ${format.size(file.size - file.byte_offset)}</span>`}</span></span>`;
}

const folderOf = (path) => format.splitPath(format.splitPath(path)[1].replace(/[\\/]$/, ""))[0];

function FilesTable({ files, onOpen }) {
  const columns = [
    { key: "filename", label: "Transcript", cell: (file) => html`<span class="path" title=${file.file_path}><button class="linklike clip" onClick=${() => onOpen(file.id)}>${file.filename}</button>
      <span class="clip tiny faint">${folderOf(file.file_path)}</span></span>` },
    { key: "role", label: "Kind", isWide: true, width: "9.5rem", cell: (file) => html`<span class="small muted">${ROLES[file.role] ?? file.role}</span>` },
    { key: "status", label: "State", width: "7rem", cell: (file) => html`<span class="row"><${Status} status=${file.status} />${file.bad_line_count > 0 && html`<span class="tag tag-bad">${format.count(file.bad_line_count)} bad</span>`}</span>` },
    { key: "offset", label: "Read", isWide: true, width: "11rem", cell: (file) => html`<${Progress} file=${file} />` },
    { key: "lines", label: "Lines", isNumber: true, isWide: true, width: "5rem", cell: (file) => format.count(file.line_count) },
    { key: "modified", label: "Changed", isNumber: true, isWide: true, width: "7.5rem", cell: (file) => html`<span class="small muted"><${Ago} at=${file.last_modified} /></span>` },
  ];
  return html`<${Table} caption="Transcript files and how far each was read" columns=${columns} rows=${files} rowKey=${(file) => file.id} />`;
}

function BadLines({ file }) {
  const [offset, setOffset] = useState(0);
  const errors = useApi(`/api/files/${file.id}/errors`, { limit: 50, offset });
  const columns = [
    { key: "line", label: "Line", cell: ({ line }) => format.count(line) },
    { key: "bytes", label: "Bytes", isNumber: true, cell: (row) => html`<span class="small muted">${format.count(row.byte_start)}–${format.count(row.byte_end)}</span>` },
    { key: "reason", label: "Why it could not be read", cell: ({ reason }) => reason },
  ];
  return html`<h3>Lines that could not be read</h3><${Loaded} of=${errors} lines=${3}>${({ errors: rows, pagination }) => html`
    <div class="table-wrap" tabindex="0" role="region" aria-label="Lines that could not be read"><${Table} caption="Lines that could not be read" columns=${columns} rows=${rows} rowKey=${({ line }) => line} /></div>
    <${Pager} label="Pages of bad lines" pagination=${pagination} onMove=${setOffset} />`}<//>`;
}

function FileDetails({ file, reload, onForget, onChanged }) {
  const { may } = useSession();
  const [error, setError] = useState(null);
  const [isAsked, setIsAsked] = useState(false);
  async function reread() {
    setError(null);
    setIsAsked(true);
    try {
      await request(`/api/files/${file.id}/reprocess`, { method: "POST" });
      announce("It is read from its start again.");
      reload();
      onChanged();
    } catch (failure) {
      setError(failure);
    }
    setIsAsked(false);
  }
  const counts = Object.entries(file.record_counts).sort((a, b) => b[1] - a[1]);
  return html`<p class="small muted mono">${file.file_path}</p>
    <dl class="facts-list"><dt>State</dt><dd class="row"><${Status} status=${file.status} /><${Progress} file=${file} /></dd>
      <dt>Lines</dt><dd>${format.count(file.line_count)}${file.bad_line_count > 0 && html`, <span class="bad">${format.count(file.bad_line_count)} bad</span>`}</dd>
      <dt>Changed</dt><dd><${DateTime} at=${file.last_modified} /></dd><dt>Read</dt><dd><${DateTime} at=${file.processed_at} /></dd>
      ${file.conversation_id && html`<dt>Conversation</dt><dd><a class="mono" href=${conversationAddress(file.conversation_id)}>${file.conversation_id}</a></dd>`}
      ${counts.length > 0 && html`<dt>Records</dt><dd class="row">${counts.map(([type, number]) => html`<span class="tag" key=${type}>${type} ${format.count(number)}</span>`)}</dd>`}</dl>
    ${file.error_message && html`<p class="notice notice-bad">${file.error_message}</p>`}
    ${error && html`<p class="notice notice-bad" role="alert">${error.message}</p>`}
    ${file.bad_line_count > 0 && html`<${BadLines} file=${file} />`}
    ${may("files:write") && html`<div class="form-end"><button class="button button-danger" onClick=${onForget}><${Icon} name="trash" />Forget it</button>
      <button class="button" disabled=${isAsked} onClick=${reread}><${Icon} name="again" />Read it again</button></div>`}`;
}

function FileDialog({ id, onClose, onChanged }) {
  const file = useApi(`/api/files/${id}`);
  const [isForgetting, setIsForgetting] = useState(false);
  useLive(["file_processing_update"], (event) => {
    if (event.type === "resync" || event.data.file?.id === id) file.reload();
  });
  async function forget() {
    await request(`/api/files/${id}`, { method: "DELETE" });
    onChanged();
    onClose();
  }
  if (isForgetting) {
    return html`<${Confirm} title="Forget this file?" action="Forget it" onConfirm=${forget} onClose=${() => setIsForgetting(false)}>
      <p>What is known of <strong>${file.data.filename}</strong> and its bad lines goes; an upload is removed from the disk. The conversations that were read from it stay. A file that still lies in a folder that is followed is found again, and read anew.</p><//>`;
  }
  return html`<${Dialog} title=${file.data?.filename ?? "Transcript"} onClose=${onClose} isWide><${Loaded} of=${file} lines=${5}>${(data) => html`<${FileDetails} file=${data} reload=${file.reload} onForget=${() => setIsForgetting(true)} onChanged=${onChanged} />`}<//><//>`;
}

/** Keep a list of files true: what it shows changes in place, others are read in time. */
function useChangedFiles(files) {
  const [changed, setChanged] = useState(new Map());
  useLive(["file_processing_update"], (event) => {
    if (event.type !== "resync" && event.data.file) setChanged((old) => new Map(old).set(event.data.file.id, event.data.file));
  });
  useRefresh(["file_processing_update"], [files]);
  useEffect(() => setChanged(new Map()), [files.data]);
  return (rows) => rows.map((row) => ({ ...row, ...changed.get(row.id) }));
}

function FilesCard({ query }) {
  const offset = Math.max(0, Number.parseInt(query.offset, 10) || 0);
  const status = Object.hasOwn(STATUSES, query.status) ? query.status : null;
  const files = useApi("/api/files", { limit: PAGE, offset, status });
  const merge = useChangedFiles(files);
  const open = Number.parseInt(query.file, 10);
  return html`<${Card} title="Transcripts" isFlush actions=${html`<div class="row"><span class="small muted number">${files.data && format.plural(files.data.pagination.total, "file")}</span>
      <label class="visually-hidden" for="status">State</label><select class="select" id="status" value=${status ?? ""} onChange=${(event) => setQuery({ status: event.target.value, offset: null })}>
        <option value="">Any state</option>${Object.entries(STATUSES).map(([value, [, label]]) => html`<option key=${value} value=${value}>${label}</option>`)}</select></div>`}>
    <${Loaded} of=${files} lines=${8}>${({ files: rows, pagination }) => (rows.length
      ? html`<${FilesTable} files=${merge(rows)} onOpen=${(id) => setQuery({ file: id })} />
        <${Pager} label="Pages of transcripts" pagination=${pagination} onMove=${(next) => setQuery({ offset: next || null }, { replace: false })} />`
      : html`<${NoRows} pagination=${pagination} onMove=${(next) => setQuery({ offset: next || null })}><${Empty} title=${status ? "None in this state" : "No transcripts yet"}>${status ? html`<button class="button" onClick=${() => setQuery({ status: null })}>Show all</button>` : "They appear as soon as they are found in a folder that is followed, or uploaded here."}<//><//>`)}<//>
    ${Number.isInteger(open) && html`<${FileDialog} id=${open} key=${open} onClose=${() => setQuery({ file: null })} onChanged=${files.reload} />`}
  <//>`;
}

function Secrets() {
  const [cursors, setCursors] = useState([null]);
  const secrets = useApi("/api/secrets", { limit: SECRETS, cursor: cursors.at(-1) });
  useRefresh(["message_added"], [secrets], 30_000);
  if (secrets.data && !secrets.data.secrets.length && cursors.length === 1) return html`<p class="small faint">No secrets were found in what was read.</p>`;
  const columns = [
    { key: "kind", label: "Kind", cell: (row) => html`<a href=${conversationAddress(row.conversation_id, row.message_id)}>${row.kind.replaceAll("_", " ")}</a>` },
    { key: "where", label: "In", cell: (row) => html`<span class="small muted">${row.where}</span>` },
    { key: "hash", label: "Fingerprint", isWide: true, cell: (row) => html`<span class="mono small">${row.hash}</span>` },
    { key: "count", label: "Messages", isNumber: true, cell: (row) => format.count(row.message_count) },
    { key: "at", label: "Found", isNumber: true, cell: (row) => html`<span class="small muted"><${Ago} at=${row.created_at} /></span>` },
  ];
  return html`<${Card} title="Secrets that were found" isFlush actions=${html`<span class="small muted number">${secrets.data && format.plural(secrets.data.pagination.total, "place")}</span>`}>
    <${Loaded} of=${secrets} lines=${4}>${({ secrets: rows, pagination }) => html`<p class="small muted card-note">Keys, tokens and passwords. Which they were is not kept: the same one has the same fingerprint. Who has it in use should change it.</p>
      <div class="table-wrap" tabindex="0" role="region" aria-label="Secrets that were found"><${Table} caption="Where secrets were found" columns=${columns} rows=${rows} rowKey=${(row) => row.id} /></div>
      <${Pager} label="Pages of secrets" pagination=${{ ...pagination, limit: SECRETS, offset: (cursors.length - 1) * SECRETS }} onMove=${(next) => setCursors((old) => (next < (old.length - 1) * SECRETS ? old.slice(0, -1) : [...old, pagination.next_cursor]))} />`}<//>
  <//>`;
}

export default function Ingest({ query }) {
  const { may } = useSession();
  const live = useApi("/api/live/status");
  const { reload } = live;
  useRefresh(["file_processing_update"], [live], 2_000);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || reload(), 15_000);
    return () => clearInterval(timer);
  }, []);
  const [turn, setTurn] = useState(0);
  return html`<div class="head"><h1>Ingest</h1></div>
    <div class="stack">
      ${may("files:write") ? html`<div class="grid grid-wide-left"><${Watcher} live=${live} /><${Uploads} onDone=${() => setTurn(turn + 1)} /></div>` : html`<${Watcher} live=${live} />`}
      <${FilesCard} query=${query} key=${`files ${turn}`} />
      <${Secrets} />
    </div>`;
}
