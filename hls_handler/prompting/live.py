"""The library in use: read again when a file changed, while a broken change leaves the last good one in use."""

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

State = frozenset[tuple[str, int, int]]


class LiveLibrary:
    """Asked by every worker for each delivery; safe to be asked by many at once."""

    def __init__(self, load: Callable[[], Library], *folders: Path, before: Library | None = None) -> None:
        """Loads at once. `before` stays in use if that fails; without it the `PromptError` of `load` is raised.

        `folders` are those that `load` reads.
        """
        self._load = load
        self._folders = folders
        self._reading = threading.Lock()
        self._seen = _state(folders)  # before loading: what changes meanwhile is seen the next time
        self._trouble: str | None = None
        if before is None:
            self._library = load()
        else:
            self._library = before
            self._read()

    def current(self) -> Library:
        """The library as the files are now, or the last good one.

        While one thread reads, the others wait: a change holds for the next delivery, whoever noticed it first.
        """
        with self._reading:
            if _state(self._folders) != self._seen:
                self._read()
            return self._library

    @property
    def latest(self) -> Library:
        """The library in use, without a look at the files: for the door, which has no time for that."""
        return self._library

    @property
    def trouble(self) -> str | None:
        """What is wrong with the files as they are now; None if the library in use is what they say."""
        return self._trouble

    def _read(self) -> None:
        self._seen = _state(self._folders)
        try:
            self._library = self._load()
        except PromptError as exc:
            self._trouble = f"the changed prompts cannot be used, the last good ones stay: {'; '.join(exc.problems)}"
            log.error("prompts cannot be used, the last good ones stay", extra={"problems": list(exc.problems)})
            return
        except Exception as exc:
            self._trouble = f"the changed prompts cannot be read ({type(exc).__name__}), the last good ones stay"
            raise
        self._trouble = None
        log.info("prompts read again", extra={"prompts": [prompt.id for prompt in self._library.prompts.values()]})


def _state(folders: Iterable[Path]) -> State:
    """Which files there are, how long and how old. One that vanishes while we look is not there."""
    found = set()
    for path in chain.from_iterable(map(find_files, folders)):
        try:
            status = os.stat(path)  # noqa: PTH116 (for each delivery)
        except OSError:
            continue
        found.add((path, status.st_mtime_ns, status.st_size))
    return frozenset(found)
