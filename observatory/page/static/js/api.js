// Talking to the server: the envelope opened, errors with their code, and a sign-in that ended.
import { useEffect, useRef, useState } from "./html.js";

const RETRIES = 2;
const UNREACHED_MS = 3000;
let csrfToken = null;
let signedIn = null;

/** What went wrong, in words for people; `code` is the API's, or `UNREACHABLE`. */
export class ApiError extends Error {
  constructor(message, { code, status = 0, details = {}, requestId = null }) {
    super(message);
    this.name = "ApiError";
    Object.assign(this, { code, status, details, requestId });
  }
}

/** Return a query string; what is null, undefined or empty is left out, lists are repeated. */
export function toQuery(params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") query.append(name, one);
    }
  }
  const text = query.toString();
  return text && `?${text}`;
}

/** Note what lets this page change things, and who is signed in; the profile tells it. */
export function setCsrfToken(token, identity = signedIn) {
  csrfToken = token;
  signedIn = identity;
}

/**
 * Whether somebody signed in anew in another tab: the same person goes on here, and for another one the
 * page begins anew.
 */
async function isSignedInAnew() {
  const profile = await request("/api/auth/profile");
  if (profile.csrf_token === csrfToken) return false;
  if (profile.identity !== signedIn) location.reload();
  csrfToken = profile.csrf_token;
  return profile.identity === signedIn;
}

/** Go and sign in again, and come back here. */
export function signInAgain() {
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

/**
 * Ask the API, and return the `data` of its answer.
 *
 * @param {string} path Such as `/api/projects`.
 * @param {object} options `method`, `params` of the query, `body` as JSON or FormData, `headers`, `signal`.
 */
export async function request(path, { method = "GET", params, body, headers = {}, signal } = {}) {
  const options = { method, signal, credentials: "same-origin", headers: { Accept: "application/json", ...headers } };
  if (body instanceof FormData) {
    options.body = body;
  } else if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  for (let attempt = 0; ; attempt++) {
    if (method !== "GET" && csrfToken) options.headers["X-CSRF-Token"] = csrfToken;
    const { answer, envelope } = await send(path + toQuery(params), options);
    if (envelope?.success) return envelope.data;
    if (answer.status === 401) signInAgain();
    if (answer.status === 503 && method === "GET" && attempt < RETRIES) {
      await pause(Math.min(Number(answer.headers.get("Retry-After")) || 1, 10) * 1000, signal);
      continue;
    }
    if (answer.status === 403 && method !== "GET" && !attempt && (await isSignedInAnew())) continue;
    throw new ApiError(envelope?.error ?? `The server answered ${answer.status}.`, {
      code: envelope?.code ?? "UNREADABLE",
      status: answer.status,
      details: envelope?.details,
      requestId: envelope?.request_id,
    });
  }
}

async function send(url, options) {
  let answer;
  try {
    answer = await fetch(url, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError("The server can not be reached. It may be starting anew.", { code: "UNREACHABLE" });
  }
  const envelope = await answer.json().catch(() => null);
  options.signal?.throwIfAborted();
  return { answer, envelope };
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/**
 * Return `{turn, reload, tellRead}` for an effect that reads with each `turn`: `reload()` begins the
 * next, and what it returns waits until that told by `tellRead()` that it is over.
 */
export function useTurns() {
  const [turn, setTurn] = useState(0);
  const waiting = useRef([]);
  const reload = useRef(() => new Promise((resolve) => {
    waiting.current.push(resolve);
    setTurn((number) => number + 1);
  }));
  return { turn, reload: reload.current, tellRead: () => waiting.current.splice(0).forEach((resolve) => resolve()) };
}

/**
 * Return `{data, error, isLoading, reload}` of a GET. While another is fetched, or the same one
 * again by `reload()`, the data there was stays; what `reload()` returns waits for the answer. `path`
 * null asks nothing.
 */
export function useApi(path, params) {
  const url = path === null ? null : path + toQuery(params);
  const [state, setState] = useState({ url: null, data: null, error: null });
  const { turn, reload, tellRead } = useTurns();
  useEffect(() => {
    if (url === null) return undefined;
    const controller = new AbortController();
    request(url, { signal: controller.signal }).then(
      (data) => setState({ url, data, error: null }),
      (error) => {
        if (!controller.signal.aborted) setState((old) => ({ ...old, url, error }));
      },
    ).then(() => controller.signal.aborted || tellRead());
    return () => controller.abort();
  }, [url, turn]);
  // A server that starts anew is there again soon: nobody has to try.
  useEffect(() => {
    if (state.error?.code !== "UNREACHABLE") return undefined;
    const timer = setTimeout(reload, UNREACHED_MS);
    return () => clearTimeout(timer);
  }, [state.error]);
  return { data: state.data, error: state.error, isLoading: state.url !== url, reload };
}
