// Messages as the rows that are shown of them. Nothing here knows of a document.
import { splitPrompt } from "./text.js";
import { shapeOf } from "./tools.js";

/** How many characters of a text are asked for at first. */
export const SHOWN_CHARACTERS = 6000;
const PROMPTS = new Set(["prompt", "queued_prompt", "command"]);
// Said by the client or for it: quiet, and together when many stand in a row.
const NOTES = new Set([
  "summary", "injected", "command_output", "context", "notification", "interruption", "warmup", "compaction", "api_error", "retry", "notice",
]);
// What the client writes for an answer that has nothing but tools' uses.
const NO_CONTENT = "(no content)";
const GROUPED_FROM = 3;
const HEIGHTS = { tool: 34, thinking: 34, note: 34, group: 34, branch: 40, turn: 60 };

/**
 * Return the rows of messages that follow each other.
 *
 * @param {object[]} messages
 * @param {number} offset How many messages of the conversation stand before them.
 * @param {(offset: number) => ?object} turnAt The turn that begins at a message, if one does.
 */
export function makeRows(messages, offset, turnAt) {
  const images = imagesOf(messages);
  const rows = messages.flatMap((message, index) => rowsOf(message, offset + index, turnAt(offset + index), images));
  return foldBranches(groupNotes(rows));
}

function imagesOf(messages) {
  const found = new Map();
  for (const { kind, blocks } of messages) {
    if (kind !== "tool_result" || !blocks) continue;
    for (const block of blocks) {
      const list = Array.isArray(block.content) ? block.content.filter(({ type }) => type === "image" || type === "document") : [];
      if (list.length) found.set(block.tool_use_id, list);
    }
  }
  return found;
}

function rowsOf(message, at, turn, images) {
  const { id, kind, content, tool_calls: calls } = message;
  const row = (type, more = {}) => ({ key: id, type, at, message, isAside: isAside(message), height: estimate(type, message), ...more });
  const rows = [];
  if (turn) rows.push(row("turn", { turn, key: `turn-${id}`, height: HEIGHTS.turn }));
  if (PROMPTS.has(kind)) rows.push(row("prompt"));
  else if (kind === "thinking") {
    if (content || message.blocks) rows.push(row("thinking"));
  } else if (NOTES.has(kind)) rows.push(row("note"));
  else if (kind !== "tool_result" && content.trim() && content !== NO_CONTENT) rows.push(row("answer"));
  for (const call of calls) {
    rows.push(row("tool", { key: `${id}:${call.id}`, call, images: images.get(call.id) ?? [], shape: shapeOf(call.function.name) }));
  }
  return rows;
}

const isAside = ({ is_on_main_branch: isOnMain, is_superseded: isSuperseded }) => !isOnMain || isSuperseded;

function estimate(type, { content }) {
  if (HEIGHTS[type]) return HEIGHTS[type];
  const lines = content.split("\n").reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / 90)), 0);
  return 28 + 23 * (type === "prompt" ? Math.min(lines, 14) : lines);
}

function groupNotes(rows) {
  const grouped = [];
  for (let from = 0; from < rows.length; ) {
    const { type, message, isAside: isAsideHere } = rows[from];
    let to = from + 1;
    while (type === "note" && rows[to]?.type === "note" && rows[to].message.kind === message.kind && rows[to].isAside === isAsideHere) to++;
    if (to - from >= GROUPED_FROM) {
      grouped.push({ ...rows[from], key: `group-${message.id}`, type: "group", rows: rows.slice(from, to), height: HEIGHTS.group });
    } else grouped.push(...rows.slice(from, to));
    from = to;
  }
  return grouped;
}

/** What is not on the way to the end, because a prompt was written anew, is one row. */
function foldBranches(rows) {
  const folded = [];
  for (const row of rows) {
    if (!row.isAside) folded.push(row);
    else if (folded.at(-1)?.type === "branch") folded.at(-1).rows.push(row);
    else folded.push({ ...row, key: `branch-${row.key}`, type: "branch", rows: [row], height: HEIGHTS.branch });
  }
  return folded;
}

/** How many messages rows are of. */
export const countMessages = (rows) => new Set(rows.map(({ message }) => message.id)).size;

/** Whether a row can be opened. */
export const isOpenable = ({ type }) => ["tool", "thinking", "note", "group", "branch"].includes(type);

/** The row that shows a message or, when `toolUseId` is given, a tool's use; rows in rows too. */
export function findRow(rows, messageId, toolUseId = null) {
  for (const row of rows) {
    // What is not read yet has no message.
    if (!row.message) continue;
    if (row.rows) {
      const inside = findRow(row.rows, messageId, toolUseId);
      if (inside) return { row, inside: inside.inside ?? inside.row };
    }
    const isIt = toolUseId ? row.call?.id === toolUseId : row.message.id === messageId && row.type !== "turn";
    if (isIt) return { row, inside: null };
  }
  return null;
}

// `isWhole` is set of messages that were read by themselves.

/** Whether a text of a message is only begun. */
export const isCut = ({ content_length: length, isWhole }) => !isWhole && length > SHOWN_CHARACTERS;

/** Whether what a tool gave back is only begun. */
export const isResultCut = ({ isWhole }, { result_length: length }) => !isWhole && length > SHOWN_CHARACTERS;

/** Whether what a tool was given is only begun. */
export const isInputCut = ({ isWhole }, call) => !isWhole && hasLongText(call.function.arguments);

function hasLongText(value) {
  if (typeof value === "string") return value.length >= SHOWN_CHARACTERS;
  return Boolean(value) && typeof value === "object" && Object.values(value).some(hasLongText);
}

/** Text of a prompt with what the client put beside it, and what else is in it, such as images. */
export function readPrompt({ content, blocks }) {
  const others = (blocks ?? []).filter(({ type }) => type !== "text" && type !== "tool_result");
  return { ...splitPrompt(content), attachments: others };
}

/** “image/png, 231 kB” of a block that is no text, by `size` which writes numbers of bytes. */
export function describeBlock(block, size) {
  const source = block.source ?? {};
  const bytes = source.bytes ?? block.bytes;
  return [source.media_type ?? block.media_type ?? block.type, bytes === undefined ? null : size(bytes)].filter(Boolean).join(", ");
}
