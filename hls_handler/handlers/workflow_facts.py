"""The facts about a workflow run: its jobs, their logs, its pull request and earlier runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from hls_handler.errors import ConversationIgnored
from hls_handler.events import Event, PullRequest, WorkflowRun
from hls_handler.github.reader import GithubReader
from hls_handler.github.values import ChangedFile, WorkflowJob
from hls_handler.handlers.failed_steps import (
    FailedStep,
    JobSource,
    failed_step_names,
    order_jobs,
    read_failed_steps,
    read_failure_history,
)
from hls_handler.handlers.handler import check_conversation
from hls_handler.handlers.job import FactSource, PromptLimits
from hls_handler.handlers.merge_groups import find_tested
from hls_handler.handlers.reader import RunResult
from hls_handler.question import CHARACTERS_PER_TOKEN
from hls_handler.routing import CANCELLED, FAILED, PASSED

MAX_JOBS = 10  # failed jobs whose logs are read, the first one of each matrix before the others

MAX_CHANGED_PATHS = 200  # paths of the pull request's files that are shown

MAX_LOG_TOKENS = 10_000  # of all log excerpts together

LOG_SHARE = 0.3  # of `claude.input_tokens`, if that is less


@dataclass(frozen=True, slots=True)
class WorkflowFacts:
    run: WorkflowRun
    pull_request: PullRequest | None  # current state; its head is the commit of the run
    stale: bool  # there is a pull request, but it has newer commits
    on_default_branch: bool
    # the previous run of this workflow on this branch failed, according to the stored history
    failed_before: bool
    failed_itself: bool  # an earlier attempt of this run failed
    # names of job and step for all failed jobs; step "" if none failed
    failed: tuple[tuple[str, str], ...]
    steps: tuple[FailedStep, ...]  # the failed steps of a failed run, with excerpts of their logs
    omitted: int  # number of failed jobs whose logs were not read
    changed: tuple[str, ...]  # paths of the pull request's files

    @property
    def passed(self) -> bool:
        return self.run.conclusion == PASSED


def gather(source: FactSource) -> WorkflowFacts:
    # parse_event rejects a workflow_run event without one
    assert source.event.workflow_run is not None
    reader = source.reader
    jobs = JobSource(reader.jobs, reader.job_log, reader.annotations)
    return gather_run(source.event.workflow_run, source, jobs)


def gather_run(run: WorkflowRun, source: FactSource, jobs_of: JobSource) -> WorkflowFacts:
    """Return the facts about a run, with as many as its state needs.

    Raises `ConversationIgnored` for a cancelled run, unless something killed a job of the head.
    """
    event = source.event
    reader = source.reader
    facts = _read_earlier_runs(run, source)
    may_have_failed = run.conclusion in (*FAILED, CANCELLED)
    if not may_have_failed and not facts.failed_before:
        return facts
    facts = _find_pull_request(facts, event, reader)
    pull_request = facts.pull_request
    if pull_request is not None:
        _check_pull_request(event, pull_request, source.limits)
    if not may_have_failed:
        return facts
    jobs = _read_jobs(facts, reader, jobs_of)
    if facts.stale:
        return replace(facts, failed=_list_failed(jobs.failed))
    jobs_to_read = order_jobs([*jobs.failed, *jobs.cancelled])[:MAX_JOBS]
    steps: tuple[FailedStep, ...] = ()
    if jobs_to_read:
        tokens = min(MAX_LOG_TOKENS, LOG_SHARE * source.limits.input_tokens)
        characters = int(tokens * CHARACTERS_PER_TOKEN)
        failures = read_failure_history(run, jobs.every, source, jobs_of, branch_of(run, event))
        steps = read_failed_steps(jobs_to_read, jobs_of, characters, failures)
    jobs_shown = {step.job for step in steps}
    killed = [job for job in jobs.cancelled if job.name in jobs_shown]
    if run.conclusion == CANCELLED and not killed:
        raise ConversationIgnored(CANCELLED_BY_SOMEBODY, "nothing failed")
    files: Sequence[ChangedFile] = ()
    if pull_request is not None and steps:
        files = reader.files(pull_request.number)[:MAX_CHANGED_PATHS]
    return replace(
        facts,
        failed=_list_failed([*jobs.failed, *killed]),
        steps=steps,
        omitted=sum(job not in jobs_to_read for job in jobs.failed),
        changed=tuple(file.path for file in files),
    )


def _read_earlier_runs(run: WorkflowRun, source: FactSource) -> WorkflowFacts:
    """Return the facts that need no request."""
    branch = branch_of(run, source.event)
    ends = source.history.ends(run.workflow_id)
    earlier = [end for end in ends if is_comparable(end, run, branch) and end.order < order_of(run)]
    return WorkflowFacts(
        run,
        pull_request=None,
        stale=False,
        on_default_branch=branch == source.event.repository.default_branch,
        failed_before=bool(earlier) and not earlier[0].passed,
        failed_itself=any(end.run_id == run.id and not end.passed for end in earlier),
        failed=(),
        steps=(),
        omitted=0,
        changed=(),
    )


def _list_failed(jobs: Iterable[WorkflowJob]) -> tuple[tuple[str, str], ...]:
    return tuple(chain.from_iterable(map(failed_step_names, jobs)))


@dataclass(frozen=True, slots=True)
class _Jobs:
    """The jobs of the last attempt of a run."""

    every: tuple[WorkflowJob, ...]
    failed: tuple[WorkflowJob, ...]
    cancelled: tuple[WorkflowJob, ...]  # (): the commit of the run is not the head


def _read_jobs(facts: WorkflowFacts, reader: GithubReader, source: JobSource) -> _Jobs:
    """Raises `ConversationIgnored` for a cancelled run whose commit is not the head."""
    run = facts.run
    not_head = ConversationIgnored(CANCELLED_BEFORE_PUSH, "nothing failed")
    is_head = facts.pull_request is not None
    may_be_head = is_head or (facts.on_default_branch and not facts.stale)
    if run.conclusion == CANCELLED and not may_be_head:
        raise not_head
    every = tuple(source.jobs(run.id, run.run_attempt))
    failed = tuple(job for job in every if job.conclusion in FAILED)
    cancelled = tuple(job for job in every if job.is_cancelled)
    if cancelled and may_be_head and not is_head:
        is_head = reader.head_commit(run.head_branch) == run.head_sha
    if run.conclusion == CANCELLED and not is_head:
        raise not_head
    if not is_head:
        cancelled = ()
    return _Jobs(every, failed, cancelled)


CANCELLED_BEFORE_PUSH = (
    "the workflow run was cancelled, and its commit is not the head of an open pull request "
    "or of the default branch"
)

CANCELLED_BY_SOMEBODY = (
    "the workflow run was cancelled, and nothing shows that a job ran out of time or was killed"
)


def _check_pull_request(event: Event, pull_request: PullRequest, limits: PromptLimits) -> None:
    check_conversation(event, pull_request)
    author = pull_request.user
    if author.is_bot and not limits.features.includes_bot(author.login):
        number = f"{event.repository.full_name}#{pull_request.number}"
        change = f"add {author.login} to the list features.bots to have its failures explained"
        raise ConversationIgnored(
            f"the pull request {number} was opened by a bot; {change}", "other bot"
        )


def branch_of(run: WorkflowRun, event: Event) -> str:
    if run.head_repository == event.repository.full_name:
        return run.head_branch
    # "?": deleted fork
    return f"{run.head_owner or '?'}:{run.head_branch}"


def is_comparable(end: RunResult, run: WorkflowRun, branch: str) -> bool:
    # For `push`, a commit is tested as it is; for `pull_request`, after a merge into the base
    # branch.
    return (end.event, end.branch) == (run.event, branch)


def order_of(run: WorkflowRun) -> tuple[int, int]:
    return run.run_number, run.run_attempt


def _find_pull_request(facts: WorkflowFacts, event: Event, reader: GithubReader) -> WorkflowFacts:
    """Return the facts with the run's pull request, or with `stale`."""
    run = facts.run
    tested = _find_tested(run, event)
    if tested is not None:
        return replace(facts, pull_request=reader.pull_request(tested))
    pull_requests = [reader.pull_request(number) for number in run.pull_request_numbers]
    # GitHub lists no pull request for a run of a fork
    if not pull_requests and run.head_branch and run.head_owner:
        pull_requests = list(reader.pull_requests_from(f"{run.head_owner}:{run.head_branch}"))
    current = [pull for pull in pull_requests if pull.head_sha == run.head_sha]
    # deterministic if one branch has two
    oldest = min(current, key=lambda pull: pull.number, default=None)
    return replace(facts, pull_request=oldest, stale=oldest is None and bool(pull_requests))


def _find_tested(run: WorkflowRun, event: Event) -> int | None:
    """Return the pull request that a merge queue tests on the branch of the run, which a fork
    cannot have.
    """
    if run.head_repository != event.repository.full_name:
        return None
    value: object = event.payload
    for key in ("workflow_run", "head_commit", "message"):
        if not isinstance(value, Mapping):
            break
        value = value.get(key)
    if not isinstance(value, str):
        value = ""
    return find_tested(run.head_branch, value)
