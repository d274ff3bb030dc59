"""Tries a prompt on closed issues as they were first written, and compares its labels with those
that people left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from hls_handler.analysis import ReplyFields
from hls_handler.batches.first_text import (
    FirstIssue,
    PastIssue,
    find_first_issue,
    make_delivery,
    make_truth,
)
from hls_handler.batches.labels import (
    Answer,
    Group,
    find_groups,
    find_suggested_groups,
    list_answers,
)
from hls_handler.batches.preview import (
    CannotPlan,
    Preview,
    Target,
    list_reasons,
    make_preview,
)
from hls_handler.batches.prompts import render_question
from hls_handler.batches.shares import Share, conclude
from hls_handler.deliveries import NewDelivery
from hls_handler.engine.asking import prompt_limits
from hls_handler.engine.batches import (
    PROMPTS,
    BatchPrompt,
    dump_prompts,
    find_index,
    load_prompts,
)
from hls_handler.engine.codecs import decode_reply
from hls_handler.events import Account
from hls_handler.github.values import RepositoryLabel
from hls_handler.handlers.labels import select_offer
from hls_handler.question import Prompt
from hls_handler.storage import Storage
from hls_handler.store.batches import NewBatch, Progress, SummedCalls
from hls_handler.store.replies import StoredReply
from hls_handler.wording import count, format_usd

NO_LABEL = "no label by a person that the prompt can ask for"


@dataclass(frozen=True, slots=True)
class ClosedPlan:
    """The issues of a batch, and the labels that each of its prompts is compared by."""

    groups: tuple[tuple[Group, ...], ...]  # by prompt
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
        own = ", ".join(label.name for label in labels[:12]) or "none"
        reasons = list_reasons(left_out)
        raise CannotPlan(f"no closed issue can be compared: {reasons}; the labels are: {own}")
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
    return replace(preview, notes=(describe_size(len(issues)),))


def _list_groups(
    target: Target, prompt: BatchPrompt, labels: Sequence[RepositoryLabel]
) -> tuple[Group, ...]:
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


def _has_common_answers(groups: Sequence[Sequence[Group]], issue: PastIssue) -> bool:
    """Return whether people decided a label of a group that all prompts have."""
    decided = [set(list_answers(of_prompt, issue, None)) for of_prompt in groups]
    return bool(set.intersection(*decided))


def describe_size(issues: int) -> str:
    return f"{count(issues, 'issue')}: 80% right would mean {Share(round(0.8 * issues), issues)}"


@dataclass(frozen=True, slots=True)
class PromptResult:
    """The answers of a prompt by issue, and by group; those of a failed question give no label."""

    title: str
    answers: Mapping[int, Mapping[str, Answer]]
    failed: Mapping[str, int]  # issues without a usable reply, by reason
    cost_usd: float

    def count_right(self) -> Share:
        """Count the issues of which all compared labels are right."""
        right = [_is_right(answers) for answers in self.answers.values()]
        return Share(sum(right), len(right))

    def count_by_label(self) -> Mapping[str, Share]:
        """Count for each label the issues on which people left it, and those that got it."""
        right: Counter[str] = Counter()
        of: Counter[str] = Counter()
        for answers in self.answers.values():
            for answer in answers.values():
                if answer.true_label is not None:
                    of[answer.true_label] += 1
                    right[answer.true_label] += answer.is_right
        return {label: Share(right[label], of[label]) for label in sorted(of)}

    def to_dict(self) -> dict[str, object]:
        labels = self.count_by_label()
        return {
            "title": self.title,
            "right": self.count_right().to_dict(),
            "labels": {label: share.to_dict() for label, share in labels.items()},
            "failed": dict(self.failed),
            "cost_usd": self.cost_usd,
        }

    def describe(self) -> Iterator[str]:
        yield f"prompt      {self.title}: right {self.count_right()}, {format_usd(self.cost_usd)}"
        for label, share in self.count_by_label().items():
            yield f"  {label:<20} {share}"
        for reason, number in self.failed.items():
            yield f"failed      {count(number, 'issue')}: {reason}"


def _is_right(answers: Mapping[str, Answer]) -> bool:
    return all(answer.is_right for answer in answers.values())


@dataclass(frozen=True, slots=True)
class Result:
    prompts: Sequence[PromptResult]  # the one in use, and the draft
    is_complete: bool

    def compare(self) -> dict[str, object] | None:
        """Return what the draft fixed and broke; None without a draft."""
        if len(self.prompts) == 1:
            return None
        current, draft = (prompt.answers for prompt in self.prompts)
        fixed = broken = same = 0
        for number in current.keys() & draft.keys():
            common = current[number].keys() & draft[number].keys()
            was_right = all(current[number][group].is_right for group in common)
            is_right = all(draft[number][group].is_right for group in common)
            fixed += is_right and not was_right
            broken += was_right and not is_right
            same += was_right == is_right
        conclusion = "not decided"
        if self.is_complete:
            conclusion = conclude(fixed, broken)
        return {"conclusion": conclusion, "fixed": fixed, "broken": broken, "same": same}

    def to_dict(self) -> dict[str, object]:
        prompts = [prompt.to_dict() for prompt in self.prompts]
        return {"prompts": prompts, "comparison": self.compare()}

    def describe(self) -> Iterator[str]:
        for prompt in self.prompts:
            yield from prompt.describe()
        comparison = self.compare()
        if comparison is not None:
            yield (
                "draft       {conclusion}: fixed {fixed}, broke {broken}, same {same}".format(
                    **comparison
                )
            )


def load_result(store: Storage, progress: Progress) -> Result:
    """Return the result of the deliveries that have ended."""
    batch = progress.batch
    plan = _PLAN.validate_python({name: batch.plan[name] for name in ClosedPlan.__annotations__})
    replies = store.replies.of_batch(batch.id)
    sums = store.batches.sum_calls(batch.id)
    prompts = load_prompts(batch.plan)
    results: list[PromptResult] = []
    is_complete = True
    for index, batch_prompt in enumerate(prompts):
        prompt = batch_prompt.restore().prompts[batch_prompt.name]
        answers: dict[int, Mapping[str, Answer]] = {}
        failed: Counter[str] = Counter()
        cost = 0.0
        for delivery in progress.deliveries:
            if find_index(delivery.request_id) != index:
                continue
            cost += sums.get(delivery.guid, SummedCalls()).cost_usd
            if not delivery.has_result:
                is_complete = False
                continue
            reply = _decode(prompt, replies.get(delivery.guid))
            if reply is None:
                failed[delivery.reason or ""] += 1
            answers[delivery.number] = list_answers(
                plan.groups[index], plan.issues[delivery.number], reply, plan.min_confidence
            )
        # a cost is a number of millionths; the sum must not depend on the order
        results.append(PromptResult(batch_prompt.title, answers, failed, round(cost, 6)))
    return Result(results, is_complete)


def _decode(prompt: Prompt, stored: StoredReply | None) -> ReplyFields | None:
    reply = decode_reply(stored, reply_type=prompt.reply, model=prompt.reply_model)
    if reply is None:
        return None
    return reply.fields
