"""Handler for pull requests: selects the patches to show, and plans labels and a comment from the analysis."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from hls_handler.actions import Action, RequestedLabel
from hls_handler.analysis import Analysis, Category, Finding, PullRequestAnalysis, Reply, Severity
from hls_handler.events import Event, PullRequest
from hls_handler.handlers.earlier_findings import (
    EarlierFinding,
    OpenFinding,
    dump_earlier,
    follow_up,
    locate_open,
    parse_earlier,
    remember,
    without_repeated,
)
from hls_handler.handlers.handler import (
    Handler,
    PromptLimits,
    SkipReason,
    check_conversation,
    permalink,
    plan_comment,
    web_url,
)
from hls_handler.handlers.labels import LabelOffer, plan_labels, select_offer
from hls_handler.handlers.reader import ChangedFile, Reader, RepositoryHistory, RepositoryLabel
from hls_handler.prompting.render import CHARACTERS_PER_TOKEN, estimate_tokens
from hls_handler.review.patches import Patch, Side, numbered, parse_numbered, parse_patch, truncate_patch
from hls_handler.review.positions import RANK, locate_findings
from hls_handler.settings.model import Findings
from hls_handler.settings.values import EMPTY_PATH_FILTER, PathFilter, Summary
from hls_handler.untrusted.cleaning import LONGEST_TEXT
from hls_handler.wording import count, is_or_are, was_or_were

Status = Literal["added", "removed", "modified", "renamed", "copied", "changed", "unchanged"]
"""Values of `status` in GitHub's list of changed files."""

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
"""Reason why a file is not shown to Claude."""

NOT_HAND_WRITTEN: tuple[tuple[Reason, re.Pattern[str]], ...] = (
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
"""(reason, pattern) of files that are not written by hand. The pattern is searched in the path in lower case."""

TEST_FILES = re.compile(r"(^|/)(tests?|specs?|__tests__)/|(^|/)test_[^/]*$|(_test|_spec|\.test|\.spec)\.[a-z]+$")
DOCUMENTATION = re.compile(r"(^|/)(docs?|changelog|license)(/|$)|\.(md|mdx|rst|txt|adoc)$")
SETTINGS_FILES = re.compile(r"\.(json|ya?ml|toml|ini|cfg|conf|properties|xml|csv|svg|lock)$|(^|/)\.[^/]+$")
WORKFLOW_FILES = re.compile(r"^\.github/(workflows|actions)/")

TOKENS_PER_FILE = 100  # tokens of a file in addition to its patch: name, counts and delimiters

MAX_PATCH_TOKENS = int((LONGEST_TEXT - 100) / CHARACTERS_PER_TOKEN)
"""Limit on the tokens of one patch. The patch and a note that it is cut must fit into `LONGEST_TEXT` characters."""


@dataclass(frozen=True, slots=True)
class PatchedFile:
    path: str
    previous_path: str | None  # if renamed
    status: Status
    additions: int
    deletions: int
    numbered: str  # the patch, each line with its side and number: "R   11 + return side ** 2"
    cut: bool  # True if the end of the patch is missing


NO_REVIEW: frozenset[Reason] = frozenset(
    {
        "binary or empty",
        "renamed without changes",
        "left out by settings",
        "lock file",
        "generated",
        "minified",
        "vendored",
    }
)
"""Reasons why a file needs no review. Files with another reason should have been read and were not."""


@dataclass(frozen=True, slots=True)
class SkippedFile:
    path: str
    reason: Reason

    @property
    def needs_review(self) -> bool:
        return self.reason not in NO_REVIEW


def select_files(
    files: Sequence[ChangedFile], *, tokens: int, ignored_paths: PathFilter = EMPTY_PATH_FILTER
) -> tuple[tuple[PatchedFile, ...], tuple[SkippedFile, ...]]:
    """Return the files that fit into `tokens`, most important first, and the skipped files in GitHub's order.

    A file may use half of the tokens that are left, or more if the following files need less. A larger patch is cut,
    with a note, so that it does not displace small files.
    """
    patches = {file.path: parse_patch(file.patch or "") for file in files}
    reasons = {
        file.path: reason
        for file in files
        if (reason := _skip_reason(file, patches[file.path], ignored_paths)) is not None
    }
    ranked = sorted((file for file in files if file.path not in reasons), key=_rank)
    needed = [_overhead_tokens(file) + estimate_tokens(numbered(patches[file.path])) for file in ranked]
    shown: list[PatchedFile] = []
    left, needed_by_rest = tokens, sum(needed)
    for file, need in zip(ranked, needed, strict=True):
        needed_by_rest -= need
        allowed = min(max(left - needed_by_rest, left // 2), _overhead_tokens(file) + MAX_PATCH_TOKENS)
        whole = patches[file.path]
        part = whole if need <= allowed else truncate_patch(whole, allowed - _overhead_tokens(file))
        if not part.hunks:
            reasons[file.path] = "over the token budget"
            continue
        shown.append(_to_patched_file(file, whole, part))
        left -= min(need, allowed)
    return tuple(shown), tuple(SkippedFile(file.path, reasons[file.path]) for file in files if file.path in reasons)


def _overhead_tokens(file: ChangedFile) -> int:
    # The path is counted, because it may have 4,096 characters.
    return max(TOKENS_PER_FILE, TOKENS_PER_FILE // 2 + estimate_tokens(f"{file.path}{file.previous_path or ''}"))


def _skip_reason(file: ChangedFile, patch: Patch, ignored_paths: PathFilter) -> Reason | None:
    if ignored_paths.excludes(file.path):
        return "left out by settings"
    path = file.path.lower()
    for reason, pattern in NOT_HAND_WRITTEN:
        if pattern.search(path):
            return reason
    if patch.hunks:
        return None
    if file.additions or file.deletions:
        return "too large for GitHub to show"
    return "renamed without changes" if file.status == "renamed" else "binary or empty"


def _rank(file: ChangedFile) -> int:
    path = file.path.lower()
    if file.status == "removed":
        return 3
    if WORKFLOW_FILES.search(path):
        return 0
    if TEST_FILES.search(path):
        return 1
    return 2 if DOCUMENTATION.search(path) or SETTINGS_FILES.search(path) else 0


def _to_patched_file(file: ChangedFile, whole: Patch, part: Patch) -> PatchedFile:
    text = numbered(part)
    # GitHub may shorten a long patch without a notice; only the numbers of changed lines show it.
    total = max(file.additions + file.deletions, _changed_lines(whole))
    missing = total - _changed_lines(part)
    cut = part != whole or missing > 0
    if cut:
        lines = f"{count(missing, 'more changed line')} of this file {is_or_are(missing)}"
        text = f"{text}\n[cut here: {lines} not shown]"
    status = STATUSES.get(file.status, "changed")
    return PatchedFile(file.path, file.previous_path, status, file.additions, file.deletions, text, cut)


def _changed_lines(patch: Patch) -> int:
    return sum(line.mark != " " for hunk in patch.hunks for line in hunk.lines)


def count_reasons(skipped: Iterable[SkippedFile]) -> str:
    """Return the number of files for each reason: "2 binary or empty, 1 lock file"."""
    counts = Counter(file.reason for file in skipped)
    return ", ".join(
        count(number, reason) if reason == "lock file" else f"{number} {reason}" for reason, number in counts.items()
    )


Size = Literal["small", "medium", "large"]


@dataclass(frozen=True, slots=True)
class PullRequestFacts:
    pull_request: PullRequest  # current state; its head is the analysed commit
    files: tuple[PatchedFile, ...]  # most important first
    skipped: tuple[SkippedFile, ...]
    unlisted: int  # changed files beyond the 3,000 that GitHub lists
    size: Size
    left_out_by: str  # the line of settings that leaves files out; "" if none does
    shown: Findings  # thresholds for the findings in the comment
    summary: Summary  # whether a comment is posted without findings
    earlier: tuple[EarlierFinding, ...] = ()  # the findings that our comment has shown
    offer: LabelOffer | None = None  # the repository's own labels; None: they are not offered

    @property
    def repository_labels(self) -> tuple[RepositoryLabel, ...]:
        return self.offer.labels if self.offer is not None else ()


@dataclass(frozen=True, slots=True)
class ShownFinding:
    """A finding as the comment shows it. The fields of an earlier finding that are not stored are empty."""

    path: str
    side: Side
    start_line: int | None
    line: int | None
    severity: Severity
    category: Category | None
    confidence: float | None
    title: str
    body: str
    quote: str
    suggestion: str | None
    url: str  # permanent address of the lines on GitHub; "" if unknown


class PullRequestHandler(Handler[PullRequestFacts]):
    family = "pull_requests"
    replies = frozenset({"pull_request_analysis", "generic_analysis"})
    facts_type = PullRequestFacts
    facts_version = 7
    variable_types: Mapping[str, object] = {
        "pull_request": PullRequest,
        "files": tuple[PatchedFile, ...],
        "skipped": tuple[SkippedFile, ...],
        "unlisted": int,
        "size": Size,
        "repository_labels": tuple[RepositoryLabel, ...],
    }
    comment_variable_types: Mapping[str, object] = {
        "commit": str,
        "commit_url": str,
        "findings": tuple[ShownFinding, ...],
        "dropped": int,
        "held_back": int,
        "fixed": int,
        "still_open": int,
        "gone": int,
        "unrepeated": tuple[ShownFinding, ...],
    }
    superseded_by_push = True
    superseded_by_newer_answer = True

    def gather(
        self, event: Event, reader: Reader, history: RepositoryHistory, limits: PromptLimits
    ) -> PullRequestFacts:
        assert event.pull_request is not None  # parse_event rejects a `pull_request` event without one
        payload = event.pull_request
        pull_request = payload if event.is_recent else reader.pull_request(payload.number)
        check_conversation(event, pull_request)
        listed = reader.files(pull_request.number)
        files, skipped = select_files(listed, tokens=limits.input_tokens, ignored_paths=limits.ignored_paths)
        unlisted = max(pull_request.changed_files - len(listed), 0)
        left_out_by = limits.ignored_paths.where
        lines = sum(file.additions + file.deletions for file in listed)  # including those of skipped files
        size: Size = "small" if lines < 50 else "medium" if lines < 200 else "large"
        return PullRequestFacts(
            pull_request,
            files,
            skipped,
            unlisted,
            size,
            left_out_by,
            shown=limits.shown,
            summary=limits.summary,
            earlier=parse_earlier(history.comment_state(pull_request.number, self.family)),
            offer=select_offer(reader.labels(), limits.offer) if limits.offer is not None else None,
        )

    def skip_reason(self, facts: PullRequestFacts) -> SkipReason | None:
        if facts.files:
            return None
        if not facts.skipped:
            return SkipReason("the pull request changes no files, so Claude was not asked")
        reasons = count_reasons(facts.skipped)
        if any(file.reason == "left out by settings" for file in facts.skipped):
            reasons = f"{reasons}; see {facts.left_out_by}"
        return SkipReason(f"none of the changed files has a patch to read ({reasons}), so Claude was not asked")

    def describe_omissions(self, facts: PullRequestFacts) -> str | None:
        """Return a text such as "1 of 9 files was not shown: 1 lock file; 1 file was partly reviewed"; None if none."""
        parts: list[str] = []
        missing = len(facts.skipped) + facts.unlisted
        if missing:
            reasons = [count_reasons(facts.skipped)] if facts.skipped else []
            reasons += [f"{facts.unlisted} beyond those that GitHub lists"] if facts.unlisted else []
            total = len(facts.files) + missing
            parts.append(f"{missing} of {count(total, 'file')} {was_or_were(missing)} not shown: {', '.join(reasons)}")
        cut = sum(file.cut for file in facts.files)
        if cut:
            parts.append(f"{count(cut, 'file')} {was_or_were(cut)} partly reviewed, because the patch is too long")
        return "; ".join(parts) or None

    def comment_variables(self, facts: PullRequestFacts, reply: Reply) -> Mapping[str, object]:
        """Return the variables of the comment template.

        `held_back` is the number of findings below the thresholds in the settings. Of the others, `findings` has those
        that quote a line of a shown patch, and `dropped` is the number of the rest. `unrepeated` has the earlier
        findings that are still open and not among `findings`.
        """
        result = _evaluate(facts, reply)
        states = [finding.state for finding in result.earlier]
        return {
            "commit": facts.pull_request.head_sha[:10],
            "commit_url": web_url(facts.pull_request.html_url, f"commit/{facts.pull_request.head_sha}"),
            "findings": tuple(_to_shown(facts, finding) for finding in result.findings),
            "dropped": result.dropped,
            "held_back": result.held_back,
            "fixed": states.count("fixed"),
            "still_open": states.count("open"),
            "gone": states.count("gone"),
            "unrepeated": tuple(_to_shown(facts, finding) for finding in result.unrepeated),
        }

    def plan(self, event: Event, facts: PullRequestFacts, analysis: Analysis) -> tuple[Action, ...]:
        """Plan labels and a comment. By default a comment is created only if something was found."""
        if event.is_closing:
            comment = plan_comment(analysis, self.comment_family(event), create=analysis.worth_saying)
            return (*plan_labels(analysis, offer=facts.offer), *comment)
        labels = plan_labels(analysis, RequestedLabel(f"size/{facts.size}", "size"), offer=facts.offer)
        reply = analysis.answers[analysis.comment_index].reply if analysis.answers else None
        result = _evaluate(facts, reply)
        is_found = bool(result.findings or result.unrepeated) or not isinstance(reply, PullRequestAnalysis)
        create = facts.summary == "always" or (analysis.worth_saying and is_found)
        comments = plan_comment(analysis, self.family, create=create and bool(analysis.answers))
        return (*labels, *(replace(comment, state=dump_earlier(result.state)) for comment in comments))


@dataclass(frozen=True, slots=True)
class _Evaluation:
    findings: tuple[Finding, ...]  # to show, most severe first
    dropped: int
    held_back: int
    earlier: tuple[EarlierFinding, ...]  # with their present state
    unrepeated: tuple[OpenFinding, ...]
    state: tuple[EarlierFinding, ...]  # all findings that the comment has shown, for the next event


def _evaluate(facts: PullRequestFacts, reply: Reply | None) -> _Evaluation:
    reported = reply.findings if isinstance(reply, PullRequestAnalysis) else []
    patches = {file.path: parse_numbered(file.numbered) for file in facts.files}
    wanted = [
        finding
        for finding in reported
        if RANK[finding.severity] <= RANK[facts.shown.min_severity] and finding.confidence >= facts.shown.min_confidence
    ]
    findings, dropped = locate_findings(wanted, patches)
    unread = {file.path for file in facts.files if file.cut} | {f.path for f in facts.skipped if f.needs_review}
    earlier = follow_up(facts.earlier, patches, unread=unread)
    shown = remember(findings, patches)
    others = without_repeated(earlier, shown, patches)
    unrepeated = locate_open(others, patches)
    return _Evaluation(findings, dropped, len(reported) - len(wanted), earlier, unrepeated, (*shown, *others))


def _to_shown(facts: PullRequestFacts, finding: Finding | OpenFinding) -> ShownFinding:
    if isinstance(finding, OpenFinding):
        url = _permalink(facts, finding.path, finding.side, finding.line, finding.line)
        place = (finding.path, finding.side, None, finding.line)
        return ShownFinding(*place, finding.severity, None, None, finding.title, "", "", None, url)
    return ShownFinding(
        path=finding.path,
        side=finding.side,
        start_line=finding.start_line,
        line=finding.line,
        severity=finding.severity,
        category=finding.category,
        confidence=finding.confidence,
        title=finding.title,
        body=finding.body,
        quote=finding.quote,
        suggestion=finding.suggestion,
        url=_permalink(facts, finding.path, finding.side, finding.start_line or finding.line, finding.line),
    )


def _permalink(facts: PullRequestFacts, path: str, side: Side, start: int | None, line: int | None) -> str:
    """Return the address of lines in the analysed commit; for removed lines, in the base commit. "" if unknown."""
    commit = facts.pull_request.head_sha
    if side == "LEFT":
        commit = facts.pull_request.base_sha
        path = next((file.previous_path for file in facts.files if file.path == path), None) or path
    return permalink(facts.pull_request.html_url, commit, path, line, start=start)
