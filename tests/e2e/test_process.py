"""One event without a service, as a runner of GitHub Actions processes it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.runner import ACTION, Runner, list_doubled
from tests.e2e.service import wait_until
from tests.github_fake.faults import Fault
from tests.github_fake.files import set_file
from tests.github_fake.server import Sandbox


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    with Sandbox() as sandbox:
        yield Runner(sandbox, tmp_path)


def checks(runner: Runner) -> list[tuple[str, str]]:
    """State and title of the check on the head commit, oldest first."""
    pull = runner.pull
    found = runner.sandbox.state.world.statuses_on(pull.repository, pull.head_sha)
    return [(one["state"], one["description"]) for one in found]


def states(runner: Runner) -> list[str]:
    return [state for state, _ in checks(runner)]


def test_issue_gets_labels_and_a_comment_and_the_same_run_sends_nothing(runner: Runner) -> None:
    payload = runner.seed("demo/bug")
    run = runner.run("issues", payload)
    issue = runner.sandbox.conversation(11)
    assert run.code == 0
    assert run.output.startswith("issues.opened Codertocat/Hello-World#11: Done. $0.0")
    assert "Labels: added bug, priority-high" in run.summary
    assert issue.labels == ("bug", "priority-high", "difficulty-moderate", "component-backend")
    assert [one.author.login for one in issue.comments] == ["github-actions[bot]"]
    assert run.requests.total() <= 14
    assert run.requests["claude"] == 1
    again = runner.run("issues", payload, is_same=True)
    assert (again.code, again.output) == (0, run.output)
    assert not again.requests


def test_settings_of_the_repository_apply(runner: Runner) -> None:
    payload = runner.seed("demo/bug")
    text = "features: {auto_labeling: false}\n"
    set_file(runner.sandbox.state, "Codertocat/Hello-World", ".github/hls.yaml", text)
    assert runner.run("issues", payload).code == 0
    assert runner.sandbox.conversation(11).labels == ()


@pytest.mark.parametrize("lost_before", [{1}, {2}, {3}, {4}, {1, 2, 3, 4}], ids=str)
def test_pull_request_is_followed_and_a_lost_database_doubles_nothing(
    runner: Runner, lost_before: set[int]
) -> None:
    events: tuple[Callable[[], tuple[str, dict[str, Any]]], ...] = (
        lambda: ("pull_request_target", runner.seed("demo/feature")),
        lambda: ("pull_request_target", runner.push("cosmetic")),
        lambda: ("issue_comment", runner.comment("/dismiss 1")),
        lambda: ("pull_request_target", runner.push("fix")),
        lambda: ("issue_comment", runner.comment("/review full")),
    )
    for index, make in enumerate(events):
        if index in lost_before:
            runner.lose_database()
        run = runner.run(*make())
        assert run.code == 0, run.output + run.errors
        assert list_doubled(runner.pull) == []
    assert len(runner.pull.comments) == 1 + 2  # the summary, and two commands
    assert states(runner)[-1] == "success"


def test_dismissal_in_a_thread_counts_after_the_database_is_lost(runner: Runner) -> None:
    runner.run("pull_request_target", runner.seed("demo/feature"))
    comment = next(one["id"] for _, one in runner.pull.review_comments())
    runner.comment("Thanks.")  # by mona, who may write
    runner.sandbox.state.set_resolved("Codertocat/Hello-World", 13, comment, "mona")
    runner.lose_database()
    run = runner.run("pull_request_target", runner.push("cosmetic"))
    assert "1 dismissed" in runner.pull.comments[0].body
    assert (run.code, list_doubled(runner.pull)) == (0, [])


def test_stopped_run_ends_a_check_that_github_has_not_confirmed(runner: Runner) -> None:
    runner.sandbox.faults.add(Fault(effect="hang_after", method="POST", path="/statuses/"))
    process = runner.begin("pull_request_target", runner.seed("demo/feature"))
    wait_until(lambda: bool(states(runner)))
    assert process.wait(how=signal.SIGINT).code == 1
    assert states(runner) == ["pending", "error"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_stopped_run_ends_its_check(runner: Runner, how: signal.Signals) -> None:
    payload = runner.seed("demo/feature")
    runner.sandbox.faults.add(Fault(effect="hang", stand_in="claude", path="/messages"))
    process = runner.begin("pull_request_target", payload)
    wait_until(lambda: runner.has_sent("POST", "/messages$", to="claude"))
    run = process.wait(how=how)
    assert run.code == 1
    assert "the run was stopped" in run.output
    assert states(runner) == ["pending", "error"]
    assert checks(runner)[-1][1].startswith("The review failed")
    assert runner.run("issue_comment", runner.comment("/review")).code == 0
    assert list_doubled(runner.pull) == []


@pytest.mark.parametrize(
    ("path", "is_lost"),
    [
        *((path, True) for path in ("/labels$", "/reviews$", "/issues/13/comments$", "/statuses/")),
        ("/reviews$", False),  # waits for a minute, in which the write may still take effect
    ],
)
def test_killed_run_is_finished_by_the_next_and_doubles_nothing(
    runner: Runner, path: str, is_lost: bool
) -> None:
    payload = runner.seed("demo/feature")
    runner.sandbox.faults.add(Fault(effect="hang_after", method="POST", path=path))
    process = runner.begin("pull_request_target", payload)
    wait_until(lambda: runner.has_sent("POST", path))
    process.wait(how=signal.SIGKILL)
    if is_lost:
        runner.lose_database()
    run = runner.run("pull_request_target", payload)
    assert run.code == 0, run.output + run.errors
    assert list_doubled(runner.pull) == []
    assert states(runner)[-1] == "success"


def test_action_puts_nothing_of_an_event_into_a_shell_line() -> None:
    steps = ACTION["runs"]["steps"]
    assert [step["run"] for step in steps if "${{" in step.get("run", "")] == []
    variables = {name for step in steps for name in step.get("env", {})}
    assert variables == {"ANTHROPIC_API_KEY", "GITHUB_TOKEN", "PYTHON", "PYTHONPATH", "SETTINGS"}


def test_command_imports_nothing_that_only_a_service_needs() -> None:
    code = "import sys, hls_handler.cli.process; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    only = ("starlette", "uvicorn", "hls_handler.console", "hls_handler.background")
    assert [name for name in done.stdout.split() if name.startswith(only)] == []


def test_ignored_event_sends_nothing_and_says_why(runner: Runner) -> None:
    payload = runner.seed("demo/bug")
    run = runner.run("issues", {**payload, "action": "pinned"})
    assert run.code == 0
    assert "Ignored" in run.output
    assert not run.requests


def test_token_that_may_not_write_costs_no_call(runner: Runner) -> None:
    runner.permit("read")
    for event, name in (("pull_request", "demo/feature"), ("issues", "demo/question")):
        run = runner.run(event, runner.seed(name))
        assert run.code == 1
        assert "give the job `permissions` to write (docs/actions.md)" in run.output
        assert run.requests == {"DELETE": 1}


def test_wrong_key_fails_at_once_and_ends_the_check(runner: Runner) -> None:
    runner.environ["ANTHROPIC_API_KEY"] = "sk-ant-another"
    run = runner.run("pull_request_target", runner.seed("demo/feature"))
    assert run.code == 1
    assert "set claude.api_key to a valid key" in run.output
    assert states(runner)[-1] == "error"


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"GITHUB_EVENT_PATH": "none.json"}, "set GITHUB_EVENT_PATH"),
        ({"GITHUB_EVENT_NAME": ""}, "set GITHUB_EVENT_PATH"),
        ({"GITHUB_EVENT_NAME": "release"}, "the payload does not fit the event release"),
        ({"ANTHROPIC_API_KEY": ""}, "claude.api_key: "),
        ({"GITHUB_TOKEN": ""}, "github.token: "),
    ],
)
def test_what_cannot_be_processed_ends_with_2(
    runner: Runner, environ: dict[str, str], problem: str
) -> None:
    runner.environ |= environ
    run = runner.run("issues", runner.seed("demo/bug"))
    assert run.code == 2
    assert problem in run.errors
    assert not run.requests


def test_damaged_database_ends_with_2(runner: Runner) -> None:
    runner.saved.mkdir()
    (runner.saved / "hls.db").write_text("Dear diary, " * 100)
    run = runner.run("issues", runner.seed("demo/bug"))
    assert run.code == 2
    assert "file is not a database" in run.errors
