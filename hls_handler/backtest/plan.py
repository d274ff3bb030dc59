"""Plans a backtest: which prompts are asked, about which issues, and what that may cost."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from hls_handler.analysis import ReplyFields
from hls_handler.backtest.compare import Group, find_groups, find_suggested_groups, list_answers
from hls_handler.backtest.decision import CHANGED, DIFFERENCE, power
from hls_handler.backtest.first_text import PastIssue, SkipReason, make_event
from hls_handler.backtest.intervals import Share
from hls_handler.backtest.run import Task
from hls_handler.claude.provider import MARGIN
from hls_handler.engine.asking import prompt_limits
from hls_handler.engine.recording_job import read_facts
from hls_handler.github.labels import fold
from hls_handler.github.values import RepositoryLabel
from hls_handler.handlers import handler_for
from hls_handler.handlers.job import PromptLimits, Source
from hls_handler.handlers.labels import select_offer
from hls_handler.handlers.reader import EMPTY_HISTORY, Reader
from hls_handler.prompting.prompt import Library
from hls_handler.reports.estimate import Estimate, estimate
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Settings
from hls_handler.trials.replay import StoredFacts
from hls_handler.trials.trial import Trial

EVENT = "issues.opened"

PAST_ISSUE: TypeAdapter[PastIssue] = TypeAdapter(PastIssue)


@dataclass(frozen=True, slots=True)
class Side:
    """A prompt that is asked, with the library that it is in."""

    library: Library
    prompt: str
    title: str  # "issues/analyze@3b4b87", or "issues/analyze@3b4b87 with claude-haiku-4-5"

    @property
    def models(self) -> list[type[ReplyFields]]:
        names = (self.prompt, *self.library.followers(self.prompt))
        return [self.library.prompts[name].reply_model for name in names]


def make_side(library: Library, name: str, model: str | None = None) -> Side:
    """Return the prompt as a side; if `model` is given, with this model in place of its own."""
    title = library.prompts[name].id
    if model is None:
        return Side(library, name, title)
    names = (name, *library.followers(name))
    changed = {one: replace(library.prompts[one], model=model) for one in names}
    other = replace(library, prompts={**library.prompts, **changed})
    return Side(other, name, f"{title} with {model}")


@dataclass(frozen=True, slots=True)
class Plan:
    """The choices of a backtest, stored before its first question."""

    repository: str
    sides: tuple[str, ...]  # titles; the second is the candidate
    planned: int  # issues to ask about, fixed by the first run that asks
    read: int  # closed issues with a known first text
    skipped: Mapping[SkipReason, int]  # issues
    limit: int  # closed issues to read
    names: Mapping[str, str]  # of labels: `--map`
    # labels that people left and that no answer can have, with the numbers of issues
    other_labels: Mapping[str, int]


PLAN: TypeAdapter[Plan] = TypeAdapter(Plan)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The settings and the data of the repository that questions need."""

    settings: Settings
    effective: EffectiveSettings
    repository: Mapping[str, Any]  # GitHub's document
    labels: Sequence[RepositoryLabel]
    names: Mapping[str, str]  # the repository's label of a prompt's label
    reader: Reader


def list_groups(inputs: Inputs, side: Side) -> tuple[Group, ...]:
    groups = find_groups(side.models, inputs.labels, inputs.names)
    limits = _limits(inputs, side)
    if limits.taken_labels is None:
        return groups
    taken = {name for group in groups for name in group.labels.values()}
    offer = select_offer(inputs.labels, limits.labels, limits.taken_labels)
    return (*groups, *find_suggested_groups(one for one in offer.labels if one.name not in taken))


def has_known_labels(issue: PastIssue, groups_of_sides: Iterable[Iterable[Group]]) -> bool:
    """Return whether people decided a label of a group that all sides have, so that answers can be
    compared.
    """
    known = [set(list_answers(groups, issue, ())) for groups in groups_of_sides]
    return bool(set.intersection(*known))


MAX_OTHER_LABELS = 5


def count_other_labels(issues: Iterable[PastIssue], groups: Iterable[Group]) -> dict[str, int]:
    """Count the most frequent labels that people left and that no group has."""
    known = {fold(name) for group in groups for name in group.labels.values()}
    left = Counter(name for issue in issues for name in issue.truth.labels)
    others = {name: number for name, number in left.most_common() if fold(name) not in known}
    return dict([*others.items()][:MAX_OTHER_LABELS])


def make_tasks(
    inputs: Inputs, sides: Sequence[Side], issues: Iterable[PastIssue]
) -> tuple[Task, ...]:
    """Return the questions about each issue. Documentation and similar issues are left out, because
    HLS knows only those of now.
    """
    key = secrets.token_bytes(16)
    tasks: list[Task] = []
    for issue in issues:
        event = make_event(issue.first, inputs.repository)
        handler = handler_for(event.name)
        for number, side in enumerate(sides):
            limits = replace(_limits(inputs, side), documents=False, similar=False)
            facts = read_facts(handler, Source(event, inputs.reader, EMPTY_HISTORY, limits))
            source = StoredFacts(None, event, handler, facts, inputs.effective)
            trial = Trial(source, side.library, side.prompt, key)
            tasks.append(Task(issue.first.number, number, trial))
    return tuple(tasks)


def _limits(inputs: Inputs, side: Side) -> PromptLimits:
    return prompt_limits(inputs.settings, side.library, "issues", inputs.effective, side.prompt)


@dataclass(frozen=True, slots=True)
class Forecast:
    issues: int
    expected: Estimate  # of first questions; a follow-up prompt is asked about few issues
    # if each issue led to all follow-up prompts, and each reply were the longest and unusable once
    max_usd: float | None
    seconds: float


CALLS_OF_A_QUESTION = 2
"""Claude is asked again after an unusable reply."""
CALL_S = 6.0
"""Rounded time of one call."""


def forecast(settings: Settings, tasks: Sequence[Task], *, threads: int) -> Forecast:
    """Estimate what the tasks cost. Renders each question."""
    requests = [request for task in tasks for request in task.trial.render_requests()]
    expected = estimate(settings.claude, *requests)
    most = expected.max_usd
    if most is not None and tasks:
        followers = max(len(task.trial.followers) for task in tasks)
        most *= (1 + followers) * CALLS_OF_A_QUESTION * (1 + MARGIN)
    distance_s = 1 / settings.claude.requests_per_second
    per_call_s = max(CALL_S / threads, distance_s)
    return Forecast(len({task.number for task in tasks}), expected, most, len(tasks) * per_call_s)


def describe_interval(issues: int) -> str:
    """Return how exact the share of right labels of so many issues is."""
    share = Share(round(0.8 * issues), issues)
    return f"with {issues:,} issues, 80% right labels mean {share.low:.0%} to {share.high:.0%}"


def describe_power(issues: int) -> str:
    """Return what a comparison of so many issues can show."""
    chances = [f"{round(power(number) * 10)} of 10" for number in (issues, 2 * issues)]
    return (
        f"with {issues:,} issues, a difference of {DIFFERENCE * 100:.0f} points is seen in about"
        f" {chances[0]} cases, with {2 * issues:,} in {chances[1]} (if the two differ on"
        f" {CHANGED:.0%} of the issues)"
    )
