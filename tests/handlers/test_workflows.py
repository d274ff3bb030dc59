"""Handler for workflow runs: facts, where results are posted, the actions, and the classification
of failures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from hls_handler.actions import EnsureComment
from hls_handler.analysis import WorkflowAnalysis
from hls_handler.errors import ConversationIgnored, Permanent
from hls_handler.events import Account, PullRequest, WorkflowRun
from hls_handler.github.values import CheckAnnotation, WorkflowJob
from hls_handler.handlers import workflows
from hls_handler.handlers.failed_steps import Quoted
from hls_handler.handlers.job import Conversation, PromptLimits, Source
from hls_handler.handlers.reader import (
    EMPTY_HISTORY,
    Failure,
    HistoryUpdate,
    RepositoryHistory,
    RunResult,
)
from hls_handler.handlers.workflows import (
    MAX_JOBS,
    MAX_LOG_CHARACTERS,
    NOT_STARTED,
    NOTHING_FAILED,
    LinkedPlace,
    WorkflowFacts,
    WorkflowHandler,
)
from hls_handler.prompting.render import render_comment
from hls_handler.settings.model import Features
from tests.engine.fakes import FakeReader
from tests.engine.world import library
from tests.handlers.events import (
    JOB,
    LOG,
    RUN,
    FakeHistory,
    failure,
    job,
    run_event,
    run_result,
    step,
    workflow_analysis,
)
from tests.handlers.world import (
    RecordedJob,
    analysis,
    comment_of,
    fake_reader,
    file,
    make_rule,
    pull_request,
)

HANDLER = WorkflowHandler()
BUDGET = PromptLimits(input_tokens=30_000)
PULL = pull_request(head_sha=RUN.head_sha)
RENOVATE = Account("renovate[bot]", 29139614, "Bot")


def reader(
    *pulls: PullRequest,
    jobs: Mapping[int, tuple[WorkflowJob, ...]] | None = None,
    logs: Mapping[int, str] | None = None,
    annotations: Mapping[int, tuple[CheckAnnotation, ...]] | None = None,
) -> FakeReader:
    return fake_reader(
        PULL,
        (file("area.py"), file("README.md")),
        jobs_of={1: (JOB, job(701, "lint", "success"))} if jobs is None else jobs,
        logs={JOB.id: LOG} if logs is None else logs,
        pulls={"mona:fix": pulls},
        annotations_of=dict(annotations or {}),
    )


def facts(
    run: WorkflowRun = RUN,
    source: FakeReader | None = None,
    history: RepositoryHistory = EMPTY_HISTORY,
    budget: PromptLimits = BUDGET,
) -> WorkflowFacts:
    return workflows.gather(Source(run_event(run), source or reader(PULL), history, budget))


def conversation_of(found: WorkflowFacts, **issues: int) -> Conversation | None:
    rule = make_rule("workflow_run.completed", **issues)
    job = RecordedJob(run_event(found.run), found, (workflow_analysis(),), rule=rule)
    HANDLER.run(job)
    return job.conversation


# --- the pull request
# -----------------------------------------------------------------------------


def test_the_pull_request_of_a_fork_is_found_by_its_branch_and_commit() -> None:
    other, second = pull_request(number=7, head_sha="another"), replace(PULL, number=9)
    found = facts(source=reader(second, other, PULL))
    assert (found.pull_request, found.stale) == (PULL, False)
    assert conversation_of(found) == Conversation(8, is_pull_request=True)


ON_MAIN = replace(
    RUN, head_branch="main", head_repository="octo/hello", head_owner="octo", event="push"
)


@pytest.mark.parametrize(
    ("branch", "message", "is_fork", "posted_on"),
    [
        (f"gh-readonly-queue/main/pr-8-{'b' * 40}", "Fix (#8)", False, 8),
        ("staging", "Merge #8", False, 8),
        ("trunk-merge/pr-8/a4e9", "Merge 9eb365a", False, 8),
        ("gtmq_spec_393d71", "Fix (#8)", False, 8),
        ("gtmq_spec_393d71", "Fix (#8)", True, None),
        (f"gh-readonly-queue/main/pr-8-{'b' * 40}", "Fix (#8)", True, None),
    ],
    ids=[
        "merge queue",
        "bors",
        "Trunk",
        "Graphite",
        "branch of Graphite in a fork",
        "branch of a fork",
    ],
)
def test_failed_run_of_a_merge_queue_is_explained_on_its_pull_request(
    branch: str, message: str, is_fork: bool, posted_on: int | None
) -> None:
    repository = "mona/hello" if is_fork else "octo/hello"
    received = run_event(
        replace(RUN, head_branch=branch, head_repository=repository, pull_request_numbers=())
    )
    received = replace(received, payload={"workflow_run": {"head_commit": {"message": message}}})
    queued = fake_reader(
        pull_request(head_sha="f" * 40), (file(),), jobs_of={1: (JOB,)}, logs={JOB.id: LOG}
    )
    facts = workflows.gather(Source(received, queued, EMPTY_HISTORY, BUDGET))
    conversation = conversation_of(facts)
    assert (conversation.number if conversation else None) == posted_on
    assert facts.stale is False


def test_rule_17_failure_is_explained_by_the_author_of_the_pull_request_and_not_by_who_triggered_the_run() -> (
    None
):
    run = replace(RUN, actor=RENOVATE, triggering_actor=RENOVATE)
    facts = workflows.gather(Source(run_event(run), reader(PULL), EMPTY_HISTORY, BUDGET))
    assert facts.pull_request == PULL
    opened_by_bot = replace(PULL, user=RENOVATE)
    with pytest.raises(
        ConversationIgnored, match=r"octo/hello#8 was opened by a bot; add renovate\[bot\] to"
    ):
        workflows.gather(Source(run_event(RUN), reader(opened_by_bot), EMPTY_HISTORY, BUDGET))
    included = replace(BUDGET, features=Features(bots=("renovate",)))
    assert workflows.gather(
        Source(run_event(RUN), reader(opened_by_bot), EMPTY_HISTORY, included)
    ).steps


def test_a_failure_on_the_default_branch_is_posted_on_the_fallback_issue() -> None:
    found = facts(ON_MAIN, reader())
    assert conversation_of(found, workflow_run=12) == Conversation(
        12, is_pull_request=False, is_fallback_issue=True
    )
    assert conversation_of(found) is None


@pytest.mark.parametrize(
    "run",
    [
        replace(ON_MAIN, head_branch="try-it"),
        replace(ON_MAIN, head_owner=None, head_repository=None),
    ],
    ids=["another branch", "main of a fork that was deleted"],
)
def test_failures_on_other_branches_without_a_pull_request_are_not_posted(run: WorkflowRun) -> None:
    assert conversation_of(facts(run, reader()), workflow_run=12) is None


# --- failed steps
# -----------------------------------------------------------------------------


def test_each_failed_step_has_its_log_excerpt_with_line_numbers() -> None:
    (shown,) = facts().steps
    assert (shown.number, shown.job, shown.step, shown.conclusion, shown.log) == (
        1,
        "test",
        "Run pytest",
        "failure",
        "text",
    )
    assert shown.url == JOB.html_url
    assert "4| E       assert area(2) == 4" in shown.text
    assert "Current runner version" not in shown.text
    assert "2026-11-20T" not in shown.text


def test_rule_10_log_is_redacted_as_prose_although_prompts_show_it_in_full() -> None:
    log = LOG.replace("E       assert area(2) == 4", "E       DB_PASSWORD=swordfish <!-- x -->")
    (shown,) = facts(source=reader(PULL, logs={JOB.id: log})).steps
    assert "4| E       DB_PASSWORD=[redacted: password] <!-- x -->" in shown.text


@pytest.mark.parametrize(
    ("logs", "state"),
    [({}, "expired"), ({JOB.id: ""}, "empty"), ({JOB.id: "\x00\x01" * 4000}, "binary")],
    ids=["expired", "empty", "binary"],
)
def test_without_a_log_claude_is_not_asked(logs: dict[int, str], state: str) -> None:
    found = facts(source=reader(PULL, logs=logs))
    assert [failed.log for failed in found.steps] == [state]
    assert "nothing readable says what failed" in str(workflows.find_skip_reason(found))


NOT_STARTED_JOB = job(701, "build", steps=())
NOT_PAID = "The job was not started because recent account payments have failed."


def annotated(message: str, **known: Any) -> CheckAnnotation:
    """Return an annotation as GitHub itself writes it."""
    return replace(CheckAnnotation(".github", 1, "failure", "", message), **known)


@pytest.mark.parametrize("logs", [{}, {701: ""}], ids=["no log", "an empty log"])
def test_annotations_explain_a_failed_job_without_a_log(logs: dict[int, str]) -> None:
    notes = (annotated("Node.js 20 is deprecated", level="warning"), annotated(NOT_PAID))
    source = reader(PULL, jobs={1: (NOT_STARTED_JOB,)}, logs=logs, annotations={701: notes})
    found = facts(source=source)
    (step,) = found.steps
    assert step.annotations == f"1| Error: {NOT_PAID}\n2| Warning: Node.js 20 is deprecated"
    assert (step.text, step.log) == ("", "empty" if logs else "expired")
    assert workflows.find_skip_reason(found) is None
    shown = variables(found, quote=NOT_PAID)["shown_by"]
    assert shown == Quoted(1, "build", "", 1, f"Error: {NOT_PAID}", step.url, is_annotation=True)


def test_annotations_are_read_only_for_jobs_without_a_log() -> None:
    source = reader(PULL, jobs={1: (JOB, NOT_STARTED_JOB)})
    assert workflows.describe_omissions(facts(source=source)) == "1 log (expired)"
    read = [call for call in source.github.calls if call.startswith(("job_log", "annotations"))]
    assert read == ["job_log 700", "job_log 701", "annotations 701"]


@pytest.mark.parametrize(
    "note",
    [
        annotated("Process completed with exit code 1."),
        annotated("Node.js 20 is deprecated", level="warning"),
    ],
    ids=["exit code", "a warning"],
)
def test_annotations_without_a_reason_do_not_explain_a_job(note: CheckAnnotation) -> None:
    found = facts(source=reader(PULL, jobs={1: (NOT_STARTED_JOB,)}, annotations={701: (note,)}))
    assert "nothing readable says what failed" in str(workflows.find_skip_reason(found))


def test_annotation_that_two_jobs_have_is_shown_once() -> None:
    jobs = (NOT_STARTED_JOB, job(702, "lint", steps=()), job(703, "docs", steps=()))
    notes = {701: (annotated(NOT_PAID),), 702: (annotated(NOT_PAID),), 703: (annotated("Another"),)}
    found = facts(source=reader(PULL, jobs={1: jobs}, logs={}, annotations=notes))
    assert [(step.same_as, step.annotations) for step in found.steps] == [
        (0, f"1| Error: {NOT_PAID}"),
        (1, ""),
        (0, "1| Error: Another"),
    ]


def test_annotation_on_a_line_of_a_file_has_its_place() -> None:
    note = CheckAnnotation("area.py", 7, "failure", "Wrong area", "It is 3.\nNot 4.")
    found = facts(source=reader(PULL, jobs={1: (NOT_STARTED_JOB,)}, annotations={701: (note,)}))
    assert found.steps[0].annotations == "1| Error: area.py:7: Wrong area It is 3.\n2| Not 4."
    where = [{"path": "area.py", "line": 7, "why": "Here."}]
    assert len(variables(found, where=where)["places"]) == 1  # type: ignore[arg-type]


def test_rule_10_annotations_are_redacted() -> None:
    source = reader(
        PULL,
        jobs={1: (NOT_STARTED_JOB,)},
        annotations={701: (annotated("DB_PASSWORD=swordfish is wrong"),)},
    )
    (step,) = facts(source=source).steps
    assert step.annotations == "1| Error: DB_PASSWORD=[redacted: password] is wrong"


def test_job_without_a_log_is_not_explained_if_the_token_may_not_read_its_annotations() -> None:
    class Refused(FakeReader):
        def annotations(self, check_run: int) -> tuple[CheckAnnotation, ...]:
            raise Permanent(f"GET /check-runs/{check_run}/annotations: 403")

    found = facts(source=Refused(reader(PULL, jobs={1: (NOT_STARTED_JOB,)}).github))
    assert "nothing readable says what failed" in str(workflows.find_skip_reason(found))


def test_an_expired_log_does_not_affect_another() -> None:
    found = facts(source=reader(PULL, jobs={1: (JOB, job(702, "windows"))}))
    assert [failed.log for failed in found.steps] == ["text", "expired"]
    assert workflows.describe_omissions(found) == "1 log (expired)"
    assert workflows.find_skip_reason(found) is None


def test_the_first_failed_jobs_are_read_and_the_others_counted() -> None:
    jobs = tuple(job(700 + number, f"test ({number})") for number in range(MAX_JOBS + 5))
    found = facts(source=reader(PULL, jobs={1: jobs}, logs={failed.id: LOG for failed in jobs}))
    assert (len(found.steps), found.omitted) == (MAX_JOBS, 5)
    assert workflows.describe_omissions(found) == "the logs of 5 more failed jobs"


def shard(number: int) -> WorkflowJob:
    return job(700 + number, f"test ({number})")


def logged(*errors: str) -> str:
    """Return the log of `JOB` with other errors."""
    lines = [f"2026-11-20T09:00:22.0000000Z {error}" for error in errors]
    return LOG.replace("2026-11-20T09:00:22.0000000Z E       assert area(2) == 4", "\n".join(lines))


def test_first_job_of_each_matrix_is_read_before_the_others() -> None:
    shards = tuple(map(shard, range(1, 13)))
    last = (job(750, "lint"), job(751, "call / build (x)"), job(752, "call / build (y)"))
    found = facts(source=reader(PULL, jobs={1: (*shards, *last)}, logs={}))
    read = ["test (1)", "lint", "call / build (x)", *(f"test ({number})" for number in range(2, 9))]
    assert [shown.job for shown in found.steps] == read
    assert found.omitted == 5


def test_jobs_whose_names_differ_in_numbers_are_one_matrix() -> None:
    shards = tuple(job(700 + number, f"e2e {number}/12") for number in range(1, 13))
    found = facts(source=reader(PULL, jobs={1: (*shards, job(750, "lint"))}, logs={}))
    assert [shown.job for shown in found.steps][:3] == ["e2e 1/12", "lint", "e2e 2/12"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("src/big.c:1204:5: error: expected ';'", "src/big.c:3310:5: error: expected ';'"),
        ("E       assert 5000 == 4000", "E       assert 1200 == 1100"),
        (
            "E       assert '2026-01-31' == '2026-02-01'",
            "E       assert '2024-02-29' == '2024-03-01'",
        ),
        ("E       assert '12:00:00' == '13:00:00'", "E       assert '09:00:00' == '08:00:00'"),
        ("Error: error in migration 0012", "Error: error in migration 0013"),
        ("npm error Missing script: docs", "npm error Missing script: lint"),
    ],
)
def test_errors_with_other_results_and_places_are_not_equal(one: str, other: str) -> None:
    logs = {701: logged("INFO Registered handlers for ERROR and WARN", one), 702: logged(other)}
    logs = {key: log.replace("FAILED", "ended") for key, log in logs.items()}
    found = facts(source=reader(PULL, jobs={1: (shard(1), shard(2))}, logs=logs))
    assert [shown.same_as for shown in found.steps] == [0, 0]


@pytest.mark.parametrize(
    ("error", "same", "other"),
    [
        (
            'time="2026-11-28T12:00:00Z" level=error msg="no stock"',
            'time="2026-11-28T12:00:07Z" level=error msg="no stock"',
            'time="2026-11-28T12:00:07Z" level=error msg="no cart"',
        ),
        (
            "Error: connect ECONNREFUSED 127.0.0.1:45123",
            "Error: connect ECONNREFUSED 127.0.0.1:39871",
            "Error: connect ECONNREFUSED 127.0.0.2:39871",
        ),
        (
            "E       assert <Cart at 0x7f3c8a1b2d90> == 404",
            "E       assert <Cart at 0x7f11fa1b2d90> == 404",
            "E       assert <Cart at 0x7f11fa1b2d90> == 500",
        ),
    ],
    ids=["times", "ports", "addresses"],
)
def test_error_is_equal_without_the_numbers_of_its_process(
    error: str, same: str, other: str
) -> None:
    logs = {701: logged(error), 702: logged(same), 703: logged(other)}
    found = facts(source=reader(PULL, jobs={1: (shard(1), shard(2), shard(3))}, logs=logs))
    assert [one.same_as for one in found.steps] == [0, 1, 0]


def test_equal_error_of_twelve_shards_is_shown_once_beside_that_of_another_job() -> None:
    shards = tuple(map(shard, range(1, 13)))
    logs = {one.id: LOG for one in shards} | {750: logged("a.c:3:1: error: unknown type name 'x'")}
    found = facts(source=reader(PULL, jobs={1: (*shards, job(750, "lint"))}, logs=logs))
    shown = [(one.job, one.same_as, one.log, bool(one.text)) for one in found.steps]
    assert shown[:3] == [
        ("test (1)", 0, "text", True),
        ("lint", 0, "text", True),
        ("test (2)", 1, "elsewhere", False),
    ]
    assert {one[1:] for one in shown[3:]} == {(1, "elsewhere", False)}
    assert workflows.describe_omissions(found) == "the logs of 3 more failed jobs"
    assert workflows.find_skip_reason(found) is None


SAME = "E       assert area(2) == 4"


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ((SAME,), (SAME,), True),
        ((SAME, "E       another"), (SAME,), True),
        ((SAME,), (SAME, "E       another"), False),
        (("--- FAIL: TestTotal (0.02s)",), ("--- FAIL: TestTotal (1.3s)",), True),
        (("--- FAIL: TestTotal2 (0.02s)",), ("--- FAIL: TestTotal3 (0.02s)",), False),
        (("Traceback (most recent call last):",), ("Traceback (most recent call last):",), False),
        (("it broke",), ("it broke",), False),
    ],
    ids=[
        "equal",
        "fewer",
        "one more",
        "another duration",
        "another test",
        "only a summary",
        "no error",
    ],
)
def test_error_is_the_same_if_all_lines_that_name_it_were_shown(
    first: tuple[str, ...], second: tuple[str, ...], is_same: bool
) -> None:
    logs = {701: logged(*first), 702: logged(*second)}
    found = facts(source=reader(PULL, jobs={1: (shard(1), shard(2))}, logs=logs))
    assert [one.same_as for one in found.steps] == [0, 1 if is_same else 0]


def test_characters_of_an_equal_error_are_left_to_other_jobs() -> None:
    long = tuple(f"E       line {number} is {'x' * 300}" for number in range(50))
    jobs = (job(701, "test"), job(702, "again"), job(703, "other"))
    logs = {701: LOG, 702: LOG, 703: logged(*long)}
    source = reader(PULL, jobs={1: jobs}, logs=logs)
    *_, other = facts(source=source, budget=PromptLimits(3_000)).steps
    assert len(other.text) > 4_000


def test_excerpts_stay_within_the_budget() -> None:
    jobs = tuple(job(700 + number, f"test ({number})") for number in range(MAX_JOBS))
    long = "\n".join(
        f"2026-11-20T09:00:20.0000000Z E   line {n} is {'x' * 300}" for n in range(500)
    )
    for tokens, most in ((2_000, 4_000), (900_000, MAX_LOG_CHARACTERS)):
        found = facts(
            source=reader(PULL, jobs={1: jobs}, logs={j.id: long for j in jobs}),
            budget=PromptLimits(tokens),
        )
        assert sum(len(shown.text) for shown in found.steps) <= most


# --- failure classification
# -----------------------------------------------------------------------------


def classify(*others: Failure, of: tuple[str | None, ...] = ()) -> tuple[str, str]:
    """Classify the failed step of the last attempt, from earlier conclusions and from failures
    elsewhere.
    """
    last = len(of) + 1
    jobs = {number: (job(conclusion=one),) for number, one in enumerate((*of, "failure"), start=1)}
    (step,) = facts(
        replace(RUN, run_attempt=last), reader(PULL, jobs=jobs), FakeHistory(failed=others)
    ).steps
    return step.verdict, step.evidence


def elsewhere(branch: str, **known: Any) -> Failure:
    """A step that recently failed on another branch."""
    return failure(**{"branch": branch, "head_sha": "aaa", **known})


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        (("success",), ("flaky", "1 attempt at the same commit passed this job")),
        (
            ("failure", "timed_out"),
            ("fails every time", "3 attempts at the same commit failed this job"),
        ),
        ((), ("unknown", "")),
        ((None,), ("unknown", "")),
    ],
)
def test_attempts_at_the_same_commit_classify_the_failure(
    attempts: tuple[str | None, ...], expected: tuple[str, str]
) -> None:
    assert classify(of=attempts) == expected


@pytest.mark.parametrize("conclusions", [("success", "failure"), ("failure", "success")])
def test_a_job_of_the_same_name_does_not_make_a_failure_flaky(conclusions: tuple[str, str]) -> None:
    jobs = tuple(job(700 + number, conclusion=one) for number, one in enumerate(conclusions))
    (step,) = facts(source=reader(PULL, jobs={1: jobs}, logs={one.id: LOG for one in jobs})).steps
    assert (step.verdict, step.evidence) == ("unknown", "")


@pytest.mark.parametrize(
    ("others", "verdict", "branches"),
    [
        (
            (elsewhere("fix/b"), elsewhere("main"), elsewhere("fix/a"), elsewhere("fix/a")),
            "fails elsewhere",
            "3 other branches within 7 days: main, fix/a, fix/b",
        ),
        ((elsewhere("main"),), "fails elsewhere", "1 other branch within 7 days: main"),
        ((elsewhere("fix/a"),), "unknown", "1 other branch within 7 days: fix/a"),
        ((elsewhere("main", job="lint"), elsewhere("main", step="Build")), "unknown", ""),
        ((elsewhere("mona:fix"), elsewhere("copy", head_sha=RUN.head_sha)), "unknown", ""),
        ((elsewhere("main", workflow_id=6),), "unknown", ""),
    ],
    ids=[
        "three",
        "the default branch",
        "one branch",
        "other steps",
        "this branch and commit",
        "another workflow",
    ],
)
def test_failures_on_other_branches_classify_the_failure(
    others: tuple[Failure, ...], verdict: str, branches: str
) -> None:
    assert classify(*others) == (verdict, branches and f"the same step failed on {branches}")


def test_failures_and_the_result_of_the_run_are_recorded() -> None:
    end = run_result(run_id=70, run_number=41, head_sha=RUN.head_sha)
    assert workflows.list_results(run_event(RUN), facts()) == HistoryUpdate((failure(),), (end,))
    on_main = workflows.list_results(run_event(ON_MAIN), facts(ON_MAIN, reader()))
    assert (on_main.failures[0].branch, on_main.ends[0].branch) == ("main", "main")
    stale = facts(replace(RUN, head_sha="older"))
    assert workflows.list_results(run_event(RUN), stale).failures == (failure(head_sha="older"),)
    not_started = facts(replace(RUN, conclusion="startup_failure"), reader(PULL, jobs={}))
    assert workflows.list_results(run_event(RUN), not_started) == HistoryUpdate((), (end,))


# --- passed
# run------------------------------------------------------------------------------------------------------

PASSED = replace(RUN, conclusion="success", id=71, run_number=42)


def test_a_passed_run_without_an_earlier_failure_reads_nothing_more() -> None:
    source = reader(PULL)
    skipped = workflows.find_skip_reason(facts(PASSED, source))
    assert skipped is not None
    assert (skipped.reply, source.github.calls) == (None, [])


def test_a_passed_run_after_a_failure_updates_the_comment() -> None:
    found = facts(PASSED, history=FakeHistory(ended=(run_result(),)))
    skipped = workflows.find_skip_reason(found)
    assert skipped is not None
    assert skipped.reply == NOTHING_FAILED
    shown = workflows.list_comment_variables(found, NOTHING_FAILED)
    assert (shown["passed"], shown["flaky"]) == (True, False)
    expected = EnsureComment("workflows", "Hello.", create=False, section="workflow-5-pull-request")
    assert workflows.plan(found, analysis(NOTHING_FAILED)) == (expected,)


@pytest.mark.parametrize(
    "before",
    [
        run_result(branch="main"),
        run_result(passed=True),
    ],
    ids=["another branch", "a pass"],
)
def test_a_passed_run_resolves_only_the_failure_right_before_it(before: RunResult) -> None:
    skipped = workflows.find_skip_reason(facts(PASSED, history=FakeHistory(ended=(before,))))
    assert skipped is not None
    assert skipped.reply is None


# --- later runs
# -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("later", "why"),
    [
        (run_result(run_number=42, passed=True), "a later run or attempt of the same name passed"),
        (run_result(run_number=41, attempt=2), "a later run or attempt of the same name failed"),
        (run_result(run_number=41, attempt=1), None),
        (run_result(run_number=40, attempt=7), None),
        (run_result(run_number=42, event="push"), None),
    ],
    ids=["a run", "an attempt", "itself", "an earlier run", "another trigger"],
)
def test_a_later_run_or_attempt_supersedes_the_run(later: RunResult, why: str | None) -> None:
    assert (
        workflows.find_superseded_reason(run_event(RUN), facts(), FakeHistory(ended=(later,)))
        == why
    )


# --- the comment
# -----------------------------------------------------------------------------


def variables(found: WorkflowFacts, **reply: Any) -> Mapping[str, object]:
    return workflows.list_comment_variables(found, workflow_analysis(**reply))


def test_quoted_error_names_the_jobs_that_have_it_too() -> None:
    jobs = (shard(1), shard(2), job(750, "lint"))
    logs = {701: LOG, 702: LOG, 750: logged("a.c:3:1: error: unknown type name 'x'")}
    shown = variables(facts(source=reader(PULL, jobs={1: jobs}, logs=logs)))
    assert [step.job for step in shown["also_in"]] == ["test (2)"]  # type: ignore[attr-defined]
    assert variables(facts(), quote="")["also_in"] == ()


def test_places_outside_of_logs_and_changed_files_are_left_out() -> None:
    real = ("area.py", "tests/test_area.py", ".github/workflows/tests.yml")
    made_up = ("made/up.py", "", "rea.py", "t", "tests/test_a", "est_area.py")
    where = [{"path": path, "line": None, "why": "Here."} for path in (*real, *made_up)]
    places = variables(facts(), where=where)["places"]
    assert isinstance(places, tuple)
    assert tuple(place.path for place in places if isinstance(place, LinkedPlace)) == real


def test_places_in_the_repository_link_to_their_line_at_the_commit_of_the_run() -> None:
    where = [
        {"path": path, "line": 7, "why": "Here."} for path in ("area.py", "tests/test_area.py")
    ]
    url = "https://github.com/octo/hello/blob/0123456789abcdef0123456789abcdef01234567/area.py#L7"
    assert variables(facts(), where=where)["places"] == (
        LinkedPlace("area.py", 7, "Here.", url),
        LinkedPlace("tests/test_area.py", 7, "Here.", ""),
    )


def test_each_workflow_has_its_own_section() -> None:
    found = facts()
    answered = analysis(workflow_analysis())
    expected = EnsureComment("workflows", "Hello.", create=True, section="workflow-5-pull-request")
    assert workflows.plan(found, answered) == (expected,)
    silent = workflows.plan(found, analysis(workflow_analysis(worth_saying=False)))
    assert silent == (replace(expected, create=False),)
    assert workflows.plan(found, analysis(workflow_analysis(), comment=None)) == ()


def test_a_workflow_that_could_not_start_gets_a_static_reply() -> None:
    run = replace(RUN, conclusion="startup_failure")
    found = facts(run, reader(PULL, jobs={}))
    skipped = workflows.find_skip_reason(found)
    assert skipped is not None
    assert skipped.reply == NOT_STARTED
    assert comment_of(workflows.plan(found, replace(analysis(), comment="Could not start."))).create


# --- another run of the same commit
# -----------------------------------------------------------------------------

PUSH = replace(RUN, id=71, run_number=42, event="push")


def process(
    run: WorkflowRun,
    log: str = LOG,
    states: dict[str, str | None] | None = None,
    *,
    jobs: int = 1,
    says: bool = True,
) -> RecordedJob:
    """Process a failed run; `states` are those of our comments."""
    every = tuple(job(700 + number, f"test {number}") for number in range(jobs))
    found = facts(run, reader(PULL, jobs={1: every}, logs={one.id: log for one in every}))
    rule = make_rule("workflow_run.completed")
    reply = workflow_analysis(worth_saying=says)
    recorded = RecordedJob(run_event(run), found, (reply,), rule=rule, states=states or {})
    recorded.reason = HANDLER.run(recorded).reason
    return recorded


def test_same_failure_of_another_event_at_the_commit_is_not_asked_about_again() -> None:
    first = process(RUN)
    assert first.done == [f"lock workflow 5 of {RUN.head_sha}", "ask", EnsureComment]
    second = process(PUSH, states=first.states)
    assert second.done == [f"lock workflow 5 of {RUN.head_sha}", EnsureComment]
    assert second.shown == WorkflowAnalysis(
        worth_saying=True,
        cause=(
            "Failed also in run 41 of the same commit, at the same step with the same error. "
            "Its explanation is in this comment."
        ),
        quote="E       assert area(2) == 4",
        where=[],
        advice="",
    )
    assert "also in run 41 of the same commit, so Claude was not asked" in second.reason
    assert second.states == first.states
    assert [comment.create for comment in second.comments] == [True]
    third = process(replace(RUN, id=72, run_number=43), states=second.states)
    assert "ask" in third.done  # its section replaces that of run 41


@pytest.mark.parametrize(
    ("second", "log", "jobs"),
    [
        (replace(PUSH, head_sha=RUN.head_sha[::-1]), LOG, 1),
        (replace(PUSH, workflow_id=6), LOG, 1),
        (PUSH, LOG.replace("== 4", "== 5"), 1),
        (PUSH, LOG, 2),
        (replace(PUSH, event="pull_request"), LOG, 1),
    ],
    ids=["another commit", "another workflow", "another error", "one more job", "the same event"],
)
def test_another_failure_is_asked_about(second: WorkflowRun, log: str, jobs: int) -> None:
    states = process(RUN).states
    found = replace(PULL, head_sha=second.head_sha)
    every = tuple(job(700 + number, f"test {number}") for number in range(jobs))
    source = reader(found, jobs={1: every}, logs={one.id: log for one in every})
    rule = make_rule("workflow_run.completed")
    recorded = RecordedJob(
        run_event(second), facts(second, source), (workflow_analysis(),), rule=rule, states=states
    )
    HANDLER.run(recorded)
    assert "ask" in recorded.done


@pytest.mark.parametrize(
    ("log", "says"),
    [(LOG, False), (LOG.replace("E       assert area(2) == 4", "it broke"), True)],
    ids=["nothing was said", "no line names the error"],
)
def test_failure_is_asked_about_again_unless_it_is_known_to_be_explained(
    log: str, says: bool
) -> None:
    first = process(RUN, log, says=says)
    assert "ask" in process(PUSH, log, first.states).done


def test_line_that_only_sums_the_failure_up_suffices_at_the_same_step() -> None:
    log = LOG.replace("E       assert area(2) == 4", "BUILD FAILED in 12s")
    assert "ask" not in process(PUSH, log.replace("12s", "13s"), process(RUN, log).states).done


def test_run_that_passes_is_no_longer_an_explanation_for_others() -> None:
    states = process(RUN).states
    passed = replace(RUN, conclusion="success", id=71, run_number=42)
    found = facts(passed, history=FakeHistory(ended=(run_result(run_number=41),)))
    recorded = RecordedJob(
        run_event(passed), found, rule=make_rule("workflow_run.completed"), states=states
    )
    HANDLER.run(recorded)
    assert recorded.done == [EnsureComment]
    assert "ask" in process(PUSH, states=recorded.states).done


def comment_after(passed: WorkflowRun, log: str) -> str | None:
    """The section about a run that passes after `RUN` failed and was explained."""
    history = FakeHistory(ended=(run_result(run_id=70, run_number=41),))
    rule = make_rule("workflow_run.completed")
    states = process(RUN, log).states
    recorded = RecordedJob(
        run_event(passed), facts(passed, history=history), rule=rule, states=states
    )
    HANDLER.run(recorded)
    shown = {**recorded.variables, "analysis": recorded.shown}
    return render_comment(library(), "workflows/analyze", shown, key=b"k")


@pytest.mark.parametrize("log", [LOG, LOG.replace("E       assert area(2) == 4", "it broke")])
def test_run_that_passes_without_a_change_is_flaky_and_keeps_the_cause(log: str) -> None:
    assert comment_after(replace(RUN, conclusion="success", run_attempt=2), log) == (
        "**`Tests` is flaky**: [run 41](https://github.com/octo/hello/actions/runs/70) failed,"
        " attempt 2 of the same commit passed (0123456789).\n"
        "\n"
        "The cause of the failure, as explained before: The area is wrong."
    )
    assert comment_after(PASSED, LOG) == (
        "**`Tests`** is fixed: [run 42](https://github.com/octo/hello/actions/runs/70) of commit"
        " 0123456789 passed."
    )


def test_state_of_another_version_is_no_explanation() -> None:
    assert "ask" in process(PUSH, states={"workflows": '[{"run": 41}]'}).done


# --- cancelled jobs
# -----------------------------------------------------------------------------

CANCELLED = replace(RUN, conclusion="cancelled")
TIMED_OUT = (
    "The job running on runner GitHub Actions 12 has exceeded the maximum execution time of 30"
    " minutes."
)
TIMED_OUT_LOG = logged(f"##[error]{TIMED_OUT}", "##[error]The operation was canceled.").rpartition(
    "\n"
)[0]
CANCELLED_LOG = logged("##[error]The operation was canceled.").rpartition("\n")[0]


def cancelled_job(job_id: int = 710, name: str = "slow") -> WorkflowJob:
    return job(
        job_id, name, "cancelled", steps=(step(1, "Set up job"), step(2, "Run pytest", "cancelled"))
    )


def test_cancelled_steps_are_read_like_failed_ones() -> None:
    slow = replace(cancelled_job(JOB.id), conclusion="timed_out")
    (found,) = facts(source=reader(PULL, jobs={1: (slow,)})).steps
    assert (found.step, found.conclusion, found.log) == ("Run pytest", "cancelled", "text")


@pytest.mark.parametrize("run", [RUN, CANCELLED], ids=["of a failed run", "of a cancelled run"])
def test_cancelled_job_whose_log_ends_with_a_time_out_is_explained(run: WorkflowRun) -> None:
    found = facts(run, reader(PULL, jobs={1: (cancelled_job(),)}, logs={710: TIMED_OUT_LOG}))
    (slow,) = found.steps
    assert (slow.job, slow.conclusion) == ("slow", "cancelled")
    assert f"Error: {TIMED_OUT}" in slow.text
    assert workflows.find_skip_reason(found) is None
    update = workflows.list_results(run_event(run), found)
    assert [(one.job, one.step) for one in update.failures] == [("slow", "Run pytest")]
    assert [end.passed for end in update.ends] == [False]


def test_cancelled_job_is_explained_by_an_annotation_if_its_log_does_not_show_the_time_out() -> (
    None
):
    notes = (
        "The operation was canceled.",
        "The job has exceeded the maximum execution time of 1h0m0s",
    )
    source = reader(
        PULL,
        jobs={1: (cancelled_job(),)},
        logs={710: CANCELLED_LOG},
        annotations={710: tuple(map(annotated, notes))},
    )
    (slow,) = facts(CANCELLED, source).steps
    assert slow.annotations == f"1| Error: {notes[0]}\n2| Error: {notes[1]}"
    assert "Error: The operation was canceled." in slow.text


NOT_FOUND_BY_US = (
    "the workflow run was cancelled, and nothing shows that a job ran out of time or was killed"
)


def test_cancelled_run_whose_jobs_nothing_killed_is_ignored() -> None:
    source = reader(PULL, jobs={1: (cancelled_job(),)}, logs={710: CANCELLED_LOG})
    with pytest.raises(ConversationIgnored, match=NOT_FOUND_BY_US) as ignored:
        facts(CANCELLED, source)
    assert ignored.value.kind == "nothing failed"


def test_log_of_a_job_that_was_cancelled_by_an_annotation_is_not_read() -> None:
    source = reader(
        PULL,
        jobs={1: (cancelled_job(),)},
        annotations={710: (annotated("The operation was canceled."),)},
    )
    with pytest.raises(ConversationIgnored, match=NOT_FOUND_BY_US):
        facts(CANCELLED, source)
    assert source.github.calls == ["pull_requests_from mona:fix", "jobs 70 1", "annotations 710"]


def test_cancelled_run_is_ignored_if_its_commit_is_not_the_head_of_the_pull_request() -> None:
    pushed = replace(PULL, head_sha="f" * 40)
    source = reader(pushed, jobs={1: (cancelled_job(),)}, logs={710: TIMED_OUT_LOG})
    with pytest.raises(
        ConversationIgnored, match="the workflow run was cancelled, and its commit is not the head"
    ):
        facts(CANCELLED, source)
    assert source.github.calls == ["pull_requests_from mona:fix"]


@pytest.mark.parametrize(
    ("head", "is_explained"), [(RUN.head_sha, True), ("f" * 40, False), (None, False)]
)
def test_cancelled_run_of_the_default_branch_is_explained_if_its_commit_is_the_head(
    head: str | None, is_explained: bool
) -> None:
    on_main = replace(ON_MAIN, conclusion="cancelled")
    source = reader(jobs={1: (cancelled_job(),)}, logs={710: TIMED_OUT_LOG})
    source.github.heads = {} if head is None else {"main": head}
    if is_explained:
        assert [one.job for one in facts(on_main, source).steps] == ["slow"]
        return
    with pytest.raises(ConversationIgnored, match="its commit is not the head"):
        facts(on_main, source)


def test_cancelled_jobs_of_a_failed_run_that_nothing_killed_are_left_out() -> None:
    jobs = (cancelled_job(), JOB, cancelled_job(711, "hangs"))
    logs = {JOB.id: LOG, 710: CANCELLED_LOG, 711: TIMED_OUT_LOG}
    found = facts(source=reader(PULL, jobs={1: jobs}, logs=logs))
    assert [one.job for one in found.steps] == ["test", "hangs"]
    assert found.failed == (("test", "Run pytest"), ("hangs", "Run pytest"))
    assert found.omitted == 0


def test_cancelled_jobs_of_a_matrix_are_read_after_all_failed_jobs() -> None:
    shards = [cancelled_job(720 + number, f"test ({number})") for number in range(12)]
    source = reader(PULL, jobs={1: (*shards, shard(12), job(750, "lint"))}, logs={})
    assert [one.job for one in facts(source=source).steps] == ["test (12)", "lint"]
    assert sum(call.startswith("annotations") for call in source.github.calls) == MAX_JOBS


def test_cancelled_jobs_of_a_failed_run_are_not_read_if_its_commit_is_not_the_head() -> None:
    source = reader(jobs={1: (JOB, cancelled_job())}, logs={JOB.id: LOG, 710: TIMED_OUT_LOG})
    assert [one.job for one in facts(ON_MAIN, source).steps] == ["test"]
    assert "job_log 710" not in source.github.calls
