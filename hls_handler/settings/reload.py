"""Reads the settings again when their files change, and merges them into those in use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hls_handler.errors import SettingsError
from hls_handler.settings.load import load_settings, read_file
from hls_handler.settings.model import Settings
from hls_handler.settings.values import is_loopback
from hls_handler.settings.yaml_parser import iter_leaves

Stamp = tuple[int, int, int, int] | None
"""Inode, modification time in ns, size and change time in ns of a file; None if it cannot be
read.
"""

MIN_AGE_NS = 250_000_000
"""Minimum age of a change before a file is read: many editors empty a file before they write the
new text.
"""


class SettingsFile:
    """Reads the settings file, `.env` and the files of secrets, and detects changes of these files.

    Only one thread at a time may call `read`. Every read uses the `environ` of the constructor.
    """

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        *,
        dotenv: Path | None,
        options: Mapping[str, object] = MappingProxyType({}),
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Read the settings. Raises `SettingsError`.

        `options` override the file as in `load_settings`. `clock_ns` is compared with the
        modification times of files.
        """
        self._clock_ns = clock_ns
        self._options = options
        self._path = path
        self._environ = dict(environ)
        self._dotenv = dotenv
        self._stamps: dict[Path, Stamp] = {}  # of the files when they were read
        self._must_read = False
        self.initial: Settings = self.read()

    def has_changed(self) -> bool:
        """Return True if a file has changed since `read`, and the change is at least `MIN_AGE_NS`
        old. Thread-safe.
        """
        stamps = {path: _stamp(path) for path in self._stamps}
        if stamps == self._stamps and not self._must_read:
            return False
        clock_ns = self._clock_ns()
        return not any(
            0 <= clock_ns - stamp[1] < MIN_AGE_NS for stamp in stamps.values() if stamp is not None
        )

    def read(self) -> Settings:
        """Read the settings. Raises `SettingsError`. If a file changes meanwhile, `has_changed`
        returns True later.
        """
        self._must_read = False
        self._stamps = {
            path: _stamp(path) for path in (self._path, self._dotenv) if path is not None
        }
        return load_settings(
            self._path,
            self._environ,
            dotenv=self._dotenv,
            options=self._options,
            read_key=self._read_key,
        )

    def mark_as_changed(self) -> None:
        """Make `has_changed` return True, so that settings that could not be applied are read
        again.
        """
        self._must_read = True

    def _read_key(self, path: Path) -> bytes:
        # before reading, so that a later change is detected
        self._stamps = {
            **self._stamps,
            path: _stamp(path),
        }
        return read_file(path)


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size, status.st_ctime_ns)


NEEDS_RESTART = (
    "server.host",
    "server.port",
    "storage.url",
    "limits.concurrency",
    "retrieval.qdrant",
    "retrieval.embeddings",
)
"""Keys that cannot change at runtime: they concern open sockets, the open database and the running
threads.
"""


@dataclass(frozen=True, slots=True)
class SettingsReload:
    settings: Settings  # the settings as read, but with the old value of each key in `waiting`
    changed: tuple[str, ...]  # keys with a new value: "github.token", "repositories[0].enabled"
    # keys whose new value needs a restart, with line: "config/settings.yaml:3 (server.port)"
    waiting: tuple[str, ...]


def plan_reload(running: Settings, read: Settings) -> SettingsReload:
    """Return the new settings `read`, but with the `running` values of the keys in `NEEDS_RESTART`.

    Raises `SettingsError` if `read` switches the signature check off while the running host is not
    loopback. A new loopback host in `read` does not prevent the error, because the host changes
    only at a restart.
    """
    settings = read
    waiting = []
    for key in NEEDS_RESTART:
        section, _, name = key.partition(".")
        old = getattr(getattr(running, section), name)
        if getattr(getattr(read, section), name) != old:
            waiting.append(read.sources.where(key))
            section_settings = getattr(settings, section).model_copy(update={name: old})
            settings = settings.model_copy(update={section: section_settings})
    if not settings.features.signature_validation and not is_loopback(settings.server.host):
        where = read.sources.where("features.signature_validation")
        listens = f"the running service listens on {settings.server.host}"
        advice = "set it to true, or set server.host to 127.0.0.1 and restart HLS"
        raise SettingsError(
            [f"{where}: false is allowed on a loopback host only, but {listens}; {advice}"]
        )
    return SettingsReload(settings, tuple(_changed(running, settings)), tuple(waiting))


def _changed(before: Settings, after: Settings) -> Iterator[str]:
    old, new = (dict(iter_leaves(_list_values(settings))) for settings in (before, after))
    return (key for key in new | old if old.get(key, ...) != new.get(key, ...))


def _list_values(settings: Settings) -> dict[str, Any]:
    # an entry overrides also with a value that is the general default
    return settings.model_dump() | settings.model_dump(include={"repositories"}, exclude_unset=True)
