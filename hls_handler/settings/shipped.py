"""The files that HLS ships outside of its modules: prompt library, documentation, and the settings
without a file.

In a wheel they are in `hls_handler/shipped_files` (setup.py), in a checkout in the folders beside
the package.
"""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent
_FOLDER = _PACKAGE / "shipped_files" if (_PACKAGE / "shipped_files").is_dir() else _PACKAGE.parent

PROMPTS = _FOLDER / "prompts"
DOCS = _FOLDER / "docs"
SETTINGS = _FOLDER / "config" / "settings.example.yaml"

_GROUPS = {
    "Set up": ("adoption.md", "actions.md", "setup.md", "repository-file.md", "providers.md"),
    "Run": (
        "running.md",
        "console.md",
        "problems.md",
        "troubleshooting.md",
        "cost.md",
        "machines.md",
        "data.md",
    ),
    "Prompts": ("prompts.md", "batches.md", "prompts-reference.md", "prompts-reasons.md"),
    "Reference": ("settings.md", "cli.md", "http.md", "events.md"),
}


@cache
def list_documents() -> dict[str, str]:
    """Return the title of each page of the documentation by its file name: "running.md" -> "Run
    HLS".
    """
    first = {
        path.name: path.read_text(encoding="utf-8").partition("\n")[0]
        for path in sorted(DOCS.glob("*.md"))
    }
    return {name: line.removeprefix("# ").replace("`", "") for name, line in first.items()}


def group_documents() -> dict[str, dict[str, str]]:
    """Return the titles of `list_documents` by what a reader wants to do. "Reference" also has the
    pages that no group names.
    """
    rest = dict(list_documents())
    groups = {group: {name: rest.pop(name) for name in names} for group, names in _GROUPS.items()}
    groups["Reference"] |= rest
    return groups


@cache
def find_commit() -> str:
    """Return the commit of the git clone ("0c88f353", "0c88f353-dirty" with changes), else the one
    that the build wrote; "" if neither is known.
    """
    file = _PACKAGE / "commit.txt"
    if file.is_file():
        return file.read_text(encoding="utf-8").strip()
    return _git("describe", "--always", "--dirty", "--exclude=*").strip()


def find_edited_files() -> list[str]:
    """Return the shipped prompts and settings that are edited in a git clone, as relative paths:
    "prompts/issues/analyze.j2". Empty without git, or if HLS does not run from a clone.
    """
    edited = _git(
        "diff",
        "--name-only",
        "--relative",
        "--diff-filter=MD",
        "-z",
        "HEAD",
        "--",
        "prompts",
        str(SETTINGS),
    )
    return [name for name in edited.split("\0") if name]


def _git(*arguments: str) -> str:
    """Return the output; "" without git, or if HLS does not run from a clone."""
    if not (_FOLDER / ".git").exists():
        return ""
    command = ["git", "-C", str(_FOLDER), *arguments]  # git is found on the PATH
    try:
        return subprocess.run(
            command, capture_output=True, check=True, encoding="utf-8", errors="replace"
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
