// Tools: what each is called, the one thing that tells most of a use, and how it is shown.
// Nothing here knows of a document.
import { firstLine } from "./text.js";

// How a tool's use is shown, and which of its parameters tells most.
const TOOLS = {
  Bash: { shape: "shell", icon: "terminal", of: ["command"] },
  BashOutput: { shape: "shell", icon: "terminal", of: ["bash_id", "shell_id"] },
  KillShell: { icon: "terminal", of: ["shell_id"] },
  KillBash: { icon: "terminal", of: ["shell_id", "bash_id"] },
  Monitor: { shape: "shell", icon: "terminal", of: ["command", "description"] },
  PowerShell: { shape: "shell", icon: "terminal", of: ["command"] },
  Read: { shape: "read", icon: "file", of: ["file_path"] },
  NotebookRead: { shape: "read", icon: "file", of: ["notebook_path"] },
  Edit: { shape: "edit", icon: "edit", of: ["file_path"] },
  MultiEdit: { shape: "edit", icon: "edit", of: ["file_path"] },
  Write: { shape: "edit", icon: "edit", of: ["file_path"] },
  NotebookEdit: { shape: "edit", icon: "edit", of: ["notebook_path"] },
  Grep: { shape: "list", icon: "search", of: ["pattern"], also: "path" },
  Glob: { shape: "list", icon: "search", of: ["pattern"], also: "path" },
  LS: { shape: "list", icon: "search", of: ["path"] },
  ToolSearch: { icon: "search", of: ["query"] },
  TodoWrite: { shape: "todos", icon: "check", of: [] },
  TaskCreate: { icon: "check", of: ["subject", "description"] },
  TaskUpdate: { icon: "check", of: ["taskId"], also: "status" },
  TaskOutput: { icon: "agent", of: ["task_id"] },
  TaskStop: { icon: "agent", of: ["task_id"] },
  WebFetch: { shape: "web", icon: "globe", of: ["url"] },
  WebSearch: { shape: "web", icon: "globe", of: ["query"] },
  Task: { shape: "agent", icon: "agent", of: ["description", "prompt"] },
  Agent: { shape: "agent", icon: "agent", of: ["description", "prompt"] },
  Workflow: { icon: "agent", of: ["name", "scriptPath"] },
  Skill: { icon: "tool", of: ["skill", "command"] },
  SlashCommand: { icon: "tool", of: ["command"] },
  ExitPlanMode: { shape: "plan", icon: "list", of: ["plan"] },
  AskUserQuestion: { shape: "questions", icon: "help", of: [] },
};
// Where a tool is not known.
const TELLING = [
  "command", "file_path", "path", "notebook_path", "pattern", "query", "url", "description", "prompt", "name", "title", "id", "subject", "message", "text",
];
const ROOM = 300;

/** Return `{name, server}`: of a tool of an MCP server both. */
export function splitName(name) {
  const found = /^mcp__(.+?)__(.+)$/.exec(name);
  return found ? { name: found[2], server: found[1].replace(/^plugin_/, "") } : { name, server: null };
}

/** How a use is shown: `shell`, `read`, `edit`, `list`, `todos`, `web`, `agent`, `plan`, `questions` or `other`. */
export const shapeOf = (name) => known(name)?.shape ?? "other";
export const iconOf = (name) => known(name)?.icon ?? "tool";
const known = (name) => (Object.hasOwn(TOOLS, name) ? TOOLS[name] : undefined);

/** Any value as text: what stands in a transcript may be anything. */
export const asText = (value) => (typeof value === "string" ? value : value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));

/** A path below a folder, as one would say it there. */
export function shortPath(path, folder) {
  if (!folder) return path;
  const base = folder.replace(/[\\/]+$/, "");
  // A drive may be written large or small.
  const isBelow = path.startsWith(base) || (/^[A-Za-z]:/.test(base) && path.toLowerCase().startsWith(base.toLowerCase()));
  return isBelow && /^[\\/]/.test(path.slice(base.length)) ? path.slice(base.length + 1) : path;
}

/** The one thing that tells most of a use, as one line; paths below `folder` without it. */
export function tellingOf(name, input, folder = null) {
  if (input === null || input === undefined) return "";
  if (typeof input !== "object") return firstLine(asText(input)).slice(0, ROOM);
  if (name === "TodoWrite") return describeTodos(input.todos);
  if (name === "AskUserQuestion") return asText(input.questions?.[0]?.question ?? input.question);
  const tool = known(name);
  const found = [...(tool?.of ?? []), ...TELLING].find((key) => asText(input[key]).trim()) ??
    Object.keys(input).find((key) => ["string", "number"].includes(typeof input[key]) && asText(input[key]).trim());
  if (!found) return "";
  const clean = (key) => shortPath(firstLine(asText(input[key])).slice(0, ROOM), folder);
  const more = tool?.also && tool.also !== found && asText(input[tool.also]) ? ` ${tool.also === "path" ? "in " : ""}${clean(tool.also)}` : "";
  return clean(found) + more;
}

/** What is done of a list of things to do. */
export function describeTodos(todos) {
  if (!Array.isArray(todos) || !todos.length) return "";
  const done = todos.filter((todo) => todo?.status === "completed").length;
  const now = todos.find((todo) => todo?.status === "in_progress");
  return `${done} of ${todos.length} done${now ? `: ${firstLine(asText(now.activeForm ?? now.content))}` : ""}`;
}

/** The changes of a use as `[{path, before, after}]`; `before` null is a file that is written whole. */
export function editsOf(name, input) {
  const path = asText(input?.file_path ?? input?.notebook_path);
  if (name === "Write") return [{ path, before: null, after: asText(input?.content) }];
  if (name === "NotebookEdit") return [{ path, before: null, after: asText(input?.new_source) }];
  const edits = Array.isArray(input?.edits) ? input.edits : [input ?? {}];
  return edits.map((edit) => ({ path, before: asText(edit?.old_string), after: asText(edit?.new_string), isAll: edit?.replace_all === true }));
}

const LANGUAGES = {
  bash: "bash sh zsh bashrc zshrc", c: "c h", cpp: "cc cpp cxx hpp hh", csharp: "cs", css: "css", diff: "diff patch",
  go: "go", graphql: "graphql gql", ini: "ini toml cfg conf env", java: "java", javascript: "js mjs cjs jsx", json: "json jsonl ipynb json5",
  kotlin: "kt kts", less: "less", lua: "lua", makefile: "makefile mk", markdown: "md mdx markdown", objectivec: "m mm", perl: "pl pm",
  php: "php", python: "py pyi", r: "r", ruby: "rb rake gemfile", rust: "rs", scss: "scss sass", sql: "sql", swift: "swift",
  typescript: "ts tsx mts cts", vbnet: "vb", xml: "xml html htm svg vue svelte plist xhtml", yaml: "yml yaml",
};
const BY_ENDING = Object.fromEntries(Object.entries(LANGUAGES).flatMap(([language, endings]) => endings.split(" ").map((ending) => [ending, language])));

/** The language of a file by its name, or null. */
export function languageOf(path) {
  const file = asText(path).split(/[\\/]/).pop().toLowerCase();
  return Object.hasOwn(BY_ENDING, file.split(".").pop()) ? BY_ENDING[file.split(".").pop()] : null;
}

/** What a list of files or matches holds: `[{path, line, text}]`, and what else was said as `notes`. */
export function parseList(result) {
  const entries = [];
  const notes = [];
  for (const line of result.split("\n")) {
    if (!line.trim()) continue;
    const match = /^((?:[A-Za-z]:)?[^:\n]*[./\\][^:\n]*):(\d+):(.*)$/.exec(line);
    if (match) entries.push({ path: match[1], line: Number(match[2]), text: match[3] });
    else if (/^(?:[A-Za-z]:)?[./\\~]?[^\s:]+[./\\][^:]*$/.test(line.trim()) && !/^\(/.test(line)) entries.push({ path: line.trim() });
    else notes.push(line);
  }
  return { entries, notes };
}

/** Text as the JSON that it is, or undefined. */
export function parseJson(text) {
  const trimmed = text.trim();
  if (!/^[[{]/.test(trimmed)) return undefined;
  try {
    return JSON.parse(trimmed);
  } catch {
    return undefined;
  }
}
