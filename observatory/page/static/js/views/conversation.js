// One conversation: what was said, done and spent, from the first prompt to what is said right now.
import { html, useCallback, useEffect, useMemo, useReducer, useRef, useState } from "../html.js";
import { request, useApi } from "../api.js";
import { announce } from "../announcing.js";
import { conversationAddress } from "../addresses.js";
import * as format from "../format.js";
import { useLive } from "../live.js";
import { findShown } from "../paging.js";
import { navigate, setQuery } from "../router.js";
import { useSession } from "../session.js";
import { useShortcuts } from "../shortcuts.js";
import { loadStyle } from "../styles.js";
import { Dialog } from "../components/dialog.js";
import { Icon } from "../components/icon.js";
import { Empty, Failure, Loading } from "../components/states.js";
import { FindBar, revealWords } from "../conversation/find.js";
import { ExportMenu, Heading, OtherSubagents, isActive } from "../conversation/heading.js";
import { Outline, titleOf } from "../conversation/outline.js";
import { ReadingContext, WholeReading } from "../conversation/reading.js";
import { isCut, isOpenable, isResultCut } from "../conversation/rows.js";
import { AboutContext, Said } from "../conversation/said.js";
import { Scroller } from "../conversation/scroller.js";

await loadStyle(new URL("../../css/conversation.css", import.meta.url).href);

export const title = "Conversation";

const LIVE_MS = 250;
const TARGET_MS = 2500;
const GONE = "This conversation was moved to the trash or removed. What is shown here is what there was.";
const KEEP_MS = 300;
const KEPT_FROM_PX = 200;
const NARROW = matchMedia("(max-width: 60rem)");

function useIsNarrow() {
  const [isNarrow, setIsNarrow] = useState(NARROW.matches);
  useEffect(() => {
    const listener = () => setIsNarrow(NARROW.matches);
    NARROW.addEventListener("change", listener);
    return () => NARROW.removeEventListener("change", listener);
  }, []);
  return isNarrow;
}

export default function Conversation({ params: { conversation_id: id }, query }) {
  const path = `/api/conversations/${encodeURIComponent(id)}`;
  const loaded = useApi(path);
  const read = useReadingOf(id, !query.message);
  const [changed, setChanged] = useState(null);
  useEffect(() => setChanged(null), [loaded.data]);
  const detail = changed ?? loaded.data;
  useEffect(() => {
    if (detail) document.title = `${detail.title} · Observatory`;
  }, [detail?.title]);
  if (!detail) return loaded.error ? html`<${Failure} error=${loaded.error} retry=${loaded.reload} />` : html`<${Loading} lines=${9} label="Reading the conversation" />`;
  return html`<${Shown} id=${id} read=${read} detail=${detail} query=${query} reload=${loaded.reload} onChange=${setChanged} />`;
}

/** Read the turns, and at once the beginning if that is what will be in sight. */
function useReadingOf(id, isFromStart) {
  const reading = useMemo(() => new WholeReading(id), [id]);
  const [state, setState] = useState({ isReady: false, error: null });
  const [, redraw] = useReducer((number) => number + 1, 0);
  const start = useCallback(() => {
    setState({ isReady: false, error: null });
    if (isFromStart) reading.read(0);
    reading.readTurns().then(() => setState({ isReady: true, error: null }), (error) => !reading.controller.signal.aborted && setState({ isReady: false, error }));
  }, [reading]);
  useEffect(() => {
    const end = reading.listen(redraw);
    start();
    return () => {
      end();
      reading.stop();
    };
  }, [reading]);
  return { reading, start, ...state };
}

/** Keep what is shown true while things are said; returns how many messages came out of sight. */
function useGoingOn(id, reading, { reload, isFollowing, isAtEnd, onDelete }) {
  const [fresh, setFresh] = useState(0);
  const timer = useRef(0);
  const again = useRef(new Set());
  const refresh = useCallback(async () => {
    timer.current = 0;
    const before = reading.total;
    const wasAtEnd = isAtEnd();
    const changed = [...again.current];
    again.current.clear();
    await Promise.all([reading.readEnd(), ...changed.map((messageId) => reading.readAgain(messageId))]).catch(() => null);
    reload();
    const came = reading.total - before;
    if (came > 0 && !isFollowing.current && !wasAtEnd) setFresh((number) => number + came);
  }, [reading, reload]);
  useEffect(() => () => clearTimeout(timer.current), []);
  useLive(["message_added", "tool_use_finished", "conversation_updated", "conversation_ended", "conversation_deleted"], (event) => {
    if (event.type === "resync") {
      reading.readAllAgain().catch(() => null);
      reload();
      return;
    }
    if (event.conversation_id !== id) return;
    if (event.type === "conversation_deleted") {
      onDelete();
      return;
    }
    if (event.type === "tool_use_finished") again.current.add(event.data.tool_use.message_id);
    timer.current ||= setTimeout(refresh, LIVE_MS);
  });
  return [fresh, () => setFresh(0)];
}

function Shown({ id, read: { reading, isReady, error, start }, detail, query, reload, onChange }) {
  const { may } = useSession();
  const isNarrow = useIsNarrow();
  const inset = isNarrow ? 97 : 49;
  const scroller = useRef(null);
  const [top, setTop] = useState(null);
  const [isFollowing, setIsFollowing] = useState(false);
  const [isFinding, setIsFinding] = useState(false);
  const [hasOutline, setHasOutline] = useState(false);
  const [missing, setMissing] = useState(null);
  const follows = useRef(false);
  follows.current = isFollowing;
  const [fresh, forgetFresh] = useGoingOn(id, reading, {
    reload, isFollowing: follows, isAtEnd: () => scroller.current?.isAtEnd() ?? true, onDelete: () => setMissing({ message: GONE }),
  });
  const rows = reading.rows();
  const turns = reading.turns;
  const current = top ? reading.turnOf(top.at) : 0;

  const about = useMemo(() => ({
    folder: detail.project_path,
    subagents: new Map(detail.subagents.filter(({ tool_use_id: use }) => use).map((one) => [one.tool_use_id, one])),
  }), [detail]);

  const goToMessage = useCallback(async (messageId, words = []) => {
    setIsFollowing(false);
    reading.sought = words;
    const found = await reading.find(messageId);
    if (!found) return;
    const { row, inside } = found;
    reading.setOpen([row, inside].filter((one) => one && isOpenable(one)), true);
    const shown = inside ?? row;
    const isBegun = shown.message && (isCut(shown.message) || (shown.call && isResultCut(shown.message, shown.call)));
    if (isBegun) reading.readWhole(shown.message.id).catch(() => null);
    scroller.current?.scrollTo(row.key, { margin: inset + 64 });
    markRow(row.key);
    if (words.length) revealWords(() => elementOf(row.key), words, { top: inset + 64, release: () => scroller.current?.release() });
  }, [reading, inset]);
  const goToTurn = useCallback((index, { focus = true } = {}) => {
    const turn = turns[index];
    if (!turn) return;
    setIsFollowing(false);
    const row = reading.rows().find((one) => one.at + (one.count ?? 1) > turn.offset);
    const arrive = (key) => {
      scroller.current?.scrollTo(key);
      if (focus) requestAnimationFrame(() => requestAnimationFrame(() => document.getElementById(`turn-${index + 1}`)?.focus({ preventScroll: true })));
    };
    if (row?.type === "turn") arrive(row.key);
    else if (!turn.is_on_main_branch) goToMessage(turn.message_id).catch(() => null);
    else reading.find(turn.message_id).then(() => arrive(`turn-${turn.message_id}`), () => null);
  }, [reading, turns, goToMessage]);

  const isBack = usePlace(isReady, top, useCallback(async (messageId) => {
    const found = await reading.find(messageId);
    if (found) scroller.current?.scrollTo(found.row.key, { margin: inset });
  }, [reading, inset]));
  useEffect(() => {
    if (isReady && query.message && !isBack(query.message)) {
      setMissing(null);
      goToMessage(query.message).catch((problem) => !reading.controller.signal.aborted && setMissing(problem));
    }
  }, [isReady, query.message]);

  const follow = useCallback((next) => {
    setIsFollowing(next);
    forgetFresh();
    announce(next ? "Following the end" : "No longer following");
  }, []);
  // The bar takes the place of the button that opens it, and gives the focus back to that.
  const finder = useRef(null);
  const endFinding = useCallback(() => {
    setIsFinding(false);
    requestAnimationFrame(() => requestAnimationFrame(() => finder.current?.focus({ preventScroll: true })));
  }, []);
  const leaveEnd = useCallback(() => setIsFollowing(false), []);
  const onRange = useCallback((first, last) => reading.want(first.at, last.at + (last.count ?? 1) - 1), [reading]);
  useKeys({ id, reading, turns, current, top, goToTurn, follow, find: () => setIsFinding(true) });

  // The same as long as nothing of it is another: it is long.
  const outline = useMemo(() => isReady && !isNarrow && html`<${Outline} turns=${turns} current=${current} go=${goToTurn} />`, [isReady, isNarrow, turns, current, goToTurn]);
  const heading = useMemo(() => html`<${Heading} detail=${detail} mayChange=${may("conversations:write")} onChange=${onChange} />`, [detail, may]);
  return html`<${ReadingContext.Provider} value=${reading}><${AboutContext.Provider} value=${about}>
    <div class="conversation-view" onClick=${(event) => onCopy(event, id)}>
      ${heading}
      ${isReady && html`<${OtherSubagents} subagents=${detail.subagents} known=${about.subagents} />`}
      <div class="talk"><div class="talk-main" aria-busy=${String(!isReady && !error)}>
        <div class="talk-bar">
          ${isFinding ? html`<${FindBar} conversationId=${id} initial="" go=${(hit, words) => goToMessage(hit.message_id, words).catch(() => null)}
              now=${() => top?.message?.timestamp ?? ""} onClose=${endFinding} />` : html`
            <button type="button" class="button button-quiet talk-place" aria-haspopup="dialog" onClick=${() => setHasOutline(true)}>
              <${Icon} name="list" /><span class="number">${turns.length ? `${format.count(current + 1)} / ${format.count(turns.length)}` : "…"}</span><span class="visually-hidden"> Show all turns</span></button>
            <span class="talk-turn clip small muted">${turns[current] ? titleOf(turns[current]) : ""}</span>
            <button type="button" class="button" ref=${finder} onClick=${() => setIsFinding(true)} title="Find in this conversation (f)"><${Icon} name="search" /><span class="bar-words">Find</span></button>
            <button type="button" class="button" role="switch" aria-checked=${String(isFollowing)} onClick=${() => follow(!isFollowing)} title="Keep to the end as messages come"><${Icon} name="follow" /><span class="bar-words">Follow</span></button>
            <${ExportMenu} id=${id} />`}
        </div>
        ${missing && html`<p class="notice notice-warn" role="alert">${missing.status === 404 ? "The message of this link is not here, or not any more." : missing.message}</p>`}
        ${error && html`<${Failure} error=${error} retry=${start} />`}
        ${!isReady && !error && html`<${Loading} lines=${12} label="Reading the messages" />`}
        ${isReady && !rows.length && html`<${Empty} title="Nothing was said">This conversation has no messages yet.<//>`}
        ${isReady && rows.length > 0 && html`<${Scroller} rows=${rows} total=${reading.total} label="Messages" inset=${inset} handle=${scroller} isFollowing=${isFollowing}
          onRange=${onRange} onTop=${setTop} onLeaveEnd=${leaveEnd} renderRow=${(row) => html`<${Said} row=${row} />`} />`}
        ${isReady && isActive(detail) && html`<p class="row small muted going-on"><span class="dot dot-live"></span>It goes on. <${LastSaid} detail=${detail} /></p>`}
      </div>
      <aside class="outline" aria-label="Outline">${outline}</aside></div>
      ${fresh > 0 && html`<button type="button" class="button button-primary fresh" onClick=${() => follow(true)}><${Icon} name="down" />${format.count(fresh)} new</button>`}
      ${hasOutline && html`<${Dialog} title=${format.plural(turns.length, "turn")} onClose=${() => setHasOutline(false)}>
        <${Outline} turns=${turns} current=${current} go=${(index) => { setHasOutline(false); goToTurn(index); }} /><//>`}
    </div><//><//>`;
}

const LastSaid = ({ detail }) => html`<span class="faint">Last at ${format.timeOfDay(detail.updated_at)}.</span>`;

const elementOf = (key) => document.querySelector(`[data-key="${CSS.escape(key)}"]`);

/**
 * Keep in the step of the history what was at the top, and come back there. Returns a function that
 * tells whether one came back to where an address leads to, and is therefore not to go there again.
 */
function usePlace(isReady, top, arrive) {
  const first = useRef({ said: history.state?.said ?? null, of: new URLSearchParams(location.search).get("message") });
  useEffect(() => {
    if (isReady && first.current.said) arrive(first.current.said).catch(() => null);
  }, [isReady]);
  useEffect(() => {
    if (!top) return undefined;
    const said = window.scrollY > KEPT_FROM_PX ? top.message?.id : null;
    const timer = setTimeout(() => history.replaceState({ ...history.state, said }, ""), KEEP_MS);
    return () => clearTimeout(timer);
  }, [top]);
  return (messageId) => first.current.said !== null && first.current.of === messageId;
}

/** Show for a moment which row is meant. */
function markRow(key) {
  let tries = 0;
  const look = () => {
    const element = elementOf(key);
    if (!element && tries++ < 30) return requestAnimationFrame(look);
    element?.classList.add("said-target");
    return setTimeout(() => element?.classList.remove("said-target"), TARGET_MS);
  };
  requestAnimationFrame(look);
}

/** Copy the code beside a button, or the address of a message. */
async function onCopy(event, id) {
  const link = event.target.closest?.("[data-message]");
  const button = event.target.closest?.("[data-copy]");
  if (link) {
    event.preventDefault();
    await copy(addressOf(id, link.dataset.message), "Link copied").catch(() => setQuery({ message: link.dataset.message }));
    blink(link);
  } else if (button) {
    const code = button.parentElement.querySelector("code");
    await copy(code.textContent, "Copied").catch(() => announce("It could not be copied"));
    blink(button);
  }
}

const addressOf = (id, messageId) => location.origin + conversationAddress(id, messageId);

async function copy(text, words) {
  await navigator.clipboard.writeText(text);
  announce(words);
}

function blink(element) {
  element.classList.add("is-copied");
  setTimeout(() => element.classList.remove("is-copied"), 1200);
}

function useKeys({ id, reading, turns, current, top, goToTurn, follow, find }) {
  const step = (by) => () => {
    let index = current + (top?.type === "turn" || by > 0 ? by : 0);
    while (turns[index] && !turns[index].is_on_main_branch) index += by;
    goToTurn(Math.max(0, Math.min(turns.length - 1, index)));
  };
  const beside = (by) => async () => {
    let ids = findShown("conversations ").map(({ conversation }) => conversation.id);
    if (!ids.includes(id)) {
      const { conversations } = await request("/api/conversations", { params: { kind: "session", limit: 100, fields: "id" } });
      ids = conversations.map(({ id: one }) => one);
    }
    const next = ids.includes(id) ? ids[ids.indexOf(id) + by] : undefined;
    if (next) navigate(conversationAddress(next));
    else announce(by > 0 ? "This is the last one" : "This is the first one");
  };
  const toggle = () => {
    const focused = document.activeElement?.closest?.("[data-key]")?.querySelector("[data-fold]");
    if (focused) return focused.click();
    const sight = [...document.querySelectorAll(".scroller [data-fold]")].find((one) => one.getBoundingClientRect().top > 60);
    sight?.focus({ preventScroll: true });
    return sight?.click();
  };
  useShortcuts([
    { keys: "j", label: "Next turn", run: step(1) },
    { keys: "k", label: "Previous turn", run: step(-1) },
    { keys: "o", label: "Open or close what is at the focus, or the first in sight", run: toggle },
    { keys: "e", label: "Open or close all in the turn", run: () => reading.toggleTurn(current) },
    { keys: "f", label: "Find in the conversation", run: find },
    { keys: "g g", label: "To the beginning", run: () => { follow(false); window.scrollTo(0, 0); } },
    { keys: "G", label: "To the end, and follow it", run: () => follow(true) },
    { keys: "c", label: "Copy a link to what is at the top", run: () => top?.message && copy(addressOf(id, top.message.id), "Link copied").catch(() => setQuery({ message: top.message.id })) },
    { keys: "]", label: "Next conversation of the list", run: beside(1) },
    { keys: "[", label: "Previous conversation of the list", run: beside(-1) },
  ], "Conversation");
}
