"""Brings the stored documentation of a repository up to date with its default branch."""

from __future__ import annotations

import logging

from hls_handler.events import Repository
from hls_handler.handlers.reader import Reader, RepositoryFiles, read_optional
from hls_handler.retrieval.sections import EXTENSIONS, split_sections
from hls_handler.store.texts import NewText, Texts, document_scope
from hls_handler.untrusted.cleaning import clean_and_redact, remove_html_comments

log = logging.getLogger(__name__)

MAX_FILES = 2_000  # of a repository: those in the fewest folders
FILES_PER_READ = 50


def update_documents(texts: Texts, repository: Repository, reader: Reader) -> str:
    """Read the documentation of the default branch, at most once an hour and after pushes.

    Return why it could not be read; "" if it was. What is stored stays then.
    """
    index = texts.document_index(repository.id, repository.full_name)
    if index.is_fresh or repository.default_branch is None:
        return ""
    branch, stored = repository.default_branch, index.commit
    commit, problem = read_optional(lambda: reader.head_commit(branch), None)
    if commit is not None and commit != stored:
        files = reader.files_at(commit)
        is_changed, why = read_optional(lambda: _store_changes(texts, document_scope(repository.id), files), True)
        problem = why or files.no_mirror
        if not problem:
            stored = commit
        elif is_changed:  # sections are of two commits, so that links to their lines may be wrong
            stored = None
    texts.save_document_index(repository.id, stored)
    if problem:
        log.warning("documentation was not read", extra={"repository": repository.full_name, "reason": problem})
    return problem


def _store_changes(texts: Texts, scope: str, files: RepositoryFiles) -> bool:
    """Store the sections of new and changed files. Return True if any were stored."""
    found = files.list_files(EXTENSIONS)
    if files.no_mirror:
        return False
    chosen = sorted(found, key=lambda path: (path.count("/"), path))[:MAX_FILES]
    known = texts.versions(scope)
    changed = [path for path in chosen if known.get(path) != found[path]]
    for start in range(0, len(changed), FILES_PER_READ):
        paths = changed[start : start + FILES_PER_READ]
        contents = files.texts(paths)
        if files.no_mirror:
            return start > 0
        sections = [
            NewText(path, one.title, clean_and_redact(one.text), one.line, one.end_line, found[path])
            for path, text in contents.items()
            for one in split_sections(path, remove_html_comments(text, keep_lines=True))
        ]
        texts.replace(scope, paths, sections)
    texts.replace(scope, known.keys() - set(chosen), [])
    return True
