// What a tool was given and what it gave back, as each kind of tool is best read.
import { html, useEffect, useMemo, useState } from "../html.js";
import * as format from "../format.js";
import { Icon } from "../components/icon.js";
import { Change } from "./changes.js";
import { Code } from "./highlighting.js";
import { Markdown } from "./markdown.js";
import { Facts, Lines, Output, ReadWhole, Tree } from "./parts.js";
import { useReading } from "./reading.js";
import { describeBlock, isInputCut, isResultCut } from "./rows.js";
import { parseNumbered, stripAnsi, stripTags } from "./text.js";
import { findStart } from "./differences.js";
import { asText, editsOf, languageOf, parseJson, parseList, shortPath } from "./tools.js";

const IS_LONG_JSON = 200_000;

/** All of a use: what was given, what came back, and what else is told. */
export function Use({ row, folder }) {
  const { call, message, images, shape } = row;
  const Shape = SHAPES[shape] ?? Other;
  const input = call.function.arguments;
  const isBroken = input === null || typeof input !== "object";
  return html`
    ${isInputCut(message, call) ? html`<${WholeInput} message=${message} />` : isBroken ? html`<${Other} call=${call} input=${input} />`
      : html`<${Shape} call=${call} input=${input} folder=${folder} hasImages=${images.length > 0} />`}
    ${images.length > 0 && html`<ul class="attachments">${images.map((image) => html`<li class="tag"><${Icon} name="image" size=${13} />${describeBlock(image, format.size)}, not kept</li>`)}</ul>`}
    ${isResultCut(message, call) && html`<${ReadWhole} message=${message} length=${call.result_length} what="Show all of the result" />`}`;
}

/** A change can not be shown of its beginning: all of it is read. */
function WholeInput({ message }) {
  const reading = useReading();
  const [error, setError] = useState(null);
  useEffect(() => {
    reading.readWhole(message.id).catch(setError);
  }, [message.id]);
  return error ? html`<${ReadWhole} message=${message} what="Try to read it again" />` : html`<p class="small faint" role="status">Reading…</p>`;
}

const isBad = ({ status }) => status !== "success" && status !== "running";

/** What came back, where its form is not known. */
function Result({ call, label = "Result" }) {
  const text = call.result;
  const value = useMemo(() => (text && text.length < IS_LONG_JSON ? parseJson(text) : undefined), [text]);
  if (text === null) return html`<p class="small faint">${call.status === "running" ? "It is still running." : "No result was kept."}</p>`;
  if (value !== undefined) return html`<div class="tree-box"><${Tree} value=${value} /></div>`;
  return html`<${Output} text=${text} label=${label} isBad=${isBad(call)} />`;
}

/** Inputs that a shape does not show by itself. */
function Rest({ input, but }) {
  const others = Object.entries(input).filter(([name, value]) => !but.includes(name) && value !== null && value !== "");
  return html`<${Facts} facts=${others.filter(([, value]) => typeof value !== "object").map(([name, value]) => [name.replace(/_/g, " ").replace(/^-+/, "-"), String(value)])} />
    ${others.filter(([, value]) => typeof value === "object").map(([name, value]) => html`<div key=${name} class="tree-box"><${Tree} value=${{ [name]: value }} /></div>`)}`;
}

function Other({ call, input }) {
  return html`${input !== null && (typeof input !== "object" || Object.keys(input).length > 0) && html`<div class="tree-box"><${Tree} value=${input} /></div>`}
    <${Result} call=${call} />`;
}

function Shell({ call, input }) {
  const command = asText(input.command);
  return html`${command && html`<${Code} text=${stripAnsi(command)} language="bash" isWrapped=${true} label="Command" />`}
    <${Rest} input=${input} but=${["command"]} />
    <${Result} call=${call} label="Output" />`;
}

function Read({ call, input, folder, hasImages }) {
  const numbered = useMemo(() => (call.result && call.status === "success" ? parseNumbered(call.result) : null), [call.result]);
  const path = asText(input.file_path ?? input.notebook_path);
  return html`<${Path} path=${path} folder=${folder} /><${Rest} input=${input} but=${["file_path", "notebook_path"]} />
    ${numbered ? html`<${Lines} text=${numbered.code} draw=${(shown) => html`<${Code} text=${shown} language=${languageOf(path)} start=${numbered.start} label=${path} />`} />
        ${numbered.rest && html`<p class="small faint notes">${stripTags(numbered.rest)}</p>`}`
      : (!hasImages || call.result?.trim()) && html`<${Result} call=${call} />`}`;
}

const Path = ({ path, folder }) => html`<p class="small mono path" title=${path}>${shortPath(path, folder)}</p>`;

function Edit({ call, input, folder }) {
  const edits = useMemo(() => editsOf(call.function.name, input), [call, input]);
  const numbered = useMemo(() => parseNumbered((call.result ?? "").replace(/^[\s\S]*?\n(?=\s*\d+(?:→|\t))/, "")), [call.result]);
  return html`<${Path} path=${edits[0]?.path ?? ""} folder=${folder} />
    ${edits.map(({ before, after, isAll }, index) => {
      const start = before === null ? 1 : findStart(after, numbered);
      return html`<${Change} key=${index} before=${before} after=${after} start=${start} isNumbered=${before === null || numbered !== null}
        note=${isAll ? "wherever it stood" : before === null ? "written whole" : null} />`;
    })}
    ${isBad(call) && html`<${Result} call=${call} />`}`;
}

function List({ call, input, folder }) {
  const { entries, notes } = useMemo(() => parseList(call.status === "success" ? stripAnsi(call.result ?? "") : ""), [call.result]);
  const [isLong, setIsLong] = useState(false);
  const shown = isLong ? entries : entries.slice(0, 40);
  if (!entries.length || notes.length > entries.length) return html`<${Rest} input=${input} but=${[]} /><${Result} call=${call} />`;
  return html`<${Rest} input=${input} but=${[]} />
    <ul class="found">${shown.map(({ path, line, text }, index) => html`<li key=${index}><span class="mono">${shortPath(path, folder)}${line !== undefined && html`<span class="faint">:${line}</span>`}</span>
      ${text !== undefined && html`<code>${text}</code>`}</li>`)}</ul>
    ${entries.length > 40 && html`<button type="button" class="button more" onClick=${() => setIsLong(!isLong)}>${isLong ? "Show less" : `Show all ${format.count(entries.length)}`}</button>`}
    ${notes.length > 0 && html`<p class="small faint notes">${notes.join("\n")}</p>`}`;
}

const MARKS = { completed: ["☑", "done"], in_progress: ["◐", "at work"], pending: ["☐", "to do"] };

function Todos({ call, input }) {
  if (!Array.isArray(input.todos)) return html`<${Other} call=${call} input=${input} />`;
  return html`<ul class="todos">${input.todos.map((todo, index) => {
    const { content, activeForm } = todo ?? {};
    const status = Object.hasOwn(MARKS, todo?.status) ? todo.status : "pending";
    const [mark, words] = MARKS[status];
    return html`<li key=${index} class=${`todo-${status}`}><span aria-hidden="true">${mark}</span><span class="visually-hidden">${words}: </span>
      <span>${asText(status === "in_progress" ? activeForm ?? content : content)}</span></li>`;
  })}</ul>${isBad(call) && html`<${Result} call=${call} />`}`;
}

function Web({ call, input }) {
  const [url, query, prompt] = [input.url, input.query, input.prompt].map(asText);
  return html`${url && html`<p class="small mono path">${linkOf(url)}</p>`}${query && html`<p>${query}</p>`}${prompt && html`<p class="muted">${prompt}</p>`}
    <${Rest} input=${input} but=${["url", "query", "prompt"]} />
    ${call.result && !isBad(call) ? html`<div class="quoted"><${Lines} text=${call.result} most=${60} draw=${(shown) => html`<${Markdown} text=${shown} />`} /></div>` : html`<${Result} call=${call} />`}`;
}

function linkOf(url) {
  let target = null;
  try {
    target = new URL(String(url));
  } catch {
    // It is shown as what it is.
  }
  const isWeb = target && ["https:", "http:"].includes(target.protocol);
  return isWeb ? html`<a href=${target.href} target="_blank" rel="noopener noreferrer">${String(url)}</a>` : String(url);
}

function Agent({ call, input }) {
  return html`<${Rest} input=${input} but=${["prompt", "description"]} />
    ${input.prompt && html`<h4>Asked</h4><div class="quoted"><${Lines} text=${asText(input.prompt)} most=${24} draw=${(shown) => html`<${Markdown} text=${shown} />`} /></div>`}
    ${call.result && !isBad(call) ? html`<h4>Answered</h4><div class="quoted"><${Lines} text=${call.result} most=${60} draw=${(shown) => html`<${Markdown} text=${shown} />`} /></div>` : html`<${Result} call=${call} />`}`;
}

function Plan({ call, input }) {
  if (!input.plan) return html`<${Other} call=${call} input=${input} />`;
  return html`<div class="quoted"><${Markdown} text=${asText(input.plan)} /></div><${Result} call=${call} />`;
}

function Questions({ call, input }) {
  if (!Array.isArray(input.questions)) return html`<${Other} call=${call} input=${input} />`;
  return html`<ol class="questions">${input.questions.map((asked, index) => html`<li key=${index}><p>${asked?.header && html`<span class="tag">${asText(asked.header)}</span> `}${asText(asked?.question)}</p>
      ${Array.isArray(asked?.options) && html`<ul>${asked.options.map((option) => html`<li>${asText(option?.label ?? option)}${option?.description && html` <span class="muted">${asText(option.description)}</span>`}</li>`)}</ul>`}</li>`)}</ol>
    <${Result} call=${call} label="Answers" />`;
}

const SHAPES = { shell: Shell, read: Read, edit: Edit, list: List, todos: Todos, web: Web, agent: Agent, plan: Plan, questions: Questions };
