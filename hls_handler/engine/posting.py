"""Executes planned actions as idempotent writes to GitHub. Stores their outcomes, and label
corrections by people.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Literal, assert_never

from pydantic import TypeAdapter

from hls_handler.actions import (
    COMMENT_CREATED,
    COMMENT_EDITED,
    COMMENT_UP_TO_DATE,
    OUTCOME_NAMES,
    REPLY_CREATED,
    REPLY_EXISTS,
    Action,
    EnsureCheck,
    EnsureComment,
    EnsureIssueType,
    EnsureLabels,
    EnsureReply,
    EnsureReview,
    Outcome,
    RequestReviewers,
    target_of,
)
from hls_handler.deliveries import End
from hls_handler.engine.codecs import OUTCOME, Codec
from hls_handler.engine.job import LOCK_S, DeliveryJob
from hls_handler.engine.shown_check import ensure_check, preview_check
from hls_handler.errors import (
    DependencyDown,
    Permanent,
    Postponed,
    Retryable,
    StepFailed,
    Superseded,
)
from hls_handler.events import Issue, PullRequest
from hls_handler.github.api import WriteGuard
from hls_handler.github.labels import LabelState
from hls_handler.github.writer import GithubWriter
from hls_handler.handlers.handler import check_conversation
from hls_handler.handlers.job import Conversation
from hls_handler.prompting.prompt import Library
from hls_handler.queue.checkpoints import LeaseCheck
from hls_handler.queue.locks import WriteCompleted
from hls_handler.routing import LabelCorrection
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Settings
from hls_handler.store.conversations import ConversationHistory
from hls_handler.store.corrections import (
    CORRECTION_WINDOW_DAYS,
    AppliedLabel,
    CorrectionResult,
    ShownLabels,
)

log = logging.getLogger(__name__)

REVIEW_LOCK = "review"
"""End of the name of the lock for a conversation's reviews and replies in review threads."""

LockedAction = EnsureComment | EnsureReview | EnsureReply
"""The actions that `features.auto_commenting` controls, and that are written under a lock."""

LABELS_BEFORE = Codec("before", 1, TypeAdapter(dict[str, LabelState]))
"""Checkpoint: the stored label states before a delivery's first write. With it, a retry reports the
same outcome.
"""


def correct_label(job: DeliveryJob, correction: LabelCorrection) -> End:
    """Store that a person changed a label of the bot. Uses only the event and sends no request to
    GitHub.
    """
    conversation = job.event.conversation
    lease = job.lease
    group = correction.group
    # parse_event rejects a label event without its issue or pull request
    assert conversation is not None
    labels = list_shown_labels(conversation, job.config.library, correction.effective)
    recorded = job.store.corrections.record_change(
        lease, job.bot.login, group, labels, at=lease.received_at
    )
    log_corrections(recorded)
    if not recorded.compared:
        reason = (
            f"HLS has set no {group} label here within {CORRECTION_WINDOW_DAYS} days, so its change"
            " is no feedback"
        )
        return End("ignored", reason, kind="not a label of HLS")
    unchanged = f"the stored correction of HLS's {group} label here is unchanged"
    return End("done", "; ".join(map(_describe_label, recorded.changed)) or unchanged)


def _describe_label(label: AppliedLabel) -> str:
    if label.corrected_to is None:
        return f"a person set {label.name} again: the correction is withdrawn"
    instead = f"put {label.corrected_to} in place of" if label.corrected_to else "took away"
    return f"a person {instead} {label.name}, which {label.prompt_id} had asked for"


def log_corrections(result: CorrectionResult) -> None:
    for label in result.changed:
        fields = {
            "field": label.group,
            "label": label.name,
            "corrected_to": label.corrected_to,
            "prompt": label.prompt_id,
        }
        log.info("label corrected by a person", extra=fields)


def list_shown_labels(
    conversation: Issue | PullRequest, library: Library, effective: EffectiveSettings
) -> ShownLabels:
    is_pull_request = isinstance(conversation, PullRequest)
    groups = library.label_groups(
        "pull_request" if is_pull_request else "issues", effective.labels.assess
    )
    return ShownLabels(
        tuple(label.name for label in conversation.labels),
        conversation.title,
        is_pull_request,
        groups,
    )


def withhold_comment(action: EnsureComment) -> Outcome:
    detail = "there is no issue or pull request to post on; the comment is stored here"
    return Outcome("comment", "withheld", detail, body=action.body)


def is_check_ended(job: DeliveryJob) -> bool:
    """Return True if an earlier attempt set the result of the check."""
    outcomes = [
        OUTCOME.decode(step) for (name, _), step in job.steps.items() if name == OUTCOME.name
    ]
    return any(outcome is not None and outcome.action == "check" for outcome in outcomes)


@dataclass(frozen=True, slots=True)
class CommentWriteBegun:
    """Checkpoint stored before a write of a comment, a review or a reply.

    If a retry finds the checkpoint and an up-to-date comment, the write of the earlier attempt
    succeeded.
    """

    # of the comment; "review"; "reply 7 fixed" for the reply "fixed" to the review comment 7
    family: str
    how: Literal["created", "edited"]


COMMENT_WRITE_BEGUN = Codec("writing", 1, TypeAdapter(CommentWriteBegun))


def preview(
    writer: GithubWriter,
    conversation: Conversation | None,
    actions: tuple[Action, ...],
    effective: EffectiveSettings,
    settings: Settings,
) -> Iterator[Outcome]:
    """Yield what each action would do. `writer` writes nothing. Nothing is stored, and no lock is
    acquired.
    """
    for action in actions:
        if isinstance(action, EnsureCheck):
            yield preview_check(action)
        elif conversation is None:
            if isinstance(action, EnsureComment):
                yield withhold_comment(action)
        elif not (conversation.is_fallback_issue and isinstance(action, EnsureLabels)):
            off = _find_switched_off(action, effective, settings)
            if off is not None:
                yield off
            elif isinstance(action, EnsureLabels):
                yield writer.ensure_labels(
                    conversation.number, action, labels=effective.labels, before={}
                )
            elif isinstance(action, EnsureIssueType):
                yield writer.ensure_issue_type(conversation.number, action)
            elif isinstance(action, RequestReviewers):
                yield writer.request_reviewers(conversation.number, action)
            else:
                yield _write(writer, conversation.number, action)


def _write(
    writer: GithubWriter,
    number: int,
    action: LockedAction,
    *,
    may_exist: bool = True,
    is_retry: bool = False,
) -> Outcome:
    match action:
        case EnsureComment():
            return writer.ensure_comment(number, action, may_exist=may_exist)
        case EnsureReview():
            return writer.ensure_review(number, action, is_retry=is_retry)
        case EnsureReply():
            return writer.ensure_reply(number, action, is_retry=is_retry)
        case _:
            assert_never(action)


def _find_switched_off(
    action: Action, effective: EffectiveSettings, settings: Settings
) -> Outcome | None:
    """Return the outcome of an action that the settings switch off; None if they allow it."""
    match action:
        case EnsureLabels() | EnsureIssueType() if not effective.features.auto_labeling:
            where = effective.where("features.auto_labeling", settings)
            return Outcome(
                OUTCOME_NAMES[type(action)], "off", f"labels are switched off by {where}"
            )
        case EnsureComment() | EnsureReview() | EnsureReply() if (
            not effective.features.auto_commenting
        ):
            where = effective.where("features.auto_commenting", settings)
            body = None if isinstance(action, EnsureReview) else action.body
            return Outcome(
                OUTCOME_NAMES[type(action)],
                "off",
                f"comments are switched off by {where}",
                body=body,
            )
        case _:
            return None


def _withheld(action: Action, error: StepFailed) -> Outcome:
    """Return the outcome of a refused action. It is not stored, because a retry executes the action
    again.
    """
    keys = (
        tuple(comment.key for comment in action.comments)
        if isinstance(action, EnsureReview)
        else ()
    )
    return Outcome(OUTCOME_NAMES[type(action)], "withheld", str(error), rejected=keys)


class Posting:
    """Executes the actions of a delivery, each once: its outcome is stored under its target.
    Comments, reviews and replies are written under a lock.

    The lock prevents newer deliveries from writing the comment. Reviews and replies have one lock
    for each pull request. A lock is released when the delivery ends or is rescheduled.
    """

    def __init__(
        self,
        job: DeliveryJob,
        conversation: Conversation | None,
        described: str | None = None,
        require_needed: Callable[[], None] = lambda: None,
    ) -> None:
        """Without a conversation, comments are withheld, and of the other actions only checks are
        possible. `described` is the head commit that was read: a newer one raises `Superseded`
        before a write. `require_needed` is called under the lock.
        """
        self._job = job
        self._conversation = conversation
        self._described = described
        self._check: LeaseCheck | None = None  # before each write
        self._require_needed = require_needed
        self._history = _history(job)  # reads nothing yet
        self._current: Issue | PullRequest | None = None
        self._may_exist = True  # whether there may be a comment of HLS that is not stored
        # by lock: whether a write that HLS does not know may have succeeded
        self._acquired: dict[str, bool] = {}
        self._targets = dict[int, str]()  # of outcomes, by the index of the checkpoint
        for (name, index), step in job.steps.items():
            outcome = OUTCOME.decode(step) if name == OUTCOME.name else None
            if outcome is not None:
                self._targets[index] = outcome.target
        self._outcomes: list[Outcome] = []
        self._failed: list[StepFailed] = []
        self.has_result = False  # whether GitHub shows a result of the delivery

    def begin(self, planned: tuple[Action, ...]) -> None:
        """Acquire the locks of the planned actions, unless an earlier attempt executed one.

        Raises `Superseded` after a newer event, or if `require_needed` does.
        """
        job = self._job
        self._require_needed()
        self._check = job.check_newest(self._described)
        first_check = job.check_newest(self._described, reads=True)
        if any(name == OUTCOME.name for name, _ in job.steps):
            job.store.interruptions.require(first_check)
        else:
            self.prepare(planned, first_check)

    def execute_all(self, actions: tuple[Action, ...]) -> tuple[Outcome, ...]:
        """Execute the actions in order. An action with a stored outcome is not executed again.

        If GitHub refuses one, the others are executed, and `end` raises its error.
        """
        first = len(self._outcomes)
        for action in actions:
            target = target_of(action)
            index = self._find_index(target)
            self._targets[index] = target
            do = partial(self._execute_once, action, index)
            # the other actions wait for the next attempt; the summary depends on the review
            waits = Retryable if isinstance(action, EnsureReview) else DependencyDown
            try:
                outcome = self._job.run_step(OUTCOME, index, do)
            except StepFailed as exc:
                if isinstance(exc, waits):
                    raise
                self._failed.append(exc)
                outcome = _withheld(action, exc)
            self._outcomes.append(outcome)
            self.has_result |= outcome.kind in ("created", "edited", "changed")
        return tuple(self._outcomes[first:])

    def _find_index(self, target: str) -> int:
        for index, stored in self._targets.items():
            if stored == target:
                return index
        return next(index for index in count() if index not in self._targets)

    def end(self) -> tuple[Outcome, ...]:
        """Return all outcomes. Raises the error of an action that GitHub refused."""
        if self._failed:
            raise next(
                (error for error in self._failed if isinstance(error, Retryable)), self._failed[0]
            )
        for outcome in self._outcomes:
            if outcome.kind == "dry_run":
                log.info(
                    "dry run: nothing was written",
                    extra={"would": outcome.detail, "comment": outcome.body},
                )
        self._job.context.health.ok("github")
        return tuple(self._outcomes)

    def prepare(self, actions: tuple[Action, ...], check: LeaseCheck) -> None:
        """Acquire all locks, and then read the conversation. Raises the error of `check` before
        that.

        In this order, the number of comments that GitHub reports stays true until the comment is
        written.
        """
        job = self._job
        conversation = self._conversation
        assert conversation is not None
        number = conversation.number
        is_commenting = job.rule.effective.features.auto_commenting
        written = [
            action for action in actions if isinstance(action, LockedAction) and is_commenting
        ]
        if not written:
            job.store.interruptions.require(check)
        for name in dict.fromkeys(_lock_name(job, write) for write in written):
            self._acquire(name, None if self._acquired else check)
        reader = job.context.github.reader(job.event.repository.full_name)
        current = (
            reader.pull_request(number) if conversation.is_pull_request else reader.issue(number)
        )
        check_conversation(job.event, current, may_be_closed=conversation.may_be_closed)
        if self._history.labels():
            labels = list_shown_labels(current, job.config.library, job.rule.effective)
            log_corrections(job.store.corrections.record_current(job.lease, job.bot.login, labels))
        comments = [
            _lock_name(job, action) for action in written if isinstance(action, EnsureComment)
        ]
        if (
            comments
            and not any(self._acquired[name] for name in comments)
            and current.comments is not None
        ):
            self._may_exist = current.comments > self._history.count_comments()
        self._current = current

    def _execute_once(self, action: Action, index: int) -> Outcome:
        return replace(self._execute(action, index), target=target_of(action))

    def _execute(self, action: Action, index: int) -> Outcome:
        """`index` is that of the checkpoints of the action."""
        job = self._job
        conversation = self._conversation
        if isinstance(action, EnsureCheck):
            return ensure_check(job, action, can_move=self.has_result)
        if conversation is None:
            assert isinstance(action, EnsureComment)
            return withhold_comment(action)
        effective = self._job.rule.effective
        off = _find_switched_off(action, effective, job.config.settings)
        if off is not None:
            return off
        match action:
            case EnsureLabels():
                before = job.run_step(LABELS_BEFORE, 0, self._history.labels)
                writer = make_writer(job, self._begin_write, self._history)
                present = (
                    frozenset(label.name for label in self._current.labels)
                    if self._current
                    else None
                )
                return writer.ensure_labels(
                    conversation.number,
                    action,
                    labels=effective.labels,
                    before=before,
                    present=present,
                )
            case EnsureIssueType() | RequestReviewers():
                writer = make_writer(job, self._begin_write, self._history)
                number = conversation.number
                try:
                    if isinstance(action, EnsureIssueType):
                        return writer.ensure_issue_type(number, action)
                    return writer.request_reviewers(number, action)
                except Permanent as exc:  # optional, so the delivery does not fail
                    name = OUTCOME_NAMES[type(action)]
                    log.warning(
                        "GitHub rejected an optional action",
                        extra={"action": name, "error": str(exc)},
                    )
                    return Outcome(name, "withheld", f"{name} not set: {exc}")
            case EnsureComment() | EnsureReview() | EnsureReply():
                return self.write(action, index)
            case _:
                assert_never(action)

    def _begin_write(self) -> None:
        self._job.begin_write(can_move=self.has_result)

    def write(self, action: LockedAction, index: int) -> Outcome:
        """Write a comment, a review or a reply under its lock. `index` is that of its checkpoints,
        or `PROBLEMS_INDEX`.

        If an earlier attempt wrote the comment but got no response, the outcome of that write is
        returned. An earlier review or reply is searched on GitHub only if an earlier attempt, or a
        write that HLS does not know, may have written it.
        """
        job = self._job
        name = _lock_name(self._job, action)
        family = _family(action)
        begun = job.find_result(COMMENT_WRITE_BEGUN, index)
        if begun is not None and begun.family != family:
            begun = None  # the plan has changed
        is_stored = begun is not None

        def begin_write() -> None:
            nonlocal is_stored
            if not is_stored:
                is_edit = (
                    isinstance(action, EnsureComment) and self._history.comment(family) is not None
                )
                job.add(
                    COMMENT_WRITE_BEGUN,
                    CommentWriteBegun(family, "edited" if is_edit else "created"),
                    index,
                )
                is_stored = True
            job.begin_write(name, check=self._check, can_move=self.has_result)

        if name not in self._acquired:
            self._acquire(name)
        self._require_needed()
        completed = WriteCompleted(name)
        is_retry = self._acquired[name] or begun is not None
        writer = make_writer(job, begin_write, self._history)
        assert self._conversation is not None
        number = self._conversation.number
        try:
            outcome = _write(writer, number, action, may_exist=self._may_exist, is_retry=is_retry)
        except (
            StepFailed,
            Postponed,
            Superseded,
        ) as exc:  # Postponed: nothing was sent since a response
            if not (isinstance(exc, DependencyDown) and exc.may_have_succeeded):
                job.pending.add(completed)
            raise
        job.pending.add(completed)  # also completes the write of an earlier attempt
        return outcome if begun is None else _outcome_of_earlier_write(outcome, begun)

    def _acquire(self, name: str, check: LeaseCheck | None = None) -> None:
        job = self._job
        changes = self._job.pending.take()
        acquired = job.store.locks.acquire(
            job.lease, name, ttl_s=LOCK_S, changes=changes, check=check
        )
        self._acquired[name] = acquired


def _outcome_of_earlier_write(outcome: Outcome, begun: CommentWriteBegun) -> Outcome:
    if outcome.detail == COMMENT_UP_TO_DATE:
        return replace(
            outcome,
            kind=begun.how,
            detail=COMMENT_CREATED if begun.how == "created" else COMMENT_EDITED,
        )
    return (
        replace(outcome, kind="created", detail=REPLY_CREATED)
        if outcome.detail == REPLY_EXISTS
        else outcome
    )


def _family(action: LockedAction) -> str:
    match action:
        case EnsureComment():
            return action.family
        case EnsureReview():
            return REVIEW_LOCK
        case EnsureReply():
            return f"reply {action.comment_id} {action.key}"
        case _:
            assert_never(action)


def _lock_name(job: DeliveryJob, action: LockedAction) -> str:
    name = REVIEW_LOCK
    if isinstance(action, EnsureComment):
        name = action.family
    return f"{job.lease.conversation_key}/{name}"


def make_writer(
    job: DeliveryJob, begin_write: Callable[[], None], history: ConversationHistory | None = None
) -> GithubWriter:
    guard = None
    if not job.rule.effective.features.dry_run:
        guard = WriteGuard(begin_write, job.check_lease)
    return job.context.github.writer(
        job.event.repository.full_name,
        bot=job.bot,
        history=history or _history(job),
        guard=guard,
    )


def _history(job: DeliveryJob) -> ConversationHistory:
    return job.store.conversations.history(job.lease, job.bot.login, pending=job.pending)
