"""Small disks that can be filled, and disks that can only be read: mounted for a test by root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except FileNotFoundError:
        pytest.skip(f"there is no {command[0]} here")


@contextmanager
def small_disk(folder: Path, *, mebibytes: int) -> Iterator[None]:
    """Mount a small disk on a new folder while a block runs, or skip the test."""
    folder.mkdir(parents=True)
    options = f"size={mebibytes}m,mode=0700"
    mounted = _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    if mounted.returncode:
        pytest.skip(f"a small disk can not be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        _run("umount", "--lazy", str(folder))


@contextmanager
def failing_disk(folder: Path, *, mebibytes: int = 64) -> Iterator[None]:
    """Mount a disk with a journal, which can be made to fail, while a block runs, or skip."""
    folder.mkdir(parents=True)
    image = folder.with_name(f"{folder.name}.ext4")
    with image.open("wb") as stream:
        stream.truncate(mebibytes * 1024 * 1024)
    if _run("mkfs.ext4", "-q", "-F", str(image)).returncode:
        pytest.skip("no file system can be made here")
    mount_image(image, folder)
    try:
        yield
    finally:
        _run("umount", "--lazy", str(folder))


def mount_image(image: Path, folder: Path) -> None:
    """Mount a file as a disk that can only be read once it has failed, or skip the test."""
    mounted = _run("mount", "-o", "loop,errors=remount-ro", str(image), str(folder))
    if mounted.returncode:
        pytest.skip(f"a file can not be mounted as a disk here: {mounted.stderr.strip()}")


def mend(folder: Path) -> None:
    """Mount a disk anew that failed; nobody may have a file on it open."""
    done = _run("umount", str(folder))
    assert done.returncode == 0, done.stderr
    mount_image(folder.with_name(f"{folder.name}.ext4"), folder)


def fail(folder: Path) -> None:
    """Let the kernel believe that a disk has failed: from then on nothing on it can be written."""
    done = _run("mount", "-o", "remount,abort", str(folder))
    assert done.returncode == 0, done.stderr
    with pytest.raises(OSError, match="Read-only"):
        (folder / "probe").touch()


def remount(folder: Path, *, mode: str) -> None:
    """Let a small disk be read only (``ro``), or written again (``rw``)."""
    done = _run("mount", "-o", f"remount,{mode}", str(folder))
    assert done.returncode == 0, done.stderr


def fill(folder: Path, *, spare_bytes: int = 0) -> Path:
    """Write a file until the disk is full but for some bytes, and return its path."""
    path = folder / "filler"
    with path.open("ab", buffering=0) as stream, suppress(OSError):
        while os.statvfs(folder).f_bavail:
            stream.write(bytes(65536))
    if spare_bytes:
        os.truncate(path, max(0, path.stat().st_size - spare_bytes))
    return path
