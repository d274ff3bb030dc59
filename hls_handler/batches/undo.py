"""The undo of a batch of open issues: what HLS wrote, and no person has changed since, is taken
back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from hls_handler.actions import (
    Action,
    EnsureComment,
    EnsureIssueType,
    EnsureLabels,
    Outcome,
    RequestedLabel,
)
from hls_handler.deliveries import End
from hls_handler.engine.codecs import OUTCOME, Codec
from hls_handler.engine.job import DeliveryJob
from hls_handler.engine.posting import COMMENT_WRITE_BEGUN, LABELS_BEFORE, Posting
from hls_handler.events import Account
from hls_handler.github.comments import is_as_written, is_by
from hls_handler.github.values import TimelineEvent
from hls_handler.github.writer import HAS_TYPE
from hls_handler.handlers.issues import FAMILY
from hls_handler.handlers.job import Conversation
from hls_handler.routing import Rule
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.store.batches import UNDO_SUFFIX


@dataclass(frozen=True, slots=True)
class BatchWrites:
    """The writes of a delivery of a batch, also those that may have had an effect."""

    labels: tuple[str, ...]
    has_type: bool
    has_comment: bool
    is_rewritten: bool = False  # the comment, by a later event
    found_type: bool = False  # which it wrote itself, if the process died before it stored that


@dataclass(frozen=True, slots=True)
class UndoPlan:
    labels: tuple[str, ...]  # to remove
    has_type: bool  # whether to remove the type
    has_comment: bool  # whether to withdraw the comment
    left: tuple[str, ...]  # sentences about what stays


UNDO_PLAN = Codec("undo", 1, TypeAdapter(UndoPlan))
"""Checkpoint: a retry takes back the same, although GitHub shows less by then."""


def undo_issue(job: DeliveryJob) -> End:
    """Take back what the batch wrote on the issue, as far as no person has changed it since."""
    number = job.lease.number
    assert number is not None
    job = replace(job, rule=replace(job.rule, effective=_with_writes(job.rule)))
    with job.record_failure("posting"):
        job.require_reads_allowed()
        plan = job.run_step(UNDO_PLAN, 0, lambda: _plan_undo(job, number))
        posting = Posting(job, Conversation(number, is_pull_request=False, may_be_closed=True))
        posting.execute_all(_list_actions(job.lease.batch_id, plan))
        outcomes = posting.end()
    details = [*(outcome.detail for outcome in outcomes), *plan.left]
    return End("done", "; ".join(details) or "the batch changed nothing here")


def _with_writes(rule: Rule) -> EffectiveSettings:
    """Return the settings with labels and comments, which may be switched off by now."""
    changes = {"auto_labeling": True, "auto_commenting": True}
    features = rule.effective.features.model_copy(update=changes)
    return replace(rule.effective, features=features)


def _plan_undo(job: DeliveryJob, number: int) -> UndoPlan:
    written = _load_written(job, job.lease.guid.removesuffix(UNDO_SUFFIX))
    if written == NOTHING_WRITTEN:
        return UndoPlan((), False, False, ())
    reader = job.context.github.reader(job.event.repository.full_name, bot=job.bot)
    accounts = (job.bot, *job.others)

    def is_own(actor: Account | None) -> bool:
        return actor is not None and any(is_by(actor, account) for account in accounts)

    present = [label.name for label in reader.issue(number).labels]
    return decide_undo(written, present, reader.timeline(number), is_own)


NOTHING_WRITTEN = BatchWrites((), has_type=False, has_comment=False)


def _load_written(job: DeliveryJob, guid: str) -> BatchWrites:
    steps = job.store.checkpoints.load(guid)
    outcomes: dict[str, Outcome] = {}
    for (name, _), step in steps.items():
        outcome = OUTCOME.decode(step) if name == OUTCOME.name else None
        if outcome is not None and outcome.kind == "dry_run":
            return NOTHING_WRITTEN
        if outcome is not None:
            outcomes[outcome.action] = outcome
    before = LABELS_BEFORE.decode(steps.get((LABELS_BEFORE.name, 0)))
    if before is None:  # it died before its first write, or had nothing to write
        labels: Sequence[str] = ()
    elif "labels" in outcomes:
        labels = outcomes["labels"].added
    else:
        history = job.store.conversations.history(job.lease, job.bot.login, pending=job.pending)
        labels = [name for name in history.labels() if name not in before]
    type_outcome = outcomes.get("type")
    has_type = type_outcome is not None and type_outcome.kind == "changed"
    found_type = type_outcome is not None and type_outcome.detail == HAS_TYPE
    begun = [
        COMMENT_WRITE_BEGUN.decode(write) for key, write in steps.items() if key[0] == "writing"
    ]
    has_comment = any(write is not None and write.how == "created" for write in begun)
    is_rewritten = has_comment and _is_rewritten(job, outcomes.get("comment"))
    return BatchWrites(tuple(labels), has_type, has_comment, is_rewritten, found_type)


def _is_rewritten(job: DeliveryJob, outcome: Outcome | None) -> bool:
    """Return whether HLS has written another text into the comment since this outcome."""
    history = job.store.conversations.history(job.lease, job.bot.login, pending=job.pending)
    stored = history.comment(FAMILY)
    if outcome is None or outcome.body is None or stored is None:
        return False
    return not is_as_written(outcome.body, stored.body_digest)


def decide_undo(
    written: BatchWrites,
    present: Collection[str],
    timeline: Sequence[TimelineEvent],
    is_own: Callable[[Account | None], bool],
) -> UndoPlan:
    """Decide what to take back: what HLS, and no person, changed last. `present` are the labels."""
    labels: list[str] = []
    remaining: list[str] = []
    present_names = {name.casefold() for name in present}
    for name in written.labels:
        changes = [
            change for change in timeline if (change.label or "").casefold() == name.casefold()
        ]
        last = changes[-1] if changes else None
        if last is None or not is_own(last.actor):
            remaining.append(f"{name} stays as it is: {_name_actor(last)} changed it last")
        elif name.casefold() in present_names:
            labels.append(name)
    has_type = written.has_type
    types = [change for change in timeline if change.event.startswith("issue_type_")]
    is_own_type = bool(types) and is_own(types[-1].actor)
    if written.found_type:
        has_type = is_own_type
    elif has_type and types and not is_own_type:
        remaining.append(f"the type stays as it is: {_name_actor(types[-1])} changed it last")
        has_type = False
    has_comment = written.has_comment
    if written.is_rewritten:
        remaining.append("our comment stays as it is: a later event rewrote it")
        has_comment = False
    return UndoPlan(tuple(labels), has_type, has_comment, tuple(remaining))


def _name_actor(event: TimelineEvent | None) -> str:
    if event is None or event.actor is None:
        return "somebody"
    return event.actor.login


def _list_actions(batch: int | None, plan: UndoPlan) -> tuple[Action, ...]:
    actions: list[Action] = []
    if plan.labels:
        labels = tuple(RequestedLabel(name, f"undo {name}") for name in plan.labels)
        groups = tuple(label.group for label in labels)
        actions.append(EnsureLabels((), groups, labels))
    if plan.has_type:
        actions.append(EnsureIssueType(None))
    if plan.has_comment:
        text = f"Withdrawn: a maintainer took back batch {batch}, which wrote this comment."
        actions.append(EnsureComment(FAMILY, text, create=False, is_withdrawal=True))
    return tuple(actions)
