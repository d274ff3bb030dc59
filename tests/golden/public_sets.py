"""Reads two public sets of reviewed pull requests from a folder that the user supplies. Nothing of
them is kept here.

The pull requests themselves are read from GitHub. ReviewBench is about earlier commits of them, of
which GitHub lists no changed files: their diffs are expected in `diffs/` of the folder, as
README.md describes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from hls_handler.analysis import Category, Severity
from tests.golden.cases import (
    CaseError,
    Defect,
    Place,
    PublicPull,
    PullRequestCase,
    parse_diff,
    to_sentence,
)

Profile = Literal["strict", "core"]

STRICT = frozenset({"bug", "security", "concurrency", "data", "api"})
CORE = STRICT | {"perf", "test_gap", "doc_defect"}
PROFILES: Mapping[Profile, frozenset[str]] = {"strict": STRICT, "core": CORE}
"""Categories that count in each profile of Martian's benchmark
(offline/analysis/score_profiles.py).
"""

ALL_COMMENTS = "all comments: without categories, there is no strict or core"

T = TypeVar("T")

PULL_REQUEST_URL = re.compile(r"https://github\.com/([^/]+)/([^/]+)/pull/(\d+)")


@dataclass(frozen=True, slots=True)
class PublicSet:
    name: str  # "martian (strict)"
    cases: tuple[PullRequestCase, ...]
    without_diff: tuple[
        str, ...
    ] = ()  # files in `diffs/` that are missing; their cases are left out


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


LowerCase = Annotated[
    Severity, BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)
]


class _GoldenComment(_Read):
    comment: str
    severity: LowerCase  # "Low", "Medium", "High", "Critical"
    category: str | None = None  # the set as it is published has none


class _MartianPullRequest(_Read):
    pr_title: str
    url: str
    comments: tuple[_GoldenComment, ...]


class _ReviewedPullRequest(_Read):
    nwo: str  # "owner/repository"
    pr_number: int
    head: str
    title: str
    body: str | None = None
    language: str | None = None


class _GoldenFinding(_Read):
    file: str
    start_line: int
    end_line: int
    message: str
    severity: LowerCase
    category: str
    tp_fp: str  # "tp" for a true finding


class _GoldenFindings(_Read):
    findings: tuple[_GoldenFinding, ...]


_MARTIAN = TypeAdapter(tuple[_MartianPullRequest, ...])
_MANIFEST = TypeAdapter(tuple[_ReviewedPullRequest, ...])
_FINDINGS = TypeAdapter(_GoldenFindings)

CATEGORIES: Mapping[str, tuple[Category, ...]] = {
    "security": ("security",),
    "performance": ("performance",),
}
"""Category of ReviewBench -> our categories. All others (correctness, reliability, testing, ...)
are bugs or style.
"""


def load_martian(folder: Path, profile: Profile) -> PublicSet:
    """Read a checkout of https://github.com/withmartian/code-review-benchmark.

    A golden comment has neither file nor line, so only a judge can match it. A finding that
    describes a comment outside of the profile is neither found nor invented. Without categories
    there are no profiles, and all comments are expected. Raises `CaseError`.
    """
    comments = folder / "offline" / "golden_comments"
    files = sorted(comments.glob("*.json"))
    if not files:
        raise CaseError(
            [
                (
                    f"{comments} has no JSON file; PATH is a checkout of"
                    " withmartian/code-review-benchmark"
                )
            ]
        )
    pulls = [pull for path in files for pull in _read(_MARTIAN, path)]
    has_profiles = all(comment.category for pull in pulls for comment in pull.comments)
    found: list[PullRequestCase] = []
    for pull in pulls:
        named = PULL_REQUEST_URL.fullmatch(pull.url)
        if named is None:
            raise CaseError([f"{comments}: {pull.url!r} is not the address of a pull request"])
        owner, repository, number = named.groups()
        defects = tuple(
            Defect(
                about=comment.comment,
                places=(),
                categories=(),
                severity=comment.severity,
                expected=not has_profiles or comment.category in PROFILES[profile],
            )
            for comment in pull.comments
        )
        public = PublicPull(repository=f"{owner}/{repository}", number=int(number))
        found.append(_case("_".join(named.groups()), pull.pr_title, "", "", defects, public))
    return PublicSet(f"martian ({profile if has_profiles else ALL_COMMENTS})", tuple(found))


def load_reviewbench(folder: Path, manifest: str = "manifest.json") -> PublicSet:
    """Read a checkout of https://github.com/review-bench/ReviewBench. Raises `CaseError`.

    `manifest` is that of all pull requests, or of the test set of 25: "test/test.json".
    """
    found: list[PullRequestCase] = []
    for pull in _read(_MANIFEST, folder / "corpus" / manifest):
        key = f"{pull.nwo.replace('/', '_', 1)}_{pull.pr_number}-{pull.head[:8]}"
        defects = tuple(
            Defect(
                about=finding.message,
                places=(
                    Place(path=finding.file, start_line=finding.start_line, line=finding.end_line),
                ),
                categories=CATEGORIES.get(finding.category, ("bugs", "style")),
                severity=finding.severity,
            )
            for finding in _read(_FINDINGS, folder / "golden" / f"{key}.json").findings
            if finding.tp_fp == "tp"
        )
        public = PublicPull(repository=pull.nwo, number=pull.pr_number, head=pull.head)
        found.append(_case(key, pull.title, pull.body or "", pull.language or "", defects, public))
    return _with_diffs(
        "reviewbench" if manifest == "manifest.json" else "reviewbench (test set)", folder, found
    )


def _case(
    name: str, title: str, body: str, language: str, defects: tuple[Defect, ...], public: PublicPull
) -> PullRequestCase:
    given = {"name": name, "language": language, "title": title, "description": body}
    return PullRequestCase(**given, files=(), defects=defects, public=public)


def _with_diffs(name: str, folder: Path, cases: Sequence[PullRequestCase]) -> PublicSet:
    complete: list[PullRequestCase] = []
    missing: list[str] = []
    for case in cases:
        path = folder / "diffs" / f"{case.name}.diff"
        if not path.exists():
            missing.append(path.name)
            continue
        try:
            files = parse_diff(path.read_bytes().decode("utf-8", "replace"))
        except ValueError as exc:
            raise CaseError([f"{path}: {exc}"]) from exc
        complete.append(case.model_copy(update={"files": files}))
    if not cases:
        raise CaseError([f"{folder}: the set {name} has no pull request"])
    if not complete:
        raise CaseError(
            [f"{folder / 'diffs'} has none of the {len(cases)} diffs, such as {missing[0]}"]
        )
    return PublicSet(name, tuple(complete), tuple(missing))


def _read(adapter: TypeAdapter[T], path: Path) -> T:
    try:
        return adapter.validate_json(path.read_bytes())
    except (OSError, ValidationError) as exc:
        raise CaseError([f"{path} cannot be read: {to_sentence(exc)}"]) from exc
