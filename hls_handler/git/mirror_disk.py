"""The disk of the mirrors: the room that stays free on it, and the mirrors that are deleted for
it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hls_handler.git.host import MirrorUnavailable
from hls_handler.settings.model import MirrorSettings

TOTAL_BYTES = 5_000_000_000
"""Size of all mirrors: what was not used for longest is deleted. It is ten times
`mirror.max_mb`.
"""
FULL = "no room is left on the disk of mirror.directory"
FULL_S = 120.0  # for which nothing is fetched after `DiskFull`, so that a probe of /health sees it


class DiskFull(MirrorUnavailable):
    """The disk is full, or a fetch has used up to the room that stays free on it."""


class MirrorDisk:
    """Thread-safe. `clock` returns seconds, and `free_bytes` the room on the disk of a folder."""

    def __init__(
        self,
        settings: Callable[[], MirrorSettings],
        *,
        clock: Callable[[], float],
        free_bytes: Callable[[Path], int],
        total_bytes: int = TOTAL_BYTES,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._free_bytes = free_bytes
        self._total_bytes = total_bytes
        self._full_until = 0.0

    @property
    def _directory(self) -> Path:
        return self._settings().directory.absolute()

    def free_bytes(self) -> int:
        """Return the room on the disk. Raises `OSError`."""
        folder = self._directory
        while not folder.exists():
            folder = folder.parent
        return self._free_bytes(folder)

    def is_low(self) -> bool:
        """Return whether too little is free; False if that cannot be read."""
        try:
            return self.free_bytes() < self._settings().min_free_mb * 1_000_000
        except OSError:
            return False

    def describe_low(self) -> str:
        min_free_mb = self._settings().min_free_mb
        return (
            f"less than mirror.min_free_mb ({min_free_mb}) is free on the disk of mirror.directory"
        )

    def check(self, keep: Path | None = None) -> None:
        """Raise `MirrorUnavailable` if nothing may be fetched, after other mirrors were deleted."""
        if self._clock() < self._full_until:
            raise MirrorUnavailable(FULL)
        if self.is_low():
            self.evict(keep)
        if self.is_low():
            raise MirrorUnavailable(self.describe_low())

    def remember_full(self, keep: Path) -> None:
        """Let nothing be fetched for two minutes, and delete a mirror."""
        self._full_until = self._clock() + FULL_S
        self.evict(keep, at_least_one=True)

    def evict(self, keep: Path | None, *, at_least_one: bool = False) -> None:
        """Delete the mirrors that were not used for longest, except `keep`.

        It ends when the mirrors are small enough together, and enough room is free.
        """
        with suppress(OSError):  # of a folder that another process deletes at the same time
            locks = sorted(self._directory.glob("*/lock"), key=lambda lock: lock.stat().st_mtime)
            sizes = {lock: size_of(lock.parent) for lock in locks}
            for lock in locks:
                fits = sum(sizes.values()) <= self._total_bytes and not self.is_low()
                if fits and not at_least_one:
                    return
                if lock.parent != keep and sizes[lock] > 0 and _delete(lock):
                    sizes[lock] = 0
                    at_least_one = False


def _delete(lock: Path) -> bool:
    """Delete a mirror, and return True; False if it is in use."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        remove(lock.parent / "git", lock.parent / "new", lock.parent / "pick")
    return True


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder, which may be changed or deleted at the same
    time.
    """
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(parent, name).lstat().st_size
    return total


def remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
