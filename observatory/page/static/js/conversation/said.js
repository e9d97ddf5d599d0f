// The rows of a conversation: prompts, answers, thinking, tools' uses, and what the client said.
import { html, useContext, useEffect, useMemo, useReducer, createContext, useErrorBoundary } from "../html.js";
import * as format from "../format.js";
import { conversationAddress } from "../addresses.js";
import { Icon } from "../components/icon.js";
import { Failure, Loading } from "../components/states.js";
import { Markdown } from "./markdown.js";
import { CopyLink, Fold, Lines, Output, ReadWhole } from "./parts.js";
import { InnerReading, ReadingContext, useOpen, useReading } from "./reading.js";
import { countMessages, describeBlock, isCut, readPrompt } from "./rows.js";
import { firstLine, readCommand, readNotification, stripAnsi, stripTags } from "./text.js";
import { iconOf, splitName, tellingOf } from "./tools.js";
import { Use } from "./uses.js";

/** `{folder, subagents}`: where the conversation was at work, and whom it started, by the use that did. */
export const AboutContext = createContext({ folder: null, subagents: new Map() });

const STATUSES = {
  __proto__: null,
  success: ["", "succeeded"], error: ["tag tag-bad", "failed"], rejected: ["tag tag-warn", "rejected"],
  interrupted: ["tag tag-warn", "interrupted"], running: ["tag tag-accent", "running"],
};

/** What is shown of a row. */
export function Said({ row }) {
  const [error] = useErrorBoundary();
  // Transcripts hold anything: one row that can not be drawn does not take the others along.
  if (error) return html`<div class="notice notice-warn"><p>This can not be shown as it should be.</p><${Output} text=${JSON.stringify(row.call ?? row.message, null, 2)} /></div>`;
  const Shown = SHOWN[row.type];
  return html`<${Shown} row=${row} />`;
}

const Clock = ({ at }) => html`<time class="tiny faint" datetime=${at} title=${format.exactTime(at)}>${format.timeOfDay(at)}</time>`;

function TurnHead({ row: { turn, message } }) {
  const { number, started_at: from, finished_at: to, tool_use_count: uses, error_count: errors, total_tokens: tokens, usage, message_count: messages } = turn;
  const took = new Date(to) - new Date(from);
  return html`<header class="turn"><h2 tabindex="-1" id=${`turn-${number}`} class="turn-number"><span class="visually-hidden">Turn </span>${number}</h2>
    <time class="small muted" datetime=${from} title=${format.exactTime(from)}>${format.dateTime(from)}</time>
    <span class="turn-facts small muted number">
      ${took >= 1000 && html`<span title="From its first message to its last">${format.duration(took)}</span>`}
      <span class="wide-only">${format.plural(messages, "message")}</span>
      ${uses > 0 && html`<span>${format.plural(uses, "tool")}</span>`}
      ${errors > 0 && html`<span class="bad">${format.count(errors)} failed</span>`}
      ${tokens > 0 && html`<span title=${describeTokens(usage)}>${format.compact(tokens)} tokens</span>
        <span>${format.money(turn.cost_microdollars, turn.cost_complete)}</span>`}
    </span><${CopyLink} message=${message} /></header>`;
}

/** The four kinds of tokens in words. */
export const describeTokens = (usage) =>
  `${format.count(usage.input_tokens)} input, ${format.count(usage.output_tokens)} output, ${format.count(usage.cache_creation_input_tokens)} written to the cache, ${format.count(usage.cache_read_input_tokens)} read from it`;

function Prompt({ row: { message } }) {
  const { text, asides, attachments } = readPrompt(message);
  const typed = message.kind === "command" ? readCommand(message.content) : stripAnsi(text);
  return html`<div class="prompt"><div class="prompt-who small"><${Icon} name="user" size=${14} />${message.kind === "queued_prompt" ? "Said while it worked" : message.kind === "command" ? "Command" : "Prompt"}
      <span class="grow"></span>${message.kind === "queued_prompt" && html`<${Clock} at=${message.timestamp} />`}</div>
    ${typed && html`<${Lines} text=${typed} most=${24} draw=${(shown) => html`<div class=${`prompt-text ${message.kind === "command" ? "mono" : ""}`}>${shown}</div>`} />`}
    ${isCut(message) && html`<${ReadWhole} message=${message} length=${message.content_length} />`}
    ${(attachments.length > 0 || asides.length > 0) && html`<ul class="attachments">
      ${attachments.map((block) => html`<li class="tag"><${Icon} name="image" size=${13} />${describeBlock(block, format.size)}, not kept</li>`)}
      ${asides.map(({ name, text: said }) => html`<li><details class="aside"><summary class="tag">${name}</summary><pre class="output">${said}</pre></details></li>`)}</ul>`}
  </div>`;
}

function Answer({ row: { message } }) {
  return html`<div class="answer"><${Markdown} text=${message.content} />
    ${isCut(message) && html`<${ReadWhole} message=${message} length=${message.content_length} />`}
    <div class="said-tools"><${Clock} at=${message.timestamp} /><${CopyLink} message=${message} /></div></div>`;
}

function Thinking({ row }) {
  const [isOpen, toggle] = useOpen(row);
  const { message } = row;
  const isHidden = !message.content;
  return html`<${Fold} icon="thought" isOpen=${isOpen} onToggle=${toggle} tone="fold-quiet" head=${html`<span class="fold-name">Thinking</span>
      <span class="fold-told clip">${isHidden ? "encrypted" : firstLine(message.content.slice(0, 400))}</span>`}>
    ${isHidden ? html`<p class="small faint">What was thought here is encrypted.</p>` : html`<${Markdown} text=${message.content} className="prose-quiet" />`}
    ${isCut(message) && html`<${ReadWhole} message=${message} length=${message.content_length} />`}
  <//>`;
}

function Tool({ row }) {
  const [isOpen, toggle] = useOpen(row);
  const { folder, subagents } = useContext(AboutContext);
  const { call, message } = row;
  const { name, server } = splitName(call.function.name);
  const told = useMemo(() => stripAnsi(tellingOf(call.function.name, call.function.arguments, folder)), [call, folder]);
  const subagent = subagents.get(call.id);
  const [look, words] = STATUSES[call.status] ?? STATUSES.interrupted;
  return html`<${Fold} icon=${server ? "plug" : iconOf(call.function.name)} isOpen=${isOpen} onToggle=${toggle} tone=${call.status === "error" ? "fold-bad" : ""} head=${html`
      <span class="fold-name">${name}${server && html` <span class="fold-server faint">${server}</span>`}</span>
      <span class="fold-told mono clip">${told}</span>
      ${row.images.length > 0 && html`<${Icon} name="image" size=${14} />`}
      <span class=${look || "visually-hidden"}>${call.status === "running" && html`<span class="dot dot-live"></span>`}${words}</span>
      <span class="fold-time number">${call.execution_time_ms === null ? "" : format.duration(call.execution_time_ms)}</span>`}>
    <${Use} row=${row} folder=${folder} />
    ${subagent && html`<${Subagent} subagent=${subagent} row=${row} />`}
    <div class="said-tools said-tools-low"><${Clock} at=${message.timestamp} /><${CopyLink} message=${message} /></div>
  <//>`;
}

const NOTES = {
  __proto__: null,
  summary: "Summary of what was said before", injected: "Added by the client", command_output: "Output of a command", context: "Context",
  notification: "Notification", interruption: "Interrupted", warmup: "Warm-up", compaction: "Compacted here", api_error: "API error", retry: "Retry", notice: "Notice",
};
const NOTE_ICONS = { __proto__: null, api_error: "error", interruption: "stop", compaction: "fold", summary: "fold", retry: "again" };
const SUBTYPES = { __proto__: null, stop_hook_summary: "Hooks ran", turn_duration: "Turn took", away_summary: "While away" };

function describeNote({ kind, content, metadata: { notes } }) {
  if (kind === "retry") return notes?.retryAttempt ? `attempt ${notes.retryAttempt} of ${notes.maxRetries ?? "?"} after ${format.duration(notes.retryInMs)}` : firstLine(content);
  if (kind === "compaction") {
    const { preTokens, trigger } = notes?.compactMetadata ?? {};
    return [preTokens && `${format.compact(preTokens)} tokens before`, trigger && `${trigger}`].filter(Boolean).join(", ") || firstLine(content);
  }
  if (kind === "notice" && notes?.subtype === "turn_duration") return format.duration(notes.durationMs);
  if (kind === "notification") return firstLine(readNotification(content));
  return firstLine(stripTags(stripAnsi(content))).slice(0, 300) || (typeof notes?.error === "string" ? notes.error : "");
}

function Note({ row }) {
  const [isOpen, toggle] = useOpen(row);
  const { message } = row;
  const { kind, content } = message;
  const label = SUBTYPES[message.metadata.notes?.subtype] ?? NOTES[kind] ?? kind;
  return html`<${Fold} icon=${NOTE_ICONS[kind] ?? "note"} isOpen=${isOpen} onToggle=${toggle} tone=${kind === "api_error" ? "fold-bad fold-quiet" : "fold-quiet"} head=${html`
      <span class="fold-name">${label}</span><span class="fold-told clip">${describeNote(message)}</span>`}>
    ${kind === "summary" ? html`<${Markdown} text=${content} className="prose-quiet" />` : content.trim() ? html`<${Output} text=${stripTags(content)} label=${label} />` : null}
    ${isCut(message) && html`<${ReadWhole} message=${message} length=${message.content_length} />`}
    ${message.metadata.notes && !content.trim() && html`<${Output} text=${JSON.stringify(message.metadata.notes, null, 2)} label=${label} />`}
    <div class="said-tools said-tools-low"><${Clock} at=${message.timestamp} /><${CopyLink} message=${message} /></div>
  <//>`;
}

function Group({ row }) {
  const [isOpen, toggle] = useOpen(row);
  const { kind } = row.message;
  return html`<${Fold} icon=${NOTE_ICONS[kind] ?? "note"} isOpen=${isOpen} onToggle=${toggle} tone=${kind === "api_error" ? "fold-bad fold-quiet" : "fold-quiet"} head=${html`
      <span class="fold-name">${NOTES[kind]} × ${format.count(row.rows.length)}</span><span class="fold-told clip">${describeNote(row.message)}</span>`}>
    <div class="inner">${row.rows.map((one) => html`<${Said} key=${one.key} row=${one} />`)}</div>
  <//>`;
}

function Branch({ row }) {
  const [isOpen, toggle] = useOpen(row);
  const count = countMessages(row.rows);
  const why = row.message.is_superseded ? "that the transcript does not hold any more" : "on another branch";
  return html`<${Fold} icon="branch" isOpen=${isOpen} onToggle=${toggle} tone="fold-branch" head=${html`
      <span class="fold-name">${format.plural(count, "message")} ${why}</span><span class="fold-told clip">${firstLine(row.rows.find(({ type }) => type === "prompt")?.message.content ?? "")}</span>`}>
    <div class="inner inner-branch">${row.rows.map((one) => html`<div class="said" key=${one.key}><${Said} row=${one} /></div>`)}</div>
  <//>`;
}

function Subagent({ subagent, row }) {
  const inner = useMemo(() => ({ ...row, key: `${row.key}:inside` }), [row]);
  const [isOpen, toggle] = useOpen(inner);
  return html`<div class="subagent"><div class="row"><button type="button" class="button" aria-expanded=${String(isOpen)} onClick=${toggle}><${Icon} name="agent" />
      ${isOpen ? "Close" : "Open"} the subagent’s conversation</button>
    <span class="small muted number">${format.plural(subagent.message_count, "message")}, ${format.plural(subagent.tool_use_count, "tool")}, ${format.compact(subagent.total_tokens)} tokens, ${format.money(subagent.cost_microdollars, subagent.cost_complete)}</span>
    <a class="small" href=${conversationAddress(subagent.id)}>On its own page</a></div>
    ${isOpen && html`<${InnerConversation} id=${subagent.id} title=${subagent.title} />`}</div>`;
}

/** A conversation inside another, read as far as one wants. */
function InnerConversation({ id, title }) {
  const reading = useMemo(() => new InnerReading(id), [id]);
  const [, redraw] = useReducer((number) => number + 1, 0);
  useEffect(() => {
    const end = reading.listen(redraw);
    reading.more();
    return () => {
      end();
      reading.stop();
    };
  }, [reading]);
  const { messages, total, isReading, error, cursor } = reading;
  const rows = useMemo(() => reading.rows(), [messages, reading.whole.size]);
  return html`<${ReadingContext.Provider} value=${reading}><section class="inner inner-agent" aria-label=${`Subagent: ${title}`}>
    ${rows.map((row) => html`<div class=${`said said-${row.type}`} key=${row.key}><${Said} row=${row} /></div>`)}
    ${error && html`<${Failure} error=${error} retry=${() => reading.more()} />`}
    ${isReading && html`<${Loading} lines=${3} />`}
    ${!isReading && cursor && html`<button type="button" class="button" onClick=${() => reading.more()}>Show ${format.count(total - messages.length)} more messages</button>`}
  </section><//>`;
}

function Part({ row }) {
  const reading = useReading();
  if (row.error) return html`<${Failure} error=${row.error} retry=${() => reading.retry(row.part)} />`;
  return html`<div class="part" style=${{ height: `${row.height}px` }}><span class="visually-hidden">Messages ${row.at + 1} to ${row.at + row.count} are being read</span></div>`;
}

const SHOWN = { turn: TurnHead, prompt: Prompt, answer: Answer, thinking: Thinking, tool: Tool, note: Note, group: Group, branch: Branch, part: Part };
