"""Conversations about check runs of other Apps."""

from __future__ import annotations

from typing import Any

from tests.handlers.conversation import HEAD, Home, annotation
from tests.handlers.events import workflow_analysis

OUTPUT = {
    "title": "1 new issue",
    "summary": "The quality gate failed.\nCoverage is 61 %, and 80 % are required.",
    "text": None,
    "annotations_count": 1,
}
FAILED: dict[str, Any] = {
    "id": 90, "head_sha": HEAD, "pull_requests": [{"number": 8, "base": {"repo": {"id": 1}}}], "name": "quality",
    "conclusion": "failure", "status": "completed", "html_url": "https://a.example/90",
    "app": {"id": 3, "name": "Sonar", "slug": "sonar"}, "output": OUTPUT,
    "check_suite": {"head_branch": "fix"}, "completed_at": "2026-11-20T09:00:00Z",
}  # fmt: skip
PASSED = {**FAILED, "conclusion": "success", "completed_at": "2026-11-20T09:01:00Z"}
UNKNOWN = "done: the run passed, and no earlier failure on this branch is recorded"


def end_check(home: Home, check: dict[str, Any]) -> str:
    home.says(workflow_analysis(quote="1 new issue", where=[]))
    stored = {**check, "annotations": [ANNOTATION]}
    home.state.change(lambda world: world.with_check_run("octo/hello", stored))
    return home.send("check_run", "completed", check_run=check)


ANNOTATION = {**annotation("Split this function.", path="area.py", line=7), "title": "Complex"}


def test_output_and_annotations_are_the_log_of_one_job_of_the_app(home: Home) -> None:
    pull = home.open_pull_request()
    assert end_check(home, FAILED) == "done: commented"
    assert home.question == (
        "Repository: octo/hello\n"
        "Check: quality\n"
        "Branch: pull request 8\n"
        "Pull request 8: Square it\n"
        "\n"
        "Step 1: the job Sonar (failure)\n"
        "The log of the whole job:\n"
        "1| 1 new issue\n"
        "2| The quality gate failed.\n"
        "3| Coverage is 61 %, and 80 % are required.\n"
        "4| area.py:7: failure: Complex Split this function.\n"
        "\n"
        "Files of the pull request:\n"
        "- area.py\n"
        "\n"
        "That is all there is. Say why it failed."
    )
    failed = "\n--\n**`quality` failed** in [its check](https://a.example/90)"
    assert pull.shown().startswith(failed)
    assert end_check(home, {**PASSED, "id": 91, "name": "other"}) == UNKNOWN
    other_app = {"id": 4, "name": "Lint", "slug": "lint"}
    assert end_check(home, {**PASSED, "id": 92, "app": other_app}) == UNKNOWN
    # the same check ends again: a later run, which is not flaky
    end_check(home, PASSED)
    assert pull.shown() == (
        "\n--\n**`quality`** is fixed: [its check](https://a.example/90)"
        " of commit 0123456789 passed."
    )
    assert end_check(home, {**FAILED, "output": {**OUTPUT, "title": "2 new issues"}}) == (
        "superseded: a later run or attempt of the same name passed"
    )


def test_claude_is_not_asked_about_a_check_that_says_nothing(home: Home) -> None:
    home.open_pull_request()
    silent = {"title": None, "summary": None, "text": None, "annotations_count": 0}
    reason = "nothing readable says what failed, so Claude was not asked"
    assert end_check(home, {**FAILED, "output": silent}) == f"done: {reason}"


def test_pull_request_of_a_fork_is_that_of_the_stored_commit(home: Home) -> None:
    of_fork = {**FAILED, "pull_requests": [], "check_suite": {"head_branch": None}}
    unknown = end_check(home, of_fork)
    assert unknown.startswith("done: the failed steps are recorded, and Claude was not asked")
    pull = home.open_pull_request()
    pull.act("opened")
    assert end_check(home, {**of_fork, "id": 91}) == "done: commented"
    assert "Branch: pull request 8\n" in home.question


def test_output_is_explained_without_annotations_that_the_token_may_not_read(home: Home) -> None:
    home.open_pull_request()
    home.client.fail(403, "/annotations", times=None)
    end_check(home, FAILED)
    assert "required.\n\nFiles" in home.question
