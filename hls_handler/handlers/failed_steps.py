"""Failed steps of a workflow run: log excerpts, and the classification of each failure (such as flaky)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from hls_handler.ci.excerpts import Excerpt, State, cut, locate, numbered
from hls_handler.ci.failure_classification import RECENT_DAYS, Attempt, FailureClass, classify_failure
from hls_handler.ci.steps import FAILED as FAILED_STEPS
from hls_handler.ci.steps import Step
from hls_handler.events import Event, WorkflowRun
from hls_handler.handlers.reader import Failure, NoLog, Reader, RepositoryHistory, WorkflowJob, WorkflowStep

MAX_ATTEMPTS = 3
"""Earlier attempts of the run that are read."""

LogState = Literal["expired"] | State

Conclusion = Literal["failure", "timed_out", "cancelled"]
"""Conclusion of a failed step or job."""


@dataclass(frozen=True, slots=True)
class FailedStep:
    """A failed step, or a failed job without a failed step."""

    job: str
    step: str  # "" if no step failed: the job was cancelled, timed out, or lost its runner
    conclusion: Conclusion
    url: str  # of the job
    log: LogState
    excerpt: Excerpt | None  # None if GitHub no longer has the log
    verdict: FailureClass
    evidence: str  # a sentence that contains branch names; "" if there is none


@dataclass(frozen=True, slots=True)
class ShownStep:
    """A failed step as a template variable."""

    number: int  # from 1
    job: str
    step: str
    conclusion: Conclusion
    url: str
    log: LogState
    text: str  # the excerpt, each line with its number; "" if there is none
    whole_job: bool  # the lines of the step could not be identified, so the excerpt is of the whole job
    verdict: FailureClass
    evidence: str


@dataclass(frozen=True, slots=True)
class Quoted:
    """The log line that shows the cause."""

    job: str
    step: str
    line: int
    text: str
    url: str


@dataclass(frozen=True, slots=True)
class FailureHistory:
    """Earlier results that are needed to classify a failure."""

    attempts: tuple[Attempt, ...]  # of this run, all at the same commit
    elsewhere: tuple[Failure, ...]  # recent ones of the same workflow on other branches and commits
    default_branch: str


NO_HISTORY = FailureHistory((), (), "")


def read_failure_history(
    event: Event, run: WorkflowRun, reader: Reader, record: RepositoryHistory, branch: str
) -> FailureHistory:
    first = max(run.run_attempt - MAX_ATTEMPTS, 1)
    attempts = tuple(
        Attempt(number, job.name, job.conclusion)
        for number in range(first, run.run_attempt + 1)
        for job in reader.jobs(run.id, number)
    )
    recent = record.failures(run.workflow_id, days=RECENT_DAYS)
    elsewhere = tuple(failure for failure in recent if failure.branch != branch and failure.head_sha != run.head_sha)
    return FailureHistory(attempts, elsewhere, event.repository.default_branch or "")


def failed_step_names(job: WorkflowJob) -> Iterator[tuple[str, str]]:
    """Job and step of each failed step; the job and "" if no step failed."""
    failed = [step.name for step in job.steps if step.conclusion in FAILED_STEPS]
    yield from ((job.name, step) for step in failed or [""])


def read_failed_steps(
    job: WorkflowJob, reader: Reader, characters: int, history: FailureHistory
) -> Iterator[FailedStep]:
    """Yield one item for each failed step; one for the job if none of its steps failed."""
    log = reader.job_log(job.id)
    steps = {step.number: step for step in job.steps}
    if isinstance(log, NoLog):
        failed: list[WorkflowStep | None] = [step for step in job.steps if step.conclusion in FAILED_STEPS]
        for step in failed or [None]:
            yield _failed_step(job, step, log.why, None, history)
        return
    job_steps = [Step(s.number, s.name, s.conclusion, s.started_at, s.completed_at) for s in job.steps]
    for excerpt in cut(log, job_steps, characters=characters):
        yield _failed_step(job, steps.get(excerpt.step or 0), excerpt.state, excerpt, history)


def _failed_step(
    job: WorkflowJob, step: WorkflowStep | None, log: LogState, excerpt: Excerpt | None, history: FailureHistory
) -> FailedStep:
    name = step.name if step else ""
    ended = (step.conclusion if step else None) or job.conclusion
    conclusion: Conclusion = "timed_out" if ended == "timed_out" else "cancelled" if ended == "cancelled" else "failure"
    classification = classify_failure(
        job.name,
        name,
        attempts=history.attempts,
        failures=history.elsewhere,
        default_branch=history.default_branch,
    )
    verdict, evidence = classification.verdict, classification.evidence
    return FailedStep(job.name, name, conclusion, job.html_url, log, excerpt, verdict, evidence)


def to_shown_step(step: FailedStep, number: int) -> ShownStep:
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


def find_quoted_line(steps: Iterable[FailedStep], quote: str) -> Quoted | None:
    """Return the log line that a reply quotes; None if no log contains it."""
    for step in steps:
        line = locate([step.excerpt], quote) if step.excerpt else None
        if line is not None:
            return Quoted(step.job, step.step, line.number, line.text, step.url)
    return None


def is_path_in_logs(steps: Iterable[FailedStep], path: str) -> bool:
    """Return True if a log contains the path, not merely as a part of another path."""
    pattern = re.compile(rf"(?<![\w.-]){re.escape(path)}(?![\w-]|[./]\w)") if path else None
    texts = (line.text for step in steps if step.excerpt for line in step.excerpt.lines)
    return pattern is not None and any(pattern.search(text) for text in texts)
