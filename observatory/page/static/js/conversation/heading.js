// What a conversation is: title, where and when it was, what it cost, its tags; and what can be done with it.
import { html, useEffect, useLayoutEffect, useRef, useState } from "../html.js";
import { request } from "../api.js";
import { conversationAddress, conversationsAddress } from "../addresses.js";
import { announce } from "../announcing.js";
import * as format from "../format.js";
import { Dialog } from "../components/dialog.js";
import { Icon } from "../components/icon.js";
import { Ago, DateTime } from "../components/time.js";
import { describeTokens } from "./said.js";

const EXPORTS = [["markdown", "Markdown"], ["html", "HTML, one page"], ["json", "JSON"], ["jsonl", "JSON, a message a line"]];
const ACTIVE_MS = 10 * 60_000;
const path = (id) => `/api/conversations/${encodeURIComponent(id)}`;

/** Whether something was said in the last ten minutes. */
export const isActive = ({ updated_at: at }) => Date.now() - new Date(at) < ACTIVE_MS;

export function Heading({ detail, mayChange, onChange }) {
  const [isNaming, setIsNaming] = useState(false);
  const { title, kind, parent_id: parent, project_path: project, git_branch: branch, models, created_at: from, updated_at: to, copied_from: copied, agent_type: agent } = detail;
  const took = new Date(to) - new Date(from);
  return html`<header class="conversation-head">
    <div class="crumbs small"><a href="/conversations">Conversations</a>
      ${parent && html`<span aria-hidden="true">/</span><a href=${conversationAddress(parent)}>Started by</a>`}
      ${project && html`<span aria-hidden="true">/</span><a class="clip" href=${conversationsAddress({ project })} title=${project}>${format.projectName(project)}</a>`}</div>
    <div class="title-row"><h1 class="conversation-title" title=${title}>${title}</h1>
      ${mayChange && html`<button type="button" class="button button-quiet button-icon" aria-label="Rename" title="Rename" onClick=${() => setIsNaming(true)}><${Icon} name="edit" size=${15} /></button>`}</div>
    <p class="heading-facts small muted">
      ${isActive(detail) && html`<span class="tag tag-good"><span class="dot dot-live"></span>Live</span>`}
      ${kind === "subagent" && html`<span class="tag">${agent ? `subagent: ${agent}` : "subagent"}</span>`}
      <span><${DateTime} at=${from} />${took > 60_000 && html` – <${Ago} at=${to} /> <span class="faint">(${format.duration(took)})</span>`}</span>
      ${branch && html`<span class="row-tight"><${Icon} name="branch" size=${13} />${branch}</span>`}
      ${models.map((model) => html`<span class="tag" key=${model} title=${model}>${format.modelName(model)}</span>`)}
      ${copied && html`<a href=${conversationAddress(copied)}>Goes on from another</a>`}
      <${Tags} detail=${detail} mayChange=${mayChange} onChange=${onChange} /></p>
    <${Numbers} detail=${detail} />
    ${isNaming && html`<${NameDialog} detail=${detail} onClose=${() => setIsNaming(false)} onChange=${onChange} />`}
  </header>`;
}

function Numbers({ detail }) {
  const { message_count: messages, prompt_count: prompts, tool_use_count: uses, error_count: errors, usage, total_tokens: tokens, cost_microdollars: cost, cost_complete: isComplete, subagents, usage_quality: quality, api_call_count: calls } = detail;
  const agents = subagents.reduce((sum, { cost_microdollars: one }) => sum + (one ?? 0), 0);
  const numbers = [
    ["Prompts", format.count(prompts), format.plural(messages, "message")],
    ["Tools", format.count(uses), errors ? html`<span class="bad">${format.count(errors)} failed</span>` : "none failed"],
    ["Tokens", format.compact(tokens), `${quality === "undercounted" ? "≥ " : ""}${format.compact(usage.output_tokens)} output`, describeTokens(usage)],
    ["From cache", format.percent(tokens ? usage.cache_read_input_tokens / (tokens - usage.output_tokens || 1) : null), `${format.compact(usage.cache_read_input_tokens)} read`],
    ["Cost", format.money(cost, isComplete), subagents.length ? `and ${format.money(agents)} of ${format.plural(subagents.length, "subagent")}` : `${format.plural(calls, "response")}`],
  ];
  return html`<dl class="card stats conversation-numbers">${numbers.map(([label, value, note, title]) => html`<div class="stat" key=${label} title=${title}><dt>${label}</dt>
    <dd class="stat-value">${value}</dd><dd class="stat-note">${note}</dd></div>`)}</dl>`;
}

function Tags({ detail, mayChange, onChange }) {
  const [isAdding, setIsAdding] = useState(false);
  const [error, setError] = useState(null);
  const box = useRef(null);
  const adder = useRef(null);
  const isByKey = useRef(false);
  useLayoutEffect(() => {
    if (isAdding) box.current.focus();
    // Who goes by keys goes on where the field was.
    else if (isByKey.current) adder.current.focus();
    isByKey.current = false;
  }, [isAdding]);
  const tags = detail.metadata?.tags ?? [];
  const change = async (tag, method) => {
    try {
      const { tags: next } = await request(`${path(detail.id)}/tags/${encodeURIComponent(tag)}`, { method });
      setError(null);
      onChange({ ...detail, metadata: { ...detail.metadata, tags: next } });
      announce(method === "PUT" ? `Tagged ${tag}` : `No longer tagged ${tag}`);
    } catch (problem) {
      setError(problem.details?.fields?.tag?.[0] ?? problem.message);
    }
  };
  const add = (event) => {
    event.preventDefault();
    // Taking the field away makes it lose the focus: that is the second time.
    const tag = box.current?.value.trim();
    if (box.current) box.current.value = "";
    if (event.type === "submit") isByKey.current = true;
    setIsAdding(false);
    if (tag) change(tag, "PUT");
  };
  return html`${tags.map((tag) => html`<span class="tag tag-accent" key=${tag}><a href=${conversationsAddress({ tag })}>${tag}</a>
      ${mayChange && html`<button type="button" class="tag-remove" aria-label=${`Take the tag ${tag} away`} onClick=${() => change(tag, "DELETE").then(() => adder.current?.focus())}><${Icon} name="close" size=${11} /></button>`}</span>`)}
    ${mayChange && (isAdding
      ? html`<form class="tag-form" onSubmit=${add}><input class="input" ref=${box} aria-label="New tag" maxlength="50" placeholder="Tag" onBlur=${add}
          onKeyDown=${(event) => event.key === "Escape" && (box.current.value = "", isByKey.current = true, setIsAdding(false))} /></form>`
      : html`<button type="button" class="tag tag-add" ref=${adder} onClick=${() => setIsAdding(true)}>+ Tag</button>`)}
    ${error && html`<span class="bad" role="alert">${error}</span>`}`;
}

function NameDialog({ detail, onClose, onChange }) {
  const [error, setError] = useState(null);
  const box = useRef(null);
  const save = async (event) => {
    event.preventDefault();
    try {
      onChange(await request(path(detail.id), { method: "PATCH", body: { title: box.current.value } }));
      onClose();
    } catch (problem) {
      setError(problem.details?.fields?.title?.[0] ?? problem.message);
    }
  };
  return html`<${Dialog} title="Rename" onClose=${onClose}><form class="stack" onSubmit=${save}>
    <div class="field"><label for="conversation-name">Title</label><input class="input" id="conversation-name" ref=${box} defaultValue=${detail.title} maxlength="200" required autofocus /></div>
    ${error && html`<p class="notice notice-bad" role="alert">${error}</p>`}
    <div class="row"><button class="button button-primary">Save</button><button type="button" class="button" onClick=${onClose}>Cancel</button></div></form><//>`;
}

/** What a conversation can be saved as. */
export function ExportMenu({ id }) {
  const element = useRef(null);
  useEffect(() => {
    const close = (event) => {
      const menu = element.current;
      if (!menu?.open || (event.key !== "Escape" && (event.type !== "pointerdown" || menu.contains(event.target)))) return;
      if (event.key === "Escape" && menu.contains(document.activeElement)) menu.querySelector("summary").focus();
      menu.open = false;
    };
    document.addEventListener("pointerdown", close);
    document.addEventListener("keydown", close);
    return () => {
      document.removeEventListener("pointerdown", close);
      document.removeEventListener("keydown", close);
    };
  }, []);
  return html`<details class="menu" ref=${element}><summary class="button"><${Icon} name="save" /><span class="bar-words">Export</span></summary>
    <ul class="menu-list">${EXPORTS.map(([name, label]) => html`<li key=${name}><a href=${`${path(id)}/export?format=${name}`} download>${label}</a></li>`)}</ul></details>`;
}

/** The subagents that no tool's use in the conversation tells of. */
export function OtherSubagents({ subagents, known }) {
  const others = subagents.filter(({ tool_use_id: use }) => !use || !known.has(use));
  if (!others.length) return null;
  return html`<details class="other-agents card"><summary>${format.plural(others.length, "subagent")} without a tool’s use</summary><ul>${others.map((one) => html`<li key=${one.id}>
    <a href=${conversationAddress(one.id)}>${one.title}</a> <span class="small muted">${format.plural(one.message_count, "message")}, ${format.money(one.cost_microdollars, one.cost_complete)}</span></li>`)}</ul></details>`;
}
