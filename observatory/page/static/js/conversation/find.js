// Finding words in one conversation: the server looks, for only what is in sight is in the document.
import { html, useEffect, useRef, useState } from "../html.js";
import { request } from "../api.js";
import { announce } from "../announcing.js";
import * as format from "../format.js";
import { Icon } from "../components/icon.js";
import { Snippet } from "../components/snippet.js";
import { wordsOf } from "./text.js";

const TYPING_MS = 250;
const PAGE = 100;
const MOST = 1000;
const MARK_MS = 120;

/** What is typed, as a query: its last word may be the beginning of one. */
const asQuery = (text) => (/[\p{L}\p{N}_]$/u.test(text) && !text.includes('"') ? `${text}*` : text);

async function findAll(conversationId, text, signal) {
  const hits = [];
  let cursor = null;
  let pagination = null;
  do {
    const params = { q: asQuery(text), conversation_id: conversationId, sort: "time", limit: PAGE, cursor };
    const data = await request("/api/search", { params, signal });
    hits.push(...data.hits);
    pagination ??= data.pagination;
    cursor = data.pagination.next_cursor;
  } while (cursor && hits.length < MOST);
  // They come with the latest first.
  return { hits: hits.reverse(), total: pagination.total, isMore: pagination.total_relation !== "exact" || Boolean(cursor) };
}

/**
 * The bar to find with. `go(hit, words)` shows a hit; `now()` tells the time of what is in sight, from which
 * on the first one is looked for.
 */
export function FindBar({ conversationId, initial, go, now, onClose }) {
  const [text, setText] = useState(initial);
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  const [index, setIndex] = useState(-1);
  const box = useRef(null);
  useEffect(() => {
    box.current.focus();
    box.current.select();
  }, []);
  useEffect(() => {
    const wanted = text.trim();
    setError(null);
    if (!wanted) {
      setFound(null);
      return undefined;
    }
    const controller = new AbortController();
    const timer = setTimeout(() => {
      findAll(conversationId, wanted, controller.signal).then((next) => {
        setFound(next);
        const first = next.hits.findIndex(({ timestamp }) => timestamp >= now());
        show(next, next.hits.length ? Math.max(0, first) : -1);
        announce(next.hits.length ? `${next.total} found` : "Nothing was found");
      }, (problem) => !controller.signal.aborted && setError(problem));
    }, TYPING_MS);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [text]);
  useMarks(found ? wordsOf(text) : []);
  function show(of, next) {
    setIndex(next);
    if (next >= 0) go(of.hits[next], wordsOf(text));
  }
  const step = (by) => found?.hits.length && show(found, (index + by + found.hits.length) % found.hits.length);
  const onKeyDown = (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      step(event.shiftKey ? -1 : 1);
    } else if (event.key === "Escape") onClose();
  };
  const hit = found?.hits[index];
  const total = found ? `${format.count(found.total)}${found.isMore ? " or more" : ""}` : "";
  return html`<div class="find" role="search"><div class="find-box"><${Icon} name="search" />
      <input class="input" type="search" ref=${box} value=${text} aria-label="Find in this conversation" placeholder="Find in this conversation" maxlength="500"
        autocomplete="off" spellcheck=${false} onInput=${(event) => setText(event.target.value)} onKeyDown=${onKeyDown} /></div>
    <span class="small muted number find-count">${error ? html`<span class="bad">${error.details?.fields?.q?.[0] ?? error.message}</span>` : found ? (found.hits.length ? `${format.count(index + 1)} of ${total}` : "Nothing found") : ""}</span>
    <button type="button" class="button button-quiet button-icon" aria-label="Previous (Shift+Enter)" title="Previous (Shift+Enter)" disabled=${!found?.hits.length} onClick=${() => step(-1)}><${Icon} name="up" /></button>
    <button type="button" class="button button-quiet button-icon" aria-label="Next (Enter)" title="Next (Enter)" disabled=${!found?.hits.length} onClick=${() => step(1)}><${Icon} name="down" /></button>
    <button type="button" class="button button-quiet button-icon" aria-label="Close" title="Close (Esc)" onClick=${onClose}><${Icon} name="close" /></button>
    ${hit && html`<p class="find-hit small clip"><span class="faint">${hit.role}, ${format.dateTime(hit.timestamp)}: </span><${Snippet} text=${hit.snippet} /></p>`}
  </div>`;
}

/** Have words marked wherever they are in sight, without changing the document. */
function useMarks(words) {
  const key = words.join("\n");
  useEffect(() => {
    if (!key || !CSS.highlights) return undefined;
    // Rows come in it later when the turns are still being read.
    const root = document.querySelector(".talk-main");
    let timer = 0;
    const mark = () => {
      timer = 0;
      const rows = root.querySelector(".scroller");
      CSS.highlights.set("found", new Highlight(...(rows ? findRanges(rows, key.split("\n")) : [])));
    };
    const later = () => {
      timer ||= setTimeout(mark, MARK_MS);
    };
    const observer = new MutationObserver(later);
    observer.observe(root, { childList: true, subtree: true, characterData: true });
    mark();
    return () => {
      clearTimeout(timer);
      observer.disconnect();
      CSS.highlights.delete("found");
    };
  }, [key]);
}

const BOXES = "pre.output, .code pre, .change-lines, .quoted, .tree-box, .found";
const TRIES = 20;
const TRY_MS = 60;

/** Scroll to the first of some words in an element, also in boxes in it, as soon as it has one. */
export function revealWords(find, words, { top, release }) {
  let tries = 0;
  const look = () => {
    const element = find();
    const range = element && findRanges(element, words, 1)[0];
    if (!range) return tries++ < TRIES && setTimeout(look, TRY_MS);
    for (let box = range.startContainer.parentElement.closest(BOXES); box; box = box.parentElement.closest(BOXES)) {
      const below = range.getBoundingClientRect().top - box.getBoundingClientRect().top;
      if (below < 0 || below > box.clientHeight - 24) box.scrollTop += below - box.clientHeight / 3;
    }
    const at = range.getBoundingClientRect().top;
    if (at < top || at > window.innerHeight - 80) {
      release();
      window.scrollBy(0, at - Math.max(top, window.innerHeight / 3));
    }
    return undefined;
  };
  look();
}

function findRanges(root, words, most = 2000) {
  const ranges = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node && ranges.length < most; node = walker.nextNode()) {
    const text = node.data.toLowerCase();
    for (const word of words) {
      for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length)) {
        // In some scripts the lower case of a letter is longer than the letter.
        if (at + word.length > node.data.length) break;
        const range = new Range();
        range.setStart(node, at);
        range.setEnd(node, at + word.length);
        ranges.push(range);
      }
    }
  }
  return ranges;
}
