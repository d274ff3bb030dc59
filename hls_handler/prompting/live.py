"""A prompt library that reloads when its files change and keeps the last valid version if the new one is invalid."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

from hls_handler.errors import PromptError
from hls_handler.prompting.folder import find_files
from hls_handler.prompting.prompt import Library

log = logging.getLogger(__name__)

FileState = frozenset[tuple[str, int, int]]


class ReloadingLibrary:
    """A library with automatic reload. Thread-safe: every worker calls `current` for each delivery."""

    def __init__(self, load: Callable[[], Library], *folders: Path, before: Library | None = None) -> None:
        """Load the library. If `load` raises a `PromptError`, use `before`, or raise the error if `before` is None.

        `folders` are the folders that `load` reads.
        """
        self._load = load
        self._folders = folders
        self._lock = threading.Lock()
        self._loaded_state = _file_state(folders)  # before loading, so that `current` sees a change during loading
        self._load_error: str | None = None
        if before is None:
            self._library = load()
        else:
            self._library = before
            self._reload()

    def current(self) -> Library:
        """Return the library, reloaded if a file has changed; the last valid version if the files are invalid.

        While one thread reloads, others wait, so that every delivery that begins after a change uses it.

        Raises other exceptions of `load` than `PromptError` once; after that, it returns the last valid version until
        the files change again.
        """
        with self._lock:
            if _file_state(self._folders) != self._loaded_state:
                self._reload()
            return self._library

    @property
    def latest(self) -> Library:
        """The loaded library, without a check for changed files: for the webhook receiver, which must respond fast."""
        return self._library

    @property
    def report_problem(self) -> str | None:
        """Error message of the last reload; None if it succeeded."""
        return self._load_error

    def _reload(self) -> None:
        self._loaded_state = _file_state(self._folders)
        try:
            self._library = self._load()
        except PromptError as exc:
            self._load_error = (
                f"the changed prompts cannot be used, the last valid version stays in use: {'; '.join(exc.problems)}"
            )
            log.error(
                "prompts cannot be used, the last valid version stays in use", extra={"problems": list(exc.problems)}
            )
            return
        except Exception as exc:
            self._load_error = (
                f"the changed prompts cannot be read ({type(exc).__name__}), the last valid version stays in use"
            )
            raise
        self._load_error = None
        log.info("prompts reloaded", extra={"prompts": [prompt.id for prompt in self._library.prompts.values()]})


def _file_state(folders: Iterable[Path]) -> FileState:
    """Return (path, mtime in ns, size in bytes) of every file. Files removed during the call are left out."""
    found = set()
    for path in chain.from_iterable(map(find_files, folders)):
        try:
            status = os.stat(path)  # noqa: PTH116 (faster than Path.stat; this runs for every delivery)
        except OSError:
            continue
        found.add((path, status.st_mtime_ns, status.st_size))
    return frozenset(found)
