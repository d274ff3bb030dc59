"""A pull request's files: which patches Claude is shown, in which order, and why the others are not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from hls_handler.handlers.reader import ChangedFile
from hls_handler.prompting.tokens import CHARACTERS_PER_TOKEN, estimate_tokens
from hls_handler.review.budget import cut_to
from hls_handler.review.patch import Patch, numbered, parse_patch
from hls_handler.settings.globs import NOTHING_LEFT_OUT, PathFilter
from hls_handler.untrusted.cleaning import LONGEST_TEXT

Status = Literal["added", "removed", "modified", "renamed", "copied", "changed", "unchanged"]
"""GitHub's words for what happened to a file."""

STATUSES: Mapping[str, Status] = {status: status for status in get_args(Status)}

Reason = Literal[
    "binary or empty",
    "too large for GitHub to show",
    "renamed without changes",
    "left out by settings",
    "lock file",
    "generated",
    "minified",
    "vendored",
    "over the token budget",
]
"""Why a file is not shown to Claude."""

WELL_KNOWN: tuple[tuple[Reason, re.Pattern[str]], ...] = (
    ("vendored", re.compile(r"(^|/)(node_modules|bower_components|vendor|vendored|third_party)/")),
    (
        "lock file",
        re.compile(
            r"(^|/)(package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml|bun\.lockb?|deno\.lock|cargo\.lock"
            r"|poetry\.lock|uv\.lock|pdm\.lock|pipfile\.lock|composer\.lock|gemfile\.lock|go\.sum|mix\.lock|flake\.lock"
            r"|podfile\.lock|pubspec\.lock|packages\.lock\.json|gradle\.lockfile|\.terraform\.lock\.hcl)$"
        ),
    ),
    ("minified", re.compile(r"\.min\.(js|mjs|cjs|css)$|\.(js|css)\.map$")),
    (
        "generated",
        re.compile(
            r"(^|/)(dist|__generated__|__snapshots__)/|_pb2(_grpc)?\.pyi?$|\.pb\.(go|cc|h)$|\.g\.dart$|\.designer\.cs$"
            r"|\.generated\.[a-z]+$|\.snap$"
        ),
    ),
)
"""Files that nobody writes by hand, by path in lower case."""

TESTS = re.compile(r"(^|/)(tests?|specs?|__tests__)/|(^|/)test_[^/]*$|(_test|_spec|\.test|\.spec)\.[a-z]+$")
PROSE = re.compile(r"(^|/)(docs?|changelog|license)(/|$)|\.(md|mdx|rst|txt|adoc)$")
SETTINGS = re.compile(r"\.(json|ya?ml|toml|ini|cfg|conf|properties|xml|csv|svg|lock)$|(^|/)\.[^/]+$")
WORKFLOWS = re.compile(r"^\.github/(workflows|actions)/")

TOKENS_AROUND = 100
"""What a file takes beside its patch: its name, its numbers, the delimiters."""

LONGEST_PATCH = int((LONGEST_TEXT - 100) / CHARACTERS_PER_TOKEN)
"""Tokens of one patch: with a remark about the cut, the prompt shows it whole."""


@dataclass(frozen=True, slots=True)
class PatchedFile:
    """A file whose patch Claude is shown."""

    path: str
    previous_path: str | None  # of a renamed one
    status: Status
    additions: int
    deletions: int
    numbered: str  # the patch, each line with its side and number; the form is described in review/patch.py
    cut: bool  # whether the end of the patch is missing


@dataclass(frozen=True, slots=True)
class SkippedFile:
    path: str
    reason: Reason


def choose(
    files: Sequence[ChangedFile], *, tokens: int, left_out: PathFilter = NOTHING_LEFT_OUT
) -> tuple[tuple[PatchedFile, ...], tuple[SkippedFile, ...]]:
    """The files to show within a budget, what matters most first, and the others in GitHub's order, with the reason.

    A patch takes what those behind it do not need, and at least half of what is left: a huge file is cut, visibly, and
    does not keep small ones out.
    """
    patches = {file.path: parse_patch(file.patch or "") for file in files}
    reasons = {
        file.path: reason for file in files if (reason := _unreadable(file, patches[file.path], left_out)) is not None
    }
    ranked = sorted((file for file in files if file.path not in reasons), key=_rank)
    needs = [_around(file) + estimate_tokens(numbered(patches[file.path])) for file in ranked]
    shown: list[PatchedFile] = []
    left, needed_behind = tokens, sum(needs)
    for file, need in zip(ranked, needs, strict=True):
        needed_behind -= need
        allowed = min(max(left - needed_behind, left // 2), _around(file) + LONGEST_PATCH)
        whole = patches[file.path]
        part = whole if need <= allowed else cut_to(whole, allowed - _around(file))
        if not part.hunks:
            reasons[file.path] = "over the token budget"
            continue
        shown.append(_patched(file, whole, part))
        left -= min(need, allowed)
    return tuple(shown), tuple(SkippedFile(file.path, reasons[file.path]) for file in files if file.path in reasons)


def _around(file: ChangedFile) -> int:
    """Tokens beside the patch: a name may have 4,096 characters, and strangers choose it."""
    return max(TOKENS_AROUND, TOKENS_AROUND // 2 + estimate_tokens(f"{file.path}{file.previous_path or ''}"))


def _unreadable(file: ChangedFile, patch: Patch, left_out: PathFilter) -> Reason | None:
    """Why a file has nothing to show, whatever the budget; None if it has."""
    if left_out.leaves_out(file.path):
        return "left out by settings"
    path = file.path.lower()
    for reason, pattern in WELL_KNOWN:
        if pattern.search(path):
            return reason
    if patch.hunks:
        return None
    if file.additions or file.deletions:
        return "too large for GitHub to show"
    return "renamed without changes" if file.status == "renamed" else "binary or empty"


def _rank(file: ChangedFile) -> int:
    """Source, tests, prose and settings, removed files. Workflows and actions run, so they are source."""
    path = file.path.lower()
    if file.status == "removed":
        return 3
    if WORKFLOWS.search(path):
        return 0
    if TESTS.search(path):
        return 1
    return 2 if PROSE.search(path) or SETTINGS.search(path) else 0


def _patched(file: ChangedFile, whole: Patch, part: Patch) -> PatchedFile:
    text = numbered(part)
    missing = _changed_lines(whole) - _changed_lines(part)
    cut = part != whole
    if cut:
        text = f"{text}\n[cut here to fit: {missing} more changed lines of this file are not shown]"
    status = STATUSES.get(file.status, "changed")
    return PatchedFile(file.path, file.previous_path, status, file.additions, file.deletions, text, cut)


def _changed_lines(patch: Patch) -> int:
    return sum(line.mark != " " for hunk in patch.hunks for line in hunk.lines)


def not_shown(files: Sequence[PatchedFile], skipped: Sequence[SkippedFile], unlisted: int) -> str | None:
    """ "2 of 9 files were not shown: 1 lock file, 1 over the token budget; 1 patch was cut"; None where all was."""
    parts: list[str] = []
    missing, of = len(skipped) + unlisted, len(files) + len(skipped) + unlisted
    if missing:
        why = [summary(skipped)] if skipped else []
        why += [f"{unlisted} beyond those that GitHub lists"] if unlisted else []
        parts.append(f"{missing} of {of} files {were(missing)} not shown: {', '.join(why)}")
    cut = sum(file.cut for file in files)
    if cut:
        parts.append(f"{cut} patch{'es' * (cut != 1)} {were(cut)} cut")
    return "; ".join(parts) or None


def were(count: int) -> str:
    return "was" if count == 1 else "were"


def summary(skipped: Iterable[SkippedFile]) -> str:
    """ "2 binary or empty, 1 lock file"."""
    reasons = [file.reason for file in skipped]
    return ", ".join(f"{reasons.count(reason)} {reason}" for reason in dict.fromkeys(reasons))
