"""Tries a prompt on closed issues as they were first written, and compares its labels with those
that people left.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb, exp, lgamma, log, sqrt
from typing import Literal

from pydantic import TypeAdapter

from hls_handler.actions import field_of
from hls_handler.analysis import Prompt, ReplyFields
from hls_handler.batches.first_text import (
    FirstIssue,
    PastIssue,
    find_first_issue,
    make_delivery,
    make_truth,
)
from hls_handler.batches.preview import CannotPlan, Preview, Target, list_reasons, make_preview
from hls_handler.batches.prompts import render_question
from hls_handler.batches.recorded import (
    PROMPTS,
    BatchPrompt,
    dump_prompts,
    find_index,
    load_prompts,
)
from hls_handler.deliveries import NewDelivery
from hls_handler.engine.asking import prompt_limits
from hls_handler.engine.codecs import decode_reply
from hls_handler.events import Account
from hls_handler.github.labels import fold
from hls_handler.github.values import RepositoryLabel
from hls_handler.handlers.issues import IssueHandler
from hls_handler.handlers.labels import list_labels_in, list_labels_of, select_offer
from hls_handler.store.batches import NewBatch, Progress, SummedCalls
from hls_handler.store.call_rows import StoredReply
from hls_handler.store.storage import Storage
from hls_handler.wording import count, format_usd

ShareConclusion = Literal["better", "worse", "not decided"]

ERROR = 0.005
"""Probability that an equal draft is called better, and that it is called worse."""
Z = 1.96
"""Of an interval that holds in 95% of samples."""


@dataclass(frozen=True, slots=True)
class Share:
    """A part of some issues, with Wilson's interval around the true share (Probable inference, the
    law of succession, and statistical inference, Journal of the American Statistical Association
    22, 1927).
    """

    part: int
    of: int
    low: float = 0.0
    high: float = 1.0

    def __str__(self) -> str:
        """Return "82% (76% to 88%) of 200", or "none"."""
        if not self.of:
            return "none"
        interval = f"{self.low:.0%} to {self.high:.0%}"
        return f"{self.part / self.of:.0%} ({interval}) of {self.of:,}"


def make_share(part: int, of: int) -> Share:
    if not of:
        return Share(part, of)
    share = part / of
    spread = Z * sqrt(share * (1 - share) / of + Z**2 / (4 * of**2))
    centre = share + Z**2 / (2 * of)
    scale = 1 + Z**2 / of
    return Share(part, of, max((centre - spread) / scale, 0.0), min((centre + spread) / scale, 1.0))


def conclude(fixed: int, broken: int) -> ShareConclusion:
    """Return the result of an exact sign test. With equal prompts, each issue on which they differ
    is fixed or broken by chance (McNemar, Psychometrika 12, 1947).

    It holds for the planned number of issues only: looking again until it decides would not.
    """
    changed = fixed + broken
    if _upper_tail(fixed, changed) <= ERROR:
        return "better"
    if _upper_tail(broken, changed) <= ERROR:
        return "worse"
    return "not decided"


FIXED = 0.15
BROKEN = 0.05
"""Shares of issues that a draft fixes and breaks which is better by ten points."""


def find_power(issues: int) -> float:
    """Return the probability that `conclude` finds such a draft better."""
    changed_share = FIXED + BROKEN
    power = 0.0
    for changed, probability in enumerate(_list_binomial(issues, changed_share)):
        if probability > NEGLIGIBLE:
            fixed = _list_binomial(changed, FIXED / changed_share)
            power += probability * sum(fixed[_find_least(changed) :])
    return power


NEGLIGIBLE = 1e-6


def _find_least(changed: int) -> int:
    """Return how many of the changed issues must be fixed so that the draft is better."""
    tail = 0.0
    equal = _list_binomial(changed, 0.5)
    for fixed in range(changed, -1, -1):
        tail += equal[fixed]
        if tail > ERROR:
            return fixed + 1
    return 0


def _list_binomial(number: int, share: float) -> list[float]:
    """Return the probability of each number of hits, from 0."""
    logs = [lgamma(hits + 1) for hits in range(number + 1)]
    return [
        exp(
            logs[number]
            - logs[hits]
            - logs[number - hits]
            + hits * log(share)
            + (number - hits) * log(1 - share)
        )
        for hits in range(number + 1)
    ]


def _upper_tail(least: int, of: int) -> float:
    ways: int = sum(comb(of, number) for number in range(least, of + 1))
    return float(ways / 2**of)


SUGGESTED = "suggested_labels"

_WORDS = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class LabelGroup:
    """Labels of which an issue has at most one: those of a field, or one label of a list."""

    name: str  # "kind"; for a label of a list: "areas docs"
    labels: Mapping[str, str]  # the label that a reply asks for -> the repository's own

    @property
    def is_list(self) -> bool:
        return field_of(self.name) != self.name


@dataclass(frozen=True, slots=True)
class LabelGuess:
    """Claude's answer about a group of which people decided the label."""

    label: str | None  # None: Claude asked for none of the group
    true_label: str | None  # None: people left none of the group

    @property
    def is_right(self) -> bool:
        return self.label == self.true_label


def find_groups(
    model: type[ReplyFields], repository: Sequence[RepositoryLabel]
) -> tuple[LabelGroup, ...]:
    """Return the groups of labels that a prompt can ask for, and what the repository calls them:
    the same name, or the only one that has its words, "type: bug" for "bug".
    """
    names = [label.name for label in repository]
    groups: dict[str, dict[str, str]] = {}
    for label in list_labels_of(model):
        repository_label = find_own_label(label.name, names)
        if repository_label is not None:
            groups.setdefault(label.group, {})[label.name] = repository_label
    return tuple(LabelGroup(name, labels) for name, labels in groups.items())


def find_own_label(name: str, names: Iterable[str]) -> str | None:
    words = _split(name)
    exact = [repository_label for repository_label in names if fold(repository_label) == fold(name)]
    similar = [repository_label for repository_label in names if words <= _split(repository_label)]
    for candidates in (exact, similar):
        if len(candidates) == 1:
            return candidates[0]
    return None


def _split(name: str) -> set[str]:
    return set(_WORDS.findall(name.casefold()))


def find_suggested_groups(offered: Iterable[RepositoryLabel]) -> tuple[LabelGroup, ...]:
    """Return a group for each label of the repository that the prompt lists."""
    return tuple(
        LabelGroup(f"{SUGGESTED} {label.name}", {label.name: label.name}) for label in offered
    )


def list_answers(
    groups: Iterable[LabelGroup],
    issue: PastIssue,
    reply: ReplyFields | None,
    min_confidence: float = 0.0,
) -> Mapping[str, LabelGuess]:
    """Return the answer of a reply to each group of which people decided the label.

    Left out are groups whose label the issue had when it was opened, because the prompt shows it.
    Without a reply, no label is given. Suggested labels have at least `min_confidence`.
    """
    requested: Mapping[str, str] = {}
    if reply is not None:
        requested = _list_requested(reply, min_confidence)
    answers: dict[str, LabelGuess] = {}
    for group in groups:
        group_names = {fold(name): name for name in group.labels.values()}
        if _has_any(group_names, issue.first_labels) or _has_any(
            group_names, issue.truth.undecided
        ):
            continue
        # an old issue may have the name in another case: GitHub compares names without it
        true_labels = [
            group_names[fold(name)] for name in issue.truth.labels if fold(name) in group_names
        ]
        is_decided = len(true_labels) == 1 or (
            not true_labels and _has_any(group_names, issue.truth.rejected)
        )
        if group.is_list:
            is_decided = bool(issue.truth.labels)
        if is_decided:
            by_name = {fold(name): label for name, label in group.labels.items()}
            label = requested.get(fold(group.name))
            if label is not None:
                label = by_name.get(fold(label), label)
            answers[group.name] = LabelGuess(label, next(iter(true_labels), None))
    return answers


def _has_any(group_names: Mapping[str, str], names: Iterable[str]) -> bool:
    return any(fold(name) in group_names for name in names)


def _list_requested(reply: ReplyFields, min_confidence: float) -> Mapping[str, str]:
    """Return the labels that a reply asks for, by case-folded group."""
    requested = {fold(label.group): label.name for label in list_labels_in(reply)}
    for suggested in getattr(reply, SUGGESTED, ()):
        if suggested.confidence >= min_confidence:
            name = suggested.name.strip()
            requested[fold(f"{SUGGESTED} {name}")] = name
    return requested


NO_LABEL = "no label by a person that the prompt can ask for"


@dataclass(frozen=True, slots=True)
class ClosedPlan:
    """The issues of a batch, and the labels that each of its prompts is compared by."""

    groups: tuple[tuple[LabelGroup, ...], ...]  # by prompt
    issues: Mapping[int, PastIssue]  # by number
    min_confidence: float  # of suggested labels


_PLAN = TypeAdapter(ClosedPlan)


def plan(
    target: Target,
    store: Storage,
    prompts: Sequence[BatchPrompt],
    limit: int,
    max_usd: float,
) -> Preview:
    """Read the newest `limit` closed issues, and return the preview of a batch about them.

    Raises `CannotPlan`, or a `StepFailed` of GitHub.
    """
    name = prompts[0].name
    if prompts[0].restore().prompts[name].reply not in IssueHandler.replies:
        raise CannotPlan(f"{name} is not asked about issues; `hls batch reviews` is for reviews")
    labels = target.reader.labels()
    groups = tuple(_list_groups(target, prompt, labels) for prompt in prompts)
    bot = _find_bot(target, store)
    left_out: Counter[str] = Counter()
    subjects: list[NewDelivery] = []
    issues: dict[int, PastIssue] = {}
    for history in target.reader.closed_issues(limit):
        first = find_first_issue(history)
        if not isinstance(first, FirstIssue):
            left_out[first] += 1
            continue
        issue = PastIssue(first.labels, make_truth(history, bot))
        if not _has_common_answers(groups, issue):
            left_out[NO_LABEL] += 1
            continue
        issues[first.number] = issue
        subjects += [
            make_delivery(first, target.document, prompt=index) for index in range(len(prompts))
        ]
    if not issues:
        listing = ", ".join(label.name for label in labels[:12]) or "none"
        reasons = list_reasons(left_out)
        raise CannotPlan(f"no closed issue can be compared: {reasons}; the labels are: {listing}")
    plan = ClosedPlan(groups, issues, target.effective.labels.min_confidence)
    new = NewBatch(
        "try",
        target.id,
        target.name,
        max_usd,
        {"prompt": prompts[0].name, "closed": True, "limit": limit},
        {PROMPTS: dump_prompts(prompts), **_PLAN.dump_python(plan, mode="json")},
    )
    preview = make_preview(
        target.settings,
        new,
        subjects,
        left_out,
        lambda subject: [render_question(target, subject, prompts)],
    )
    if len(prompts) == 1:
        return preview
    return replace(preview, notes=(describe_size(len(issues)),))


def _list_groups(
    target: Target, prompt: BatchPrompt, labels: Sequence[RepositoryLabel]
) -> tuple[LabelGroup, ...]:
    library = prompt.restore()
    effective = target.effective
    groups = find_groups(library.prompts[prompt.name].reply_model, labels)
    limits = prompt_limits(target.settings, library, "issues", effective, prompt.name)
    if limits.taken_labels is not None:
        taken = {name for group in groups for name in group.labels.values()}
        offer = select_offer(labels, limits.labels, limits.taken_labels)
        suggested = (label for label in offer.labels if label.name not in taken)
        groups = (*groups, *find_suggested_groups(suggested))
    if not groups:
        raise CannotPlan(f"{prompt.title} sets no label that {effective.pattern} has")
    return groups


def _find_bot(target: Target, store: Storage) -> Account | None:
    """Return HLS's account, whose labels prove nothing; None for the token of a person with which
    it has set none.
    """
    bot = target.bot
    if bot.is_bot or store.conversations.has_labels_by(bot.login):
        return bot
    return None


def _has_common_answers(groups: Sequence[Sequence[LabelGroup]], issue: PastIssue) -> bool:
    """Return whether people decided a label of a group that all prompts have."""
    decided = [set(list_answers(prompt_groups, issue, None)) for prompt_groups in groups]
    return bool(set.intersection(*decided))


def describe_size(issues: int) -> str:
    """Return what a batch of so many issues can decide."""
    text = (
        f"{count(issues, 'issue')}: a draft that fixes {FIXED:.0%} of them and breaks {BROKEN:.0%}"
        f" is found better in {find_power(issues):.0%} of such batches"
    )
    if issues >= ENOUGH:
        return text
    return f"{text}, with {ENOUGH} issues in 80%"


ENOUGH = 240  # issues

Answers = Mapping[int, Mapping[str, LabelGuess]]
"""The answers of a prompt by issue, and by group; those of a failed question give no label."""


@dataclass(frozen=True, slots=True)
class PromptResult:
    title: str
    right: Share  # issues of which all compared labels are right
    labels: Mapping[str, Share]  # of the issues on which people left a label, those that got it
    failed: Mapping[str, int]  # issues without a usable reply, by reason
    cost_usd: float

    def describe(self) -> Iterator[str]:
        yield f"prompt      {self.title}: right {self.right}, {format_usd(self.cost_usd)}"
        for label, share in self.labels.items():
            yield f"  {label:<20} {share}"
        for reason, number in self.failed.items():
            yield f"failed      {count(number, 'issue')}: {reason}"


def _is_right(answers: Mapping[str, LabelGuess]) -> bool:
    return all(answer.is_right for answer in answers.values())


def _count_by_label(answers: Answers) -> Mapping[str, Share]:
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for issue_answers in answers.values():
        for answer in issue_answers.values():
            if answer.true_label is not None:
                total[answer.true_label] += 1
                right[answer.true_label] += answer.is_right
    return {label: make_share(right[label], total[label]) for label in sorted(total)}


@dataclass(frozen=True, slots=True)
class DraftComparison:
    """Issues that the draft fixed and broke."""

    conclusion: ShareConclusion
    fixed: int
    broken: int
    same: int


@dataclass(frozen=True, slots=True)
class ClosedResult:
    prompts: Sequence[PromptResult]  # the one in use, and the draft
    comparison: DraftComparison | None  # None without a draft

    def describe(self) -> Iterator[str]:
        for prompt in self.prompts:
            yield from prompt.describe()
        draft = self.comparison
        if draft is not None:
            yield (
                f"draft       {draft.conclusion}: fixed {draft.fixed}, broke {draft.broken},"
                f" same {draft.same}"
            )


def _compare(current: Answers, draft: Answers, *, is_complete: bool) -> DraftComparison:
    fixed = broken = same = 0
    for number in current.keys() & draft.keys():
        common = current[number].keys() & draft[number].keys()
        was_right = all(current[number][group].is_right for group in common)
        is_right = all(draft[number][group].is_right for group in common)
        fixed += is_right and not was_right
        broken += was_right and not is_right
        same += was_right == is_right
    conclusion: ShareConclusion = "not decided"
    if is_complete:
        conclusion = conclude(fixed, broken)
    return DraftComparison(conclusion, fixed, broken, same)


def load_result(store: Storage, progress: Progress) -> ClosedResult:
    """Return the result of the deliveries that have ended."""
    batch = progress.batch
    plan = _PLAN.validate_python({name: batch.plan[name] for name in ClosedPlan.__annotations__})
    replies = store.replies.of_batch(batch.id)
    sums = store.batches.sum_calls(batch.id)
    results: list[PromptResult] = []
    all_answers: list[Answers] = []
    for index, batch_prompt in enumerate(load_prompts(batch.plan)):
        prompt = batch_prompt.restore().prompts[batch_prompt.name]
        answers: dict[int, Mapping[str, LabelGuess]] = {}
        failed: Counter[str] = Counter()
        cost = 0.0
        for delivery in progress.deliveries:
            if find_index(delivery.request_id) != index:
                continue
            cost += sums.get(delivery.guid, SummedCalls()).cost_usd
            if not delivery.has_result:
                continue
            reply = _decode(prompt, replies.get(delivery.guid))
            if reply is None:
                failed[delivery.reason or ""] += 1
            answers[delivery.number] = list_answers(
                plan.groups[index], plan.issues[delivery.number], reply, plan.min_confidence
            )
        all_answers.append(answers)
        result = PromptResult(
            title=batch_prompt.title,
            right=make_share(sum(map(_is_right, answers.values())), len(answers)),
            labels=_count_by_label(answers),
            failed=dict(failed),
            # a cost is a number of millionths; the sum must not depend on the order
            cost_usd=round(cost, 6),
        )
        results.append(result)
    comparison = None
    if len(results) > 1:
        is_complete = all(delivery.has_result for delivery in progress.deliveries)
        comparison = _compare(*all_answers, is_complete=is_complete)
    return ClosedResult(results, comparison)


def _decode(prompt: Prompt, stored: StoredReply | None) -> ReplyFields | None:
    reply = decode_reply(stored, reply_type=prompt.reply, model=prompt.reply_model)
    if reply is None:
        return None
    return reply.fields
