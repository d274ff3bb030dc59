"""Changed files for a pull request of which only the numbers are known: plausible, and summing up to them."""

from __future__ import annotations

import hashlib

from hls_handler.sandbox.world import Document

MOST_FILES = 3000  # GitHub lists no more: https://docs.github.com/en/rest/pulls/pulls#list-pull-requests-files
MOST_PATCH_LINES = 3000  # of one file; of a larger change GitHub shows no patch

PATHS = ("README.md", "src/app.py", "src/store.py", "web/page.js", "docs/setup.md", "tests/test_app.py")


def made_up_files(
    repository: str, head_sha: str, *, changed_files: int, additions: int, deletions: int
) -> tuple[Document, ...]:
    """Files in the REST shape. The first takes what cannot be divided evenly; the same numbers give the same files."""
    count = min(max(changed_files, 0), MOST_FILES)
    return tuple(
        _file(
            repository,
            head_sha,
            PATHS[index] if index < len(PATHS) else f"src/part_{index:04d}.py",
            added=_share(additions, count, index),
            removed=_share(deletions, count, index),
        )
        for index in range(count)
    )


def _share(total: int, count: int, index: int) -> int:
    return total // count + (total % count if index == 0 else 0)


def _file(repository: str, head_sha: str, path: str, *, added: int, removed: int) -> Document:
    quoted = path.replace("/", "%2F")
    document: Document = {
        "sha": hashlib.sha1(f"{head_sha} {path}".encode()).hexdigest(),
        "filename": path,
        "status": "modified",
        "additions": added,
        "deletions": removed,
        "changes": added + removed,
        "blob_url": f"https://github.com/{repository}/blob/{head_sha}/{quoted}",
        "raw_url": f"https://github.com/{repository}/raw/{head_sha}/{quoted}",
        "contents_url": f"https://api.github.com/repos/{repository}/contents/{quoted}?ref={head_sha}",
    }
    if 0 < added + removed <= MOST_PATCH_LINES:
        document["patch"] = _patch(path, added, removed)
    return document


def _patch(path: str, added: int, removed: int) -> str:
    """One hunk: a line of context, the old lines, the new ones, a line of context."""
    name = path.rpartition("/")[2]
    lines = [f"@@ -1,{removed + 2} +1,{added + 2} @@", f" {name} begins here"]
    lines += [f"-line {n} of {name}, as it was" for n in range(1, removed + 1)]
    lines += [f"+line {n} of {name}, as it is now" for n in range(1, added + 1)]
    return "\n".join([*lines, f" {name} goes on"])
