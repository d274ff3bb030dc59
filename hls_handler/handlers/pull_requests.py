"""Handler for pull requests: selects the patches to show, and plans labels and a comment from the analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hls_handler.actions import Action, EnsureComment, RequestedLabel
from hls_handler.analysis import Analysis, Finding, PullRequestAnalysis, Reply
from hls_handler.events import Event, PullRequest
from hls_handler.handlers.files import PatchedFile, SkippedFile, count_reasons, describe_omissions, select_files
from hls_handler.handlers.handler import Handler, PromptLimits, SkipReason, check_conversation
from hls_handler.handlers.reader import ChangedFile, Reader
from hls_handler.handlers.record import RepositoryHistory
from hls_handler.handlers.requested_labels import plan_labels
from hls_handler.review.anchors import RANK, anchor
from hls_handler.review.patch import parse_numbered
from hls_handler.routing import Rule
from hls_handler.settings.model import Findings

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


class PullRequestHandler(Handler[PullRequestFacts]):
    name = "PullRequestHandler"
    family = "pull_requests"
    replies = frozenset({"pull_request_analysis"})
    facts_type = PullRequestFacts
    facts_version = 3
    variable_types: Mapping[str, object] = {
        "pull_request": PullRequest,
        "files": tuple[PatchedFile, ...],
        "skipped": tuple[SkippedFile, ...],
        "unlisted": int,
        "size": Size,
    }
    comment_variable_types: Mapping[str, object] = {
        "commit": str,
        "findings": tuple[Finding, ...],
        "dropped": int,
        "held_back": int,
    }
    superseded_by_push = True
    superseded_by_newer_answer = True

    def gather(self, event: Event, reader: Reader, record: RepositoryHistory, budget: PromptLimits) -> PullRequestFacts:
        assert event.pull_request is not None  # parse_event rejects a `pull_request` event without one
        pull_request = reader.pull_request(event.pull_request.number)
        check_conversation(event, pull_request)
        listed = reader.files(pull_request.number)
        files, skipped = select_files(listed, tokens=budget.input_tokens, ignored_paths=budget.ignored_paths)
        unlisted = max(pull_request.changed_files - len(listed), 0)
        left_out_by = budget.ignored_paths.where
        return PullRequestFacts(
            pull_request, files, skipped, unlisted, size_of(listed), left_out_by, shown=budget.shown
        )

    def variables(self, event: Event, facts: PullRequestFacts) -> Mapping[str, object]:
        return {
            "pull_request": facts.pull_request,
            "files": facts.files,
            "skipped": facts.skipped,
            "unlisted": facts.unlisted,
            "size": facts.size,
        }

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
        return describe_omissions(facts.files, facts.skipped, facts.unlisted)

    def comment_variables(self, event: Event, facts: PullRequestFacts, reply: Reply) -> Mapping[str, object]:
        """Compute the variables of the comment templates.

        `commit` is abbreviated. `findings` are those anchored to a line of a patch, `dropped` is the number of those
        that could not be anchored. `held_back` is the number of findings below the thresholds in settings; these are
        not counted in `findings` or `dropped`.
        """
        found = reply.findings if isinstance(reply, PullRequestAnalysis) else []
        wanted = [finding for finding in found if _is_wanted(finding, facts.shown)]
        anchored = anchor(wanted, {file.path: parse_numbered(file.numbered) for file in facts.files})
        return {
            "commit": facts.pull_request.head_sha[:10],
            "findings": anchored.kept,
            "dropped": len(anchored.dropped),
            "held_back": len(found) - len(wanted),
        }

    def plan(self, event: Event, facts: PullRequestFacts, analysis: Analysis, rule: Rule) -> tuple[Action, ...]:
        actions: list[Action] = [*plan_labels(analysis, RequestedLabel(f"size/{facts.size}", "size"))]
        if analysis.comment:
            actions.append(EnsureComment(self.family, analysis.comment, create=analysis.worth_saying))
        return tuple(actions)


def size_of(files: Sequence[ChangedFile]) -> Size:
    """Size by changed lines, including those of skipped files: under 50 is small, under 200 medium."""
    lines = sum(file.additions + file.deletions for file in files)
    if lines < 50:
        return "small"
    return "medium" if lines < 200 else "large"


def _is_wanted(finding: Finding, shown: Findings) -> bool:
    return RANK[finding.severity] <= RANK[shown.min_severity] and finding.confidence >= shown.min_confidence
