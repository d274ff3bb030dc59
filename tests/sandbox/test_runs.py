"""Runs, attempts, jobs and logs seeded from webhooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox.objects import Attempt, Run
from hls_handler.sandbox.state import State
from tests.sandbox.conftest import REPOSITORY

FAILED, RUN = "demo/tests-failed", 19041222731


def seeded(*names: str, **changed: Any) -> State:
    """Seed the events with a changed run."""
    state = State()
    for name in names:
        one = recorded.load(name)
        payload: Any = one.payload
        state.seed(one.event, {**payload, "workflow_run": {**payload["workflow_run"], **changed}})
    return state


def run_in(state: State) -> Run:
    (run,) = state.runs()
    return run


def attempt_with(conclusion: str | None, **changed: Any) -> Attempt:
    """Return the only attempt of an unrecorded run."""
    run = run_in(seeded(FAILED, id=5, conclusion=conclusion, **changed))
    return run.last


def test_a_recorded_run_has_its_jobs_and_logs() -> None:
    state = seeded(FAILED)
    run = run_in(state)
    assert (run.repository, run.id, len(run.attempts)) == (REPOSITORY, RUN, 1)
    assert [(job.name, job.conclusion) for job in run.last.jobs] == [
        ("pytest (3.11)", "failure"),
        ("eslint", "success"),
    ]
    assert "3 failed, 44 passed" in (run.last.jobs[0].log or "")


def test_a_rerun_has_both_attempts() -> None:
    run = run_in(seeded(FAILED, "demo/tests-passed"))
    assert [(attempt.number, attempt.conclusion) for attempt in run.attempts] == [(1, "failure"), (2, "success")]
    assert len({job.id for attempt in run.attempts for job in attempt.jobs}) == 4


def test_unknown_earlier_attempts_are_generated_as_failures() -> None:
    run = run_in(seeded(FAILED, id=5, run_attempt=3, conclusion="success"))
    assert [(attempt.number, attempt.conclusion) for attempt in run.attempts] == [
        (1, "failure"),
        (2, "failure"),
        (3, "success"),
    ]
    assert [attempt.document["run_attempt"] for attempt in run.attempts] == [1, 2, 3]


@pytest.mark.parametrize(
    ("conclusion", "job", "step", "said"),
    [
        ("success", "success", "success", "12 passed in 1.04s"),
        ("failure", "failure", "failure", "##[error]Process completed with exit code 2."),
        ("timed_out", "timed_out", "timed_out", "##[error]The action 'Run make test' has timed out"),
        ("cancelled", "cancelled", "cancelled", "##[error]The operation was canceled."),
    ],
)
def test_an_unrecorded_run_gets_a_job_with_its_conclusion(conclusion: str, job: str, step: str, said: str) -> None:
    (made,) = attempt_with(conclusion).jobs
    assert (made.conclusion, made.document["steps"][2]["conclusion"]) == (job, step)
    assert {one["conclusion"] for one in made.document["steps"]} == {"success", step}
    begun, ended = made.document["steps"][2]["started_at"], made.document["steps"][2]["completed_at"]
    lines = [line for line in (made.log or "").split("\n") if said in line]
    assert len(lines) == 1
    assert begun[:-1] <= lines[0][:27] <= ended[:-1]


@pytest.mark.parametrize("conclusion", ["startup_failure", "action_required", "stale"])
def test_a_run_that_did_not_start_has_no_jobs(conclusion: str) -> None:
    assert attempt_with(conclusion).jobs == ()


def test_a_run_in_progress_has_a_job_without_conclusion_and_log() -> None:
    (job,) = attempt_with(None, status="in_progress").jobs
    assert (job.conclusion, job.log, job.document["status"]) == (None, None, "in_progress")
    assert [step["conclusion"] for step in job.document["steps"]] == ["success", "success", None, None]


def test_a_skipped_job_has_neither_steps_nor_a_log() -> None:
    (job,) = attempt_with("skipped").jobs
    assert (job.document["steps"], job.log) == ([], None)


def test_a_repeated_run_keeps_changed_logs() -> None:
    state = seeded(FAILED)
    assert state.set_log(REPOSITORY, 54110020701, None)
    one = recorded.load(FAILED)
    state.seed(one.event, one.payload)
    assert run_in(state).last.jobs[0].log is None


def test_another_conclusion_generates_other_jobs() -> None:
    state = seeded(FAILED, id=5)
    before = run_in(state).last.jobs
    one = recorded.load(FAILED)
    payload: Any = one.payload
    state.seed(one.event, {**payload, "workflow_run": {**payload["workflow_run"], "id": 5, "conclusion": "success"}})
    assert [(job.id, job.conclusion) for job in run_in(state).last.jobs] == [(before[0].id, "success")]


def test_conclusion_and_log_can_be_set() -> None:
    state = seeded(FAILED, "demo/tests-passed")
    assert state.set_conclusion(REPOSITORY, RUN, 1, "success")
    assert [attempt.conclusion for attempt in run_in(state).attempts] == ["success", "success"]
    assert state.set_log(REPOSITORY.lower(), 54111408113, "nothing but this\n")
    found = state.find_job(REPOSITORY, 54111408113)
    assert found is not None
    assert (found[1].number, found[2].log) == (2, "nothing but this\n")


def test_changes_of_unknown_objects_return_false() -> None:
    state = seeded(FAILED)
    assert not state.set_log(REPOSITORY, 1, "x")
    assert not state.set_log("o/r", 54110020701, "x")
    assert not state.set_conclusion(REPOSITORY, RUN, 2, "success")
    assert not state.set_conclusion(REPOSITORY, 1, 1, "success")


def test_runs_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    first = State(path)
    for name in recorded.DERIVED:
        one = recorded.load(name)
        first.seed(one.event, one.payload)
    second = State(path)
    assert second.world == first.world
    assert [run.id for run in second.runs()] == [19138840215, RUN, 19041222728]


@pytest.mark.parametrize("name", [one.name for one in recorded.for_event("workflow_run")])
def test_every_recorded_run_can_be_seeded(name: str) -> None:
    one = recorded.load(name)
    state = State()
    assert state.seed(one.event, one.payload) is None
    assert len(state.runs()) == 1


@pytest.mark.parametrize(
    "shown", [None, "run", {}, {"id": "5"}, {"id": 5, "run_attempt": "x"}, {"id": 5, "run_started_at": "never"}]
)
def test_an_invalid_run_is_ignored_and_an_incomplete_one_completed(shown: Any) -> None:
    repository: Any = recorded.load(FAILED).payload["repository"]
    state = State()
    state.seed("workflow_run", {"repository": repository, "workflow_run": shown})
    assert [run.id for run in state.runs()] == ([5] if isinstance(shown, dict) and shown.get("id") == 5 else [])
