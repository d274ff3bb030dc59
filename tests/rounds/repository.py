"""Changed files of a pull request, as git compares its head with its base."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from hls_handler.github.values import ChangedFile
from tests.rounds.code import Files

INDEX = re.compile(r"^index [0-9a-f]+\.\.([0-9a-f]+)", re.MULTILINE)
WORDS_OF_STATUS = {"rename from": "renamed", "new file": "added", "deleted file": "removed"}


def to_texts(files: Files) -> dict[str, str]:
    return {path: "".join(f"{line}\n" for line in lines) for path, lines in files.items()}


def compare(folder: Path, base: str, head: str) -> tuple[ChangedFile, ...]:
    """Return the changed files as GitHub lists them, with the renames that git finds."""
    options = ["-r", "-M", "-p", "--full-index", "--no-color"]
    command = ["git", f"--git-dir={folder}", "diff-tree", *options, base, head]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return parse_diff(text, head)


def parse_diff(text: str, head: str | None = None) -> tuple[ChangedFile, ...]:
    """Return the files of a diff in git's format; `head` is the commit after it."""
    parts = re.split(r"^diff --git ", text, flags=re.MULTILINE)
    return tuple(_parse(part, head) for part in parts[1:])


def _parse(part: str, head: str | None) -> ChangedFile:
    header, mark, rest = part.partition("\n@@")
    patch = f"@@{rest}".rstrip("\n") if mark else None
    path = header.split("\n")[0].rpartition(" b/")[2]
    found = (status for words, status in WORDS_OF_STATUS.items() if f"\n{words}" in header)
    status = next(found, "modified")
    previous = re.search(r"^rename from (.*)$", header, re.MULTILINE)
    sha = INDEX.search(header)
    marks = [line[:1] for line in (patch or "").split("\n")]
    return ChangedFile(
        path=path,
        previous_path=previous[1] if previous else None,
        status=status,
        additions=marks.count("+"),
        deletions=marks.count("-"),
        patch=patch,
        sha=sha[1] if sha else None,
        commit=None if status == "removed" else head,
    )
