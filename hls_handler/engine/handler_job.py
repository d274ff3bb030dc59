"""The job of a handler: its reads, questions and writes, with checkpoints, budgets, locks and the
shadow prompt.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from pydantic import TypeAdapter

from hls_handler.actions import Action, EnsureCheck, EnsureLabels, Outcome
from hls_handler.analysis import Analysis, Reply
from hls_handler.deliveries import REQUESTED, Posted
from hls_handler.engine.asking import (
    OMISSIONS,
    PROMPT_SECRET,
    ask,
    find_outsider,
    prompt_limits,
    render_replies,
    render_static,
)
from hls_handler.engine.checks import begin_check, plan_check
from hls_handler.engine.documents import Documents
from hls_handler.engine.job import ASK, LOCK_S, Codec, Job, Part, facts_codec, reads_postponed
from hls_handler.engine.posting import (
    Posting,
    is_check_ended,
    post,
    post_without_reply,
    store_unposted,
)
from hls_handler.engine.retries import decide_retry
from hls_handler.engine.shadow import prompt_result, run_shadow
from hls_handler.errors import (
    BudgetUsedUp,
    ConversationIgnored,
    DependencyDown,
    Permanent,
    Postponed,
    StepFailed,
    Superseded,
)
from hls_handler.events import Event
from hls_handler.handlers.asking import Answers
from hls_handler.handlers.handler import check_conversation
from hls_handler.handlers.job import Conversation, Result
from hls_handler.handlers.pull_request_facts import PullRequestFacts
from hls_handler.handlers.reader import Reader
from hls_handler.queue.checkpoints import ANALYSED, StatusChange
from hls_handler.review.record import ReviewRecord
from hls_handler.routing import Rule
from hls_handler.settings.model import Settings
from hls_handler.settings.repository import RepositorySettingsFile, build_problems_comment
from hls_handler.store.calls import CallRow, make_receipt
from hls_handler.store.conversations import ConversationRef
from hls_handler.store.reviews import ReviewChange
from hls_handler.tracing import span
from hls_handler.wording import count

log = logging.getLogger(__name__)

CONTEXT = Codec("context", 1, TypeAdapter(str))
"""A sentence part about what Claude gets besides the event: "AGENTS.md (about 120 tokens)"."""
PROBLEMS_REPORTED = Codec("settings_reported", 4, TypeAdapter(Outcome), readable=(1, 2, 3))

OUTAGE = timedelta(minutes=2)
"""How long a delivery has failed because of Claude before its check says so."""

PROBLEMS_INDEX = 1_000
"""Index of the checkpoint "writing" for the comment on the file's problems. No planned action has
this index.
"""


class HandlerJob:
    """Implements `handlers.job.Job` for a claimed delivery."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._conversation: Conversation | None = None
        self._check_commit: str | None = None  # whose check is in progress
        self.part: Part = "analysis"  # that fails if an error is raised now
        self.calls: Sequence[CallRow] | None = (
            None  # of the delivery; None: not read since the last call
        )

    @property
    def event(self) -> Event:
        return self._job.event

    @property
    def rule(self) -> Rule:
        return self._job.rule

    def gather(self) -> Any:
        job = self._job
        handler = self._job.handler
        event = self._job.event
        limits = prompt_limits(
            job.config.settings, job.config.library, event.name, job.rule.effective, job.rule.prompt
        )
        omitted: list[str] = []

        def report(sentence: str) -> None:
            omitted.append(sentence)
            job.note(OMISSIONS, 0, "; ".join(omitted))

        def read() -> Any:
            plan_check(job)  # a delivery that ends here for good has a check, too
            if job.situation.held_until is not None:
                raise reads_postponed(job.situation.held_until)
            reader = job.context.github.reader(event.repository.full_name, bot=job.bot)
            documents = Documents(job.store.texts, job.context.vectors, report, job.context.health)
            accounts = [account.login for account in (job.bot, *job.others)]
            history = job.store.repositories.history(
                job.lease.repository_id, *accounts, find_nearest=documents.find_nearest
            )
            if limits.documents:
                documents.update(event.repository, reader)
            facts = handler.gather(event, reader, history, limits)
            job.store.repositories.save(job.lease, handler.history_update(event, facts))
            job.context.health.ok("github")
            return facts

        facts = job.run_step(facts_codec(handler), 0, read)
        head_sha = _find_head(facts)
        # else the next call or write is the first effect, and its transaction checks this
        if head_sha is not None:
            job.store.interruptions.require(job.check_newest(head_sha))
        self._require_needed(facts)
        return facts

    def _require_needed(self, facts: Any) -> None:
        """Raise `Superseded` if a later stored result makes the facts outdated."""
        job = self._job
        history = job.store.repositories.history(job.lease.repository_id, job.bot.login)
        reason = job.handler.find_superseded_reason(job.event, facts, history)
        if reason is not None:
            raise Superseded(reason)

    def choose(self, conversation: Conversation | None) -> None:
        self._conversation = conversation
        # The facts or the settings name the conversation, not the event.
        if conversation is not None and (
            self._job.lease.number is None or conversation.is_fallback_issue
        ):
            job = self._job
            number = conversation.number
            job.pending.add(StatusChange({"posted_on": number}))
            self._job = replace(job, lease=replace(job.lease, number=number)).with_account_for(
                number
            )
            require_runs_left(self._job, job.store.calls.count_conversation_runs(self._job.lease))
            if conversation.is_fallback_issue and (ASK, 0) not in job.steps:
                self._check_fallback_issue(number)

    def _check_fallback_issue(self, number: int) -> None:
        job = self._job
        job.require_reads_allowed()
        reader = job.context.github.reader(job.event.repository.full_name)
        check_fallback_issue(job.event, job.rule, number, reader, job.config.settings)

    def lock(self, name: str) -> None:
        job = self._job
        changes = job.pending.take()
        full_name = f"{job.lease.conversation_key}/{name}"
        job.store.locks.acquire(job.lease, full_name, ttl_s=LOCK_S, changes=changes)

    def comment_state(self, family: str) -> str | None:
        job = self._job
        if self._conversation is None:
            return None
        history = job.store.repositories.history(job.lease.repository_id, job.bot.login)
        return history.comment_state(self._conversation.number, family)

    def note(self, *, omitted: str | None, sent: str | None = None) -> None:
        if omitted is not None:
            self._job.note(OMISSIONS, 0, omitted)
        if sent is not None:
            self._job.note(CONTEXT, 0, sent)

    def begin_check(self, commit: str) -> None:
        if not is_check_ended(self._job):
            begin_check(self._job, commit)
            self._check_commit = commit

    def ask(self, facts: Any) -> Answers:
        self._job = replace(self._job, outsider=find_outsider(self._job))
        try:
            return ask(self._job, facts)
        except BudgetUsedUp as exc:
            if self._check_commit is not None:
                begin_check(self._job, self._check_commit, waits_until=exc.at)
            raise
        except DependencyDown as exc:
            self._show_outage(exc)
            raise

    def _show_outage(self, error: DependencyDown) -> None:
        """Let the check say by when the next attempt is, once Claude has been down for `OUTAGE`."""
        job = self._job
        now = self._job.store.now()
        row = job.store.deliveries.find(job.lease.guid)
        since = (row.first_failure_at if row is not None else None) or now
        if self._check_commit is None or error.dependency != "claude":
            return
        at = decide_retry(
            error,
            attempts=job.lease.attempts,
            failures=job.lease.failures + 1,
            first_failure_at=since,
            now=now,
            jitter=1.0,  # the latest time
            limits=job.config.settings.limits,
        )
        if isinstance(at, datetime) and max(now, error.not_before or now) - since >= OUTAGE:
            with suppress(Postponed, StepFailed):  # the error of the call counts
                begin_check(job, self._check_commit, waits_until=at, is_claude_down=True)

    def render(self, answered: Answers) -> Analysis:
        return self._with_receipt(
            render_replies(self._job.config.library, self._job.handler, answered, self._key)
        )

    def render_static(self, facts: Any, reply: Reply) -> Analysis:
        job = self._job
        job.pending.add(ANALYSED)
        analysis = render_static(
            job.config.library, job.rule, job.event, job.handler, facts, reply, self._key
        )
        return self._with_receipt(analysis)

    @property
    def _key(self) -> bytes:
        return self._job.store.database.secret(PROMPT_SECRET)

    def _with_receipt(self, analysis: Analysis) -> Analysis:
        """Return the analysis with the calls of this delivery."""
        self.calls = self._job.store.calls.calls_of(self._job.lease.guid)
        receipt = make_receipt(self.calls)
        # A reply from the cache has no call.
        prompt_ids = dict.fromkeys(
            [*(answer.prompt_id for answer in analysis.answers), *receipt.prompt_ids]
        )
        return replace(analysis, receipt=replace(receipt, prompt_ids=tuple(prompt_ids)))

    def post(
        self,
        facts: Any,
        analysis: Analysis,
        actions: tuple[Action, ...],
        *reasons: str,
        after_review: Callable[[Outcome | None], tuple[Action, ...]] | None = None,
    ) -> Result:
        job = self._job
        conversation = self._conversation
        posting = None
        self.part = "posting"
        actions = self._without_labels(actions)
        with span("posting"):
            if conversation is None:
                outcomes = store_unposted(job, actions)
            else:
                outcomes = post(
                    job,
                    conversation,
                    actions,
                    described=_find_head(facts),
                    require_needed=partial(self._require_needed, facts),
                    after_review=after_review
                    and (lambda outcome: self._without_labels(after_review(outcome))),
                )
                _report_settings_problems(job, conversation)
                posting = self._posting
        if analysis.answers:
            if job.rule.shadow is not None:
                self.calls = None
            is_cached = any(answer.cached_at is not None for answer in analysis.answers)
            run_shadow(job, facts, prompt_result(analysis, actions), posting, is_cached=is_cached)
        reason = "; ".join([*filter(None, reasons), *(outcome.detail for outcome in outcomes)])
        return Result(reason or "analysed; nothing to post", posting)

    def _without_labels(self, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        if self._conversation is None or self._conversation.is_fallback_issue:
            return tuple(action for action in actions if not isinstance(action, EnsureLabels))
        return actions

    @property
    def _posting(self) -> Posted:
        return "dry_run" if self._job.rule.effective.features.dry_run else "done"

    def post_check(self, actions: tuple[EnsureCheck, ...], reason: str) -> Result:
        if not actions:
            return Result(reason)
        self.part = "posting"
        with span("posting"):
            outcomes = post_without_reply(self._job, actions)
        return Result("; ".join([reason, *(outcome.detail for outcome in outcomes)]), self._posting)

    def store_review(self, record: ReviewRecord) -> None:
        job = self._job
        if self._conversation is not None and not job.rule.effective.features.dry_run:
            ref = ConversationRef(job.event.repository.id, job.bot.login, self._conversation.number)
            job.pending.add(ReviewChange(ref, record))


def check_fallback_issue(
    event: Event,
    rule: Rule,
    number: int,
    reader: Reader,
    settings: Settings,
) -> None:
    """Raise `Permanent` if the issue cannot be read, and what `check_conversation` raises."""
    name = f"{event.repository.full_name}#{number}"
    chosen_by = name_fallback_setting(rule, settings)
    try:
        issue = reader.issue(number)
    except Permanent as exc:
        reason = f"{chosen_by} chooses {name} for the comment, which GitHub does not show"
        raise Permanent(f"{reason}: {exc}") from exc
    try:
        check_conversation(event, issue)
    except Superseded as exc:
        exc.args = (f"{exc}; {chosen_by} chooses it for the comment",)
        raise


def name_fallback_setting(rule: Rule, settings: Settings) -> str:
    """Return the place of the setting that chooses an issue for the comment about the event."""
    return settings.sources.where(f"{rule.effective.key}.comments.post_to")


def _find_head(facts: Any) -> str | None:
    """Return the head commit of the pull request that the facts of a review describe."""
    return facts.pull_request.head_sha if isinstance(facts, PullRequestFacts) else None


def require_runs_left(job: Job, runs: int) -> None:
    """Raise `ConversationIgnored` if `runs` are too many of the conversation.

    A review that a person requested runs in any case.
    """
    if job.lease.request_id.startswith(REQUESTED):
        return
    settings = job.config.settings
    most = settings.limits.thread_runs_per_hour
    if runs < most or (ASK, 0) in job.steps:  # a stored reply of Claude was paid for
        return
    where = settings.sources.where("limits.thread_runs_per_hour")
    times = count(runs, "time")
    reason = f"this conversation was processed {times} within the hour, and {where} allows {most}"
    raise ConversationIgnored(reason, "too many runs")


def _report_settings_problems(job: Job, conversation: Conversation) -> None:
    """Comment on the problems of the settings file, once for each version of the file.

    In a dry run, or if comments are off, nothing is written or stored. So a later delivery can
    still comment.
    """
    file = job.repository_settings
    features = job.rule.effective.features
    if (
        file is None
        or not file.settings.problems
        or features.dry_run
        or not features.auto_commenting
    ):
        return
    job.run_step(PROBLEMS_REPORTED, 0, partial(_report, job, conversation, file))


def _report(job: Job, conversation: Conversation, file: RepositorySettingsFile) -> Outcome:
    repository = job.event.repository
    if not job.store.repository_files.claim_report(
        job.lease, repository.id, job.bot.login, file.version or ""
    ):
        return Outcome(
            "comment", "withheld", "another delivery comments on the settings file's problems"
        )
    try:
        comment = build_problems_comment(file.settings.problems)
        return Posting(job, conversation).write(comment, PROBLEMS_INDEX)
    except Permanent as exc:  # the delivery's own comment is posted, so the delivery succeeds
        log.warning(
            "cannot comment on the problems of the settings file", extra={"reason": str(exc)}
        )
        return Outcome("comment", "withheld", str(exc))
