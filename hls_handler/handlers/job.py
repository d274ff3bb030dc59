"""The port through which a handler reads, asks and posts for one delivery, and the prompts that it
asks: the first one, and those that `then` names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from types import MappingProxyType
from typing import Protocol, TypeVar, get_args

from hls_handler.actions import Action, EnsureCheck, Outcome
from hls_handler.analysis import (
    AT_LIMIT,
    MAX_FILE_SUMMARIES,
    MAX_SUMMARY_CHARACTERS,
    SCORES,
    Analysis,
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
from hls_handler.deliveries import End
from hls_handler.errors import BudgetExceeded, Permanent, PullRequestLimitReached
from hls_handler.events import Event
from hls_handler.github.reader import GithubReader
from hls_handler.handlers.reader import HistoryUpdate, RepositoryHistory
from hls_handler.prompting.prompt import Library
from hls_handler.review.record import ReviewRecord
from hls_handler.routing import Rule
from hls_handler.settings.model import Features
from hls_handler.settings.path_globs import EMPTY_PATH_FILTER, PathFilter
from hls_handler.settings.repository import FileProblems
from hls_handler.settings.sections import EffectiveLabels, FindingSettings, ReviewSettings
from hls_handler.settings.values import ReviewersMode, Summary

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


Facts = TypeVar("Facts")

NO_INLINE: Mapping[str, Mapping[str, object]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PromptLimits:
    """Limits from the settings on the text that Claude gets and on the findings that a comment
    shows.
    """

    input_tokens: int  # estimated
    ignored_paths: PathFilter = EMPTY_PATH_FILTER  # files of pull requests that Claude is not shown
    shown: FindingSettings = field(
        default_factory=FindingSettings
    )  # thresholds for findings in comments
    # whether there is a comment if nothing was found or is missing
    summary: Summary = "on_findings"
    # whether the comment on a pull request has a sentence on each changed file
    sums_up_files: bool = False
    shows_cost: bool = False  # whether the check of a pull request shows prices
    # of the title that Claude is asked for; (): it is asked for none
    title_types: tuple[str, ...] = ()
    reviewers: ReviewersMode = False
    labels: EffectiveLabels = field(default_factory=EffectiveLabels)
    taken_labels: frozenset[str] | None = None
    """Case-folded names of labels that the reply sets by other fields; None: the prompt lists no
    labels.
    """
    is_review: bool = False  # True if the prompt reviews a pull request
    review: ReviewSettings = field(default_factory=ReviewSettings)
    features: Features = field(default_factory=Features)
    documents: bool = False  # whether the prompt gets sections of the repository's documentation
    searches: bool = True  # whether it gets other places of the repository
    similar: bool = False  # whether it gets older issues
    is_past: bool = False  # whether nothing is read that was written after the event


@dataclass(frozen=True, slots=True)
class Conversation:
    """The issue or pull request that receives the labels and the comment."""

    number: int
    is_pull_request: bool
    may_be_closed: bool = False  # True: it is also processed if it is closed
    # the fallback issue from settings: it receives a comment, but no labels
    is_fallback_issue: bool = False


@dataclass(frozen=True, slots=True)
class FactSource:
    """The sources of facts: GitHub, and the results that HLS has stored."""

    event: Event
    reader: GithubReader
    history: RepositoryHistory
    limits: PromptLimits


@dataclass(frozen=True, slots=True)
class Guard:
    """A reason that makes a delivery unnecessary. It is evaluated again under the locks.

    `find_reason` returns a sentence if a later stored result makes the facts outdated.
    """

    commit: str | None = None  # the head that was read: a newer push supersedes it
    find_reason: Callable[[RepositoryHistory], str | None] = lambda _: None


NO_GUARD = Guard()


class Job(Protocol):
    """One delivery in work. After a crash, `Handler.run` is called again.

    `record`, `ask` and `post` store what they did, and return a stored result without doing it
    again. All methods may raise `Postponed`, `LeaseLost`, `Superseded` or a `StepFailed`, which end
    the run; the engine decides what follows.
    """

    @property
    def event(self) -> Event: ...

    @property
    def rule(self) -> Rule: ...

    @property
    def library(self) -> Library: ...

    def record(self, shape: type[Facts], read: Callable[[FactSource], Facts]) -> Facts:
        """Return the facts that `read` returns, or has returned in an earlier attempt."""
        ...

    def look_up(self, shape: type[Facts], read: Callable[[FactSource], Facts]) -> Facts | None:
        """Return what `read` finds of what a reply asks to see, as `record`. None if nothing can be
        read.
        """
        ...

    def remember(self, update: HistoryUpdate) -> None:
        """Store results and texts for later deliveries, if the facts were just read."""
        ...

    def require(self, guard: Guard) -> None:
        """Raise `Superseded` if the delivery is not necessary any more."""
        ...

    def choose(self, conversation: Conversation | None) -> None:
        """Post on this conversation; None: on none. Raises `ConversationIgnored` if it was
        processed too often.
        """
        ...

    def lock(self, name: str) -> None:
        """Acquire a lock of the chosen conversation until the delivery ends, or for two minutes.

        Raises `Postponed` while another delivery holds it.
        """
        ...

    def comment_state(self, family: str) -> str | None:
        """Return the `EnsureComment.state` that was last posted on the chosen conversation."""
        ...

    def note(
        self,
        *,
        omitted: str = "",
        sent: str = "",
        unanswered: str = "",
        unverified: str | None = None,
    ) -> None:
        """Store sentences for `hls why`: what Claude is not shown, what it gets besides the event,
        parts of the facts without a reply, and why the findings were not verified.
        """
        ...

    def report(self, problems: FileProblems) -> None:
        """Let the comment on the problems of the repository's settings name these, too. It is
        written once for each version of the files.
        """
        ...

    def begin_check(self, commit: str) -> None:
        """Show the check on a commit in progress, unless it was ended."""
        ...

    def ask_one(self, prompt: str, variables: Mapping[str, object], index: int) -> Reply:
        """Return the reply to one prompt, for a handler that asks about parts of the facts.
        `index` is that of the reply. Raises `Permanent` without one.
        """
        ...

    def render(
        self,
        replies: Replies,
        variables: Mapping[str, object],
        inline: Mapping[str, Mapping[str, object]] = NO_INLINE,
    ) -> Analysis:
        """Return the replies with the comments that show them.

        `inline` are more variables of each review comment, by the key of the finding.
        """
        ...

    def render_static(self, reply: ReplyFields, variables: Mapping[str, object]) -> Analysis:
        """Return an analysis without a reply of Claude, whose comment shows `reply`."""
        ...

    def write(
        self, *actions: Action, later: Sequence[Action] = (), unless: Guard = NO_GUARD
    ) -> tuple[Outcome, ...]:
        """Execute actions, on which `later` ones may depend, and return their outcomes.

        `post` follows. It raises what GitHub refused, after the other actions, unless a retry
        helps.
        """
        ...

    def post(self, *actions: Action, reason: str = "", unless: Guard = NO_GUARD) -> End:
        """Execute the actions. The result has the reason and what was done."""
        ...

    def post_check(self, actions: tuple[EnsureCheck, ...], reason: str) -> End:
        """Set the check of a delivery that needs no call to Claude."""
        ...

    def store_review(self, record: ReviewRecord) -> None: ...


def ask_all(job: Job, variables: Mapping[str, object]) -> Replies:
    """Return the replies to the first prompt and to those that follow it. Raises `BudgetExceeded`
    without one.
    """
    return follow_up(job, job.ask_one(job.rule.prompt, variables, 0), variables)


def follow_up(job: Job, reply: Reply, variables: Mapping[str, object]) -> Replies:
    """Ask the prompts that follow the reply to the first one, and return all replies.

    If one gets no reply, those to a review count, because they were paid for.
    """
    library = job.library
    replies = [reply]
    names = [job.rule.prompt]
    left_out = ""
    failure = ""
    while (name := library.find_next_prompt(names[-1], replies[-1].fields)) is not None:
        following = {**variables, "analysis": replies[-1].fields}
        try:
            replies.append(job.ask_one(name, following, len(replies)))
        except Permanent as exc:
            if job.event.name != "pull_request":
                raise
            left_out = f"the follow-up prompt {name} was left out: {exc}"
            failure = f"{name}: {describe_failure(exc)}"
            log.warning("follow-up prompt left out", extra={"prompt": name, "reason": str(exc)})
            break
        names.append(name)
    have_comments = tuple(name in library.comments for name in names)
    return Replies(tuple(replies), tuple(names), have_comments, left_out, failure)
