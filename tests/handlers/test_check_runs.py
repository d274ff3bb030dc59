"""Handler for check runs of other Apps."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hls_handler.errors import Permanent
from hls_handler.events import CheckRun
from hls_handler.github.values import CheckAnnotation
from hls_handler.handlers import check_runs, workflows
from hls_handler.handlers.check_runs import CheckRunHandler
from hls_handler.handlers.job import PromptLimits, Source
from hls_handler.handlers.reader import EMPTY_HISTORY, RepositoryHistory
from hls_handler.handlers.workflows import WorkflowFacts
from tests.engine.fakes import FakeReader
from tests.handlers.events import CHECK, FakeHistory, at, check_event, run_result, workflow_analysis
from tests.handlers.world import RecordedJob, fake_reader, file, make_rule, pull_request

HANDLER = CheckRunHandler()
ANNOTATION = CheckAnnotation(
    "area.py", 7, "failure", "Cognitive complexity", "Split this function."
)


def reader() -> FakeReader:
    return fake_reader(
        pull_request(head_sha=CHECK.head_sha),
        (file("area.py"),),
        annotations_of={90: (ANNOTATION,)},
    )


def facts(check: CheckRun = CHECK, history: RepositoryHistory = EMPTY_HISTORY) -> WorkflowFacts:
    return check_runs.gather(Source(check_event(check), reader(), history, PromptLimits(30_000)))


def ignored_reason(found: WorkflowFacts) -> str:
    job = RecordedJob(
        check_event(CHECK), found, (workflow_analysis(),), rule=make_rule("check_run.completed")
    )
    return HANDLER.run(job).reason


@dataclass(frozen=True)
class Stored(FakeHistory):
    def find_pull_request(self, repository: str, commit: str) -> int | None:
        return 8 if (repository, commit) == ("octo/hello", CHECK.head_sha) else None


def test_output_and_annotations_are_the_log_of_one_job_of_the_app() -> None:
    found = facts()
    (step,) = found.steps
    assert (found.run.name, found.run.event, step.job, step.step, step.url) == (
        "quality",
        "check_run",
        "Sonar",
        "",
        "https://a.example/90",
    )
    assert step.text.split("\n") == [
        "1| 1 new issue",
        "2| The quality gate failed.",
        "3| Coverage is 61 %, and 80 % are required.",
        "4| area.py:7: failure: Cognitive complexity Split this function.",
    ]
    assert found.changed == ("area.py",)


def test_claude_is_not_asked_about_a_check_that_says_nothing() -> None:
    silent = replace(CHECK, title="", summary="", annotations_count=0)
    assert (
        ignored_reason(facts(silent))
        == "nothing readable says what failed, so Claude was not asked"
    )


def test_reason_of_a_check_that_passed_names_no_workflow() -> None:
    passed = facts(replace(CHECK, conclusion="success"))
    assert (
        ignored_reason(passed)
        == "the run passed, and no earlier failure on this branch is recorded"
    )


def test_pull_request_of_a_fork_is_that_of_the_stored_commit() -> None:
    of_fork = replace(CHECK, pull_request_numbers=(), branch="")
    found = facts(of_fork, Stored())
    assert found.pull_request is not None
    assert (found.pull_request.number, found.run.head_branch) == (8, "pull request 8")
    assert facts(of_fork).pull_request is None


def test_checks_of_one_name_and_app_are_compared() -> None:
    run = facts().run
    failed = run_result(
        workflow_id=run.workflow_id, event="check_run", branch="pull request 8", run_number=70
    )
    passed = replace(CHECK, conclusion="success")
    assert facts(passed, FakeHistory(ended=(failed,))).failed_before
    for other in (replace(passed, name="other"), replace(passed, app_id=4)):
        assert not facts(other, FakeHistory(ended=(failed,))).failed_before


def test_second_end_of_the_same_check_is_a_later_run_that_is_not_flaky() -> None:
    event, later = check_event(CHECK), replace(CHECK, conclusion="success", completed_at=at(60))
    failed = workflows.list_results(event, facts()).ends
    found = facts(later, FakeHistory(ended=failed))
    assert (found.failed_before, found.failed_itself) == (True, False)
    passed = workflows.list_results(event, found).ends
    assert workflows.find_superseded_reason(event, facts(), FakeHistory(ended=passed)) is not None
    assert passed[0].run_id != failed[0].run_id  # results are stored by it


def test_output_is_explained_without_annotations_that_the_token_may_not_read() -> None:
    class Refused(FakeReader):
        def annotations(self, check_run: int) -> tuple[CheckAnnotation, ...]:
            raise Permanent(f"GET /check-runs/{check_run}/annotations: 403")

    refused = Refused(reader().github)
    found = check_runs.gather(
        Source(check_event(CHECK), refused, EMPTY_HISTORY, PromptLimits(30_000))
    )
    assert found.steps[0].text.split("\n")[-1] == "3| Coverage is 61 %, and 80 % are required."
