// The frame around all views: navigation, theme, shortcuts, and the view that the address names.
import { html, render, useCallback, useEffect, useErrorBoundary, useRef, useState } from "./html.js";
import { ApiError, signInAgain } from "./api.js";
import { announce } from "./announcing.js";
import { begin, match, navigate, readQuery, useAddress } from "./router.js";
import { ROUTES } from "./routes.js";
import { SessionContext, readSession, useSession } from "./session.js";
import { useLiveState } from "./live.js";
import { THEMES, useTheme } from "./theming.js";
import { HelpDialog, useShortcuts } from "./shortcuts.js";
import { Icon } from "./components/icon.js";
import { Empty, Failure } from "./components/states.js";

const ASSETS = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
const RELOADED = "reloaded-for";

function ThemeButton() {
  const [theme, choose] = useTheme();
  const index = THEMES.findIndex(([name]) => name === theme);
  const [, icon, label] = THEMES[index];
  const [next, , nextLabel] = THEMES[(index + 1) % THEMES.length];
  return html`<button class="button button-quiet button-icon" aria-label=${`Theme: ${label}. Change to: ${nextLabel}`}
    title=${`Theme: ${label}`} onClick=${() => choose(next)}><${Icon} name=${icon} /></button>`;
}

function SignOut() {
  return html`<form method="post" action="/logout"><button class="button button-quiet button-icon" aria-label="Sign out"
    title="Sign out"><${Icon} name="out" /></button></form>`;
}

const LIVE_WORDS = {
  waiting: ["dot-warn", "Reconnecting"], refused: ["dot-warn", "Sign in again"], open: ["dot-good", "Live"],
  connecting: ["", "Connecting"],
};

function LiveState() {
  const state = useLiveState();
  const [look, words] = LIVE_WORDS[state] ?? [];
  if (!words) return null;
  if (state === "refused") return html`<button class="button" onClick=${signInAgain}>Sign in again</button>`;
  return html`<span class="row tiny faint" role="status"><span class=${`dot ${look}`}></span>${words}</span>`;
}

function Brand() {
  return html`<a class="brand" href="/"><img src=${`${ASSETS}/icon.svg`} alt="" width="22" height="22" />Observatory</a>`;
}

function Navigation({ current, className }) {
  const { may } = useSession();
  const shown = ROUTES.filter(({ nav, permission }) => nav && may(permission));
  return html`<nav class=${className} aria-label="Views"><ul>${shown.map((route) => html`<li key=${route.path}>
    <a href=${route.path} aria-current=${route.path === current ? "page" : undefined}>
      <${Icon} name=${route.nav.icon} />${route.nav.label}</a></li>`)}</ul></nav>`;
}

function Tools({ onHelp }) {
  return html`<div class="row">
    <${ThemeButton} />
    <button class="button button-quiet button-icon" aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)"
      onClick=${onHelp}><${Icon} name="help" /></button>
    <${SignOut} />
  </div>`;
}

/** The view of an address, once its module is there; the one before stays until then. */
function useView(address) {
  const [shown, setShown] = useState({ address: null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let isCurrent = true;
    const found = match(address.split("?")[0]);
    if (!found) {
      setShown({ address, found: null });
      return undefined;
    }
    found.route.load().then(
      (module) => {
        sessionStorage.removeItem(RELOADED);
        if (isCurrent) setShown({ address, found, module });
      },
      async () => {
        const isReached = await fetch("/health").then(() => true, () => false);
        if (!isCurrent) return;
        // Most likely the server has another version of the page by now: begin with that one. One that is
        // not there would leave nothing of the page.
        if (!isReached) {
          const error = new ApiError("The server can not be reached. It may be starting anew.", { code: "UNREACHABLE" });
          setShown({ address, found, error, retry: () => setTurn((number) => number + 1) });
        } else if (sessionStorage.getItem(RELOADED) !== address) {
          sessionStorage.setItem(RELOADED, address);
          location.assign(address);
        } else {
          const error = new ApiError("This part of the page can not be loaded.", { code: "UNREACHABLE" });
          setShown({ address, found, error, retry: () => location.reload() });
        }
      },
    );
    return () => {
      isCurrent = false;
    };
  }, [address, turn]);
  return shown;
}

/** A view; when it can not be drawn, what is around it stays, and it is told. */
function View({ shown }) {
  const [broken, forget] = useErrorBoundary((error) => reportError(error));
  const { may } = useSession();
  useEffect(forget, [shown]);
  if (shown.address === null) return null;
  if (!shown.found) {
    return html`<div class="head"><h1>Not found</h1></div><${Empty} title="There is nothing here">The address leads nowhere. <a href="/">Go to the overview</a><//>`;
  }
  if (broken) return html`<${Failure} error=${new ApiError("This view can not be shown.", { code: "UNREADABLE" })} retry=${() => location.reload()} />`;
  if (shown.error) return html`<${Failure} error=${shown.error} retry=${shown.retry} />`;
  if (!may(shown.found.route.permission)) {
    const error = new ApiError(`This takes the permission ${shown.found.route.permission}.`, { code: "FORBIDDEN" });
    return html`<${Failure} error=${error} />`;
  }
  const Component = shown.module.default;
  return html`<${Component} key=${`${shown.found.route.view} ${JSON.stringify(shown.found.params)}`}
    params=${shown.found.params} query=${readQuery()} />`;
}

/** On another view: its title, the focus at its beginning, and where it was scrolled to. */
function useArrival(shown, main) {
  const last = useRef(null);
  useEffect(() => {
    if (!shown.found || !shown.module) return;
    const path = shown.address.split("?")[0];
    if (path === last.current) return;
    const isFirst = last.current === null;
    last.current = path;
    const title = shown.module.title ?? "Observatory";
    document.title = `${title} · Observatory`;
    const scroll = history.state?.scroll ?? 0;
    requestAnimationFrame(() => window.scrollTo(0, scroll));
    if (isFirst) return;
    announce(title);
    const heading = main.current.querySelector("h1") ?? main.current;
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  }, [shown]);
}

function Frame() {
  const address = useAddress();
  const shown = useView(address);
  const main = useRef(null);
  const session = useSession();
  const [hasHelp, setHasHelp] = useState(false);
  useArrival(shown, main);
  useShortcuts([
    { keys: "?", label: "Show the keys", run: () => setHasHelp(true) },
    ...ROUTES.filter(({ nav, permission }) => nav && session.may(permission)).map(({ path, nav }) => ({
      keys: `g ${nav.label[0].toLowerCase()}`, label: `Go to ${nav.label}`, run: () => navigate(path),
    })),
  ], "Everywhere");
  const current = shown.found?.route.path;
  const below = shown.found?.route.below ?? current;
  return html`<a class="skip" href="#main">Skip to content</a>
    ${shown.address !== address && html`<div class="progress"></div>`}
    <div class="frame">
      <header class="side">
        <${Brand} />
        <${Navigation} className="nav" current=${below} />
        <div class="side-foot">
          <${LiveState} />
          <div class="who small muted clip" title=${session.label}>${session.label}</div>
          <${Tools} onHelp=${() => setHasHelp(true)} />
        </div>
      </header>
      <header class="bar"><${Brand} /><${LiveState} /><${Tools} onHelp=${() => setHasHelp(true)} /></header>
      <main class="main" id="main" ref=${main} tabindex="-1"><${View} shown=${shown} /></main>
      <${Navigation} className="nav nav-low" current=${below} />
    </div>
    ${hasHelp && html`<${HelpDialog} onClose=${() => setHasHelp(false)} />`}`;
}

function Page() {
  const [state, setState] = useState({ session: null, error: null });
  const start = useCallback(() => {
    setState({ session: null, error: null });
    readSession().then(
      (session) => setState({ session, error: null }),
      (error) => error.status !== 401 && setState({ session: null, error }),
    );
  }, []);
  useEffect(start, []);
  // What one changed of oneself is shown, and the view stays as it is.
  const refresh = useCallback(async () => {
    const session = await readSession();
    setState({ session, error: null });
  }, []);
  if (state.error) return html`<main class="main"><${Failure} error=${state.error} retry=${start} /></main>`;
  if (!state.session) return html`<div class="progress"></div>`;
  return html`<${SessionContext.Provider} value=${{ ...state.session, refresh }}><${Frame} /><//>`;
}

begin();
const root = document.getElementById("page");
root.textContent = "";
render(html`<${Page} />`, root);

// A browser may give back the page as it was left, also to who comes after somebody who signed out.
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  root.hidden = true;
  location.reload();
});
