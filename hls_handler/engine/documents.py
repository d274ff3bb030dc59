"""Brings the stored documentation of a repository, and its vectors, up to date with the default
branch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from hls_handler.engine.health import Health
from hls_handler.errors import Permanent
from hls_handler.events import Repository
from hls_handler.github.reader import GithubReader
from hls_handler.github.source import CommitFiles, read_optional
from hls_handler.retrieval.sections import EXTENSIONS, split_sections
from hls_handler.retrieval.vectors import Vectors, VectorsUnavailable
from hls_handler.store.texts import NewText, Texts, document_scope
from hls_handler.untrusted.cleaning import clean_and_redact, clean_title, remove_html_comments

log = logging.getLogger(__name__)

MAX_FILES = 2_000  # of a repository: those in the fewest folders
MAX_PATH_BYTES = 1_000  # PostgreSQL cannot index rows over 2,704 bytes
FILES_PER_READ = 50
SECTIONS_PER_UPDATE = 5_000  # take ten seconds, for which a delivery waits
VECTORS_REMEDY = "do what the message says; the full-text search answers alone meanwhile"
MAX_NEAREST = 50  # sections that are found by their meaning


class Documents:
    """The documentation of a repository, as one delivery uses it.

    `vectors` is None if the settings name no Qdrant. After a failure of theirs the delivery does
    without, so it waits only once. `report` gets a sentence about each failure, for `hls why`;
    `health` has it, too.
    """

    def __init__(
        self,
        texts: Texts,
        vectors: Vectors | None,
        report: Callable[[str], None],
        health: Health | None = None,
    ) -> None:
        self._texts = texts
        self._vectors = vectors
        self._report = report
        self._health = health

    def update(self, repository: Repository, reader: GithubReader) -> None:
        """Read the documentation of the default branch, at most once an hour and after pushes.

        If it cannot be read, what is stored stays.
        """
        texts = self._texts
        scope = document_scope(repository.id)
        branch = repository.default_branch
        index = texts.document_index(repository.id, repository.full_name)
        if index.is_fresh or branch is None:
            return
        stored = index.commit
        head = read_optional(lambda: reader.head_commit(branch), None)
        commit = head.value
        problem = head.problem
        if commit is not None and commit != stored:
            files = reader.files_at(commit)
            is_changed = read_optional(lambda: _store_changes(texts, scope, files), True)
            if is_changed.value:
                texts.update_statistics()
            problem = is_changed.problem or files.no_mirror
            if not problem:
                stored = commit
            # sections are of two commits, so that links to their lines may be wrong
            elif is_changed.value:
                stored = None
        texts.save_document_index(repository.id, stored, index.checked_at)
        if problem:
            log.warning(
                "documentation was not read",
                extra={"repository": repository.full_name, "reason": problem},
            )
            self._report(f"the documentation of the repository was not read: {problem}")
        # After the index is saved: other deliveries need not wait, and the next update adds what a
        # failed one left out.
        if self._vectors is not None:
            with self._reporting():
                self._vectors.update(scope, texts.load(scope))

    def find_nearest(self, scope: str, question: str) -> Sequence[int]:
        """Return the ids of the texts that fit a question by their meaning, best first; () if
        vectors are not used.
        """
        nearest: Sequence[int] = ()
        if self._vectors is not None:
            with self._reporting():
                nearest = self._vectors.nearest(scope, question, MAX_NEAREST)
        return nearest

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except VectorsUnavailable as exc:
            log.warning("documentation is searched without vectors", extra={"reason": str(exc)})
            self._report(f"the documentation was searched by its words alone: {exc}")
            self._vectors = None
            if self._health is not None:
                self._health.report_problem("vectors", str(exc), VECTORS_REMEDY)
        else:
            if self._health is not None:
                self._health.ok("vectors")


def _store_changes(texts: Texts, scope: str, files: CommitFiles) -> bool:
    """Store the sections of new and changed files. Return True if any were stored.

    Raises `Permanent` if there are too many for one update; the next one goes on.
    """
    blobs = files.list_files(EXTENSIONS)
    if files.no_mirror:
        return False
    blobs = {path: blob for path, blob in blobs.items() if len(path.encode()) <= MAX_PATH_BYTES}
    chosen = sorted(blobs, key=lambda path: (path.count("/"), path))[:MAX_FILES]
    stored = texts.versions(scope)
    changed = [path for path in chosen if stored.get(path) != blobs[path]]
    number = 0
    for start in range(0, len(changed), FILES_PER_READ):
        if number > SECTIONS_PER_UPDATE:
            raise Permanent(
                "it is too large for one reading; that for a question in an hour goes on"
            )
        paths = changed[start : start + FILES_PER_READ]
        contents = files.texts(paths)
        if files.no_mirror:
            return start > 0
        sections = [
            NewText(
                path,
                clean_title(section.title),
                clean_and_redact(section.text),
                section.line,
                section.end_line,
                blobs[path],
            )
            for path, text in contents.items()
            for section in split_sections(path, remove_html_comments(text, keep_lines=True))
        ]
        texts.replace(scope, paths, sections)
        number += len(sections)
    texts.replace(scope, stored.keys() - set(chosen), [])
    return bool(changed)
