"""The prompts of one delivery: the first prompt, and the follow-up prompts that `then` names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import get_args

from hls_handler.analysis import (
    AT_LIMIT,
    MAX_FILE_SUMMARIES,
    MAX_SUMMARY_CHARACTERS,
    SCORES,
    Difficulty,
    Priority,
    PullRequestAnalysis,
    Reply,
    ReplyFields,
    SuggestedLabel,
    file_summaries_of,
    is_worth_saying,
    lowest_scores,
    sum_usage,
)
from hls_handler.errors import BudgetExceeded, Permanent, PullRequestLimitReached
from hls_handler.prompting.prompt import Library

log = logging.getLogger(__name__)

VERIFY_PROMPT = "pull_requests/verify"
"""Name of the prompt that takes a second look at the findings of a review, if the library has
it.
"""

NO_BUDGET = "the budget for reviews is used up"
NO_REPLY = "Claude gave no usable reply"
"""Reasons, for people on GitHub, why a call was not made or has no result."""


@dataclass(frozen=True, slots=True)
class Replies:
    """The replies of Claude about one event, before a comment is rendered from them."""

    all: tuple[Reply, ...]  # of the first prompt and its follow-up prompts
    names: tuple[str, ...]  # of their prompts
    have_comments: tuple[bool, ...]  # whether they have a comment template
    left_out: str = ""  # a sentence about a follow-up prompt without a reply; "" if there is none
    left_out_shown: str = ""  # the same for people on GitHub

    @property
    def shown_index(self) -> int:
        """The index of the reply that the comment shows: the last one that is worth saying and has
        a comment template.

        So a second reply without an answer does not hide the first one. If there is none, it is the
        last reply.
        """
        for index in reversed(range(len(self.all))):
            if self.have_comments[index] and is_worth_saying(self.all[index].fields):
                return index
        return len(self.all) - 1

    @property
    def shown(self) -> ReplyFields:
        return self.all[self.shown_index].fields


@dataclass(frozen=True, slots=True)
class Asking:
    """The prompts of a delivery, and who is asked: Claude, or the replies that are stored."""

    library: Library
    first: str  # name of the prompt to begin with
    common: Mapping[str, object]  # variables that all prompts have
    # a prompt by name; its variables; the index of its reply
    send: Callable[[str, Mapping[str, object], int], Reply]
    # whether the replies count if a follow-up prompt gets none, because they were paid for
    keeps_review: bool = False

    def ask(self, name: str, variables: Mapping[str, object], index: int) -> Reply:
        """Return the reply to one prompt. Raises `Permanent` without one."""
        return self.send(name, {**self.common, **variables}, index)

    def ask_all(self, variables: Mapping[str, object]) -> Replies:
        """Return the replies to the first prompt and to those that follow it."""
        return self.follow_up(self.ask(self.first, variables, 0), variables)

    def follow_up(self, reply: Reply, variables: Mapping[str, object]) -> Replies:
        """Ask the prompts that follow the reply to the first one, and return all replies."""
        replies = [reply]
        names = [self.first]
        left_out = ""
        failure = ""
        while (name := self.library.find_next_prompt(names[-1], replies[-1].fields)) is not None:
            following = {**variables, "analysis": replies[-1].fields}
            try:
                replies.append(self.ask(name, following, len(replies)))
            except Permanent as exc:
                if not self.keeps_review:
                    raise
                left_out = f"the follow-up prompt {name} was left out: {exc}"
                failure = f"{name}: {describe_failure(exc)}"
                log.warning("follow-up prompt left out", extra={"prompt": name, "reason": str(exc)})
                break
            names.append(name)
        have_comments = tuple(name in self.library.comments for name in names)
        return Replies(tuple(replies), tuple(names), have_comments, left_out, failure)


def join_replies(replies: Sequence[Reply]) -> Reply:
    """Join the replies about the parts of one event, at least one. The first one is about the most
    important files.
    """
    analyses = [
        partial_reply.fields
        for partial_reply in replies
        if isinstance(partial_reply.fields, PullRequestAnalysis)
    ]
    reply = join_analyses(analyses) if len(analyses) > 1 else replies[0].fields
    return replace(
        replies[0], fields=reply, usage=sum_usage(partial_reply.usage for partial_reply in replies)
    )


def describe_failure(error: Permanent) -> str:
    """Return the reason for people on GitHub, without the settings and amounts of the operator."""
    if isinstance(error, PullRequestLimitReached):
        return AT_LIMIT
    if isinstance(error, BudgetExceeded):
        return NO_BUDGET
    return NO_REPLY


WORST_FIRST: Mapping[str, tuple[str, ...]] = {
    "priority": get_args(Priority),
    "difficulty": get_args(Difficulty)[::-1],
}


def join_analyses(parts: Sequence[PullRequestAnalysis]) -> PullRequestAnalysis:
    """Return one reply for those about the parts of a pull request, at least one. The `type` is
    that of the first.

    Of the fields in `WORST_FIRST`, the worst value counts.
    """
    suggested = [*chain.from_iterable(part.suggested_labels for part in parts)]
    labels: dict[str, SuggestedLabel] = {}
    for label in sorted(suggested, key=lambda suggestion: -suggestion.confidence):
        labels.setdefault(label.name, label)
    summaries = dict.fromkeys(part.summary for part in parts if part.summary)
    joined: dict[str, object] = {
        "summary": "\n\n".join(summaries)[:MAX_SUMMARY_CHARACTERS],
        "earlier": [*chain.from_iterable(part.earlier for part in parts)],
        "findings": [*chain.from_iterable(part.findings for part in parts)],
        "suggested_labels": list(labels.values()),
    }
    scores = lowest_scores(parts)
    if scores:
        joined[SCORES] = list(scores)
    summaries_of_files = [*chain.from_iterable(map(file_summaries_of, parts))]
    if summaries_of_files:
        joined["file_summaries"] = summaries_of_files[:MAX_FILE_SUMMARIES]
    for name, values in WORST_FIRST.items():
        parts_values = {getattr(part, name, None) for part in parts}
        if parts_values.intersection(values):
            joined[name] = next(value for value in values if value in parts_values)
    return parts[0].model_copy(update=joined)
