"""Posting: each planned action becomes an ensure on GitHub, under the thread's lock, and its outcome is remembered."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, assert_never

from hls_handler.actions import COMMENTED, EDITED, SAID, Action, KeepComment, KeepLabels, Outcome
from hls_handler.errors import DependencyDown, StepFailed
from hls_handler.handlers.handler import Thread, still_welcome
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
        if isinstance(action, KeepComment)
    )


def post(
    job: Job, thread: Thread, actions: tuple[Action, ...], *, not_overtaken: Callable[[], None]
) -> tuple[Outcome, ...]:
    """Carry the actions out in order. Remembered outcomes are not done again.

    `not_overtaken` raises `Overtaken`, and is asked once more under the comment's lock: who overtakes us takes it
    after us.
    """
    not_overtaken()
    job.before_reads()
    if not any(name == OUTCOME.name for name, _ in job.steps):
        _still_wanted(job, thread)
    apply = partial(_apply, job, thread, not_overtaken)
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
    return outcome.action == ("labels" if isinstance(action, KeepLabels) else "comment")


def posted_as(job: Job) -> Posted:
    """What has become of a posting that went through to its end."""
    return "dry_run" if job.rule.effective.features.dry_run else "done"


def writer_for(job: Job, *, before_write: Callable[[], None] | None = None) -> Writer:
    """Writes on the job's repository, with our memory of its thread. `before_write` takes the turn, and may do more."""
    return job.tools.github.writer(
        job.event.repository.full_name,
        we=job.we,
        memory=_memory(job),
        before_write=before_write or job.before_write,
        still_ours=job.still_ours,
        dry_run=job.rule.effective.features.dry_run,
    )


def _memory(job: Job) -> ConversationHistory:
    return job.tools.store.conversations.history(job.lease, job.we.login, pending=job.pending)


def keep_comment(
    job: Job, thread: Thread, action: KeepComment, *, index: int, not_overtaken: Callable[[], None]
) -> Outcome:
    """Find or write our comment, under its lock, once nothing newer is known there.

    `index` is that of the action. The outcome is told as if no answer had ever been lost. The lock is given back when
    the delivery ends, or waits.
    """
    begun = WRITING.decode(job.steps.get((WRITING.name, index)))
    if begun is not None and begun.family != action.family:
        begun = None  # of another version's plan
    name = f"{job.lease.thread_key}/{action.family}"

    def before_write() -> None:
        if begun is None:
            how: Literal["created", "edited"] = "created" if _memory(job).comment(action.family) is None else "edited"
            writing = Writing(action.family, how)
            job.pending.append(WRITING.encode(writing, index=index, took_s=0.0))
        job.before_write(name)

    job.tools.store.locks.acquire(job.lease, name, ttl_s=LOCK_S, changes=job.take_pending())
    not_overtaken()
    completed = WriteCompleted(job.lease.guid, name)
    try:
        outcome = writer_for(job, before_write=before_write).keep_comment(thread.number, action)
    except StepFailed as exc:
        if not (isinstance(exc, DependencyDown) and exc.maybe_done):
            job.pending.append(completed)
        raise
    job.pending.append(completed)  # also what an earlier round of ours began, which this one has found
    if begun is None or outcome.detail != SAID:
        return outcome
    return replace(outcome, kind=begun.how, detail=COMMENTED if begun.how == "created" else EDITED)


def _apply(job: Job, thread: Thread, not_overtaken: Callable[[], None], index: int, action: Action) -> Outcome:
    effective, settings = job.rule.effective, job.now.settings
    match action:
        case KeepLabels():
            if not effective.features.auto_labeling:
                where = settings.sources.where(effective.feature_key("auto_labeling", settings))
                return Outcome("labels", "off", f"labels are switched off by {where}")
            before = job.once(BEFORE, 0, _memory(job).labels)
            return writer_for(job).keep_labels(thread.number, action, labels=effective.labels, before=before)
        case KeepComment():
            if not effective.features.auto_commenting:
                where = settings.sources.where(effective.feature_key("auto_commenting", settings))
                return Outcome("comment", "off", f"comments are switched off by {where}", body=action.body)
            return keep_comment(job, thread, action, index=index, not_overtaken=not_overtaken)
        case _:
            assert_never(action)


def _still_wanted(job: Job, thread: Thread) -> None:
    """Look once more before the first write: hours may have passed since the facts were read."""
    reader = job.tools.github.reader(job.event.repository.full_name)
    now = reader.pull_request(thread.number) if thread.is_pull_request else reader.issue(thread.number)
    still_welcome(job.event, now)
    look(job.tools.store, job.lease, job.we, now, job.now.library)
