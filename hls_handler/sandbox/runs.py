"""Makes the runs of workflows that webhooks tell of exist: their attempts, with jobs, steps and logs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hls_handler.prompting import recorded
from hls_handler.sandbox import told
from hls_handler.sandbox.world import Attempt, Document, Job, Run, World

MOST_ATTEMPTS = 50  # of a payload that claims to be a later one: the attempts before it are made up

STEPS = ("Set up job", "Run actions/checkout@v6", "Run make test", "Complete job")
WORKS = 2  # the place of the step that does the work in `STEPS`

WITHOUT_JOBS = frozenset({"startup_failure", "action_required", "stale"})
LOST = frozenset({"failure", "timed_out"})


def with_told_run(world: World, full_name: str, event: str, payload: Mapping[str, Any], now: datetime) -> World:
    """The run of a `workflow_run` event is there, its attempt as told; all other events change nothing.

    An attempt's jobs are those that the story knows, else made up from the conclusion. Earlier attempts that nobody
    told of were lost: that is why there is a later one.
    """
    shown = payload.get("workflow_run")
    if event != "workflow_run" or not isinstance(shown, Mapping) or not isinstance(shown.get("id"), int):
        return world
    number = min(max(told.count(shown.get("run_attempt")), 1), MOST_ATTEMPTS)
    known = world.run(full_name, shown["id"])
    attempts = {attempt.number: attempt for attempt in (known.attempts if known else ())}
    for earlier in range(1, number):
        if earlier not in attempts:
            lost = {**shown, "run_attempt": earlier, "status": "completed", "conclusion": "failure"}
            attempts[earlier] = _attempt(lost, earlier, None, now)
    attempts[number] = _attempt(dict(shown), number, attempts.get(number), now)
    run = Run(full_name, shown["id"], tuple(attempts[each] for each in sorted(attempts)))
    return world.with_run(run)


def _attempt(shown: Document, number: int, before: Attempt | None, now: datetime) -> Attempt:
    """What is told again with the same end keeps its jobs: somebody may have changed their logs."""
    conclusion = shown.get("conclusion")
    if before is not None and before.conclusion == conclusion:
        return replace(before, document=shown)
    jobs = recorded.jobs_of(shown["id"], number)
    if jobs is not None:
        return Attempt(number, shown, tuple(Job(dict(job), recorded.log_of(int(str(job["id"])))) for job in jobs))
    return Attempt(number, shown, made_up_jobs(shown, number, now))


def concluded(attempt: Attempt, conclusion: str, now: datetime) -> Attempt:
    """The attempt as it would be had it come to another end, with jobs made up to fit."""
    document = {**attempt.document, "status": "completed", "conclusion": conclusion}
    return Attempt(attempt.number, document, made_up_jobs(document, attempt.number, now))


def made_up_jobs(run: Document, number: int, now: datetime) -> tuple[Job, ...]:
    """One job that came to the end of its run, with the log of its steps. A run that has not ended has a job, too."""
    conclusion = run.get("conclusion")
    if conclusion in WITHOUT_JOBS:
        return ()
    begun = told.time(run.get("run_started_at"), now)
    steps = tuple(_steps(conclusion, begun))
    job: Document = {
        "id": int(run["id"]) * 100 + number,
        "run_id": run["id"],
        "run_attempt": number,
        "head_sha": run.get("head_sha"),
        "head_branch": run.get("head_branch"),
        "workflow_name": told.text(run.get("name")),
        "name": "test",
        "status": "completed" if conclusion else "in_progress",
        "conclusion": conclusion,
        "created_at": _stamp(begun),
        "started_at": _stamp(begun),
        "completed_at": steps[-1]["completed_at"] if conclusion else None,
        "steps": [] if conclusion == "skipped" else list(steps),
    }
    has_log = conclusion in {"success", "cancelled", "neutral", *LOST}
    return (Job(job, "\n".join(_log(run, steps)) + "\n" if has_log else None),)


def _steps(conclusion: str | None, begun: datetime) -> Iterator[Document]:
    """Ten seconds each. The one that does the work ends as the job does."""
    for place, name in enumerate(STEPS):
        ended = conclusion if place == WORKS else "success"
        running = conclusion is None and place >= WORKS
        yield {
            "number": place + 1,
            "name": name,
            "status": "in_progress" if running else "completed",
            "conclusion": None if running else ended,
            "started_at": _stamp(begun + timedelta(seconds=10 * place)),
            "completed_at": None if running else _stamp(begun + timedelta(seconds=10 * place + 10)),
        }


def _log(run: Document, steps: tuple[Document, ...]) -> Iterator[str]:
    for step in steps:
        at = datetime.fromisoformat(step["started_at"])
        for place, text in enumerate(_said(run, step)):
            yield f"{(at + timedelta(milliseconds=place)).strftime('%Y-%m-%dT%H:%M:%S.%f')}0Z {text}"


def _said(run: Document, step: Document) -> tuple[str, ...]:
    """What a step wrote, with GitHub's marks."""
    name, conclusion = step["name"], step["conclusion"]
    if name == STEPS[0]:
        return ("Current runner version: '2.332.0'", "##[group]Operating System", "Ubuntu 24.04", "##[endgroup]")
    if name != STEPS[WORKS]:
        return (f"##[group]{name}", f"HEAD is now at {told.text(run.get('head_sha'))[:7]}", "##[endgroup]")
    begun = ("##[group]Run make test", "make test", "##[endgroup]")
    if conclusion == "failure":
        said = ("FAILED tests/test_app.py::test_the_page_is_shown - assert 500 == 200", "make: *** [test] Error 1")
        return (*begun, *said, "##[error]Process completed with exit code 2.")
    if conclusion == "timed_out":
        return (*begun, "##[error]The action 'Run make test' has timed out after 360 minutes.")
    if conclusion == "cancelled":
        return (*begun, "##[error]The operation was canceled.")
    return (*begun, "12 passed in 1.04s")


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
