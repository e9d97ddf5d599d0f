// What happens, as it does: one EventSource for the whole page, for all who want to know.
import { useEffect, useRef, useState } from "./html.js";
import { request, toQuery } from "./api.js";

const TYPES = [
  "conversation_started", "conversation_updated", "conversation_ended", "conversation_deleted",
  "message_added", "tool_use_finished", "project_discovered", "analytics_update",
  "file_processing_update", "budget_threshold",
];
// Of the stream itself, told to everybody: what is shown may have missed something.
const RESYNC = "resync";
const HIDDEN_MS = 30_000;
const RETRY_MS = 5_000;
const REFRESH_MS = 5_000;

const subscribers = new Set();
const watchers = new Set();
let source = null;
let openTypes = "";
let lastId = null;
let state = "idle";
let timer = null;
let isAllowed = true;
// Whether something may have happened that no stream told of.
let hasGap = false;

/** Say whether who is signed in may be told of what happens; else nothing is asked for. */
export function allowLive(next) {
  isAllowed = next;
}

/**
 * Have `listener` called with each event of some types, and with `{type: "resync"}` when what is
 * shown should be read anew. Returns the function that ends it.
 */
export function subscribe(types, listener) {
  const subscriber = { types, listener };
  subscribers.add(subscriber);
  queueMicrotask(adjust);
  return () => {
    subscribers.delete(subscriber);
    queueMicrotask(adjust);
  };
}

/** The same for as long as a component is there. The listener may be another one each time. */
export function useLive(types, listener) {
  const current = useRef(listener);
  current.current = listener;
  const key = types.join();
  useEffect(() => subscribe(key.split(","), (event) => current.current(event)), [key]);
}

/** Read some loads (of `useApi`) anew when something happens, and not more often than makes sense. */
export function useRefresh(types, loads, everyMs = REFRESH_MS) {
  const timer = useRef(null);
  const current = useRef(loads);
  current.current = loads;
  useLive(types, () => {
    timer.current ??= setTimeout(() => {
      timer.current = null;
      for (const { reload } of current.current) reload();
    }, everyMs);
  });
  useEffect(() => () => clearTimeout(timer.current), []);
}

/** Return `idle`, `connecting`, `open`, `waiting` or `refused`. */
export function useLiveState() {
  const [shown, setShown] = useState(state);
  useEffect(() => {
    watchers.add(setShown);
    setShown(state);
    return () => watchers.delete(setShown);
  }, []);
  return shown;
}

function setState(next) {
  state = next;
  for (const watcher of watchers) watcher(next);
}

function tell(event) {
  for (const { types, listener } of [...subscribers]) {
    if (event.type === RESYNC || types.includes(event.type)) listener(event);
  }
}

function adjust() {
  const wanted = TYPES.filter((type) => [...subscribers].some(({ types }) => types.includes(type)));
  const key = wanted.join();
  if (document.hidden || !isAllowed || (key === openTypes && source)) return;
  if (!key) return close("idle");
  open(key);
}

function close(next) {
  clearTimeout(timer);
  source?.close();
  source = null;
  openTypes = "";
  setState(next);
}

function open(types) {
  close("connecting");
  openTypes = types;
  const opened = new EventSource(`/api/events/stream${toQuery({ types, after: lastId })}`);
  source = opened;
  opened.addEventListener("open", () => {
    setState("open");
    // Where it was is only known from an event: without one the stream can not go on there.
    const isMissing = hasGap && lastId === null;
    hasGap = false;
    if (isMissing) tell({ type: RESYNC });
  });
  for (const type of types.split(",")) {
    opened.addEventListener(type, (event) => {
      lastId = event.lastEventId || lastId;
      tell(JSON.parse(event.data));
    });
  }
  opened.addEventListener(RESYNC, () => tell({ type: RESYNC }));
  opened.addEventListener("error", (event) => {
    if (source !== opened) return;
    // With data it is the server's word that the credentials hold no more.
    if (event.data) return close("refused");
    if (opened.readyState === EventSource.CLOSED) return comeAgain();
    return setState("waiting");
  });
}

/** A refused stream is not asked for again by the browser: find out why, and try later. */
function comeAgain() {
  const types = openTypes;
  close("waiting");
  lastId = null;
  hasGap = true;
  timer = setTimeout(async () => {
    await request("/api/live/status").catch(() => null);
    if (subscribers.size && !source && !document.hidden) {
      hasGap = false;
      open(types);
      tell({ type: RESYNC });
    }
  }, RETRY_MS);
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (document.hidden) {
    timer = setTimeout(() => {
      hasGap = true;
      close("idle");
    }, HIDDEN_MS);
  } else {
    adjust();
  }
});
