"""Fetch the libraries of the page from npm: ``python -m tests.page.vendoring [--latest]``.

``vendor/manifest.json`` says which files of which versions; each tarball is checked against the
integrity that stands there, and each file is written as it came but for the changes that stand
there, too. ``--latest`` takes the newest versions and writes the manifest anew: look at the
difference and at the page before you commit it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import re
import sys
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

VENDOR = Path(__file__).resolve().parents[2] / "observatory" / "page" / "static" / "vendor"
MANIFEST = VENDOR / "manifest.json"
REGISTRY = "https://registry.npmjs.org"
_TIMEOUT_SECONDS = 60
# Maps are not here to be found.
_MAP = re.compile(rb"\n?//# sourceMappingURL=\S+\s*\Z")


def fetch(url: str) -> bytes:
    """Return what an address of the registry answers."""
    if not url.startswith(f"{REGISTRY}/"):
        sys.exit(f"{url} is not an address of {REGISTRY}.")
    with urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
        body: bytes = answer.read()
        return body


def check_integrity(body: bytes, integrity: str, *, name: str) -> None:
    """End when a tarball is not the one that was meant."""
    digest = base64.b64encode(hashlib.sha512(body).digest()).decode()
    if integrity != f"sha512-{digest}":
        sys.exit(f"{name}: the tarball is another one than the manifest says; nothing was written.")


def change(body: bytes, rules: dict[str, Any]) -> bytes:
    """Return a file as the page loads it: as a module, from its own folder."""
    body = _MAP.sub(b"\n", body)
    for old, new in rules.get("replace", ()):
        if old.encode() not in body:
            sys.exit(f"{rules['from']} has no {old!r}; look at the manifest's rules.")
        body = body.replace(old.encode(), new.encode())
    return bytes(rules.get("before", "").encode() + body + rules.get("after", "").encode())


def update(package: dict[str, Any], *, takes_latest: bool) -> dict[str, bytes]:
    """Return a package's files, and note in the manifest's entry what they are."""
    name = package["name"]
    if takes_latest or "integrity" not in package:
        version = "latest" if takes_latest else package["version"]
        about = json.loads(fetch(f"{REGISTRY}/{quote(name, safe='@')}/{version}"))
        package["version"], package["licence"] = about["version"], about["license"]
        package["tarball"] = about["dist"]["tarball"]
        package["integrity"] = about["dist"]["integrity"]
    tarball = fetch(package["tarball"])
    check_integrity(tarball, package["integrity"], name=name)
    with tarfile.open(fileobj=io.BytesIO(tarball)) as archive:

        def read(member: str) -> bytes:
            found = archive.extractfile(f"package/{member}")
            assert found is not None
            return found.read()

        written = {rules["file"]: change(read(rules["from"]), rules) for rules in package["files"]}
        for rules in package["files"]:
            rules["sha256"] = hashlib.sha256(written[rules["file"]]).hexdigest()
        licence = package["licence_file"] = f"licences/{name.strip('@').replace('/', '-')}.txt"
        written[licence] = read(package["licence_from"])
    return written


def main() -> None:
    """Fetch all, and write nothing unless all could be fetched."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latest", action="store_true", help="take the newest versions")
    takes_latest = parser.parse_args().latest
    manifest = json.loads(MANIFEST.read_text())
    written: dict[str, bytes] = {}
    for package in manifest["packages"]:
        written |= update(package, takes_latest=takes_latest)
        print(f"{package['name']} {package['version']} ({package['licence']})")
    (VENDOR / "licences").mkdir(exist_ok=True)
    for name, body in written.items():
        (VENDOR / name).write_bytes(body)
    MANIFEST.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
