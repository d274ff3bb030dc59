"""Posting: each planned action becomes an ensure on GitHub, under the thread's lock, and its outcome is remembered."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, assert_never

from hls_handler.actions import (
    COMMENT_CREATED,
    COMMENT_EDITED,
    COMMENT_UP_TO_DATE,
    Action,
    EnsureComment,
    EnsureLabels,
    Outcome,
)
from hls_handler.errors import DependencyDown, StepFailed
from hls_handler.handlers.handler import Thread, check_conversation
from hls_handler.history.conversations import ConversationHistory
from hls_handler.queue.changes import WriteCompleted
from hls_handler.queue.checkpoints import Posted
from hls_handler.work.feedback import look
from hls_handler.work.job import Job
from hls_handler.work.memory import BEFORE, OUTCOME, WRITING, Writing
from hls_handler.work.ports import Writer

log = logging.getLogger(__name__)

LOCK_S = 120.0
"""How long finding and writing a comment may hold its lock before another delivery may take it over."""


def keep(job: Job, actions: tuple[Action, ...]) -> tuple[Outcome, ...]:
    """Remember what would be said, where there is no thread to say it on."""
    detail = "there is no thread to say it on: it is kept here"
    return tuple(
        job.once(OUTCOME, index, partial(Outcome, "comment", "withheld", detail, body=action.body))
        for index, action in enumerate(actions)
        if isinstance(action, EnsureComment)
    )


def post(
    job: Job, thread: Thread, actions: tuple[Action, ...], *, require_not_superseded: Callable[[], None]
) -> tuple[Outcome, ...]:
    """Execute the actions in order; an action with a stored outcome is not executed again.

    `require_not_superseded` raises `Superseded`. It is called once more while the comment's lock is held, because a
    newer delivery waits for that lock.
    """
    require_not_superseded()
    job.before_reads()
    if not any(name == OUTCOME.name for name, _ in job.steps):
        _still_wanted(job, thread)
    apply = partial(_apply, job, thread, require_not_superseded)
    outcomes = tuple(
        job.once(OUTCOME, index, partial(apply, index, action), fits=partial(_is_of, action))
        for index, action in enumerate(actions)
    )
    for outcome in outcomes:
        if outcome.kind == "dry_run":
            log.info("dry run: nothing was written", extra={"would": outcome.detail, "comment": outcome.body})
    job.tools.health.ok("github")
    return outcomes


def _is_of(action: Action, outcome: Outcome) -> bool:
    """Another version's plan, or that of other settings, may have had another action in this place."""
    return outcome.action == ("labels" if isinstance(action, EnsureLabels) else "comment")


def posted_as(job: Job) -> Posted:
    """What has become of a posting that went through to its end."""
    return "dry_run" if job.rule.effective.features.dry_run else "done"


def writer_for(job: Job, *, wait_for_slot: Callable[[], None] | None = None) -> Writer:
    """Make the writer for the job's repository; `wait_for_slot` runs before each write."""
    return job.tools.github.writer(
        job.event.repository.full_name,
        bot=job.bot,
        memory=_memory(job),
        wait_for_slot=wait_for_slot or job.wait_for_slot,
        check_lease=job.check_lease,
        dry_run=job.rule.effective.features.dry_run,
    )


def _memory(job: Job) -> ConversationHistory:
    return job.tools.store.conversations.history(job.lease, job.bot.login, pending=job.pending)


def ensure_comment(
    job: Job, thread: Thread, action: EnsureComment, *, index: int, require_not_superseded: Callable[[], None]
) -> Outcome:
    """Find or write our comment, under its lock, once nothing newer is known there.

    `index` is that of the action. The outcome is told as if no answer had ever been lost. The lock is given back when
    the delivery ends, or waits.
    """
    begun = WRITING.decode(job.steps.get((WRITING.name, index)))
    if begun is not None and begun.family != action.family:
        begun = None  # of another version's plan
    name = f"{job.lease.conversation_key}/{action.family}"

    def wait_for_slot() -> None:
        if begun is None:
            how: Literal["created", "edited"] = "created" if _memory(job).comment(action.family) is None else "edited"
            writing = Writing(action.family, how)
            job.pending.append(WRITING.encode(writing, index=index, took_s=0.0))
        job.wait_for_slot(name)

    job.tools.store.locks.acquire(job.lease, name, ttl_s=LOCK_S, changes=job.take_pending())
    require_not_superseded()
    completed = WriteCompleted(job.lease.guid, name)
    try:
        outcome = writer_for(job, wait_for_slot=wait_for_slot).ensure_comment(thread.number, action)
    except StepFailed as exc:
        if not (isinstance(exc, DependencyDown) and exc.may_have_succeeded):
            job.pending.append(completed)
        raise
    job.pending.append(completed)  # also what an earlier round of ours began, which this one has found
    if begun is None or outcome.detail != COMMENT_UP_TO_DATE:
        return outcome
    return replace(outcome, kind=begun.how, detail=COMMENT_CREATED if begun.how == "created" else COMMENT_EDITED)


def _apply(job: Job, thread: Thread, require_not_superseded: Callable[[], None], index: int, action: Action) -> Outcome:
    effective, settings = job.rule.effective, job.now.settings
    match action:
        case EnsureLabels():
            if not effective.features.auto_labeling:
                where = settings.sources.where(effective.find_feature_key("auto_labeling", settings))
                return Outcome("labels", "off", f"labels are switched off by {where}")
            before = job.once(BEFORE, 0, _memory(job).labels)
            return writer_for(job).ensure_labels(thread.number, action, labels=effective.labels, before=before)
        case EnsureComment():
            if not effective.features.auto_commenting:
                where = settings.sources.where(effective.find_feature_key("auto_commenting", settings))
                return Outcome("comment", "off", f"comments are switched off by {where}", body=action.body)
            return ensure_comment(job, thread, action, index=index, require_not_superseded=require_not_superseded)
        case _:
            assert_never(action)


def _still_wanted(job: Job, thread: Thread) -> None:
    """Look once more before the first write: hours may have passed since the facts were read."""
    reader = job.tools.github.reader(job.event.repository.full_name)
    now = reader.pull_request(thread.number) if thread.is_pull_request else reader.issue(thread.number)
    check_conversation(job.event, now)
    look(job.tools.store, job.lease, job.bot, now, job.now.library)
