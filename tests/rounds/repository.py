"""A git repository with the base and the heads of one pull request."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from hls_handler.github.values import ChangedFile
from tests.rounds.code import Files

INDEX = re.compile(r"^index [0-9a-f]+\.\.([0-9a-f]+)", re.MULTILINE)
WORDS_OF_STATUS = {"rename from": "renamed", "new file": "added", "deleted file": "removed"}


class Repository:
    def __init__(self, folder: Path) -> None:
        self.folder, self.commits = folder, 0
        for name in ("objects", "refs"):
            (folder / name).mkdir(parents=True)
        (folder / "HEAD").write_text("ref: refs/heads/main\n")

    def commit(self, files: Files) -> str:
        """Store the files as a commit of its own, and return its SHA."""
        self.commits += 1
        lines = [f"commit refs/heads/c{self.commits}", "mark :1"]
        lines += [f"committer m <m@x> {self.commits} +0000", "data 0", "deleteall"]
        for path, text in files.items():
            data = "".join(f"{line}\n" for line in text)
            lines += [f"M 100644 inline {path}", f"data {len(data.encode())}", data]
        given = "\n".join([*lines, "get-mark :1", ""])
        return self._git("fast-import", "--quiet", given=given).strip()

    def compare(self, base: str, head: str) -> tuple[ChangedFile, ...]:
        """Return the changed files as GitHub lists them, with the renames that git finds."""
        text = self._git("diff-tree", "-r", "-M", "-p", "--full-index", "--no-color", base, head)
        return tuple(
            _parse(part, head) for part in re.split(r"^diff --git ", text, flags=re.MULTILINE)[1:]
        )

    def _git(self, *words: str, given: str = "") -> str:
        command = ["git", "-c", "fastimport.unpackLimit=0", f"--git-dir={self.folder}", *words]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
        return done.stdout


def _parse(part: str, head: str) -> ChangedFile:
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
