"""A settings file that is looked at while the service runs: it, or `.env`, may be another than was read."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from hls_handler.settings.load import load_settings
from hls_handler.settings.model import Settings

Stamp = tuple[int, int, int, int] | None

SETTLED_NS = 250_000_000
"""A file that was written more lately may not be written to its end: many editors empty it first."""


class SettingsFile:
    """Read once when it is made, and again whenever somebody asks. Reading it again is for one thread at a time.

    The variables of the process stay what they are; those of `.env` may change.
    """

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        *,
        dotenv: Path | None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`clock_ns` is the clock of the files' times. Raises `SettingsError` with all problems."""
        self._clock_ns = clock_ns
        self._path, self._environ, self._dotenv = path, dict(environ), dotenv
        self._seen: tuple[Stamp, ...] | None = None
        self.first: Settings = self.read()

    def has_changed(self) -> bool:
        """Whether a file is another than when it was read last, and nobody writes it: cheap, and for any thread."""
        stamps = self._stamps()
        if stamps == self._seen:
            return False
        now = self._clock_ns()
        return not any(0 <= now - stamp[1] < SETTLED_NS for stamp in stamps if stamp is not None)

    def read(self) -> Settings:
        """Raises `SettingsError`. What changes meanwhile is seen the next time."""
        self._seen = self._stamps()
        return load_settings(self._path, self._environ, dotenv=self._dotenv)

    def forget(self) -> None:
        """What was read could not be used for now: it counts as changed."""
        self._seen = None

    def _stamps(self) -> tuple[Stamp, ...]:
        return tuple(_stamp(path) for path in (self._path, self._dotenv) if path is not None)


def _stamp(path: Path) -> Stamp:
    """Which file it is, how old and how long, and when it last was another in any way; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size, status.st_ctime_ns)
