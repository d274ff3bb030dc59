"""Selects the guidance and the linked issues that a call shows, within its tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hls_handler.analysis import estimate_tokens
from hls_handler.github.values import GuidanceFile, LinkedIssue, ReviewContext
from hls_handler.review.code_lines import Budget
from hls_handler.review.guidance import GuidancePart, select_parts

TOKENS_PER_TEXT = 100  # tokens of a text in addition to itself: name and delimiters
NO_LIMIT = 1_000_000  # tokens, more than any context has
MAX_GUIDANCE_CHARS = 6_000
MAX_LINKED_ISSUE_CHARS = 3_000
"""Characters of one file of guidance and of the body of one linked issue that
`pull_requests/analyze` shows.
"""


@dataclass(frozen=True, slots=True)
class ShownText:
    """A text of the repository, as far as a prompt shows it."""

    name: str  # ".github/hls.md (api/**)", "api/AGENTS.md", "issue #7"
    text: str


@dataclass(frozen=True, slots=True)
class ShownContext:
    """The part of a `ReviewContext` that one call shows."""

    guidance: tuple[GuidanceFile, ...] = ()
    linked_issues: tuple[LinkedIssue, ...] = ()
    parts: tuple[ShownText, ...] = ()  # of `guidance`
    tokens: int = 0

    @property
    def issues(self) -> Sequence[ShownText]:
        return list(map(_show_issue, self.linked_issues))


def select_context(context: ReviewContext, paths: Iterable[str], tokens: int) -> ShownContext:
    """Return what applies to a call's files, without the files of guidance and issues that exceed
    `tokens`.
    """
    budget = Budget(tokens)
    files: dict[str, list[GuidancePart]] = {}
    for part in select_parts(context.guidance, paths):
        files.setdefault(part.path, []).append(part)
    guidance = [
        GuidanceFile(path, "\n\n".join(part.text for part in parts))
        for path, parts in files.items()
    ]
    guidance = budget.take(guidance, lambda file: _count_tokens(file.text[:MAX_GUIDANCE_CHARS]))
    issues = budget.take(
        context.linked_issues, lambda issue: _count_tokens(_show_issue(issue).text)
    )
    parts = [part for file in guidance for part in _show_parts(files[file.path])]
    return ShownContext(tuple(guidance), tuple(issues), tuple(parts), tokens - budget.tokens)


def _count_tokens(text: str) -> int:
    return TOKENS_PER_TEXT + estimate_tokens(text)


def count_context_tokens(context: ReviewContext, paths: Sequence[str], most: int) -> int:
    """Return the tokens to leave for the context in each call about some of the files `paths`."""
    selected = select_context(context, paths, most)
    if selected == select_context(context, (), most):  # all calls show the same
        return selected.tokens
    return min(select_context(context, paths, NO_LIMIT).tokens, most)


def _show_parts(parts: Iterable[GuidancePart]) -> list[ShownText]:
    """Return the parts of a file that begin within its first `MAX_GUIDANCE_CHARS`."""
    texts: list[ShownText] = []
    free_characters = MAX_GUIDANCE_CHARS
    for part in parts:
        if free_characters > 0:
            texts.append(ShownText(part.name, part.text[:free_characters]))
        free_characters -= len(part.text) + len("\n\n")
    return texts


def _show_issue(issue: LinkedIssue) -> ShownText:
    return ShownText(f"issue #{issue.number}", issue.title + issue.body[:MAX_LINKED_ISSUE_CHARS])
