// Conversations: all of them, or those that a search finds; what the filters say is in the address.
import { html, useCallback, useEffect, useRef, useState } from "../html.js";
import { request, useApi } from "../api.js";
import { announce } from "../announcing.js";
import { conversationAddress } from "../addresses.js";
import * as format from "../format.js";
import { useLive } from "../live.js";
import { usePages } from "../paging.js";
import { readQuery, setQuery } from "../router.js";
import { describeMessage } from "../saying.js";
import { useSession } from "../session.js";
import { useShortcuts } from "../shortcuts.js";
import { Dialog } from "../components/dialog.js";
import { Icon } from "../components/icon.js";
import { Empty, Failure, Loading } from "../components/states.js";
import { Snippet } from "../components/snippet.js";
import { Ago } from "../components/time.js";
import { VirtualList } from "../components/virtual-list.js";

export const title = "Conversations";

const PAGE = 100;
const FOUND_PAGE = 30;
const AHEAD = 40;
const TYPING_MS = 250;
const FIELDS = "id,kind,title,project_path,created_at,updated_at,message_count,tool_use_count,error_count,total_tokens,cost_microdollars,cost_complete,models,git_branch,metadata.tags";
const LONG_AGO = "2023-01-01";
const SORTS = {
  "updated_at": "Last active", "created_at": "Started", "total_tokens": "Most tokens",
  "message_count": "Most messages", "title": "Title",
};
const FOUND_SORTS = { relevance: "Best match", time: "Latest" };
const KINDS = { session: "Sessions", subagent: "Subagents", all: "Both" };
// What each filter is called; `list` and `found` say where it can be used.
const FILTERS = {
  project: { label: "Project", show: format.projectName },
  model: { label: "Model", show: format.modelName },
  role: { label: "Role", show: (value) => value, isOfFound: true },
  tool: { label: "Tool", show: (value) => value, isOfFound: true },
  errors: { label: "Tools", show: (value) => (value === "true" ? "some failed" : "none failed") },
  tag: { label: "Tag", show: (value) => value, isOfList: true },
  from: { label: "From", show: (value) => format.reportDate(value) },
  to: { label: "To", show: (value) => format.reportDate(value) },
};
const LANGUAGE = [
  ["two words", "messages with both"],
  ['"a phrase"', "the words together, in this order"],
  ["begin*", "words that begin so"],
  ["-word", "without the word"],
  ["one OR other", "either of them"],
  ["role:user", "only what people said"],
  ["tool:Bash", "only uses of a tool"],
  ["project:engine", "only in projects with this in their path"],
  ["model:opus", "only of models with this in their name"],
  ["is:error", "tools that failed, and errors of the API"],
  ["after:2026-01-31", "from that day on; also before:"],
];

const dayOf = (date) =>
  `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, "0")}-${String(date.getDate()).padStart(2, "0")}`;

/** What the address says, without days that there are not: it may be mistyped. */
function readFilters(query) {
  const isDay = (text) => /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text));
  const isRead = ([name, value]) => !["from", "to"].includes(name) || isDay(value);
  return Object.fromEntries(Object.entries(query).filter(isRead));
}

/** A day of the viewer's zone as the moment it begins; the end of a period is the next one's. */
function beginOf(day, { isEnd = false } = {}) {
  if (!day) return null;
  const [year, month, date] = day.split("-").map(Number);
  return new Date(new Date(year, month - 1, date + (isEnd ? 1 : 0)).getTime() - (isEnd ? 1 : 0)).toISOString();
}

async function fetchList(query, cursor, signal) {
  const params = {
    limit: PAGE, cursor, fields: FIELDS, sort_by: Object.hasOwn(SORTS, query.sort) ? query.sort : null,
    sort_order: query.sort === "title" ? "asc" : null,
    kind: query.kind === "all" ? null : Object.hasOwn(KINDS, query.kind) ? query.kind : "session",
    project_path: query.project, model: query.model, tag: query.tag, has_errors: query.errors,
    date_from: beginOf(query.from), date_to: beginOf(query.to, { isEnd: true }),
  };
  const { conversations, pagination } = await request("/api/conversations", { params, signal });
  return { rows: conversations.map((conversation) => ({ conversation })), pagination };
}

async function fetchFound(query, cursor, signal) {
  const body = { q: query.q, limit: FOUND_PAGE, sort: query.sort === "time" ? "time" : "relevance", facets: cursor === null };
  if (cursor) body.cursor = cursor;
  for (const name of ["project", "model", "role", "tool"]) if (query[name]) body[name] = query[name];
  if (query.errors === "true") body.is_error = true;
  const [after, before] = [beginOf(query.from), beginOf(query.to, { isEnd: true })];
  if (after) body.after = after;
  if (before) body.before = before;
  const { conversations, pagination, facets, titles } = await request("/api/conversations/search", { method: "POST", body, signal });
  return { rows: conversations, pagination, facets, titles };
}

function Facts({ conversation, said }) {
  const { project_path: project, models, git_branch: branch, message_count: messages, error_count: errors, kind, metadata } = conversation;
  return html`<span class="facts">
    ${kind === "subagent" && html`<span class="tag">subagent</span>`}
    <span class="clip" title=${project}>${format.projectName(project)}</span>
    ${said ? html`<span class="clip grow">${said}</span>` : html`
      ${branch && html`<span class="clip wide-only faint">${branch}</span>`}
      ${models.length > 0 && html`<span class="clip wide-only">${models.map(format.modelName).join(", ")}</span>`}
      <span>${format.plural(messages, "message")}</span>
      ${errors > 0 && html`<span class="bad">${format.count(errors)} failed</span>`}
      ${(metadata?.tags ?? []).slice(0, 3).map((tag) => html`<span class="tag tag-accent" key=${tag}>${tag}</span>`)}`}
  </span>`;
}

function Row({ row: { conversation, matches, messages }, said }) {
  const isFound = messages !== undefined;
  return html`<div class=${`conversation ${isFound ? "" : "conversation-fixed"}`}>
    <a class="clip" href=${conversationAddress(conversation.id, messages?.[0]?.message_id)} title=${conversation.title} data-row>${conversation.title}</a>
    <span class="small muted number"><${Ago} at=${conversation.updated_at} /></span>
    <${Facts} conversation=${conversation} said=${said} />
    <span class="facts facts-end"><span class="wide-only" title=${`${format.count(conversation.total_tokens)} tokens`}>${format.compact(conversation.total_tokens)}</span>
      <span>${format.money(conversation.cost_microdollars, conversation.cost_complete)}</span></span>
    ${isFound && html`<div class="hits">${messages.map((hit) => html`<a class="hit" key=${hit.message_id}
        href=${conversationAddress(conversation.id, hit.message_id)}>
        <span class="faint">${wordsOf(hit)}</span><span class="hit-text"><${Snippet} text=${hit.snippet} /></span></a>`)}
      ${matches > messages.length && html`<span class="tiny faint">${format.plural(matches - messages.length, "more message")} here</span>`}</div>`}
  </div>`;
}

const KIND_WORDS = { tool_use: "tool", tool_result: "result", thinking: "thinking" };
const wordsOf = ({ role, kind }) => KIND_WORDS[kind] ?? role;

function SearchBox({ value, box, onHelp }) {
  const [text, setText] = useState(value);
  const timer = useRef(null);
  const own = useRef(value);
  useEffect(() => {
    // By going back, or a link: what is typed meanwhile is not taken away.
    if (value !== own.current) {
      own.current = value;
      setText(value);
    }
  }, [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  function search(next, { isNow = false } = {}) {
    setText(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      const wanted = next.trim();
      const isStep = !own.current !== !wanted;
      own.current = wanted;
      window.scrollTo(0, 0);
      setQuery({ q: wanted, sort: isStep ? null : readQuery().sort, ...(wanted ? {} : { role: null, tool: null }) }, { replace: !isStep });
    }, isNow ? 0 : TYPING_MS);
  }
  return html`<form class="search" role="search" onSubmit=${(event) => { event.preventDefault(); search(text, { isNow: true }); }}>
    <div class="search-box"><${Icon} name="search" />
      <input class="input" type="search" ref=${box} value=${text} aria-label="Search in all conversations" maxlength="1000"
        placeholder="Search in what was said and done" autocomplete="off" spellcheck=${false} enterkeyhint="search"
        onInput=${(event) => search(event.target.value)}
        onKeyDown=${(event) => event.key === "Escape" && (text ? (event.preventDefault(), search("", { isNow: true })) : box.current.blur())} />
      ${!text && html`<span class="key" aria-hidden="true">/</span>`}</div>
    <button type="button" class="button" onClick=${onHelp} title="What can be searched for"><${Icon} name="help" /><span class="visually-hidden">How to search</span></button>
  </form>`;
}

function LanguageDialog({ onClose, onTry }) {
  return html`<${Dialog} title="How to search" onClose=${onClose}>
    <dl class="keys">${LANGUAGE.map(([example, text]) => html`<dt><button class="chip mono" onClick=${() => onTry(example)}>${example}<span></span></button></dt><dd>${text}</dd>`)}</dl>
    <p class="small muted">Everything else is text: names such as <code>foo_bar</code> and paths are found as they are.</p>
  <//>`;
}

function Facet({ name, heading, values, chosen, show = (value) => value }) {
  const [isLong, setIsLong] = useState(false);
  const most = isLong ? values.length : 7;
  if (!values.length) return null;
  return html`<details class="facet" open><summary>${heading}</summary><div class="facet-list">
    ${values.slice(0, most).map(({ value, count }) => html`<button key=${value} class="facet-value" title=${value} aria-pressed=${String(chosen === String(value))}
      onClick=${() => setQuery({ [name]: chosen === String(value) ? null : value }, { replace: false })}>
      <span class="clip">${show(value)}</span>${count !== undefined && html`<span class="number">${format.count(count)}</span>`}</button>`)}
    ${values.length > 7 && html`<button class="facet-value faint" onClick=${() => setIsLong(!isLong)}>${isLong ? "Fewer" : `${values.length - 7} more`}</button>`}
  </div></details>`;
}

function Dates({ query }) {
  const now = new Date();
  const before = (days) => dayOf(new Date(now.getFullYear(), now.getMonth(), now.getDate() - days));
  const presets = [["Any time", null], ["Today", before(0)], ["7 days", before(6)], ["30 days", before(29)]];
  return html`<details class="facet" open><summary>Active</summary><div class="facet-list">
    ${presets.map(([label, from]) => html`<button key=${label} class="facet-value" aria-pressed=${String((query.from ?? null) === from && !query.to)}
      onClick=${() => setQuery({ from, to: null }, { replace: false })}>${label}</button>`)}
    ${["from", "to"].map((name) => html`<label key=${name} class="facet-value"><span>${FILTERS[name].label}</span>
      <input class="grow" type="date" value=${query[name] ?? ""} onChange=${(event) => setQuery({ [name]: event.target.value }, { replace: false })} /></label>`)}
  </div></details>`;
}

/** What can be chosen from while nothing is searched for. */
function useListFacets(isWanted) {
  const { may } = useSession();
  const projects = useApi(isWanted ? "/api/projects" : null, { limit: 100, fields: "path,conversation_count" });
  const models = useApi(isWanted && may("analytics:read") ? "/api/analytics/models" : null, { from: LONG_AGO });
  const tags = useApi(isWanted ? "/api/tags" : null);
  return {
    tag: (tags.data?.tags ?? []).map(({ tag, conversation_count: count }) => ({ value: tag, count })),
    project: (projects.data?.projects ?? []).map(({ path, conversation_count: count }) => ({ value: path, count })),
    model: (models.data?.rows ?? []).map(({ model }) => ({ value: model })),
  };
}

function Facets({ query, isSearch, found, isShown }) {
  const listed = useListFacets(!isSearch);
  const values = isSearch ? found ?? {} : listed;
  format.learnProjects((values.project ?? []).map(({ value }) => value));
  return html`<aside class=${`facets ${isShown ? "facets-shown" : ""}`} aria-label="Filters" id="filters">
    ${!isSearch && html`<${Facet} name="kind" heading="Kind" values=${Object.keys(KINDS).map((value) => ({ value }))} chosen=${query.kind ?? "session"} show=${(value) => KINDS[value]} />`}
    <${Dates} query=${query} />
    ${isSearch && html`<${Facet} name="role" heading="Said by" values=${values.role ?? []} chosen=${query.role} />
      <${Facet} name="tool" heading="Tool" values=${values.tool ?? []} chosen=${query.tool} />`}
    <${Facet} name="project" heading="Project" values=${values.project ?? []} chosen=${query.project} show=${format.projectName} />
    <${Facet} name="model" heading="Model" values=${values.model ?? []} chosen=${query.model} show=${format.modelName} />
    ${!isSearch && html`<${Facet} name="tag" heading="Tag" values=${values.tag ?? []} chosen=${query.tag} />`}
    <${Facet} name="errors" heading="Tools" values=${isSearch ? [{ value: "true" }] : [{ value: "true" }, { value: "false" }]} chosen=${query.errors} show=${(value) => (value === "true" ? "Some failed" : "None failed")} />
  </aside>`;
}

function Chips({ query, isSearch }) {
  const shown = Object.entries(FILTERS).filter(([name, { isOfFound, isOfList }]) => query[name] && !(isSearch ? isOfList : isOfFound));
  if (!shown.length) return null;
  const none = Object.fromEntries(Object.keys(FILTERS).map((name) => [name, null]));
  return html`<div class="chips">${shown.map(([name, { label, show }]) => html`<button key=${name} class="chip" title=${query[name]}
      aria-label=${`Take away: ${label} ${show(query[name])}`} onClick=${() => setQuery({ [name]: null }, { replace: false })}>
      <span class="clip">${label}: ${show(query[name])}</span><${Icon} name="close" size=${14} /></button>`)}
    ${shown.length > 1 && html`<button class="button button-quiet" onClick=${() => setQuery(none, { replace: false })}>Clear</button>`}</div>`;
}

function describeCount({ total, relation, rows, isLoading }, isSearch) {
  if (total === null) return isLoading ? "…" : "";
  const number = relation === "exact" ? format.plural(total, "conversation") : `${format.count(total)} or more conversations`;
  return isSearch ? `${number} found` : number;
}

/** Whether one that has just begun belongs to what is listed, as far as can be told by then. */
const isListed = ({ kind, project_path: project }, query) =>
  (query.kind === "all" || kind === (query.kind ?? "session")) && (!query.project || project === query.project);

/** Keep a list true while things happen: known rows change in place, new ones are offered. */
function useListChanges(pages, query, isSearch) {
  const [fresh, setFresh] = useState(0);
  const [said, setSaid] = useState(new Map());
  useLive(["conversation_started", "conversation_updated", "conversation_ended", "conversation_deleted", "message_added"], (event) => {
    if (isSearch) return undefined;
    if (event.type === "message_added") {
      const text = describeMessage(event.data.message);
      return text && setSaid((old) => new Map(old).set(event.conversation_id, text));
    }
    if (event.type === "resync") return pages.reload();
    if (event.type === "conversation_deleted") {
      return pages.change((rows) => rows.filter(({ conversation }) => conversation.id !== event.conversation_id));
    }
    const { conversation } = event.data;
    const isKnown = pages.rows.some((row) => row.conversation.id === conversation.id);
    if (isKnown) {
      return pages.change((rows) => rows.map((row) => (row.conversation.id === conversation.id ? { ...row, conversation } : row)));
    }
    if (event.type !== "conversation_started" || !isListed(conversation, query)) return undefined;
    return pages.rows.length ? setFresh((number) => number + 1) : pages.reload();
  });
  const show = useCallback(() => {
    setFresh(0);
    window.scrollTo(0, 0);
    pages.reload();
  }, [pages.reload]);
  return { fresh: fresh + pages.missed, show, said };
}

function useRowKeys(list, count) {
  const focused = () => {
    const row = document.activeElement?.closest?.("[data-index]");
    return row ? Number(row.dataset.index) : -1;
  };
  const last = useRef(-1);
  const go = (step) => () => {
    const from = focused() >= 0 ? focused() : last.current;
    const index = Math.max(0, Math.min(count - 1, from + step));
    if (count === 0) return;
    last.current = index;
    list.current?.scrollTo(index);
    requestAnimationFrame(() => requestAnimationFrame(() => {
      document.querySelector(`[data-index="${index}"] [data-row]`)?.focus({ preventScroll: true });
    }));
  };
  return { down: go(1), up: go(-1) };
}

export default function Conversations({ query: asked }) {
  const query = readFilters(asked);
  const isSearch = Boolean(query.q);
  const key = JSON.stringify(Object.entries(query).sort());
  const pages = usePages(`conversations ${key}`, (cursor, signal) => (isSearch ? fetchFound : fetchList)(query, cursor, signal));
  const [hasHelp, setHasHelp] = useState(false);
  const [hasFilters, setHasFilters] = useState(false);
  const { fresh, show: showFresh, said } = useListChanges(pages, query, isSearch);
  const box = useRef(null);
  const list = useRef(null);
  const { down, up } = useRowKeys(list, pages.rows.length);
  useShortcuts([
    { keys: "/", label: "Search", run: () => { box.current.focus(); box.current.select(); } },
    { keys: "j", label: "Next conversation", run: down },
    { keys: "k", label: "Previous conversation", run: up },
    { keys: "Enter", label: "Open it" },
  ], "Conversations");
  // While others are looked for, those that were there stay, paler.
  const last = useRef(pages);
  const isStale = !pages.rows.length && !pages.isDone && !pages.error;
  if (!isStale) last.current = pages;
  const shown = last.current;
  const counted = describeCount(shown, isSearch);
  useEffect(() => {
    if (!isStale) announce(counted);
  }, [counted, isStale]);
  const sorts = isSearch ? FOUND_SORTS : SORTS;
  return html`
    <div class="head"><h1>Conversations</h1></div>
    <${SearchBox} value=${query.q ?? ""} box=${box} onHelp=${() => setHasHelp(true)} />
    <div class="browse">
      <div><button class="button filters-open" aria-expanded=${String(hasFilters)} aria-controls="filters" onClick=${() => setHasFilters(!hasFilters)}><${Icon} name="filter" />Filters</button>
        <${Facets} query=${query} isSearch=${isSearch} found=${shown.extra.facets} isShown=${hasFilters} /></div>
      <section class="card" aria-label=${isSearch ? "What was found" : "All conversations"}>
        <div class="list-head"><span class="muted number">${counted}</span><${Chips} query=${query} isSearch=${isSearch} />
          ${fresh > 0 && html`<button class="button button-primary" onClick=${showFresh}>${fresh} new</button>`}
          <span class="grow"></span>
          <label class="visually-hidden" for="sort">Order</label>
          <select class="select" id="sort" value=${query.sort in sorts ? query.sort : Object.keys(sorts)[0]}
            onChange=${(event) => setQuery({ sort: event.target.value === Object.keys(sorts)[0] ? null : event.target.value }, { replace: false })}>
            ${Object.entries(sorts).map(([value, label]) => html`<option key=${value} value=${value}>${label}</option>`)}</select></div>
        <div class=${isStale ? "is-stale" : ""} aria-busy=${isStale}><${List} pages=${shown} handle=${list} isSearch=${isSearch} said=${said} key=${shown.key} /></div>
      </section>
    </div>
    ${hasHelp && html`<${LanguageDialog} onClose=${() => setHasHelp(false)} onTry=${(example) => { setHasHelp(false); setQuery({ q: example }, { replace: false }); box.current.focus(); }} />`}`;
}

function List({ pages, handle, isSearch, said }) {
  const { rows, total, error, isLoading, isDone } = pages;
  if (!rows.length) {
    if (error) return html`<${Failure} error=${error} retry=${() => pages.more()} />`;
    if (!isDone) return html`<${Loading} lines=${9} />`;
    return isSearch
      ? html`<${Empty} title="Nothing was found">Fewer words find more; so does taking a filter away.<//>`
      : html`<${Empty} title="No conversations">There are none yet, or none that these filters leave.<//>`;
  }
  return html`<${VirtualList} count=${rows.length} total=${isDone ? rows.length : total ?? -1} estimate=${isSearch ? 150 : 68} handle=${handle}
      label="Conversations" rowKey=${(index) => rows[index].conversation.id} renderRow=${(index) => html`<${Row} row=${rows[index]} said=${said.get(rows[index].conversation.id)} />`}
      onRange=${(_, last) => last >= rows.length - AHEAD && !error && pages.more()} />
    ${error ? html`<${Failure} error=${error} retry=${() => pages.more()} />` : isLoading && html`<${Loading} lines=${2} label="Loading more" />`}`;
}
