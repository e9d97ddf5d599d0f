// Addresses and the History API: which view is shown, and what its query says.
import { useEffect, useState } from "./html.js";
import { ROUTES } from "./routes.js";

const SCROLLED_MS = 150;
const listeners = new Set();
let timer = 0;

function compile(pattern) {
  const names = [];
  const source = pattern.replace(/\{(\w+)\}/g, (_, name) => {
    names.push(name);
    return "([^/]+)";
  });
  return { names, expression: new RegExp(`^${source}$`) };
}

/** Return a part of a path as it is meant, or as it stands when it means nothing. */
function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

const compiled = ROUTES.map((route) => ({ route, ...compile(route.path) }));

/** Return `{route, params}` of a path, or null when it is none of the page's. */
export function match(path) {
  const trimmed = path.length > 1 ? path.replace(/\/+$/, "") : path;
  for (const { route, names, expression } of compiled) {
    const found = expression.exec(trimmed);
    if (found) {
      const values = found.slice(1).map(decode);
      return { route, params: Object.fromEntries(names.map((name, index) => [name, values[index]])) };
    }
  }
  return null;
}

/** Go to an address of the page. `replace` leaves no step to go back to. */
export function navigate(address, { replace = false } = {}) {
  const url = new URL(address, location.href);
  if (url.origin !== location.origin || !match(url.pathname)) return location.assign(url);
  if (url.href === location.href) return undefined;
  clearTimeout(timer);
  history.replaceState({ ...history.state, scroll: window.scrollY }, "");
  history[replace ? "replaceState" : "pushState"]({ scroll: replace ? window.scrollY : 0 }, "", url);
  if (!replace) window.scrollTo(0, 0);
  return announce();
}

/** Return the query as an object of strings. */
export const readQuery = () => Object.fromEntries(new URLSearchParams(location.search));

/** Change parts of the query; null, false and "" take one away. */
export function setQuery(changes, { replace = true } = {}) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "" || value === false) query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  navigate(location.pathname + (text && `?${text}`), { replace });
}

function announce() {
  for (const listener of [...listeners]) listener();
}

/** Return `location` as text, anew whenever it changes. */
export function useAddress() {
  const [address, setAddress] = useState(location.pathname + location.search);
  useEffect(() => {
    const listener = () => setAddress(location.pathname + location.search);
    listeners.add(listener);
    listener();
    return () => listeners.delete(listener);
  }, []);
  return address;
}

/** Take clicks on links to the page's own addresses, unless they are to open elsewhere. */
export function begin() {
  history.scrollRestoration = "manual";
  window.addEventListener("popstate", () => {
    const { scroll = 0 } = history.state ?? {};
    announce();
    requestAnimationFrame(() => requestAnimationFrame(() => window.scrollTo(0, scroll)));
  });
  window.addEventListener("scroll", () => {
    clearTimeout(timer);
    timer = setTimeout(() => history.replaceState({ ...history.state, scroll: window.scrollY }, ""), SCROLLED_MS);
  }, { passive: true });
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target.closest?.("a[href]");
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (link.hash && link.pathname === location.pathname && link.search === location.search) return;
    if (!match(link.pathname)) return;
    event.preventDefault();
    navigate(link.href);
  });
}
