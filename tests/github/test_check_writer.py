"""Check runs of a GitHub App and commit statuses of a token, against the sandbox and GitHub's
OpenAPI description.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from hls_handler.actions import Annotation, CommitCheck, Conclusion, EnsureCheck, WrittenCheck
from hls_handler.github.api import WriteGuard
from hls_handler.github.check_writer import CHECK_NAME, GithubChecks
from hls_handler.github.client import Github, connect, make_credentials
from tests.contracts.github import violations
from tests.github.review_world import NOON, github_settings
from tests.github.test_credentials import REPOSITORY, World
from tests.github_fake.server import Sandbox

SHA = "0123456789abcdef0123456789abcdef01234567"
BEGUN = CommitCheck(SHA, "guid-1")
DONE = EnsureCheck(
    SHA, "success", "2 of 2 files reviewed", "All of it.", "2 of 2 files reviewed; 0.0123 USD"
)


def do_nothing() -> None:
    pass


@pytest.fixture
def world() -> Iterator[World]:
    with Sandbox(clock=lambda: NOON) as sandbox:
        yield World(sandbox)
        assert violations([request.document() for request in sandbox.requests.all("github")]) == []


@pytest.fixture
def app(world: World) -> Iterator[Github]:
    with closing(world.connect()) as github:
        yield github


@pytest.fixture
def token(world: World) -> Iterator[Github]:
    settings = github_settings(world.sandbox.github_url, world.sandbox.token)
    credentials = make_credentials(settings, now=lambda: NOON)
    with closing(connect(credentials, now=lambda: NOON)) as github:
        yield github


def checks(github: Github) -> GithubChecks:
    return github.checks(REPOSITORY, WriteGuard(do_nothing, do_nothing))


def runs(world: World) -> list[dict[str, Any]]:
    return world.sandbox.state.world.check_runs_on(REPOSITORY, SHA)


def statuses(world: World) -> list[tuple[str, str, str]]:
    found = world.sandbox.state.world.statuses_on(REPOSITORY, SHA)
    return [(one["context"], one["state"], one["description"]) for one in found]


def many(count: int) -> tuple[Annotation, ...]:
    return tuple(
        Annotation("area.py", n, n, "warning", f"Title {n}", f"Message {n}")
        for n in range(1, count + 1)
    )


def test_check_run_of_an_app_begins_and_ends(world: World, app: Github) -> None:
    begun = checks(app).begin(BEGUN)
    (run,) = runs(world)
    assert begun.check_run_id == run["id"]
    assert (run["name"], run["external_id"], run["status"]) == (
        "HLS review",
        "guid-1",
        "in_progress",
    )
    ended = checks(app).end(
        CommitCheck(SHA, "guid-1", begun.check_run_id, is_shown=True, is_new=False), DONE
    )
    (run,) = runs(world)
    assert (run["status"], run["conclusion"]) == ("completed", "success")
    assert (run["output"]["title"], run["output"]["summary"]) == (
        "2 of 2 files reviewed",
        "All of it.",
    )
    assert ended == WrittenCheck(
        run["id"], f"{world.sandbox.page_url}{REPOSITORY}/runs/{run['id']}"
    )


def test_check_that_waits_for_the_budget_says_until_when(
    world: World, app: Github, token: Github
) -> None:
    begun = checks(app).begin(BEGUN)
    shown = CommitCheck(SHA, "guid-1", begun.check_run_id, is_shown=True, is_new=False)
    assert checks(app).begin(shown, waits_until=NOON) == WrittenCheck(begun.check_run_id, begun.url)
    checks(token).begin(BEGUN, waits_until=NOON)
    (run,) = runs(world)
    title = "The budget for Claude is used up, so the review waits until 2026-11-20 12:00 UTC"
    assert (run["status"], run["output"]["title"]) == ("in_progress", title)
    assert statuses(world) == [("HLS review", "pending", title)]


def test_check_that_waits_for_claude_says_by_when_it_is_tried_again(
    world: World, app: Github
) -> None:
    checks(app).begin(BEGUN, waits_until=NOON, is_claude_down=True)
    (run,) = runs(world)
    title = "Claude does not answer; the review is tried again by 2026-11-20 12:00 UTC"
    assert (run["status"], run["output"]["title"]) == ("in_progress", title)


def test_annotations_are_sent_in_requests_of_fifty_and_not_twice(world: World, app: Github) -> None:
    action = EnsureCheck(SHA, "neutral", "Reviewed", "Text.", "Text.", many(120))
    written = checks(app).end(BEGUN, action)
    sent = [
        (request.method, len(request.body["output"].get("annotations", ())), request.body["status"])
        for request in world.sandbox.requests.all("github")
        if isinstance(request.body, dict) and "output" in request.body
    ]
    assert sent == [
        ("POST", 50, "in_progress"),
        ("PATCH", 50, "in_progress"),
        ("PATCH", 20, "completed"),
    ]
    checks(app).end(CommitCheck(SHA, "guid-1", written.check_run_id, is_new=False), action)
    (run,) = runs(world)
    assert [one["start_line"] for one in run["annotations"]] == list(range(1, 121))
    assert run["conclusion"] == "neutral"


def test_first_hundred_annotations_of_a_check_are_read_in_one_request(
    world: World, app: Github
) -> None:
    action = EnsureCheck(SHA, "failure", "Reviewed", "Text.", "Text.", many(101))
    written = checks(app).end(BEGUN, action)
    assert written.check_run_id is not None
    world.sandbox.requests.clear()
    found = app.reader(REPOSITORY).annotations(written.check_run_id)
    assert [one.line for one in found] == list(range(1, 101))
    assert (found[0].path, found[0].level, found[0].title) == ("area.py", "warning", "Title 1")
    assert len(world.sandbox.requests.all("github")) == 1


def test_long_texts_are_truncated_visibly(world: World, app: Github, token: Github) -> None:
    long = Annotation("a.py", 1, 1, "notice", "t" * 300, "m" * 70_000)
    action = EnsureCheck(SHA, "success", "T" * 300, "line\n" * 20_000, "d" * 200, (long,))
    checks(app).end(BEGUN, action)
    (run,) = runs(world)
    assert len(run["output"]["summary"]) <= 65_535
    assert "*The middle of this summary was left out" in run["output"]["summary"]
    assert run["output"]["title"] == "T" * 254 + "…"
    assert (len(run["annotations"][0]["title"]), len(run["annotations"][0]["message"])) == (
        255,
        60_000,
    )
    checks(token).end(BEGUN, action)
    assert statuses(world) == [(CHECK_NAME, "success", "d" * 139 + "…")]


@pytest.mark.parametrize(
    ("conclusion", "state"),
    [("success", "success"), ("failure", "failure"), ("neutral", "error"), ("cancelled", "error")],
)
def test_commit_status_of_a_token_has_no_neutral(
    world: World, token: Github, conclusion: Conclusion, state: str
) -> None:
    assert checks(token).begin(BEGUN) == WrittenCheck(state="pending")
    ended = checks(token).end(
        BEGUN, EnsureCheck(SHA, conclusion, "Title", "Summary", "1 of 2 files reviewed")
    )
    assert ended == WrittenCheck(state=state)
    assert statuses(world) == [
        ("HLS review", "pending", "The review is in progress"),
        ("HLS review", state, "1 of 2 files reviewed"),
    ]


def test_commit_that_settings_exempt_is_neutral_and_with_a_token_a_success(
    world: World, app: Github, token: Github
) -> None:
    action = EnsureCheck(
        SHA, "neutral", "Not reviewed", "Text.", "Not reviewed: a bot", is_exempt=True
    )
    checks(app).end(CommitCheck(SHA, "guid"), action)
    checks(token).end(CommitCheck(SHA, "guid"), action)
    assert [run["conclusion"] for run in runs(world)] == ["neutral"]
    assert statuses(world) == [("HLS review", "success", "Not reviewed: a bot")]
