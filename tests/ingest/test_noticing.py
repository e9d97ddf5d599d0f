"""How changes are noticed: by which means, and under which names."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from observatory.ingest import changes as noticing
from observatory.ingest.changes import Changes, FolderWatch
from observatory.ingest.discover import find_file, find_files
from observatory.ingest.mounts import choose_mode, find_filesystem
from observatory.store.watcher_status import FolderStatus
from tests.processes import wait_for

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:30 / /home/ada/net rw,relatime shared:7 - nfs4 server:/x rw,vers=4.2
31 22 0:31 / /home/ada/with\\040blank rw - 9p host rw
32 30 0:32 / /home/ada/net/inner rw - xfs /dev/vdb rw
33 22 0:33 / /twice rw - cifs //a/b rw
34 22 0:34 / /twice rw - tmpfs tmpfs rw
35 22 0:35 / /mnt/sshfs rw shared:9 master:3 - fuse.sshfs host: rw
broken
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(("folder", "filesystem", "mode"), [
    ("/home/ada/.claude/projects", "ext4", "events"),
    ("/home/ada/net/projects", "nfs4", "polling"),
    ("/home/ada/net", "nfs4", "polling"),
    ("/home/ada/network", "ext4", "events"),
    ("/home/ada/net/inner/projects", "xfs", "events"),
    ("/home/ada/with blank/projects", "9p", "polling"),
    ("/twice/projects", "tmpfs", "events"),
    ("/mnt/sshfs/x", "fuse.sshfs", "polling"),
    ("/", "ext4", "events"),
])  # fmt: skip
def test_the_file_system_decides(mounts, folder, filesystem, mode):
    assert find_filesystem(folder, mounts=mounts) == filesystem
    assert choose_mode(folder, mounts=mounts) == mode
    assert choose_mode(folder, mode="events", mounts=mounts) == "events"
    assert choose_mode(folder, mode="polling", mounts=mounts) == "polling"


def test_without_a_list_of_mounts_events_are_expected(tmp_path):
    assert choose_mode("/anywhere", mounts=tmp_path / "missing") == "events"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Folders with files, links to both, and a link to the whole."""
    root = tmp_path / "root"
    for name in ("a/1.jsonl", "a/b/2.jsonl", "c/3.jsonl", "c/4.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}\n")
    (root / "linked").symlink_to(root / "a")
    (root / "c" / "5.jsonl").symlink_to(root / "c" / "3.jsonl")
    (root / "6.jsonl").mkdir()
    (root / "a" / "1.meta.json").write_text("{}")
    (tmp_path / "link").symlink_to(root)
    return root


@pytest.mark.parametrize("given", [
    ("root",), ("link",), ("root", "link"), ("link", "root"), ("root/a", "root"),
    ("root", "root/a"),
    ("root/a/b", "link", "root"), ("root/linked", "root"), ("root/c/4.txt", "root"),
    ("root/c/5.jsonl",), ("missing", "root"), ("root/a/../c", "root"), ("root/",),
])  # fmt: skip
def test_one_file_is_named_as_all_together_are(tree, given):
    paths = [os.path.join(tree.parent, each) for each in given]
    wanted = {file.path: file for file in find_files(paths)}
    named = {}
    places = [
        *(
            Path(folder) / name
            for top in (tree, tree.parent / "link")
            for folder, _, names in os.walk(top, followlinks=True)
            for name in names
        ),
        *(Path(path) for path in paths if os.path.isfile(path)),
        tree / "6.jsonl",
        tree / "gone.jsonl",
    ]  # fmt: skip
    for place in places:
        file = find_file(str(place), paths)
        if file is not None:
            named[file.path] = file
    assert named == wanted


class Failing:
    """What a system does whose limits are reached."""

    def __init__(self, *args: object) -> None:
        raise OSError(28, "No space left on device")


def test_where_watching_fails_it_looks_again_and_again(tree, monkeypatch):
    monkeypatch.setattr(noticing, "RustNotify", Failing)
    changes, stop = Changes(), threading.Event()
    watch = FolderWatch(str(tree), paths=[str(tree)], mode="auto", changes=changes, stop=stop)
    watch.start()
    try:
        assert watch.is_ready.wait(60)
        assert watch.status == FolderStatus(str(tree), "polling", 3)
        changes.take()
        new = tree / "new.jsonl"
        new.write_text("{}\n")
        wait_for(changes.has_places, what="the new file")
        assert changes.take() == ([str(new)], [])
    finally:
        stop.set()
        watch.join()


def test_when_a_folder_may_be_looked_at_again_the_system_tells_again(tree, monkeypatch):
    monkeypatch.setattr(noticing, "_RESCAN_SECONDS", 0.5)
    listen, refused = noticing.RustNotify, []

    def refuse_twice(*arguments):
        if len(refused) < 2:
            refused.append(arguments)
            raise PermissionError(13, "Permission denied")
        return listen(*arguments)

    monkeypatch.setattr(noticing, "RustNotify", refuse_twice)
    stop, changes = threading.Event(), Changes()
    watch = FolderWatch(str(tree), paths=[str(tree)], mode="auto", changes=changes, stop=stop)
    watch.start()
    try:
        wait_for(lambda: watch.status.mode == "polling", what="looking again and again")
        wait_for(lambda: watch.status.mode == "events", what="events")
    finally:
        stop.set()
        watch.join()


def test_a_wait_ends_when_something_is_noticed():
    changes = Changes()
    noted = threading.Timer(0, changes.note, [["/a"]])
    noted.start()
    changes.wait(60)
    noted.join()
    assert changes.take() == (["/a"], [])
    changes.tell()
    changes.wait(60)
    assert changes.take() == ([], [])
