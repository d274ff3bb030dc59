"""Handler for check runs of other Apps: explains a failed check as that of a workflow run, from
what the check says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256

from hls_handler.deliveries import End
from hls_handler.errors import Permanent
from hls_handler.events import CheckRun, Event, WorkflowRun
from hls_handler.github.reader import GithubReader
from hls_handler.github.values import CheckAnnotation, NoLog, WorkflowJob
from hls_handler.handlers.failed_steps import JobSource
from hls_handler.handlers.job import FactSource, Job
from hls_handler.handlers.workflow_facts import WorkflowFacts, gather_run
from hls_handler.handlers.workflows import WorkflowHandler, explain


class CheckRunHandler(WorkflowHandler):
    def run(self, job: Job) -> End:
        return explain(job, self, gather)


def gather(source: FactSource) -> WorkflowFacts:
    event = source.event
    check = event.check_run
    assert check is not None  # parse_event rejects a check_run event without one
    # GitHub lists none of a fork
    stored = source.history.find_pull_request(event.repository.full_name, check.head_sha)
    number = next(iter(check.pull_request_numbers), stored)
    job = WorkflowJob(check.id, check.app, check.conclusion, check.html_url, ())

    def read_output(_: int) -> Iterator[str] | NoLog:
        lines = list(_list_lines(check, source.reader))
        if not lines:
            return NoLog("empty")
        return iter(lines)

    jobs = JobSource(
        jobs=lambda _id, _attempt: (job,),
        log=read_output,
        annotations=lambda _: (),  # `read_output` has them
    )
    return gather_run(_to_run(check, event, number), source, jobs)


def _to_run(check: CheckRun, event: Event, number: int | None) -> WorkflowRun:
    """Return an end of the check as a run of a workflow: an App may end the same check again, with
    another conclusion.

    Its ids are negative, because results of runs are stored by them.
    """
    ended_at = check.completed_at
    run_number = 0
    if ended_at is not None:
        run_number = int(ended_at.timestamp() * 1000)
    branch = check.branch
    numbers: tuple[int, ...] = ()
    if number is not None:
        # GitHub names no branch of a fork, and results of two pull requests must not be compared.
        branch = f"pull request {number}"
        numbers = (number,)
    return WorkflowRun(
        id=_make_id(f"{check.id}:{ended_at}"),
        name=check.name,
        workflow_id=_make_id(f"{check.app_id}:{check.name}"),
        path="",
        run_number=run_number,
        run_attempt=1,
        event="check_run",
        status="completed",
        conclusion=check.conclusion,
        head_sha=check.head_sha,
        head_branch=branch,
        head_owner=None,
        head_repository=event.repository.full_name,
        actor=event.sender,
        triggering_actor=event.sender,
        html_url=check.html_url,
        pull_request_numbers=numbers,
    )


def _make_id(key: str) -> int:
    return -int.from_bytes(sha256(key.encode()).digest()[:7])


def _list_lines(check: CheckRun, reader: GithubReader) -> Iterator[str]:
    for text in (check.title, check.summary, check.text):
        yield from text.splitlines()
    if not check.annotations_count:
        return
    annotations: tuple[CheckAnnotation, ...] = ()
    with suppress(Permanent):  # a fine-grained token may not read those of a private repository
        annotations = reader.annotations(check.id)
    for note in annotations:
        text = f"{note.path}:{note.line}: {note.level}: {note.title} {note.message}"
        yield from text.splitlines()
