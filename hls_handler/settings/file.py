"""Settings file that a running service watches for changes, together with `.env`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from hls_handler.settings.load import load_settings
from hls_handler.settings.model import Settings

Stamp = tuple[int, int, int, int] | None

MIN_AGE_NS = 250_000_000
"""Minimum age of a change: a younger file may be incomplete, because many editors empty it before they write."""


class SettingsFile:
    """Settings file, read in the constructor and again by `read`, which only one thread may call at a time.

    Variables of the process are fixed; those of `.env` may change.
    """

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        *,
        dotenv: Path | None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`clock_ns` must be the clock of file timestamps. Raises `SettingsError` with all problems."""
        self._clock_ns = clock_ns
        self._path, self._environ, self._dotenv = path, dict(environ), dotenv
        self._last_stamps: tuple[Stamp, ...] | None = None
        self.first: Settings = self.read()

    def has_changed(self) -> bool:
        """Return True if a file has changed since the last read and is at least `MIN_AGE_NS` old. Thread-safe."""
        stamps = self._stamps()
        if stamps == self._last_stamps:
            return False
        now = self._clock_ns()
        return not any(0 <= now - stamp[1] < MIN_AGE_NS for stamp in stamps if stamp is not None)

    def read(self) -> Settings:
        """Read the settings. Raises `SettingsError`. A change during the read is detected by the next `has_changed`."""
        self._last_stamps = self._stamps()
        return load_settings(self._path, self._environ, dotenv=self._dotenv)

    def forget(self) -> None:
        """Count the file as changed, because what was read could not be applied yet."""
        self._last_stamps = None

    def _stamps(self) -> tuple[Stamp, ...]:
        return tuple(_stamp(path) for path in (self._path, self._dotenv) if path is not None)


def _stamp(path: Path) -> Stamp:
    """Inode, modification time, size and change time of a file; None if it cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size, status.st_ctime_ns)
