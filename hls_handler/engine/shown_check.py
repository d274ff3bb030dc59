"""The check on a commit: begun before Claude is asked, ended with the result, or with the reason
why there is none.

Every head commit of an enabled repository's pull request ends with a check: also those of ignored
events, of merge queues, and of deliveries that failed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from pydantic import TypeAdapter

from hls_handler.actions import (
    TITLE_CHECK,
    CommitCheck,
    Conclusion,
    EnsureCheck,
    Outcome,
    WrittenCheck,
)
from hls_handler.analysis import Receipt
from hls_handler.engine.codecs import Codec
from hls_handler.engine.job import IN_PLACE, LOCK_S, DeliveryJob
from hls_handler.engine.repository_settings import apply_to_rule, load_repository_settings
from hls_handler.errors import (
    AppNotInstalled,
    DependencyDown,
    LeaseLost,
    NotFound,
    Permanent,
    Postponed,
    StepFailed,
    StoreUnavailable,
    TokenReplaced,
)
from hls_handler.events import MergeGroup, PullRequest
from hls_handler.github.api import WriteGuard
from hls_handler.github.check_writer import GithubChecks
from hls_handler.github.client import Github
from hls_handler.github.reader import GithubReader
from hls_handler.handlers.merge_groups import (
    HeadCheck,
    find_merged,
    find_queued,
    is_draft_of_queue,
    plan_group_check,
)
from hls_handler.queue.leases import EXPIRY
from hls_handler.queue.locks import WriteCompleted
from hls_handler.review.wanted_check import (
    NO_RESULT,
    name_others,
    plan_group_title_check,
    plan_ignored_check,
    plan_title_check,
    plan_unreviewed_check,
    rank,
    show_other,
)
from hls_handler.routing import (
    BY_OPERATOR,
    RoutingInput,
    brings_diff,
    is_retargeted,
    leaves_commit,
    may_check_titles,
    may_have_checks,
    needs_title_check,
)
from hls_handler.settings.effective import RepositoryTable, without_entry
from hls_handler.settings.model import Settings
from hls_handler.store.call_rows import make_receipt
from hls_handler.store.commit_checks import CheckChange, OtherCheck, UnendedCheck
from hls_handler.store.storage import Storage

log = logging.getLogger(__name__)

MAX_READS = 10
"""Pull requests that are read for one check. Further ones count as open."""

POLL_S = 10.0
"""Pause while a review of one of the pull requests of a merge queue is in progress."""

TITLE_CHECKED = Codec("title_check", 1, TypeAdapter(Outcome))
GROUP_HEADS = Codec("merge_group", 1, TypeAdapter(tuple[HeadCheck, ...]))
"""Heads of the pull requests of a merge group. A push to one of them removes it from the queue, and
its group.
"""

END_EVERY_S = 30.0
"""Seconds between two searches for checks of finished deliveries."""

ENDING_S = 60.0
"""Time in which a process ends one check; then another process may."""

MAX_WAIT_S = 15.0
"""Longest wait for a slot of the rate limit."""


@dataclass(frozen=True, slots=True)
class CommitHeads:
    """The pull requests of a repository whose head may be `commit`."""

    reader: GithubReader
    commit: str

    def find_open(self, number: int) -> PullRequest | None:
        """Return the pull request if it is open at the commit, else None."""
        try:
            pull_request = self.reader.pull_request(number)
        except NotFound:
            return None
        is_here = pull_request.state == "open" and pull_request.head_sha == self.commit
        return pull_request if is_here else None

    def find_worst(self, others: Sequence[OtherCheck], least: int) -> OtherCheck | None:
        """Return the worst check of a pull request that is open at the commit, if its rank is worse
        than `least`. Reads only those that could be it.
        """
        worse = [other for other in others if _rank(other) < least]
        for position, other in enumerate(sorted(worse, key=_rank)):
            if position >= MAX_READS or self.find_open(other.number) is not None:
                return other
        return None


def _rank(other: OtherCheck) -> int:
    return rank(other.conclusion, is_exempt=other.is_exempt)


def plan_check(job: DeliveryJob) -> None:
    """Record that the head commit should get a check, if the delivery is a review that sets one."""
    event = job.event
    effective = job.rule.effective
    is_review = (
        job.config.library.prompts[job.rule.prompt].reply == "pull_request_analysis"
        and not event.is_closing
    )
    if (
        event.pull_request is None
        or not is_review
        or not effective.review.check
        or effective.features.dry_run
    ):
        return
    job.store.commit_checks.plan(job.lease, event.pull_request.head_sha)


def begin_check(
    job: DeliveryJob,
    commit: str,
    *,
    waits_until: datetime | None = None,
    is_claude_down: bool = False,
) -> None:
    """Show the check in progress, unless an earlier attempt did. If GitHub rejects it, the delivery
    goes on without.

    While other writes wait for their slots, the check appears with its end: results come first. But
    an earlier result of the commit must not stay. With `waits_until`, the check says until when
    Claude is not asked, and why.
    """
    if job.rule.effective.features.dry_run:
        return
    check = job.store.commit_checks.begin(job.lease, commit, changes=job.pending.take())
    if any(other.conclusion == "failure" for other in _list_others(job, commit)):
        return  # which a review that still runs must not hide
    is_answered = 0 in job.replies.valid  # then the next slot is for the result
    if (waits_until is not None or not (check.is_shown or is_answered)) and check.rejected is None:
        # a new one is only written, for which no slot is granted during a hold
        if not check.is_new:
            job.require_reads_allowed()
        _wait_for_creation(job, check)

        def show(checks: GithubChecks) -> WrittenCheck:
            return checks.begin(check, waits_until=waits_until, is_claude_down=is_claude_down)

        begin = partial(_write, job, check, show)
        try:
            # Only once: else each burst of first results could go before it.
            begin(until=job.store.now() + IN_PLACE, can_move=job.lease.attempt == 1)
        except Postponed:
            # while GitHub is down, the delivery waits with the question, too
            job.require_reads_allowed()
            if waits_until is not None or job.store.commit_checks.has_result(job.lease, commit):
                begin()


def ensure_check(job: DeliveryJob, action: EnsureCheck, *, can_move: bool = False) -> Outcome:
    """End the check as planned. If GitHub rejects it, the outcome is "withheld", and the delivery
    does not fail.
    """
    if job.rule.effective.features.dry_run:
        return preview_check(action)
    check = job.store.commit_checks.begin(job.lease, action.commit, changes=job.pending.take())
    result: WrittenCheck | str | None = check.rejected
    if result is None:
        # ordered with the other pull requests of the commit: the later one sees the earlier one
        _acquire_lock(job, action.commit)
        shown = _choose_shown(job, action)
        if shown is None:
            return _leave_open(job, check, action)
        result = _write(
            job, check, lambda checks: checks.end(check, shown), action, can_move=can_move
        )
        action = shown
    if isinstance(result, str):
        return Outcome("check", "withheld", f"the check was not set: {result}", body=action.summary)
    conclusion: str = action.conclusion
    if result.state not in (None, conclusion):
        conclusion = f"{result.state} (a commit status has no {conclusion})"
    detail = f"set the check to {conclusion}: {action.title}"
    return Outcome("check", "changed", detail, url=result.url, body=action.summary)


def preview_check(action: EnsureCheck) -> Outcome:
    detail = f"would have set the check to {action.conclusion}: {action.title}"
    return Outcome("check", "dry_run", detail, body=action.summary)


def _list_others(job: DeliveryJob, commit: str) -> Sequence[OtherCheck]:
    number = job.lease.number
    if number is None:  # of a merge queue
        return ()
    return job.store.commit_checks.list_others(job.lease.repository_id, commit, number)


def _choose_shown(job: DeliveryJob, action: EnsureCheck) -> EnsureCheck | None:
    """Return the check to show: that of the worst pull request which is open at the commit; None if
    another one's review is in progress.
    """
    others = _list_others(job, action.commit)
    if not others:
        return action
    own_rank = rank(action.conclusion, is_exempt=action.is_exempt)
    worst = CommitHeads(_reader(job), action.commit).find_worst(others, own_rank)
    if worst is None:
        return name_others(action, [other.number for other in others])
    if worst.conclusion is None:
        return None
    return show_other(action, worst.number, worst.conclusion)


def _leave_open(job: DeliveryJob, check: CommitCheck, action: EnsureCheck) -> Outcome:
    """Store the result, and leave the check in progress: `CheckEnder` ends it after the other
    reviews of the commit.
    """
    written: WrittenCheck | str = WrittenCheck(check.check_run_id)
    if not check.is_shown:
        written = _write(job, check, lambda checks: checks.begin(check))
    if isinstance(written, str):
        return Outcome("check", "withheld", f"the check was not set: {written}")
    job.pending.add(
        CheckChange(
            check.commit,
            written.check_run_id,
            is_ended=False,
            conclusion=action.conclusion,
            is_exempt=action.is_exempt,
        )
    )
    waits = f"the check will be {action.conclusion}, as far as this pull request decides"
    return Outcome(
        "check", "changed", f"{waits}: another one of the commit is being reviewed", url=written.url
    )


def _lock_of(job: DeliveryJob, commit: str) -> str:
    return f"{job.lease.repository_id}@{commit}/check"


def _acquire_lock(job: DeliveryJob, commit: str) -> None:
    lock = _lock_of(job, commit)
    job.store.locks.acquire(job.lease, lock, ttl_s=LOCK_S, changes=job.pending.take())


def _wait_for_creation(job: DeliveryJob, check: CommitCheck) -> None:
    """Raise `Postponed` while the creation of the check by an earlier attempt may still take
    effect.
    """
    if not check.is_new:
        _acquire_lock(job, check.commit)


def _write(
    job: DeliveryJob,
    check: CommitCheck,
    write: Callable[[GithubChecks], WrittenCheck],
    ending: EnsureCheck | None = None,
    *,
    until: datetime | None = None,
    can_move: bool = False,
) -> WrittenCheck | str:
    """Write the check, which `ending` ends; return GitHub's confirmation, or why GitHub rejected
    it.
    """
    lock = _lock_of(job, check.commit)
    checks = job.context.github.checks(
        job.event.repository.full_name,
        WriteGuard(lambda: job.begin_write(lock, until=until, can_move=can_move), job.check_lease),
    )
    completed = WriteCompleted(lock)
    try:
        written = write(checks)
    except (DependencyDown, TokenReplaced) as exc:
        if not (isinstance(exc, DependencyDown) and exc.may_have_succeeded):
            job.pending.add(completed)
        raise
    except StepFailed as exc:
        job.pending.add(completed)
        # A check that is in progress, perhaps since an earlier attempt without a response, must not
        # stay so: `CheckEnder` ends it after the delivery.
        is_ended = check.is_new and not check.is_shown
        rejected = CheckChange(
            check.commit, check.check_run_id, is_ended=is_ended, rejected=str(exc)
        )
        job.pending.add(rejected)
        log.warning("GitHub rejected the check", extra={"error": str(exc)})
        return str(exc)
    job.pending.add(completed)
    change = CheckChange(check.commit, written.check_run_id, is_ended=ending is not None)
    if ending is not None:
        change = replace(change, conclusion=ending.conclusion, is_exempt=ending.is_exempt)
    job.pending.add(change)
    return written


def end_ignored_check(
    job: DeliveryJob, routing_input: RoutingInput, kind: str, reason: str
) -> Outcome | None:
    """End the check on the head commit of an event that is ignored for `reason`; return None if it
    needs none.

    If an earlier event has set a check on the commit, what the operator's settings decide leaves it
    as it is, unless the base branch was changed. A check that a later event has set always stays.
    """
    commit = _find_commit(job, routing_input)
    if commit is None:
        return None
    checks = job.store.commit_checks
    newest = checks.find_order(job.lease, commit)
    is_by_operator = kind in BY_OPERATOR
    is_kept = newest == "earlier" and is_by_operator and not is_retargeted(routing_input)
    if is_kept:
        _show_kept(job, commit)
    if newest == "later" or is_kept:
        return None
    reason = job.config.settings.shorten_paths(reason)
    is_exempt = is_by_operator and newest is None
    return _end_check(
        job,
        commit,
        lambda job: plan_ignored_check(
            commit, kind, reason, job.rule.effective.review, is_exempt=is_exempt
        ),
    )


def _show_kept(job: DeliveryJob, commit: str) -> None:
    """Let the kept result be shown anew if other pull requests have the commit: they may have taken
    its place while this one had another head.
    """
    results = job.store.commit_checks.list_others(job.lease.repository_id, commit, None)
    own_results = [result for result in results if result.number == job.lease.number]
    if len(results) > 1 and own_results and own_results[0].conclusion is not None:
        job.store.commit_checks.reopen(job.lease, commit, own_results[0])


def _end_check(
    job: DeliveryJob, commit: str, plan: Callable[[DeliveryJob], EnsureCheck]
) -> Outcome | None:
    """End the check as planned with the repository's settings; return None if they allow none."""
    job.store.commit_checks.plan(job.lease, commit)  # so that a dead letter has a check, too
    job = apply_to_rule(load_repository_settings(job))
    if not may_have_checks(job.rule.effective):
        return None
    job.require_reads_allowed()
    outcome = ensure_check(job, plan(job))
    job.context.health.ok("github")
    return outcome


def outdate_check(job: DeliveryJob, routing_input: RoutingInput) -> None:
    """Let the check that HLS has set on the head commit end even if the delivery ends without a
    review.
    """
    commit = _find_commit(job, routing_input)
    if commit is not None and job.store.commit_checks.find_order(job.lease, commit) == "earlier":
        job.store.commit_checks.plan(job.lease, commit, must_end=True)


def _find_commit(job: DeliveryJob, routing_input: RoutingInput) -> str | None:
    """Return the head commit, if the event may bring another diff and the settings enable
    checks.
    """
    pull_request = job.event.pull_request
    if (
        pull_request is None
        or not brings_diff(routing_input)
        or not may_have_checks(job.rule.effective)
    ):
        return None
    return pull_request.head_sha


def end_group_check(job: DeliveryJob) -> Outcome | None:
    """End the check of a merge group; return None if the repository's settings allow none.

    Raises `Postponed` while one of the pull requests is reviewed.
    """
    group = job.event.merge_group
    if group is None:
        raise Permanent("the payload does not fit the event merge_group: it has no merge_group")
    if not may_have_checks(job.rule.effective):
        return None
    return _end_check(job, group.head_sha, lambda job: _plan_group(job, group))


def _plan_group(job: DeliveryJob, group: MergeGroup) -> EnsureCheck:
    heads = job.run_step(GROUP_HEADS, 0, partial(_read_heads, job, group), fits=bool)
    if changes := job.pending.take():  # the rest of the delivery may be repeated often
        job.store.checkpoints.save(job.lease, *changes)
    head_checks = [_find_head_check(job, head) for head in heads]
    return plan_group_check(group.head_sha, head_checks, job.rule.effective.review)


def _read_heads(job: DeliveryJob, group: MergeGroup) -> tuple[HeadCheck, ...]:
    """Return the heads of the pull requests that the group merges; () if the commits do not show
    which.
    """
    reader = _reader(job)
    queued = find_queued(group.head_ref)
    merged = None
    if queued is not None:
        merged = find_merged(queued, reader.commits_between(group.base_sha, group.head_sha))
    group_heads = [
        _read_head(reader, number, is_queued=number == queued) for number in merged or ()
    ]
    return tuple(head for head in group_heads if head is not None)


def _read_head(reader: GithubReader, number: int, *, is_queued: bool) -> HeadCheck | None:
    """Return the head of a pull request; None if a commit only names one that is not in the queue:
    it is not open.
    """
    try:
        pull_request = reader.pull_request(number)
    except Permanent:
        if is_queued:
            raise
        return None  # the number of an issue
    if pull_request.state == "closed" and not is_queued:
        return None
    return HeadCheck(number, pull_request.head_sha)


def _find_head_check(job: DeliveryJob, head: HeadCheck) -> HeadCheck:
    result = job.store.commit_checks.find_result(job.lease, head.number, head.commit)
    if result is None:
        return head
    if result.is_running:
        at = job.store.now() + timedelta(seconds=POLL_S)
        raise Postponed(f"pull request {head.number} of the merge queue is being reviewed", at=at)
    return replace(head, conclusion=result.conclusion, is_exempt=result.is_exempt)


def leave_commit(job: DeliveryJob, routing_input: RoutingInput) -> None:
    """Let the check on the commit that the event's pull request has left be shown anew, if another
    one had a better result.
    """
    commit = _find_left(job, routing_input)
    if commit is None:
        return
    results = job.store.commit_checks.list_others(job.lease.repository_id, commit, None)
    ranks = {
        result.number: rank(result.conclusion, is_exempt=result.is_exempt)
        for result in results
        if result.conclusion is not None
    }
    own_rank = ranks.get(job.lease.number or 0, NO_RESULT)
    better = [result for result in results if ranks.get(result.number, own_rank) > own_rank]
    if better:  # `CheckEnder` reads which of them are open
        job.store.commit_checks.reopen(job.lease, commit, better[-1])


def _find_left(job: DeliveryJob, routing_input: RoutingInput) -> str | None:
    """Return the commit that was the head of the event's pull request, and is no more."""
    pull_request = job.event.pull_request
    if pull_request is None or not leaves_commit(routing_input):
        return None
    if job.event.is_closing:
        return pull_request.head_sha
    before = job.event.payload.get("before")
    return before if isinstance(before, str) else None


def check_title(
    job: DeliveryJob, routing_input: RoutingInput
) -> tuple[DeliveryJob, Outcome | None]:
    """Set the check of the pull request's title once for the delivery, also if its event is
    ignored, and on a commit that it has left those of the others.

    Return the job with the repository's settings, and the outcome, or None if the settings want no
    such check.
    """
    left = _find_left(job, routing_input)
    has_others = left is not None and bool(_list_other_numbers(job, left))
    is_needed = needs_title_check(routing_input, job.rule.effective)
    if not is_needed and not (has_others and may_check_titles(job.rule.effective)):
        return job, None
    job = load_repository_settings(job)
    effective = apply_to_rule(job).rule.effective
    types = effective.pull_requests.title_types
    outcome = job.find_result(TITLE_CHECKED)
    if outcome is None and left is not None and has_others and may_check_titles(effective):
        _show_titles_left(job, left, types)
    if not needs_title_check(routing_input, effective):
        return job, None
    if outcome is None:
        outcome = job.run_step(TITLE_CHECKED, 0, partial(_set_title_check, job, types))
        # the rest of the delivery may be repeated often
        job.store.checkpoints.save(job.lease, *job.pending.take())
    return job, outcome


def _set_title_check(job: DeliveryJob, types: Sequence[str]) -> Outcome:
    event = job.event
    job.require_reads_allowed()
    try:
        if event.merge_group is not None:
            action = plan_group_title_check(event.merge_group.head_sha)
        else:
            assert event.pull_request is not None
            number = event.pull_request.number
            pull = event.pull_request if event.is_recent else _reader(job).pull_request(number)
            action = plan_title_check(pull.head_sha, pull.title, types)
            if is_draft_of_queue(pull.user, pull.head_ref):
                action = plan_group_title_check(pull.head_sha)
            elif action.conclusion == "success":
                action = _find_worst_title(job, pull.head_sha, types) or action
        written = _write_title(job, action, f"{job.lease.guid}:title")
    except Permanent as exc:
        log.warning("the check of the title was not set", extra={"error": str(exc)})
        return Outcome("check", "withheld", f"{TITLE_CHECK} was not set: {exc}")
    return Outcome("check", "changed", f"set {TITLE_CHECK} to {action.conclusion}", url=written.url)


def _show_titles_left(job: DeliveryJob, commit: str, types: Sequence[str]) -> None:
    """Check the titles of the other pull requests on a commit that the event's has left."""
    job.require_reads_allowed()
    try:
        action = _find_worst_title(job, commit, types)
        if action is not None:
            _write_title(job, action, f"{job.lease.guid}:left-title")
    except Permanent as exc:
        log.warning("the check of the title was not set", extra={"error": str(exc)})


def _find_worst_title(job: DeliveryJob, commit: str, types: Sequence[str]) -> EnsureCheck | None:
    """Return the check of the other pull requests that are open at the commit; None if there is
    none.
    """
    heads = CommitHeads(_reader(job), commit)
    worst = None
    for number in _list_other_numbers(job, commit)[:MAX_READS]:
        other = heads.find_open(number)
        if other is not None:
            worst = plan_title_check(commit, other.title, types, other=number)
            if worst.conclusion == "failure":
                break
    return worst


def _write_title(job: DeliveryJob, action: EnsureCheck, external_id: str) -> WrittenCheck:
    guard = WriteGuard(job.begin_write, job.check_lease)
    repository = job.event.repository.full_name
    checks = job.context.github.checks(repository, guard, name=TITLE_CHECK)
    # If an earlier attempt has created a check run, too, GitHub shows the last one of a name, and
    # it says the same.
    return checks.end(CommitCheck(action.commit, external_id), action)


def _list_other_numbers(job: DeliveryJob, commit: str) -> Sequence[int]:
    numbers = job.store.commit_checks.list_pull_requests(job.lease.repository_id, commit)
    return [number for number in numbers if number != job.lease.number]


def _reader(job: DeliveryJob) -> GithubReader:
    return job.context.github.reader(job.event.repository.full_name)


class CheckEnder:
    """Ends the checks of finished deliveries that have not set a result: dead, superseded, ignored
    or killed ones.
    """

    def __init__(
        self,
        store: Storage,
        connect: Callable[[], Github],
        *,
        settings: Callable[[], Settings],
        wait: Callable[[float], bool],
        slowest_write_s: float = EXPIRY.slowest_write_s,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`wait` sleeps for the given seconds, and returns True to stop."""
        self._slowest_write_s = slowest_write_s
        self._store = store
        self._connect = connect
        self._settings = settings
        self._wait = wait
        self._clock = clock

    def run(self) -> None:
        """Try to end each such check once. After a failure, a check is tried again after
        `ENDING_S`.
        """
        try:
            while not self._wait(0.0):
                unended = self._store.commit_checks.claim_unended(
                    lease_s=ENDING_S, slowest_write_s=self._slowest_write_s
                )
                if unended is None:
                    return
                self._try_to_end(unended)
        except StoreUnavailable as exc:  # receiver and workers report the problem to /health
            log.warning("checks of finished deliveries are ended later", extra={"why": str(exc)})

    def _try_to_end(self, unended: UnendedCheck) -> None:
        until = self._clock() + ENDING_S
        conclusion: Conclusion | None = None
        try:
            action = self._end(unended, until)
            if action is None:  # another pull request of the commit is being reviewed
                return
            result = f"{action.conclusion}: {action.title}"
            conclusion = unended.conclusion or action.conclusion
        except (StepFailed, Postponed, LeaseLost) as exc:
            fields = {"delivery": unended.guid, "why": str(exc)}
            if isinstance(exc, DependencyDown | Postponed | LeaseLost) and not isinstance(
                exc, AppNotInstalled
            ):
                log.warning("the check is ended later", extra=fields)
                return
            log.warning("the check cannot be ended", extra=fields)  # a retry would fail, too
            result = f"failed: {exc}"
        self._store.commit_checks.mark_ended(unended, result, conclusion)

    def _end(self, unended: UnendedCheck, until: float) -> EnsureCheck | None:
        """End the check on GitHub, and return how; None if it stays in progress."""
        settings = self._settings()
        github = self._connect()
        limiter = self._store.rate_limiter
        rate_limit = github.rate_limit(unended.repository)
        held_until = limiter.held_until(rate_limit)
        if held_until is not None:
            raise Postponed("GitHub failed or asked to wait", at=held_until)

        def begin_write() -> None:
            interval_s = settings.github.min_seconds_between_writes
            at = limiter.reserve_slot(rate_limit, interval_s=interval_s, within_s=MAX_WAIT_S)
            if self._wait(max((at - self._store.now()).total_seconds(), 0.0)):
                raise Postponed("the service is stopping", at=at)

        def check_lease() -> None:
            if self._clock() > until - ENDING_S / 2:
                raise LeaseLost(
                    "too little time is left to end the check; the next run tries again"
                )

        action = _plan_end(
            unended, settings, make_receipt(self._store.calls.calls_of(unended.guid))
        )
        shown = self._choose_shown(unended, action, github)
        if shown is None:
            return None
        try:
            checks = github.checks(unended.repository, WriteGuard(begin_write, check_lease))
            checks.end(unended.check, shown)
        except DependencyDown as exc:
            limiter.hold(
                rate_limit, exc.not_before or self._store.now() + timedelta(seconds=END_EVERY_S)
            )
            raise
        log.info("check ended", extra={"delivery": unended.guid, "conclusion": action.conclusion})
        return action

    def _choose_shown(
        self, unended: UnendedCheck, action: EnsureCheck, github: Github
    ) -> EnsureCheck | None:
        """Return the check to show: that of the worst pull request that is open at the commit; None
        if another one's review is in progress.
        """
        commit = unended.check.commit
        others = self._store.commit_checks.list_others(
            unended.repository_id, commit, unended.number
        )
        if not others or unended.number is None:
            return action
        heads = CommitHeads(github.reader(unended.repository), commit)
        own_rank = NO_RESULT
        if heads.find_open(unended.number) is not None:
            own_rank = rank(action.conclusion, is_exempt=action.is_exempt)
        worst = heads.find_worst(others, own_rank)
        if worst is None:
            return action
        if worst.conclusion is None:
            return None
        return show_other(action, worst.number, worst.conclusion)


def _plan_end(unended: UnendedCheck, settings: Settings, receipt: Receipt) -> EnsureCheck:
    """Return the check of a delivery that ended without a result. It is never a success."""
    if unended.conclusion is not None:
        title = f"Pull request {unended.number} ended with {unended.conclusion}"
        check = plan_unreviewed_check(
            unended.check.commit, unended.conclusion, title, "the review comment has the details"
        )
        return replace(check, is_exempt=unended.is_exempt)
    effective = RepositoryTable(settings).find(unended.repository) or without_entry(settings)
    if not effective.comments.show_cost:
        receipt = replace(receipt, cost_usd=None)
    reason = settings.shorten_paths(unended.reason or "no reason was stored")
    if unended.state == "done":
        reason = "the last event of the pull request caused no review"
    conclusion: Conclusion = (
        "cancelled" if unended.state == "superseded" else effective.review.incomplete
    )
    title = "Not reviewed"
    details = ""
    if unended.state == "dead":
        details = "`/review` of a person with write permission tries again"
        title = "The review failed"
        reason = reason.partition("; ")[0]  # behind it, errors say what the operator should do
    if unended.check.rejected is not None:
        title = "The result was not set"
        reason = settings.shorten_paths(f"GitHub rejected it: {unended.check.rejected}")
    return plan_unreviewed_check(
        unended.check.commit, conclusion, title, reason, receipt, details=details
    )
