"""Conversations about workflow runs: what is shown, where it is posted, and which failures are
known.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from hls_handler.github.values import NoLog, WorkflowJob
from hls_handler.handlers.workflow_facts import (
    FailedStep,
    FailureHistory,
    JobSource,
    order_jobs,
    read_failed_steps,
)
from tests.handlers import events
from tests.handlers.conftest import OpenHome
from tests.handlers.conversation import (
    HEAD,
    REPOSITORY,
    Home,
    annotation,
    changed_file,
    job,
    person,
)
from tests.handlers.events import LOG, workflow_analysis

OWN = {"head_repository": {"full_name": REPOSITORY, "owner": {"login": "octo", "id": 7}}}
ON_MAIN: dict[str, Any] = {**OWN, "head_branch": "main", "event": "push"}
PUSH: dict[str, Any] = {"id": 71, "run_number": 42, "event": "push"}
RECORDED = "done: the failed steps are recorded, and Claude was not asked, because there is no"
UNREADABLE = "done: nothing readable says what failed, so Claude was not asked"
SECTION = "**`Tests` failed** in [run 41](https://github.com/octo/hello/actions/runs/70)"


@pytest.fixture
def home(home: Home) -> Home:
    home.says(workflow_analysis(where=[]))
    return home


def logged(*errors: str) -> str:
    """Return `LOG` with other errors."""
    lines = [f"2026-11-20T09:00:22.0000000Z {error}" for error in errors]
    return LOG.replace("2026-11-20T09:00:22.0000000Z E       assert area(2) == 4", "\n".join(lines))


def shown_jobs(home: Home) -> list[str]:
    return re.findall(r"^Step \d+: (?:.* of )?the job (.*) \(", home.question, re.MULTILINE)


def test_failure_is_explained_on_the_pull_request_and_resolved_when_a_run_passes(
    home: Home,
) -> None:
    pull = home.open_pull_request(files=[changed_file("src/area.py"), changed_file("README.md")])
    home.open_pull_request(9)  # of the same branch, opened later
    workflow = ".github/workflows/tests.yml"
    real = ("src/area.py", "tests/test_area.py", workflow)
    paths = (*real, "made/up.py", "rc/area.py", "t", "")
    where = [{"path": path, "line": 7, "why": "Here."} for path in paths]
    home.says(workflow_analysis(where=where))
    assert home.end_run(job(), job("lint", conclusion="success")) == "done: commented"
    assert home.question == (
        "Repository: octo/hello\n"
        "Workflow: Tests, run 41, attempt 1\n"
        "File of the workflow: .github/workflows/tests.yml\n"
        "Branch: fix\n"
        "Pull request 8: Square it\n"
        "\n"
        "Step 1: Run pytest of the job test (failure)\n"
        "2| Run pytest\n"
        "3| \n"
        "4| E       assert area(2) == 4\n"
        "5| tests/test_area.py:7: AssertionError\n"
        "6| Error: Process completed with exit code 1.\n"
        "\n"
        "Files of the pull request:\n"
        "- src/area.py\n"
        "- README.md\n"
        "\n"
        "That is all there is. Say why it failed."
    )
    assert pull.shown() == (
        "\n--\n"
        f"{SECTION}, of commit 0123456789\n"
        "The area is wrong.\n"
        "> line 4 of [test](https://github.com/octo/hello/actions/runs/70/job/70101):"
        " `E assert area(2) == 4`\n"
        "Where to look:\n"
        f"- [`src/area.py`, line 7](https://github.com/octo/hello/blob/{HEAD}/src/area.py#L7):"
        " Here.\n"
        "- `tests/test_area.py`, line 7: Here.\n"
        f"- [`{workflow}`, line 7](https://github.com/octo/hello/blob/{HEAD}/{workflow}#L7): Here."
    )
    passed = {"conclusion": "success", "id": 71, "run_number": 42}
    on_main = home.end_run(**{**passed, **ON_MAIN, "id": 69})
    unknown = "done: the run passed, and no earlier failure on this branch is recorded"
    assert on_main == unknown
    ended = home.end_run(**passed)
    assert ended == "done: the run passed, so Claude was not asked; edited our comment"
    assert pull.shown() == (
        "\n--\n"
        "**`Tests`** is fixed: [run 42](https://github.com/octo/hello/actions/runs/70)"
        " of commit 0123456789 passed."
    )
    assert home.end_run(conclusion="success", id=72, run_number=43) == unknown


def test_run_that_passes_without_a_change_is_flaky_and_keeps_the_cause(home: Home) -> None:
    pull = home.open_pull_request()
    home.end_run(job())
    home.end_run(job(conclusion="success"), conclusion="success", earlier=[[job()]])
    assert pull.shown() == (
        "\n--\n"
        "**`Tests` is flaky**: [run 41](https://github.com/octo/hello/actions/runs/70) failed,"
        " attempt 2 of the same commit passed (0123456789).\n"
        "The cause of the failure, as explained before: The area is wrong."
    )


def test_each_workflow_has_its_own_section_unless_nothing_is_worth_saying(home: Home) -> None:
    pull = home.open_pull_request()
    home.says(workflow_analysis(worth_saying=False, cause=""))
    assert home.end_run(job()) == ("done: nothing worth saying, and no existing comment to update")
    home.says(workflow_analysis(where=[]))
    home.end_run(job(), id=71, workflow_id=6, name="Lint")
    home.end_run(conclusion="startup_failure", id=72, workflow_id=7, name="Docs")
    sections = pull.shown().split("**`")[1:]
    assert [section.partition("`")[0] for section in sections] == ["Lint", "Docs"]
    assert sections[1].split("\n")[1].startswith("A guess, since no line of a log shows it: GitHub")


def test_failure_of_a_branch_without_a_pull_request_is_only_recorded(home: Home) -> None:
    assert home.end_run(job(), **{**ON_MAIN, "head_branch": "try"}).startswith(RECORDED)
    assert home.end_run(job(), id=71, head_branch="main", head_repository=None).startswith(RECORDED)


def test_failure_on_the_default_branch_is_posted_on_the_fallback_issue(home: Home) -> None:
    home.end_run(job(), **ON_MAIN, head_sha="a" * 40)
    assert SECTION in home.fallback.shown()
    pull = home.open_pull_request()
    home.end_run(job(), id=71, run_number=7)
    known = "hardly the fault of this change, since the same step failed on 1 other branch within"
    assert f"- `Run pytest`: {known} 7 days: main" in pull.shown()


@pytest.mark.parametrize("is_fork", [False, True])
def test_failed_run_of_a_merge_queue_is_explained_on_its_pull_request(
    home: Home, is_fork: bool
) -> None:
    pull = home.open_pull_request()
    queue = {"head_branch": f"gh-readonly-queue/main/pr-8-{'b' * 40}", "head_sha": "f" * 40}
    ended = home.end_run(job(), **queue, **({} if is_fork else OWN))
    assert (SECTION in pull.shown(), ended.startswith(RECORDED)) == (not is_fork, is_fork)


@pytest.mark.parametrize("bots", [(), ("renovate",)])
def test_rule_17_the_author_of_the_pull_request_counts_and_not_who_triggered_the_run(
    opened: OpenHome, bots: tuple[str, ...]
) -> None:
    home = opened(features={"bots": bots})
    home.says(workflow_analysis(where=[]))
    home.open_pull_request(9)
    assert home.end_run(job(), actor=person("renovate[bot]")) == "done: commented"
    home.open_pull_request(8, by="renovate[bot]")
    ignored = (
        "ignored: the pull request octo/hello#8 was opened by a bot; add renovate[bot] to the list"
        " features.bots to have its failures explained"
    )
    assert home.end_run(job(), id=71) == ("done: commented" if bots else ignored)


# What is read


def test_rule_10_logs_and_annotations_are_redacted_as_prose(home: Home) -> None:
    home.open_pull_request()
    secret = "DB_PASSWORD=swordfish"
    home.end_run(
        job(log=logged(f"E       {secret} <!-- x -->")),
        job("build", None, steps=[], annotations=[annotation(f"{secret} is wrong")]),
    )
    assert "4| E       DB_PASSWORD=[redacted: password] <!-- x -->\n" in home.question
    assert "1| Error: DB_PASSWORD=[redacted: password] is wrong\n" in home.question


NOT_PAID = "The job was not started because recent account payments have failed."
DEPRECATED = annotation("Node.js 20 is deprecated", "warning")


@pytest.mark.parametrize(
    ("log", "annotations"),
    [
        (None, ()),
        ("", ()),
        ("\x00\x01" * 4000, ()),
        (None, (annotation("Process completed with exit code 1."),)),
        (None, (DEPRECATED,)),
        (None, (annotation(NOT_PAID),)),
    ],
    ids=["expired", "empty", "binary", "exit code", "a warning", "annotations may not be read"],
)
def test_claude_is_not_asked_if_nothing_readable_says_what_failed(
    home: Home, log: str | None, annotations: tuple[Any, ...]
) -> None:
    home.open_pull_request()
    if NOT_PAID in str(annotations):
        home.client.fail(403, "/annotations", times=None)
    assert home.end_run(job(log=log, annotations=annotations)) == UNREADABLE


def test_annotations_explain_jobs_without_a_log(home: Home) -> None:
    pull = home.open_pull_request()
    home.says(workflow_analysis(quote=NOT_PAID))
    place = annotation("It is 3.\nNot 4.", path="area.py", line=7)
    home.end_run(
        job("build", None, steps=[], annotations=[DEPRECATED, annotation(NOT_PAID)]),
        job("docs", "", steps=[], annotations=[annotation(NOT_PAID)]),
        job("lint", None, steps=[], annotations=[place]),
        job(annotations=[annotation("It has a log.")]),
        job("windows", None),
    )
    assert home.question.partition("Step 1: ")[2].partition("2| Run pytest")[0] == (
        "the job build (failure)\n"
        "Its log cannot be shown: expired\n"
        "What GitHub says about the job:\n"
        f"1| Error: {NOT_PAID}\n"
        "\n"
        "Step 2: the job docs (failure)\n"
        "The same error as in step 1\n"
        "\n"
        "Step 3: the job lint (failure)\n"
        "Its log cannot be shown: expired\n"
        "What GitHub says about the job:\n"
        "1| Error: area.py:7: It is 3.\n"
        "2| Not 4.\n"
        "\n"
        "Step 4: Run pytest of the job test (failure)\n"
    )
    assert "\n  Not shown to Claude: 3 logs (expired).\n" in home.why
    assert (
        f"\n> [build](https://github.com/octo/hello/actions/runs/70/job/70101): `Error: {NOT_PAID}`\nAlso in [`docs`](https://github.com/octo/hello/actions/runs/70/job/70102).\n"
        in pull.shown()
    )
    numbers = re.findall(r"/check-runs/(\d+)/annotations", " ".join(home.client.calls))
    assert numbers == ["70101", "70102", "70103", "70105"]  # and not of the job with a log


def test_annotation_with_code_is_quoted(home: Home) -> None:
    pull = home.open_pull_request()
    text = "It failed because it uses `actions/upload-artifact: v3`."
    home.says(workflow_analysis(where=[], quote=text))
    home.end_run(job("build", None, steps=[], annotations=[annotation(text)]))
    assert f"`` Error: {text} ``" in pull.shown()


def test_equal_error_of_twelve_shards_is_shown_once_and_jobs_over_the_limit_are_counted(
    home: Home,
) -> None:
    pull = home.open_pull_request()
    lint = job("lint", logged("a.c:3:1: error: unknown type name 'x'"))
    home.end_run(*(job(f"test ({number})") for number in range(1, 13)), lint)
    assert shown_jobs(home) == ["test (1)", "lint", *(f"test ({n})" for n in range(2, 10))]
    assert home.question.count("The same error as in step 1") == 8
    assert "\n  Not shown to Claude: the logs of 3 more failed jobs.\n" in home.why
    assert "\nAlso in [`test (2)`]" in pull.shown()
    assert pull.shown().endswith("\nNot read: 3 more failed jobs.")


def test_first_job_of_each_matrix_is_read_before_the_others() -> None:
    names = ("e2e 1/3", "e2e 2/3", "call / build (x)", "call / build (y)", "lint")
    ordered = [one.name for one in order_jobs(events.job(name=name) for name in names)]
    assert ordered == ["e2e 1/3", "call / build (x)", "lint", "e2e 2/3", "call / build (y)"]


def read_steps(*logs: str, characters: int = 40_000) -> tuple[FailedStep, ...]:
    """Read a failed job for each log."""
    jobs = [events.job(number, f"test {number}") for number in range(len(logs))]

    def no_jobs(_run: int, _attempt: int) -> tuple[WorkflowJob, ...]:
        return ()

    def read_log(number: int) -> Any:
        return iter(logs[number].split("\n")) or NoLog("empty")

    source = JobSource(no_jobs, read_log, lambda _: ())
    return read_failed_steps(jobs, source, characters, FailureHistory({}, (), "main"))


SAME = "E       assert area(2) == 4"
TIME = 'Error: time="2026-11-28T12:00:0{}Z" level=error msg="no {}"'
REFUSED = "Error: connect ECONNREFUSED 127.0.0.{}:{}"
CART = "E       assert <Cart at 0x{}1b2d90> == {}"


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ((SAME,), (SAME,), True),
        ((SAME, "E       another"), (SAME,), False),
        (("--- FAIL: TestTotal (0.02s)",), ("--- FAIL: TestTotal (1.3s)",), True),
        (("--- FAIL: TestTotal2 (0.02s)",), ("--- FAIL: TestTotal3 (0.02s)",), False),
        (("a.c:1204:5: error: expected ';'",), ("a.c:3310:5: error: expected ';'",), False),
        (("E       assert 5000 == 4000",), ("E       assert 1200 == 1100",), False),
        (("E   assert '2026-01-31' == ''",), ("E   assert '2024-02-29' == ''",), False),
        (("Error: error in migration 0012",), ("Error: error in migration 0013",), False),
        ((TIME.format(0, "stock"),), (TIME.format(7, "stock"),), True),
        ((TIME.format(0, "stock"),), (TIME.format(7, "cart"),), False),
        ((REFUSED.format(1, 45123),), (REFUSED.format(1, 39871),), True),
        ((REFUSED.format(1, 45123),), (REFUSED.format(2, 39871),), False),
        ((CART.format("7f3c8a", 404),), (CART.format("7f11fa", 404),), True),
        ((CART.format("7f3c8a", 404),), (CART.format("7f11fa", 500),), False),
    ],
)
def test_error_is_the_same_if_the_marked_lines_are(
    first: tuple[str, ...], second: tuple[str, ...], is_same: bool
) -> None:
    found = read_steps(logged(*first), logged(*second))
    assert [one.same_as for one in found] == [0, 1 if is_same else 0]


UNMARKED = LOG.replace("E       assert area(2) == 4", "it broke").replace(
    "tests/test_area.py:7: AssertionError", "so it ended"
)


def test_logs_share_the_budget_and_equal_ones_take_none_of_it() -> None:
    long = logged(*(f"E       line {number} is {'x' * 300}" for number in range(50)))
    other = long.replace("x", "y")
    matrix = read_steps(*[long] * 9, LOG, characters=6_000)
    assert 4_500 < sum(len(step.text) for step in matrix) <= 6_000
    assert [len(step.text) for step in matrix[1:9]] == [0] * 8
    two = read_steps(long, LOG, other, characters=6_000)
    assert 4_500 < sum(len(step.text) for step in two) <= 6_000
    assert len(two[0].text) == len(two[2].text)
    whole = read_steps(long, other, characters=36_000)
    assert [step.shown_lines for step in whole] == [step.lines for step in whole]


# Known failures

FAILED, PASSED = events.job(), events.job(conclusion="success")
STOPPED = events.job(conclusion=None)
OTHER_STEP: dict[str, Any] = {"branch": "main", "step": "Build"}


@pytest.mark.parametrize(
    ("attempts", "elsewhere", "verdict", "evidence"),
    [
        ([(PASSED,)], [], "flaky", "1 attempt at the same commit passed this job"),
        ([(FAILED,)], [], "fails every time", "2 attempts at the same commit failed this job"),
        ([], [], "unknown", ""),
        ([(STOPPED,)], [], "unknown", ""),
        ([(PASSED, FAILED)], [], "fails every time", "2 attempts at the same commit failed"),
        ([], ["fix/b", "main", "fix/a", "fix/a"], "fails elsewhere",
         "the same step failed on 3 other branches within 7 days: main, fix/a, fix/b"),
        ([], ["main"], "fails elsewhere", "the same step failed on 1 other branch within 7 days"),
        ([], ["fix/a"], "unknown", "the same step failed on 1 other branch within 7 days: fix/a"),
        ([(PASSED,)], ["main"], "flaky", "1 attempt at the same commit passed this job"),
    ],
)  # fmt: skip
def test_attempts_and_other_branches_classify_a_failure(
    attempts: list[tuple[WorkflowJob, ...]], elsewhere: list[str], verdict: str, evidence: str
) -> None:
    failures = [events.failure(branch=branch) for branch in elsewhere]
    failures += [events.failure(branch="main", job="lint"), events.failure(**OTHER_STEP)]
    known = dict(enumerate([*attempts, (FAILED,)], start=1))
    found = FailureHistory(known, tuple(failures), "main").classify("test", "Run pytest")
    assert found.verdict == verdict
    assert found.evidence.startswith(evidence)


def test_comment_says_what_is_known_from_elsewhere(home: Home) -> None:
    pull = home.open_pull_request()
    for number, other in enumerate([ON_MAIN, {"head_branch": "fix"}, {"workflow_id": 6}], 1):
        home.end_run(job(), id=number, run_number=number, **{"head_sha": "a" * 40, **other})
    home.end_run(job(), earlier=[[job(conclusion="success")]])
    assert pull.shown().endswith(
        "\nWhat is known from elsewhere:\n"
        "- `Run pytest`: flaky, since 1 attempt at the same commit passed this job"
    )
    home.end_run(job(), id=71, run_number=42)
    known = "since the same step failed on 1 other branch within 7 days: main"
    assert pull.shown().endswith(f"- `Run pytest`: hardly the fault of this change, {known}")


def test_run_is_superseded_by_a_later_run_or_attempt_of_the_same_trigger(home: Home) -> None:
    home.open_pull_request()
    home.end_run(job(conclusion="success"), earlier=[[job()]], conclusion="success")
    passed = "superseded: a later run or attempt of the same name passed"
    assert home.end_run(job()) == passed
    assert home.end_run(job(), id=69, run_number=40) == passed
    assert home.end_run(job(), id=68, run_number=40, event="push") == "done: commented"
    home.end_run(job(), id=71, run_number=42)
    failed = "superseded: a later run or attempt of the same name failed"
    assert home.end_run(job(), id=67, run_number=40) == failed


def test_failure_is_not_posted_if_a_later_run_passed_while_claude_was_asked(home: Home) -> None:
    pull = home.open_pull_request()
    later = {"id": 71, "run_number": 42, "conclusion": "success"}
    home.while_asked(lambda: home.end_run(job(conclusion="success"), **later))
    assert home.end_run(job()) == "superseded: a later run or attempt of the same name passed"
    assert pull.shown() == ""


def test_failure_of_an_older_commit_is_recorded_and_not_posted(home: Home) -> None:
    pull = home.open_pull_request()
    ended = home.end_run(job(), head_sha="f" * 40)
    assert ended == (
        "done: the pull request has newer commits than the run: failures are recorded, but not"
        " posted"
    )
    assert pull.shown() == ""


# Another run of the same commit

SAME_FAILURE = (
    "done: failed also in run 41 of the same commit, so Claude was not asked; edited our comment"
)


def test_same_failure_of_another_event_at_the_commit_is_not_asked_about_again(home: Home) -> None:
    pull = home.open_pull_request()
    asked = "done: edited our comment"
    assert home.end_run(job()) == "done: commented"
    assert home.end_run(job(log=logged("E       assert 5")), **PUSH) == asked
    assert home.end_run(job(), job("again"), **{**PUSH, "run_number": 44}) == SAME_FAILURE
    again = "Failed also in run 41 of the same commit, at the same step with the same error."
    assert f"{again} Its explanation is in this comment.\n> line 4 of [test]" in pull.shown()
    assert home.end_run(job(log=UNMARKED), id=73, run_number=45) == asked  # in place of run 41
    pull.act("synchronize", head={**pull.document["head"], "sha": "f" * 40})
    assert home.end_run(job(), **{**PUSH, "run_number": 46, "head_sha": "f" * 40}) == asked


def test_same_failure_of_another_workflow_at_the_commit_is_not_asked_about_again(
    home: Home,
) -> None:
    pull = home.open_pull_request()
    home.says(workflow_analysis(where=[], quote="tests/test_area.py:7: AssertionError"))
    home.end_run(job())
    other = {"id": 72, "workflow_id": 6, "name": "Nightly"}
    assert home.end_run(job(log=logged("E       assert 5")), **other) == "done: edited our comment"
    same = "done: failed also in run 41 of Tests, so Claude was not asked; edited our comment"
    assert home.end_run(job("unit"), **{**other, "run_number": 43}) == same
    assert (
        "Failed also in run 41 of Tests, at the same step with the same error. Its explanation is"
        " in this comment.\n> line 5 of [unit]"
    ) in pull.shown()


@pytest.mark.parametrize(
    ("log", "second", "says", "is_known"),
    [
        (LOG, LOG, False, False),
        (UNMARKED, UNMARKED, True, False),
        (logged("BUILD FAILED in 12s"), logged("BUILD FAILED in 13s"), True, True),
    ],
    ids=["nothing was said", "no marked line", "a duration"],
)
def test_failure_is_asked_about_again_unless_it_is_known_to_be_explained(
    home: Home, log: str, second: str, says: bool, is_known: bool
) -> None:
    home.open_pull_request()
    home.says(workflow_analysis(worth_saying=says, where=[]))
    home.end_run(job(log=log))
    assert (home.end_run(job(log=second), **PUSH) == SAME_FAILURE) is is_known


def test_run_that_passes_is_no_longer_an_explanation_for_others(home: Home) -> None:
    home.open_pull_request()
    home.end_run(job())
    home.end_run(job(conclusion="success"), conclusion="success", id=72, run_number=42)
    assert home.end_run(job(), **PUSH) == "done: edited our comment"


# Cancelled jobs

TIMED_OUT = "The job has exceeded the maximum execution time of 30m0s"
WAS_CANCELLED = "The operation was canceled."
KILLED_LOG = logged(f"##[error]{TIMED_OUT}", f"##[error]{WAS_CANCELLED}").rpartition("\n")[0]
CANCELLED_LOG = logged(f"##[error]{WAS_CANCELLED}").rpartition("\n")[0]
BY_SOMEBODY = "nothing shows that a job ran out of time or was killed"
NOT_HEAD = "its commit is not the head of an open pull request or of the default branch"


def cancelled(log: str = KILLED_LOG, *annotations: str, name: str = "slow") -> Any:
    notes = tuple(map(annotation, annotations))
    return job(name, log, "cancelled", annotations=notes)


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (cancelled(), ""),
        (cancelled(CANCELLED_LOG, WAS_CANCELLED, TIMED_OUT), ""),
        (cancelled(CANCELLED_LOG), BY_SOMEBODY),
        (cancelled(KILLED_LOG, WAS_CANCELLED), BY_SOMEBODY),
    ],
    ids=["log", "annotation", "nothing", "annotations say that somebody cancelled it"],
)
def test_cancelled_run_is_explained_if_a_job_was_killed(
    home: Home, known: Any, reason: str
) -> None:
    home.open_pull_request()
    ended = home.end_run(known, conclusion="cancelled")
    if reason:
        assert ended == f"ignored: the workflow run was cancelled, and {reason}"
        return
    assert ended == "done: commented"
    assert "Step 1: Run pytest of the job slow (cancelled)\n" in home.question
    assert f"| Error: {TIMED_OUT}\n" in home.question


def test_cancelled_run_is_ignored_if_its_commit_is_not_the_head(home: Home) -> None:
    home.open_pull_request()
    for known in ({"head_sha": "f" * 40}, {**ON_MAIN, "id": 71}):
        ended = home.end_run(cancelled(), conclusion="cancelled", **known)
        assert ended == f"ignored: the workflow run was cancelled, and {NOT_HEAD}"
    home.state.change(lambda world: world.with_ref(REPOSITORY, "main", HEAD))
    home.end_run(cancelled(), conclusion="cancelled", **ON_MAIN, id=72)
    assert shown_jobs(home) == ["slow"]


def test_cancelled_jobs_of_a_failed_run_are_read_after_the_failed_ones_if_killed(
    home: Home,
) -> None:
    home.open_pull_request()
    home.end_run(
        cancelled(CANCELLED_LOG, name="stopped"), cancelled(), job("test 1/2"), job("test 2/2")
    )
    assert shown_jobs(home) == ["test 1/2", "slow", "test 2/2"]
    home.end_run(job(), cancelled(), **{**ON_MAIN, "id": 71})
    assert shown_jobs(home) == ["test"]  # it is not known to be the head
