// The server: how it is, what it holds, and how it is set.
import { html, useEffect } from "../../html.js";
import { useApi } from "../../api.js";
import * as format from "../../format.js";
import { Card, Table } from "../../components/card.js";
import { Icon } from "../../components/icon.js";
import { Stat } from "../../components/stat.js";
import { Loaded } from "../../components/states.js";
import { Ago } from "../../components/time.js";

const AGAIN_MS = 15_000;
const COUNTS = [
  ["conversations", "Conversations"], ["trashed_conversations", "In the trash"], ["messages", "Messages"], ["tool_uses", "Tool uses"],
  ["files", "Transcripts"], ["events", "Events"], ["deliveries", "Deliveries"], ["audit_entries", "Audit entries"],
];

const words = (name) => name.replaceAll("_", " ").replaceAll("-", " ");
const show = (value) => (Array.isArray(value) ? value.join(", ") : typeof value === "boolean" ? (value ? "yes" : "no") : String(value ?? format.NOTHING));

function Database({ database }) {
  const used = 1 - database.disk_free_bytes / database.disk_total_bytes;
  return html`<${Card} title="Database"><div class="stack"><dl class="facts-list">
      <dt>Size</dt><dd>${format.size(database.size_bytes)}${database.free_pages > 0 && html` <span class="small muted">of which ${format.size(database.free_pages * database.page_size)} are free</span>`}</dd>
      <dt>Write-ahead log</dt><dd>${format.size(database.wal_bytes)}</dd><dt>Schema</dt><dd class="mono">${database.schema}</dd>
      <dt>Disk</dt><dd>${format.size(database.disk_free_bytes)} free of ${format.size(database.disk_total_bytes)}
        <div class=${`meter ${used > 0.95 ? "meter-bad" : used > 0.85 ? "meter-warn" : ""}`} role="meter" aria-label="Disk used" aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.round(used * 100)}><span style=${{ width: `${used * 100}%` }}></span></div></dd></dl></div><//>`;
}

function Reading({ ingest, watcher, locks }) {
  return html`<${Card} title="Reading"><dl class="facts-list">
    <dt>Watcher</dt><dd>${words(watcher.state)}${watcher.lag_seconds > 0 && html`, <span class="warn">${format.duration(watcher.lag_seconds * 1000)} behind</span>`}</dd>
    <dt>Last read</dt><dd><${Ago} at=${ingest.last_read_at} /></dd>
    <dt>Not yet searchable</dt><dd>${format.plural(ingest.waiting_messages, "message")}</dd>
    <dt>Sums</dt><dd>${ingest.are_sums_built ? "built" : html`<span class="warn">being built: reports lack something</span>`}</dd>
    <dt>Prices</dt><dd>${ingest.are_prices_applied ? "applied" : html`<span class="warn">being applied: costs lack something</span>`}</dd>
    <dt>Held locks</dt><dd>${locks.length ? locks.map(({ name, holder }) => html`<div key=${name}>${name}: <span class="muted">${holder}</span></div>`) : "none"}</dd></dl><//>`;
}

function Upkeep({ runs }) {
  const columns = [
    { key: "name", label: "Upkeep", cell: ({ name }) => words(name) },
    { key: "result", label: "How it went", cell: (run) => html`<span class=${run.is_good ? "muted" : "bad"}>${run.result}</span>` },
    { key: "duration", label: "Took", isNumber: true, isWide: true, cell: (run) => format.duration(run.duration_ms) },
    { key: "last", label: "Last", isNumber: true, cell: (run) => html`<span class="small muted"><${Ago} at=${run.last_run_at} /></span>` },
    { key: "next", label: "Next", isNumber: true, isWide: true, cell: (run) => html`<span class="small muted"><${Ago} at=${run.next_at} /></span>` },
  ];
  return html`<${Card} title="Upkeep" isFlush>${runs.length
    ? html`<div class="table-wrap" tabindex="0" role="region" aria-label="Upkeep"><${Table} caption="Upkeep" columns=${columns} rows=${runs} rowKey=${({ name }) => name} /></div>`
    : html`<p class="card-note muted">None was done yet; the watcher does it when there is time.</p>`}<//>`;
}

function Set({ settings }) {
  const columns = [
    { key: "name", label: "Variable", cell: ([name]) => html`<span class="mono small">${name}</span>` },
    { key: "value", label: "Value", cell: ([, value]) => html`<span class="mono small">${show(value)}</span>` },
  ];
  return html`<${Card} title="Settings of the environment" isFlush><div class="table-wrap" tabindex="0" role="region" aria-label="Settings of the environment"><${Table} caption="Settings" columns=${columns} rows=${Object.entries(settings)} rowKey=${([name]) => name} /></div><//>`;
}

export function Server() {
  const status = useApi("/api/admin/status");
  const { reload } = status;
  useEffect(() => {
    const timer = setInterval(() => document.hidden || reload(), AGAIN_MS);
    return () => clearInterval(timer);
  }, []);
  return html`<${Loaded} of=${status} lines=${8}>${({ version, started_at: startedAt, uptime_seconds: uptime, database, counts, ingest, watcher, locks, maintenance, settings }) => html`<div class="stack">
    <${Card} title="Server" actions=${html`<button class="button" onClick=${reload}><${Icon} name="again" />Look again</button>`}>
      <dl class="stats stats-inside stats-last stats-ten"><${Stat} label="Version" value=${version} />
        <${Stat} label="Up" value=${format.duration(uptime * 1000)} note=${html`since <${Ago} at=${startedAt} />`} />
        ${COUNTS.map(([key, label]) => html`<${Stat} key=${key} label=${label} value=${format.compact(counts[key])} title=${format.count(counts[key])} />`)}</dl><//>
    <div class="grid grid-2"><${Database} database=${database} /><${Reading} ingest=${ingest} watcher=${watcher} locks=${locks} /></div>
    <${Upkeep} runs=${maintenance} /><${Set} settings=${settings} /></div>`}<//>`;
}
