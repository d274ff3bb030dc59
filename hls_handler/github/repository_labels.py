"""The labels of repositories, kept for an hour."""

from __future__ import annotations

import threading
from collections.abc import Callable

from hls_handler.github.api import RepositoryApi
from hls_handler.github.values import RepositoryLabel

MAX_PAGES = 50  # only the first 5,000 labels of a repository are searched

LABELS_FRESH_S = 3600.0
"""Time for which the labels of a repository are known. If a person deletes one within it, GitHub
creates it again.
"""


class RepositoryLabels:
    """The labels of repositories, as last listed. Thread-safe: all workers of a process share
    it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` returns monotonic seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        # with the time of the listing
        self._listed: dict[str, tuple[float, tuple[RepositoryLabel, ...]]] = {}

    def find_or_list(self, api: RepositoryApi) -> tuple[RepositoryLabel, ...]:
        """Return the labels, read from GitHub if they are not known or too old."""
        repository = api.repository
        with self._lock:
            at, labels = self._listed.get(repository, (0.0, None))
        if labels is None or self._clock() - at >= LABELS_FRESH_S:
            labels = tuple(
                api.items(lambda it: it.get_labels(), RepositoryLabel, max_pages=MAX_PAGES)
            )
            with self._lock:
                self._listed[repository] = (self._clock(), labels)
        return labels

    def add(self, repository: str, name: str) -> None:
        with self._lock:
            if repository in self._listed:
                at, labels = self._listed[repository]
                self._listed[repository] = (at, (*labels, RepositoryLabel(name, "")))
