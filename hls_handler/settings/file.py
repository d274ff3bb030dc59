"""A settings file that is looked at while the service runs: it, or `.env`, may be another than was read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hls_handler.settings.load import load_settings
from hls_handler.settings.model import Settings

Stamp = tuple[int, int, int] | None


class SettingsFile:
    """Read once when it is made, and again whenever somebody asks. Reading it again is for one thread at a time.

    The variables of the process stay what they are; those of `.env` may change.
    """

    def __init__(self, path: Path, environ: Mapping[str, str], *, dotenv: Path | None) -> None:
        """Raises `SettingsError` with all problems."""
        self._path, self._environ, self._dotenv = path, dict(environ), dotenv
        self._seen: tuple[Stamp, ...] | None = None
        self.first: Settings = self.read()

    def has_changed(self) -> bool:
        """Whether a file is another than when it was read last: cheap, and for any thread."""
        return self._stamps() != self._seen

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
    """Which file it is, how old and how long; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)
