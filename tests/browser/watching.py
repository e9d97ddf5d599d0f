"""What goes wrong in a page while nobody looks: errors, violations, requests to other places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Error, Page, Request

_LISTENERS = """
const tell = (kind, text) => window.__observed(kind, String(text));
addEventListener("securitypolicyviolation", (event) => tell("policy violation",
  `${event.effectiveDirective} blocked ${event.blockedURI} ${event.sample}`));
addEventListener("unhandledrejection", (event) => tell("unhandled rejection", event.reason));
Object.defineProperty(window, "__executed", {
  get: () => undefined,
  set: (what) => tell("executed", what),
});
"""
# What a page has begun by then has been told: rejections after the tasks that made them.
_PAUSE = "() => new Promise((done) => setTimeout(() => setTimeout(done)))"
_LOCAL = ("data", "blob", "about")


class Watch:
    """Gathers what goes wrong in all pages of a browser context; begin it before the first page.

    Code that must never run says so by setting ``window.__executed``.

    Args:
        context: Whose pages are watched.
        origin: The only one that pages may talk to, as ``http://127.0.0.1:3001``; ``file://`` for
            files.
    """

    def __init__(self, context: BrowserContext, *, origin: str) -> None:
        self._context = context
        self._origin = origin
        self._problems: list[str] = []
        context.expose_binding("__observed", self._observed)
        context.add_init_script(_LISTENERS)
        context.on("console", self._console)
        context.on("weberror", lambda error: self._note("error", error.error))
        context.on("request", self._request)
        context.on("dialog", self._dialog)
        context.on("page", self._page)

    def problems(self, *, but: Sequence[str] = ()) -> list[str]:
        """Return what went wrong until now, but for what has one of these words in it."""
        for page in self._context.pages:
            try:
                page.evaluate(_PAUSE)
            except Error as error:
                # It went to another page meanwhile.
                if "destroyed" not in str(error) and "navigation" not in str(error):
                    raise
        return [problem for problem in self._problems if not any(words in problem for words in but)]

    def forget(self) -> None:
        """Forget what went wrong until now."""
        self._problems.clear()

    def _note(self, kind: str, what: object) -> None:
        self._problems.append(f"{kind}: {what}")

    def _observed(self, _source: dict[str, Any], kind: str, what: str) -> None:
        self._note(kind, what)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._note("console", f"{message.text} ({message.location['url']})")

    def _request(self, request: Request) -> None:
        self._check_address("request", request.url)

    def _dialog(self, dialog: Dialog) -> None:
        self._note("dialog", f"{dialog.type} {dialog.message}")
        dialog.dismiss()

    def _page(self, page: Page) -> None:
        page.on("websocket", lambda socket: self._check_address("websocket", socket.url))

    def _check_address(self, kind: str, url: str) -> None:
        parts = urlsplit(url)
        scheme = parts.scheme.replace("ws", "http", 1)
        if scheme not in _LOCAL and f"{scheme}://{parts.netloc}" != self._origin:
            self._note(f"{kind} to another origin", url)
