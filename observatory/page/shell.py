"""The HTML that loads the page: one for each view, the same for everybody who is signed in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from posixpath import dirname, join, normpath

from observatory.page.assets import read_assets

# The page's addresses and the view that each begins with; js/routes.js has the same.
VIEWS = {
    "/": "overview",
    "/conversations": "conversations",
    "/conversations/{conversation_id}": "conversation",
    "/projects": "projects",
    "/projects/{project_id}": "project",
    "/tools": "tools",
    "/files": "files",
    "/ingest": "ingest",
    "/settings": "settings",
    "/settings/{section}": "settings",
}
# Nothing of elsewhere, nothing that stands in the HTML itself, and no text made into HTML but by
# the sanitiser.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types dompurify",
    )
)
_IMPORT = re.compile(
    r"""^(?:import|export|\}) ?(?:[^'"();=]*?\bfrom )?["'](\.[^"']+)["'];""", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Shell:
    """The HTML of a view, and what changes when it does."""

    body: bytes
    digest: str


def find_modules(*begin: str) -> list[str]:
    """Return the paths of some modules and of all that they import at once, each once."""
    by_path = read_assets().by_path
    found: list[str] = []
    waiting = list(begin)
    while waiting:
        path = waiting.pop(0)
        if path not in found:
            found.append(path)
            text = by_path[path].body.decode()
            waiting += [normpath(join(dirname(path), name)) for name in _IMPORT.findall(text)]
    return found


@cache
def make_shell(view: str) -> Shell:
    """Return the HTML that a view begins with; its modules are fetched without waiting."""
    assets = read_assets()
    preloads = "\n".join(
        f'<link rel="modulepreload" href="{assets.base}/{path}">'
        for path in find_modules("js/main.js", f"js/views/{view}.js")
    )
    style = f"css/{view}.css"
    if style in assets.by_path:
        preloads = f'<link rel="stylesheet" href="{assets.base}/{style}">\n{preloads}'
    page = (files("observatory.page") / "index.html").read_text()
    body = page.replace("{{assets}}", assets.base).replace("{{preloads}}", preloads).encode()
    return Shell(body, blake2b(body, digest_size=8).hexdigest())
