// Differences of two texts as lines with numbers and, where lines were changed, the words in them.
// Nothing here knows of a document; the library is handed in, as it is loaded when it is needed.

const CONTEXT = 3;
const MOST_EDITS = 4000;
const LONGEST_LINE = 600;

const linesOf = (text) => {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
};

/**
 * Return `{hunks, added, removed}`; a hunk is a list of `{kind, old, new, text, parts}`: `kind` is
 * " ", "+" or "-", `old` and `new` the numbers of the line, `parts` (`[{text, isChanged}]`) its words
 * where it was changed and not replaced.
 *
 * @param {object} library `diffLines` and `diffWordsWithSpace`.
 * @param {?string} before Null when there was nothing, or nobody knows what.
 * @param {number} start The number of the first line.
 */
export function compare(library, before, after, start = 1) {
  const lines = before === null ? linesOf(after).map((text) => ["+", text]) : listLines(library, before, after);
  const numbered = number(lines, start);
  markWords(library, numbered);
  const added = numbered.filter(({ kind }) => kind === "+").length;
  const removed = numbered.filter(({ kind }) => kind === "-").length;
  return { hunks: cut(numbered), added, removed };
}

function listLines(library, before, after) {
  const parts = library.diffLines(before, after, { maxEditLength: MOST_EDITS }) ??
    [{ value: before, removed: true }, { value: after, added: true }];
  return parts.flatMap(({ value, added, removed }) => linesOf(value).map((text) => [added ? "+" : removed ? "-" : " ", text]));
}

function number(lines, start) {
  let [old, fresh] = [start, start];
  return lines.map(([kind, text]) => ({
    kind, text, parts: null,
    old: kind === "+" ? null : old++,
    new: kind === "-" ? null : fresh++,
  }));
}

/** Where as many lines came as went, each was most likely changed: compare their words. */
function markWords(library, lines) {
  for (let at = 0; at < lines.length; at++) {
    if (lines[at].kind !== "-") continue;
    let removed = 0;
    while (lines[at + removed]?.kind === "-") removed++;
    let added = 0;
    while (lines[at + removed + added]?.kind === "+") added++;
    for (let index = 0; index < Math.min(removed, added); index++) {
      compareWords(library, lines[at + index], lines[at + removed + index]);
    }
    at += removed + added - 1;
  }
}

function compareWords(library, before, after) {
  if (before.text.length > LONGEST_LINE || after.text.length > LONGEST_LINE) return;
  const parts = library.diffWordsWithSpace(before.text, after.text);
  const same = parts.filter(({ added, removed }) => !added && !removed).reduce((sum, { value }) => sum + value.trim().length, 0);
  // Lines that have little in common are two lines.
  if (same * 3 < Math.max(before.text.trim().length, after.text.trim().length)) return;
  const of = (other) => parts.filter((part) => !part[other]).map((part) => ({ text: part.value, isChanged: Boolean(part.added || part.removed) }));
  before.parts = of("added");
  after.parts = of("removed");
}

/** Leave out what did not change, but for a few lines around what did. */
function cut(lines) {
  const keep = new Array(lines.length).fill(false);
  lines.forEach(({ kind }, index) => {
    if (kind !== " ") keep.fill(true, Math.max(0, index - CONTEXT), Math.min(lines.length, index + CONTEXT + 1));
  });
  const hunks = [];
  lines.forEach((line, index) => {
    if (!keep[index]) return;
    if (!index || !keep[index - 1]) hunks.push([]);
    hunks.at(-1).push(line);
  });
  return hunks;
}

/** The number of the line at which a change begins, as far as the tool's answer (`cat -n`) tells. */
export function findStart(after, numbered) {
  if (!numbered) return 1;
  const shown = numbered.code.split("\n");
  const wanted = linesOf(after);
  const first = wanted.findIndex((line) => line.trim());
  if (first < 0) return 1;
  for (let at = 0; at < shown.length; at++) {
    const isHere = wanted.slice(first, first + 4).every((line, index) => shown[at + index] === undefined || shown[at + index] === line);
    if (isHere && shown[at] === wanted[first]) return Math.max(1, numbered.start + at - first);
  }
  return 1;
}
