"""The facts about a workflow run: its jobs, their logs, its pull request and earlier runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import chain
from typing import Literal, get_args

from hls_handler.analysis import CHARACTERS_PER_TOKEN
from hls_handler.ci.excerpts import LogState, StepLog, locate, read_logs
from hls_handler.ci.log_lines import EXIT_CODE
from hls_handler.errors import ConversationIgnored, Permanent
from hls_handler.events import Event, PullRequest, WorkflowRun
from hls_handler.github.reader import GithubReader
from hls_handler.github.values import FAILED as FAILED_STEPS
from hls_handler.github.values import ChangedFile, CheckAnnotation, NoLog, WorkflowJob, WorkflowStep
from hls_handler.handlers.handler import check_conversation
from hls_handler.handlers.job import FactSource, PromptLimits
from hls_handler.handlers.merge_groups import find_tested
from hls_handler.handlers.reader import Failure, RunResult
from hls_handler.routing import CANCELLED, FAILED, PASSED
from hls_handler.untrusted.cleaning import CodeText, clean
from hls_handler.wording import count

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


@dataclass(frozen=True, slots=True)
class JobSource:
    """The jobs of a run, their logs, and the annotations of their check runs."""

    jobs: Callable[[int, int], Sequence[WorkflowJob]]  # as `GithubReader.jobs`
    log: Callable[[int], Iterator[str] | NoLog]  # as `GithubReader.job_log`
    # as `GithubReader.annotations`; a job is a check run
    annotations: Callable[[int], Sequence[CheckAnnotation]]


MAX_ATTEMPTS = 3  # earlier attempts of the run that are read
RECENT_DAYS = 7  # failures on other branches count for this long
MIN_OTHER_BRANCHES = 2  # other branches; a single one may contain the same change
MAX_BRANCHES_NAMED = 5

FailureClass = Literal["flaky", "fails elsewhere", "fails every time", "unknown"]

StepConclusion = Literal["failure", "timed_out", "cancelled"]  # conclusion of a failed step or job


@dataclass(frozen=True, slots=True)
class FailedStep:
    """A failed step, or a failed job in which no step failed: an item of the template variable
    `steps`.
    """

    number: int  # from 1
    job: str
    step: str  # "" if no step failed: the job was cancelled, timed out, or lost its runner
    conclusion: StepConclusion
    url: str  # of the job
    log: LogState
    # excerpt of its log, redacted, each line with its number; "" if GitHub no longer has the log
    text: str
    # the lines of the step could not be identified, so the excerpt is of the whole job
    whole_job: bool
    verdict: FailureClass
    evidence: str  # a sentence about other attempts or branches; "" if there is none
    lines: int  # of its log; 0 with `same_as`
    shown_lines: int  # those of them in `text`
    same_as: int = 0  # number of an earlier step that shows its error, so that `text` is ""; or 0
    # at the first step of a job without a log, or of a cancelled one; as `text`
    annotations: str = ""
    error: str = ""  # the first marked line of the log or of `annotations`, or ""
    error_digest: str = ""  # of the marked lines, without `OF_ONE_RUN`, or ""


@dataclass(frozen=True, slots=True)
class Quoted:
    """The log line that Claude quotes as the cause of the failure."""

    number: int  # of the step in `steps`
    job: str
    step: str
    line: int
    text: str
    url: str
    is_annotation: bool = False  # of the job, so that `line` is its number among them


@dataclass(frozen=True, slots=True)
class Classification:
    verdict: FailureClass
    evidence: str = ""  # "1 attempt at the same commit passed this job"


@dataclass(frozen=True, slots=True)
class FailureHistory:
    """The attempts of a run, and recent failures on other branches. They show whether a failure is
    flaky.
    """

    # the jobs of each attempt of this run, all at the same commit
    attempts: Mapping[int, Sequence[WorkflowJob]]
    # recent failures of the same workflow on other branches and commits
    elsewhere: tuple[Failure, ...]
    default_branch: str

    def classify(self, job: str, step: str) -> Classification:
        passed = 0
        failed = 0
        for jobs in self.attempts.values():
            conclusions = {run.conclusion for run in jobs if run.name == job}
            passed += conclusions == {"success"}
            failed += bool(conclusions & FAILED_STEPS)
        if passed:
            evidence = f"{count(passed, 'attempt')} at the same commit passed this job"
            return Classification("flaky", evidence)
        branches = {
            other.branch for other in self.elsewhere if (other.job, other.step) == (job, step)
        }
        ordered = sorted(branches, key=lambda branch: (branch != self.default_branch, branch))
        if self.default_branch in branches or len(branches) >= MIN_OTHER_BRANCHES:
            return Classification("fails elsewhere", _describe_branches(ordered))
        if failed >= 2:
            evidence = f"{failed} attempts at the same commit failed this job"
            return Classification("fails every time", evidence)
        if not branches:
            return Classification("unknown")
        return Classification("unknown", _describe_branches(ordered))


def _describe_branches(branches: list[str]) -> str:
    named = ", ".join(branches[:MAX_BRANCHES_NAMED])
    where = count(len(branches), "other branch")
    return f"the same step failed on {where} within {RECENT_DAYS} days: {named}"


def read_failure_history(
    run: WorkflowRun,
    jobs: Sequence[WorkflowJob],
    source: FactSource,
    jobs_of: JobSource,
    branch: str,
) -> FailureHistory:
    """Read the earlier attempts of a run. `jobs` are the jobs of the last attempt."""
    first = max(run.run_attempt - MAX_ATTEMPTS, 1)
    attempts = {number: jobs_of.jobs(run.id, number) for number in range(first, run.run_attempt)}
    recent = source.history.failures(run.workflow_id, days=RECENT_DAYS)
    elsewhere = tuple(
        failure
        for failure in recent
        if failure.branch != branch and failure.head_sha != run.head_sha
    )
    default_branch = source.event.repository.default_branch or ""
    return FailureHistory({**attempts, run.run_attempt: jobs}, elsewhere, default_branch)


def failed_step_names(job: WorkflowJob) -> list[tuple[str, str]]:
    """Return (job name, step name) of each failed step; (job name, "") if no step of the job
    failed.
    """
    return [(job.name, step.name) for step in job.steps if step.failed] or [(job.name, "")]


OF_MATRIX = re.compile(r" \([^)]*+\)?|[0-9]+")


def order_jobs(jobs: Iterable[WorkflowJob]) -> list[WorkflowJob]:
    """Return the first job of each matrix, and then the others: "test (1)", "lint", "test (2)".

    The jobs of a matrix have names that differ in numbers or after a bracket: "e2e 1/12".
    """
    first: dict[str, WorkflowJob] = {}
    others: list[WorkflowJob] = []
    for job in jobs:
        name = OF_MATRIX.sub("", job.name)  # "call / build", "e2e /"
        if name in first:
            others.append(job)
        else:
            first[name] = job
    return [*first.values(), *others]


@dataclass(slots=True)
class _Failure:
    job: WorkflowJob
    log: StepLog
    errors: Sequence[str]  # marked lines of `log` and of the annotations
    notes: StepLog = field(default_factory=lambda: StepLog(None, 0))  # annotations of the job
    same_as: int = 0

    @property
    def digest(self) -> str:
        if not self.errors:
            return ""
        lines = sorted(OF_ONE_RUN.sub("", line) for line in self.errors)
        return sha256("\n".join(lines).encode(errors="replace")).hexdigest()[:16]


def read_failed_steps(
    jobs: Sequence[WorkflowJob], source: JobSource, characters: int, history: FailureHistory
) -> tuple[FailedStep, ...]:
    """Return each failed step with an excerpt of its log; one item for a job without a failed step.

    A job without a log has the annotations of its check run. A cancelled job is left out unless its
    time limit or something else killed it. Of steps with the same marked lines, the first one is
    shown. The logs that are shown have equal shares of the characters, and what the short ones
    leave.
    """
    failures = [failure for job in jobs for failure in _read_job(job, source, characters)]
    numbers: dict[str, int] = {}  # digest of the marked lines -> number of the first step
    for number, failure in enumerate(failures, start=1):
        first = numbers.setdefault(failure.digest or str(number), number)
        if first != number:
            failure.log = StepLog(failure.log.step, 0, "elsewhere")
            failure.notes = StepLog(None, 0)
            failure.same_as = first
    logs = [log for failure in failures for log in (failure.log, failure.notes)]
    share = _find_share([log.cost for log in logs], characters)
    return tuple(
        _to_step(number, failure, share, history)
        for number, failure in enumerate(failures, start=1)
    )


def _find_share(costs: Sequence[int], characters: int) -> int:
    """Return the limit for each log at which all of them have at most `characters`."""
    rest = characters
    for index, cost in enumerate(sorted(costs)):
        share = rest // (len(costs) - index)
        if cost > share:
            return share
        rest -= cost
    return characters


def _read_job(job: WorkflowJob, source: JobSource, characters: int) -> list[_Failure]:
    """Return no step of a cancelled job that nothing killed."""
    logs = _read_logs(job, source, characters)
    notes = StepLog(None, 0)
    # often only an annotation says that the job exceeded its time limit
    if job.is_cancelled or all(log.state != "text" for log in logs):
        notes = _read_annotations(job, source, characters)
    if job.is_cancelled and not _was_killed(notes, logs):
        return []
    failures = [_Failure(job, log, (*log.errors, *notes.errors)) for log in logs]
    failures[0].notes = notes
    return failures


def _was_killed(notes: StepLog, logs: Sequence[StepLog]) -> bool:
    if notes.was_killed:
        return True
    if WAS_CANCELLED in notes.errors:
        return False
    return any(log.was_killed for log in logs)


WAS_CANCELLED = "Error: The operation was canceled."


def _read_logs(job: WorkflowJob, source: JobSource, characters: int) -> list[StepLog]:
    log = source.log(job.id)
    if not isinstance(log, NoLog):
        return read_logs(log, job.steps, characters=characters)
    failed: list[WorkflowStep | None] = [step for step in job.steps if step.failed]
    return [StepLog(step, 0, log.why) for step in failed or [None]]


def _read_annotations(job: WorkflowJob, source: JobSource, characters: int) -> StepLog:
    """Return the annotations of a job that give a reason for its failure, if the token may read
    them.

    GitHub's own, such as the reason why a job was not started, have the path ".github".
    """
    annotations: Sequence[CheckAnnotation] = ()
    with suppress(Permanent):
        annotations = source.annotations(job.id)
    lines: list[str] = []
    for annotation in annotations:
        if annotation.level != "failure" or EXIT_CODE.match(annotation.message):
            continue
        place = ""
        if annotation.path != ".github":
            place = f"{annotation.path}:{annotation.line}: "
        text = " ".join(filter(None, (annotation.title, annotation.message)))
        lines += f"##[error]{place}{text}".split("\n")
    (log,) = read_logs(lines, (), characters=characters)
    return log


def _to_step(number: int, failure: _Failure, share: int, history: FailureHistory) -> FailedStep:
    job = failure.job
    log = failure.log
    name = ""
    ended = job.conclusion
    if log.step is not None:
        name = log.step.name
        ended = log.step.conclusion or ended
    excerpt = log.cut(share)
    classification = history.classify(job.name, name)
    return FailedStep(
        number=number,
        job=job.name,
        step=name,
        conclusion=next((word for word in get_args(StepConclusion) if word == ended), "failure"),
        url=job.html_url,
        log=log.state,
        text=excerpt.text,
        whole_job=log.whole_job,
        verdict=classification.verdict,
        evidence=classification.evidence,
        lines=excerpt.lines,
        shown_lines=excerpt.shown_lines,
        same_as=failure.same_as,
        annotations=failure.notes.cut(share).text,
        error=clean(CodeText(next(iter(failure.errors), ""))),
        error_digest=failure.digest,
    )


OF_ONE_RUN = re.compile(
    r"""
        \b[0-9]{1,9}(?:[.,][0-9]{1,9})?\ ?(?:ms|s|secs?|seconds|m|mins?|minutes)\b  # a duration
      | ^\W?[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.,]+Z?  # the time of a log line
      | \b(?:time|timestamp|ts|pid)"?\ ?[=:]\ ?"?[0-9][0-9TZ:.+-]*
      | (?<=[0-9]):[0-9]{4,5}\b                   # the port of an address
      | \b0x[0-9a-fA-F]+\b                       # a place in memory
    """,
    re.VERBOSE,
)
"""What says when and where a process ran, in an error line. Other numbers may be results or places
in a file.
"""


def find_quoted_line(steps: Iterable[FailedStep], quote: str) -> Quoted | None:
    """Return the line that Claude's reply quotes as the cause; None if no step's excerpt contains
    the quote.
    """
    for step in steps:
        line = locate(step.text, quote)
        decisive = line or locate(step.annotations, quote)
        if decisive is not None:
            return Quoted(
                number=step.number,
                job=step.job,
                step=step.step,
                line=decisive.number,
                text=decisive.text,
                url=step.url,
                is_annotation=line is None,
            )
    return None


def is_path_in_logs(steps: Iterable[FailedStep], path: str) -> bool:
    """Return True if an excerpt contains the path, alone or as the end of a longer one
    ("/home/src/a.py").
    """
    pattern = re.compile(rf"(?<![\w.-]){re.escape(path)}(?![\w-]|[./]\w)")
    texts = [f"{step.text}\n{step.annotations}" for step in steps]
    return bool(path) and any(pattern.search(text) for text in texts)
