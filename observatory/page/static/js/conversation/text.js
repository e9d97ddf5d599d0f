// What stands in texts of transcripts: colours of terminals, numbered lines, tags of the client.
// Nothing here knows of a document.

// eslint-disable-next-line no-control-regex
const ESCAPES = /\u001b(?:\[([0-9;:?]*)([ -/]*[@-~])|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[PX^_][^\u001b]*(?:\u001b\\)?|[ -/]*[0-~])/g;
// eslint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g;
const STYLES = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 9: "strike" };
const ENDS = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 29: ["strike"] };

/** Text without what a terminal would have made of it. */
export const stripAnsi = (text) => rewind(text).replace(ESCAPES, "").replace(CONTROLS, "");

/** A line that was written over again and again, as by a progress bar, as it stood at last. */
function rewind(text) {
  if (!text.includes("\r")) return text;
  return text.replace(/\r+\n/g, "\n").split("\n").map((line) => line.replace(/\r+$/, "").split("\r").pop()).join("\n");
}

/** Return `[{text, classes}]`: runs of text, and the colours that a terminal gives each. */
export function parseAnsi(text) {
  const shown = rewind(text);
  const runs = [];
  let active = new Set();
  let colour = null;
  let last = 0;
  const add = (part) => {
    const clean = part.replace(CONTROLS, "");
    if (clean) runs.push({ text: clean, classes: [...active, ...(colour === null ? [] : [colour])].map((name) => `ansi-${name}`) });
  };
  for (const found of shown.matchAll(ESCAPES)) {
    add(shown.slice(last, found.index));
    last = found.index + found[0].length;
    if (found[2] === "m") [active, colour] = applyStyles(found[1], active, colour);
  }
  add(shown.slice(last));
  return runs;
}

function applyStyles(codes, active, colour) {
  const next = new Set(active);
  let foreground = colour;
  const numbers = codes.split(/[;:]/).map(Number);
  for (let index = 0; index < numbers.length; index++) {
    const code = numbers[index];
    if (code === 0) {
      next.clear();
      foreground = null;
    } else if (STYLES[code]) next.add(STYLES[code]);
    else if (ENDS[code]) ENDS[code].forEach((name) => next.delete(name));
    else if (code >= 30 && code <= 37) foreground = code - 30;
    else if (code >= 90 && code <= 97) foreground = code - 90;
    else if (code === 39) foreground = null;
    else if (code === 38 || code === 48) {
      // Of 256 colours the first 16 have names; all others are shown as text is.
      if (code === 38) foreground = numbers[index + 1] === 5 && numbers[index + 2] < 16 ? numbers[index + 2] % 8 : null;
      index += numbers[index + 1] === 5 ? 2 : 4;
    }
  }
  return [next, foreground];
}

/** Take apart lines with numbers before them (`cat -n`): `{start, code, rest}`, or null. */
export function parseNumbered(text) {
  const lines = text.split("\n");
  const code = [];
  let start = null;
  let index = 0;
  for (; index < lines.length; index++) {
    const found = /^\s*(\d+)(?:→|\t)(.*)$/.exec(lines[index]);
    if (!found || (start !== null && Number(found[1]) !== start + code.length)) break;
    start ??= Number(found[1]);
    code.push(found[2].replace(/\r$/, ""));
  }
  if (!code.length) return null;
  return { start, code: code.join("\n"), rest: lines.slice(index).join("\n").trim() };
}

const TAGS = /<(ide_opened_file|ide_selection|ide_diagnostics|system-reminder|user-prompt-submit-hook|session-start-hook|local-command-caveat|bash-input)>([\s\S]*?)(?:<\/\1>|$)/g;

/** Return what a person typed, and what the client put beside it: `{text, asides: [{name, text}]}`. */
export function splitPrompt(text) {
  const asides = [];
  const typed = text.replace(TAGS, (_, name, inner) => {
    asides.push({ name: name.replace(/[_-]/g, " "), text: inner.trim() });
    return "";
  });
  return { text: typed.trim(), asides };
}

const inner = (text, tag) => new RegExp(`<${tag}>([\\s\\S]*?)(?:</${tag}>|$)`).exec(text)?.[1].trim() ?? "";

/** A slash command as it was typed. */
export function readCommand(text) {
  const name = inner(text, "command-name") || inner(text, "command-message");
  if (!name) return stripTags(text);
  const called = name.startsWith("/") ? name : `/${name}`;
  return `${called} ${inner(text, "command-args")}`.trim();
}

/** Text without the tags that the client puts around it. */
export const stripTags = (text) =>
  text.replace(/<\/?(?:local-command-stdout|local-command-stderr|bash-stdout|bash-stderr|bash-input|task-notification|command-[a-z]+|system-reminder)>/g, "").trim();

/** What a notification of a task says. */
export const readNotification = (text) => inner(text, "summary") || stripTags(text);

/** The first words of a prompt or command, as one line. */
export function headline(text, kind = "prompt") {
  const said = kind === "command" ? readCommand(text) : splitPrompt(text).text || stripTags(text);
  return said.replace(/\s+/g, " ").trim();
}

export const firstLine = (text) => /\S[^\n]*/.exec(text)?.[0].trim() ?? "";

/** Cut text at a number of lines: `[shown, how many lines there are]`. */
export function cutLines(text, most) {
  let at = -1;
  let lines = 1;
  for (let index = text.indexOf("\n"); index >= 0; index = text.indexOf("\n", index + 1)) {
    if (lines === most) at = index;
    lines += 1;
  }
  return [at >= 0 ? text.slice(0, at) : text, lines];
}

/** The words of a search that can be marked in a text. */
export function wordsOf(query) {
  const words = [];
  const plain = query.replace(/(^|\s)(?:[a-z]+:\S*|-\S+)/g, " ");
  for (const [, phrase, word] of plain.matchAll(/"([^"]*)"?|([^\s"*]+)\*?/g)) {
    const found = (phrase ?? word)?.trim();
    if (found && found !== "OR") words.push(found.toLowerCase());
  }
  return words;
}
