"""The page's files: what they import is there, and nothing of them is elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import posixpath
import re

import pytest

from observatory.page.assets import read_assets
from observatory.page.shell import VIEWS, find_modules
from tests.page import vendoring

FILES = {path: asset.body.decode() for path, asset in read_assets().by_path.items()}
OWN = {path: text for path, text in FILES.items() if not path.startswith("vendor/")}
MODULES = {path: text for path, text in OWN.items() if path.startswith("js/")}
MANIFEST = json.loads(vendoring.MANIFEST.read_text())
# Names of languages that are written like addresses, and lead nowhere.
_NAMES = re.compile(r"http://www\.w3\.org/[\w/]+")
_ADDRESS = re.compile(r"https?://|[\"'`(]//\w")
_IMPORT = re.compile(r"""(?:(?<!["'])\bfrom|\bimport)\s*\(?\s*["']([^"']+)["']""")


@pytest.mark.parametrize("path", OWN)
def test_nothing_of_the_page_is_elsewhere(path):
    assert not _ADDRESS.search(_NAMES.sub("", OWN[path]))


@pytest.mark.parametrize("path", [path for path in FILES if path.endswith(".css")])
def test_styles_load_nothing(path):
    assert "@import" not in FILES[path] and "url(" not in FILES[path]


@pytest.mark.parametrize("path", MODULES)
def test_what_a_module_imports_is_there(path):
    for name in _IMPORT.findall(MODULES[path]):
        assert name.startswith("."), "a browser finds no packages"
        assert posixpath.normpath(posixpath.join(posixpath.dirname(path), name)) in FILES


@pytest.mark.parametrize("path", MODULES)
def test_text_becomes_no_html_and_no_code(path):
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
                 "new Function", "dangerouslySetInnerHTML"):  # fmt: skip
        if word == "dangerouslySetInnerHTML" and "sanitize(" in MODULES[path]:
            continue
        assert word not in MODULES[path]


@pytest.mark.parametrize("view", VIEWS.values())
def test_all_that_a_view_needs_is_fetched_at_once(view):
    begin = ("js/main.js", f"js/views/{view}.js")
    found = find_modules(*begin)
    wanted, waiting = set(), list(begin)
    while waiting:
        path = waiting.pop()
        if path not in wanted:
            wanted.add(path)
            at_once = re.sub(r"import\([^)]*\)", "", FILES[path])
            waiting += [
                posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
                for name in _IMPORT.findall(at_once)
                if name.startswith(".")
            ]
    assert set(found) == wanted and len(found) == len(wanted)


def test_all_vendored_files_are_in_the_manifest():
    listed = {rules["file"] for package in MANIFEST["packages"] for rules in package["files"]}
    listed |= {package["licence_file"] for package in MANIFEST["packages"]}
    there = {path.removeprefix("vendor/") for path in FILES if path.startswith("vendor/")}
    assert there == listed | {"manifest.json"}


@pytest.mark.parametrize("package", MANIFEST["packages"], ids=lambda package: package["name"])
def test_a_vendored_file_is_what_the_manifest_says(package):
    assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"])
    assert package["version"] in package["tarball"]
    assert package["tarball"].startswith(f"{vendoring.REGISTRY}/{package['name']}/-/")
    assert len(base64.b64decode(package["integrity"].removeprefix("sha512-"))) == 64
    assert package["licence"] in (
        "MIT", "Apache-2.0", "BSD-3-Clause", "(MPL-2.0 OR Apache-2.0)",
    )  # fmt: skip
    assert len(FILES[f"vendor/{package['licence_file']}"]) > 500
    for rules in package["files"]:
        body = (vendoring.VENDOR / rules["file"]).read_bytes()
        assert hashlib.sha256(body).hexdigest() == rules["sha256"]
        assert b"sourceMappingURL" not in body


def test_another_tarball_is_refused():
    with pytest.raises(SystemExit, match="another one"):
        vendoring.check_integrity(b"x", MANIFEST["packages"][0]["integrity"], name="x")


def test_a_rule_that_fits_no_more_is_noticed():
    with pytest.raises(SystemExit, match="look at the manifest"):
        vendoring.change(b"export {}", {"from": "x.js", "replace": [["y", "z"]]})


def test_nothing_is_fetched_from_elsewhere():
    with pytest.raises(SystemExit, match="not an address"):
        vendoring.fetch("https://example.org/x.tgz")
