"""The failed steps of a workflow's run: what their logs say, and what is known of whose fault it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from hls_handler.ci.cut import cut
from hls_handler.ci.excerpt import Excerpt, State, numbered
from hls_handler.ci.flaky import LATELY_DAYS, Attempt, Verdict, judge
from hls_handler.ci.quotes import locate
from hls_handler.ci.steps import FAILED as FAILED_STEPS
from hls_handler.ci.steps import Step
from hls_handler.events import Event, WorkflowRun
from hls_handler.handlers.reader import NoLog, Reader, WorkflowJob, WorkflowStep
from hls_handler.handlers.record import Failure, Record

MOST_ATTEMPTS = 3
"""Earlier attempts of the run that are asked about."""

LogState = Literal["expired"] | State

Conclusion = Literal["failure", "timed_out", "cancelled"]
"""How a step or a job of a failed run ended."""


@dataclass(frozen=True, slots=True)
class FailedStep:
    """A step that failed, or a failed job in which no step did."""

    job: str
    step: str  # "" where no step failed: the job was cancelled, timed out, or lost its runner
    conclusion: Conclusion
    url: str  # of the job
    log: LogState
    excerpt: Excerpt | None  # None where GitHub has no log any more
    verdict: Verdict
    evidence: str  # a sentence, with the names of branches in it; "" where there is none


@dataclass(frozen=True, slots=True)
class ShownStep:
    """A failed step as templates see it."""

    number: int  # from 1
    job: str
    step: str
    conclusion: Conclusion
    url: str
    log: LogState
    text: str  # the excerpt, each line with its number; "" without one
    whole_job: bool  # the step's own lines could not be told apart
    verdict: Verdict
    evidence: str


@dataclass(frozen=True, slots=True)
class Quoted:
    """The line of a log that shows the cause."""

    job: str
    step: str
    line: int
    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Known:
    """What tells whether a failure is news."""

    attempts: tuple[Attempt, ...]  # of this run, all at one commit
    elsewhere: tuple[Failure, ...]  # of the same workflow lately, on other branches and of other commits
    default_branch: str


NOTHING = Known((), (), "")


def known_of(event: Event, run: WorkflowRun, reader: Reader, record: Record, branch: str) -> Known:
    first = max(run.run_attempt - MOST_ATTEMPTS, 1)
    attempts = tuple(
        Attempt(number, job.name, job.conclusion)
        for number in range(first, run.run_attempt + 1)
        for job in reader.jobs(run.id, number)
    )
    lately = record.failures(run.workflow_id, days=LATELY_DAYS)
    elsewhere = tuple(known for known in lately if known.branch != branch and known.head_sha != run.head_sha)
    return Known(attempts, elsewhere, event.repository.default_branch or "")


def failed_names(job: WorkflowJob) -> Iterator[tuple[str, str]]:
    failed = [step.name for step in job.steps if step.conclusion in FAILED_STEPS]
    yield from ((job.name, step) for step in failed or [""])


def read_failed_steps(job: WorkflowJob, reader: Reader, characters: int, known: Known) -> Iterator[FailedStep]:
    """One for each failed step; one for the job, where none of its steps failed."""
    log = reader.job_log(job.id)
    steps = {step.number: step for step in job.steps}
    if isinstance(log, NoLog):
        failed: list[WorkflowStep | None] = [step for step in job.steps if step.conclusion in FAILED_STEPS]
        for step in failed or [None]:
            yield _failed(job, step, log.why, None, known)
        return
    course = [Step(s.number, s.name, s.conclusion, s.started_at, s.completed_at) for s in job.steps]
    for excerpt in cut(log, course, characters=characters):
        yield _failed(job, steps.get(excerpt.step or 0), excerpt.state, excerpt, known)


def _failed(
    job: WorkflowJob, step: WorkflowStep | None, log: LogState, excerpt: Excerpt | None, known: Known
) -> FailedStep:
    name = step.name if step else ""
    ended = (step.conclusion if step else None) or job.conclusion
    conclusion: Conclusion = "timed_out" if ended == "timed_out" else "cancelled" if ended == "cancelled" else "failure"
    news = judge(
        job.name,
        name,
        attempts=known.attempts,
        failures=known.elsewhere,
        default_branch=known.default_branch,
    )
    return FailedStep(job.name, name, conclusion, job.html_url, log, excerpt, news.verdict, news.evidence)


def shown(step: FailedStep, number: int) -> ShownStep:
    has_text = step.excerpt is not None and step.excerpt.state == "text"
    return ShownStep(
        number=number,
        job=step.job,
        step=step.step,
        conclusion=step.conclusion,
        url=step.url,
        log=step.log,
        text=numbered(step.excerpt) if step.excerpt and has_text else "",
        whole_job=step.excerpt is not None and step.excerpt.whole_job,
        verdict=step.verdict,
        evidence=step.evidence,
    )


def find_quoted(steps: Iterable[FailedStep], quote: str) -> Quoted | None:
    """The line of a log that a reply quotes; None if no log has it."""
    for step in steps:
        line = locate([step.excerpt], quote) if step.excerpt else None
        if line is not None:
            return Quoted(step.job, step.step, line.number, line.text, step.url)
    return None


def is_named(steps: Iterable[FailedStep], path: str) -> bool:
    """Whether a log names a file, as a whole and not within the name of another."""
    named = re.compile(rf"(?<![\w.-]){re.escape(path)}(?![\w-]|[./]\w)") if path else None
    texts = (line.text for step in steps if step.excerpt for line in step.excerpt.lines)
    return named is not None and any(named.search(text) for text in texts)
