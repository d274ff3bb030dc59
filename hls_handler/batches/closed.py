"""Tries a prompt on closed issues as they were first written, and compares its labels with those
that people left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter

from hls_handler.analysis import ReplyFields
from hls_handler.batches.first_text import (
    FirstIssue,
    PastIssue,
    find_first_issue,
    make_payload,
    make_truth,
)
from hls_handler.batches.labels import (
    Answer,
    Group,
    find_groups,
    find_suggested_groups,
    list_answers,
)
from hls_handler.batches.preview import SAMPLE, CannotPlan, Preview, make_forecast
from hls_handler.batches.prompts import render_question
from hls_handler.batches.shares import Share, conclude
from hls_handler.deliveries import RECORDED, NewDelivery
from hls_handler.engine.asking import prompt_limits
from hls_handler.engine.batches import (
    PROMPTS,
    AskedPrompt,
    dump_prompts,
    find_index,
    load_prompts,
)
from hls_handler.engine.codecs import decode_reply
from hls_handler.events import Account, parse_event
from hls_handler.github.client import ReadOnlyGithub
from hls_handler.github.values import RepositoryLabel
from hls_handler.handlers.labels import select_offer
from hls_handler.question import Prompt
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.store.batches import NewBatch, Progress, SummedCalls
from hls_handler.store.replies import StoredReply
from hls_handler.untrusted.cleaning import clean_title
from hls_handler.wording import count, format_usd

NO_LABEL = "no label by a person that the prompt can ask for"


@dataclass(frozen=True, slots=True)
class ClosedPlan:
    """The issues of a batch, and the labels that each of its prompts is compared by."""

    groups: tuple[tuple[Group, ...], ...]  # by prompt
    issues: Mapping[int, PastIssue]  # by number
    min_confidence: float  # of suggested labels


_PLAN = TypeAdapter(ClosedPlan)


@dataclass(frozen=True, slots=True)
class Terms:
    repository: str
    limit: int  # closed issues to read
    max_usd: float


class Planner:
    """Reads the closed issues of a repository, and plans a batch about them."""

    def __init__(
        self,
        settings: Settings,
        effective: EffectiveSettings,
        github: ReadOnlyGithub,
        prompts: Sequence[AskedPrompt],
    ) -> None:
        self._settings = settings
        self._effective = effective
        self._github = github
        self._prompts = prompts

    def plan(self, terms: Terms, store: Storage) -> Preview:
        """Return the preview. Raises `CannotPlan`, or a `StepFailed` of GitHub."""
        document = self._github.repository_document(terms.repository)
        reader = self._github.reader(terms.repository)
        labels = reader.labels()
        groups = tuple(self._list_groups(asked, labels) for asked in self._prompts)
        bot = self._find_bot(store)
        left_out: Counter[str] = Counter()
        firsts: list[FirstIssue] = []
        issues: dict[int, PastIssue] = {}
        for history in reader.closed_issues(terms.limit):
            first = find_first_issue(history)
            if not isinstance(first, FirstIssue):
                left_out[first] += 1
                continue
            issue = PastIssue(first.labels, make_truth(history, bot))
            if not _has_common_answers(groups, issue):
                left_out[NO_LABEL] += 1
                continue
            firsts.append(first)
            issues[first.number] = issue
        if not firsts:
            own = ", ".join(label.name for label in labels[:12]) or "none"
            raise CannotPlan(f"no closed issue has a known label; the repository has: {own}")
        plan = ClosedPlan(groups, issues, self._effective.labels.min_confidence)
        new = NewBatch(
            "try",
            int(document["id"]),
            str(document["full_name"]),
            terms.max_usd,
            {"prompt": self._prompts[0].name, "closed": True, "limit": terms.limit},
            {PROMPTS: dump_prompts(self._prompts), **_PLAN.dump_python(plan, mode="json")},
        )
        bodies = {first.number: make_payload(first, document) for first in firsts}
        samples = [
            render_question(
                parse_event("issues", "batch", bodies[first.number]),
                asked,
                reader,
                self._settings,
                self._effective,
            )
            for first in firsts[:SAMPLE]
            for asked in self._prompts
        ]
        subjects = [
            _make_delivery(first, index, new, bodies[first.number])
            for first in firsts
            for index in range(len(self._prompts))
        ]
        forecast = make_forecast(self._settings, samples, len(subjects), terms.max_usd)
        return Preview(new, subjects, left_out, forecast, (describe_size(len(firsts)),))

    def _list_groups(
        self, asked: AskedPrompt, labels: Sequence[RepositoryLabel]
    ) -> tuple[Group, ...]:
        library = asked.restore()
        groups = find_groups(library.prompts[asked.name].reply_model, labels)
        limits = prompt_limits(self._settings, library, "issues", self._effective, asked.name)
        if limits.taken_labels is not None:
            taken = {name for group in groups for name in group.labels.values()}
            offer = select_offer(labels, limits.labels, limits.taken_labels)
            suggested = (label for label in offer.labels if label.name not in taken)
            groups = (*groups, *find_suggested_groups(suggested))
        if not groups:
            raise CannotPlan(f"{asked.title} sets no label that {self._effective.pattern} has")
        return groups

    def _find_bot(self, store: Storage) -> Account | None:
        """Return HLS's account, whose labels prove nothing; None for the token of a person with
        which it has set none.
        """
        account = self._github.fetch_bot_account()
        if account.is_bot or store.conversations.has_labels_by(account.login):
            return account
        return None


def _has_common_answers(groups: Sequence[Sequence[Group]], issue: PastIssue) -> bool:
    """Return whether people decided a label of a group that all prompts have."""
    known = [set(list_answers(of_prompt, issue, None)) for of_prompt in groups]
    return bool(set.intersection(*known))


def _make_delivery(first: FirstIssue, index: int, new: NewBatch, body: bytes) -> NewDelivery:
    return NewDelivery(
        guid=f"{first.number}-{index}",
        event="issues",
        action="opened",
        request_id=f"{RECORDED}{index}",
        state="queued",
        repository_id=new.repository_id,
        repository=new.repository,
        number=first.number,
        sender=first.author.login,
        title=clean_title(first.title),
        body=body,
    )


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
                if answer.left is not None:
                    of[answer.left] += 1
                    right[answer.left] += answer.is_right
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
        compared = self.compare()
        if compared is not None:
            yield (
                f"draft       {compared['conclusion']}: fixed {compared['fixed']}, broke"
                f" {compared['broken']}, same {compared['same']}"
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
    for index, asked in enumerate(prompts):
        prompt = asked.restore().prompts[asked.name]
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
        results.append(PromptResult(asked.title, answers, failed, round(cost, 6)))
    return Result(results, is_complete)


def _decode(prompt: Prompt, stored: StoredReply | None) -> ReplyFields | None:
    reply = decode_reply(stored, reply_type=prompt.reply, model=prompt.reply_model)
    if reply is None:
        return None
    return reply.fields
