"""Posting: executes each planned action as an idempotent write to GitHub and stores its outcome."""

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
from hls_handler.handlers.handler import Conversation, check_conversation
from hls_handler.history.conversations import ConversationHistory
from hls_handler.queue.changes import WriteCompleted
from hls_handler.queue.checkpoints import Posted
from hls_handler.work.feedback import record_current
from hls_handler.work.job import Job
from hls_handler.work.memory import BEFORE, OUTCOME, WRITING, Writing
from hls_handler.work.ports import Writer

log = logging.getLogger(__name__)

LOCK_S = 120.0
"""Seconds after which another delivery may take over the lock of a comment."""


def store_unposted(job: Job, actions: tuple[Action, ...]) -> tuple[Outcome, ...]:
    """Store the comments of a delivery without a conversation to post on; returns their outcomes."""
    detail = "there is no thread to post on; the comment is stored here"
    return tuple(
        job.once(OUTCOME, index, partial(Outcome, "comment", "withheld", detail, body=action.body))
        for index, action in enumerate(actions)
        if isinstance(action, EnsureComment)
    )


def post(
    job: Job, thread: Conversation, actions: tuple[Action, ...], *, require_not_superseded: Callable[[], None]
) -> tuple[Outcome, ...]:
    """Execute the actions in order and return their outcomes; an action with a stored outcome is not executed again.

    `require_not_superseded` raises `Superseded`. It is called once more while the comment's lock is held, because a
    newer delivery waits for that lock.
    """
    require_not_superseded()
    job.before_reads()
    if not any(name == OUTCOME.name for name, _ in job.steps):
        _check_current_state(job, thread)
    apply = partial(_apply, job, thread, require_not_superseded)
    outcomes = tuple(
        job.once(OUTCOME, index, partial(apply, index, action), fits=partial(_matches, action))
        for index, action in enumerate(actions)
    )
    for outcome in outcomes:
        if outcome.kind == "dry_run":
            log.info("dry run: nothing was written", extra={"would": outcome.detail, "comment": outcome.body})
    job.tools.health.ok("github")
    return outcomes


def _matches(action: Action, outcome: Outcome) -> bool:
    """Return whether a stored outcome is of this kind of action; the plan may have changed between attempts."""
    return outcome.action == ("labels" if isinstance(action, EnsureLabels) else "comment")


def posting_state(job: Job) -> Posted:
    """Return the state of a completed posting."""
    return "dry_run" if job.rule.effective.features.dry_run else "done"


def writer_for(job: Job, *, wait_for_slot: Callable[[], None] | None = None) -> Writer:
    """Make the writer for the job's repository; `wait_for_slot` runs before each write."""
    return job.tools.github.writer(
        job.event.repository.full_name,
        bot=job.bot,
        memory=_history(job),
        wait_for_slot=wait_for_slot or job.wait_for_slot,
        check_lease=job.check_lease,
        dry_run=job.rule.effective.features.dry_run,
    )


def _history(job: Job) -> ConversationHistory:
    return job.tools.store.conversations.history(job.lease, job.bot.login, pending=job.pending)


def ensure_comment(
    job: Job, thread: Conversation, action: EnsureComment, *, index: int, require_not_superseded: Callable[[], None]
) -> Outcome:
    """Create or edit the bot's comment under its lock, after `require_not_superseded` passed.

    `index` is that of the action. If an earlier attempt wrote the comment without receiving the response, the
    outcome is that write. The lock is released when the delivery ends or is rescheduled.
    """
    begun = WRITING.decode(job.steps.get((WRITING.name, index)))
    if begun is not None and begun.family != action.family:
        begun = None  # the plan has changed
    name = f"{job.lease.conversation_key}/{action.family}"

    def wait_for_slot() -> None:
        if begun is None:
            how: Literal["created", "edited"] = "created" if _history(job).comment(action.family) is None else "edited"
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
    job.pending.append(completed)  # also completes the write of an earlier attempt
    if begun is None or outcome.detail != COMMENT_UP_TO_DATE:
        return outcome
    return replace(outcome, kind=begun.how, detail=COMMENT_CREATED if begun.how == "created" else COMMENT_EDITED)


def _apply(
    job: Job, thread: Conversation, require_not_superseded: Callable[[], None], index: int, action: Action
) -> Outcome:
    effective, settings = job.rule.effective, job.now.settings
    match action:
        case EnsureLabels():
            if not effective.features.auto_labeling:
                where = settings.sources.where(effective.find_feature_key("auto_labeling", settings))
                return Outcome("labels", "off", f"labels are switched off by {where}")
            before = job.once(BEFORE, 0, _history(job).labels)
            return writer_for(job).ensure_labels(thread.number, action, labels=effective.labels, before=before)
        case EnsureComment():
            if not effective.features.auto_commenting:
                where = settings.sources.where(effective.find_feature_key("auto_commenting", settings))
                return Outcome("comment", "off", f"comments are switched off by {where}", body=action.body)
            return ensure_comment(job, thread, action, index=index, require_not_superseded=require_not_superseded)
        case _:
            assert_never(action)


def _check_current_state(job: Job, thread: Conversation) -> None:
    """Check the conversation before the first write, because hours may have passed since the facts were read."""
    reader = job.tools.github.reader(job.event.repository.full_name)
    now = reader.pull_request(thread.number) if thread.is_pull_request else reader.issue(thread.number)
    check_conversation(job.event, now)
    record_current(job.tools.store, job.lease, job.bot, now, job.now.library)
