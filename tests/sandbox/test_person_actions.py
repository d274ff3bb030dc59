"""Actions of people in the sandbox, by the forms of its pages and by requests."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from hls_handler.review.patches import parse_patch
from hls_sandbox.control import control_routes
from hls_sandbox.pages import ShownDelivery
from tests.github_fake.server import Sandbox
from tests.sandbox.conftest import REPOSITORY, Answer, ask, seed_story

ISSUE = {"repository": REPOSITORY, "author": "mona", "title": "The cart is empty", "body": "Why?"}
SECRET = "a-secret-of-this-test"
RUN = 19041222731


def send_form(sandbox: Sandbox, name: str, fields: dict[str, Any], origin: str = "") -> Answer:
    """Send a form as a browser does, by default from a page of the sandbox."""
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Origin": origin or sandbox.page_url[:-1],
    }
    path = f"/_sandbox/{name}"
    return ask(sandbox.page_url, "POST", path, urlencode(fields).encode(), headers)


@pytest.fixture
def sandbox() -> Any:
    """A sandbox with the demo's issues, pull request and workflow run; no service receives its
    webhooks.
    """
    with Sandbox() as running:
        seed_story(running, "demo/bug", "demo/feature", "demo/feature-push", "demo/tests-failed")
        running.state.hooks.add(REPOSITORY, "http://127.0.0.1:1/webhook", SECRET)
        yield running


def test_form_leads_to_the_page_of_the_new_issue(sandbox: Sandbox) -> None:
    answer = send_form(sandbox, "issues", ISSUE)
    assert answer.status == 303
    page, _, query = answer.headers["location"].partition("?delivery=")
    assert page == f"/{REPOSITORY}/issues/14"
    assert sandbox.conversation(14).title == "The cart is empty"
    text = ask(sandbox.page_url, "GET", f"{page}?delivery={query.removesuffix('#result')}").text
    assert "the webhook was answered with 502" in text


@pytest.mark.parametrize("origin", ["http://127.0.0.1:9", "https://example.com", "null"])
def test_form_of_another_page_is_rejected_and_changes_nothing(
    sandbox: Sandbox, origin: str
) -> None:
    before = sandbox.state.world
    answer = send_form(sandbox, "issues", ISSUE, origin)
    assert answer.status == 403
    assert f"only forms on the pages of {sandbox.page_url[:-1]} are accepted" in answer.text
    assert sandbox.state.world == before


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://example.com"}, 403),
        ({"Origin": "null", "Content-Type": "text/plain"}, 403),
        ({"Origin": "https://example.com", "Content-Type": "application/json"}, 403),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 403),
        ({"Content-Type": "text/plain"}, 400),
        ({}, 400),
    ],
)
def test_every_post_rejects_requests_that_another_page_can_send(
    sandbox: Sandbox, headers: dict[str, str], status: int
) -> None:
    def list_post_paths(sandbox: Sandbox) -> list[str]:
        routes = control_routes(sandbox.state, sandbox.apps, urls={})
        return [
            route.path.replace("{name:path}", "demo/question")
            for route in routes
            if "POST" in (route.methods or ())
        ]

    before = sandbox.state.world
    paths = list_post_paths(sandbox)
    answers = [ask(sandbox.page_url, "POST", path, headers=headers) for path in paths]
    assert "/_sandbox/send/demo/question" in paths
    assert [answer.status for answer in answers] == [status] * len(paths)
    assert sandbox.state.world == before


def test_recorded_event_is_sent_by_a_request_without_a_body(sandbox: Sandbox) -> None:
    headers = {"Content-Type": "application/json"}
    path = "/_sandbox/send/demo/question"
    answer = ask(sandbox.page_url, "POST", path, headers=headers)
    assert answer.status == 201
    (attempt,) = answer.document
    assert (attempt["event"], attempt["action"]) == ("issues", "opened")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"title": "x" * 257}, "title: it has 257 characters, and GitHub takes 256: shorten it"),
        (
            {"body": "x" * 65_537},
            "body: it has 65,537 characters, and GitHub takes 65,536: shorten it",
        ),
        ({"body": " \n"}, "body: write something; it must not be empty"),
        ({"repository": "o/r"}, "repository: the sandbox has no o/r: send an event of it first"),
    ],
)
def test_invalid_text_gets_an_error_that_names_the_field(
    sandbox: Sandbox, changed: dict[str, str], problem: str
) -> None:
    as_json = ask(sandbox.page_url, "POST", "/_sandbox/issues", {**ISSUE, **changed})
    as_form = send_form(sandbox, "issues", {**ISSUE, **changed})
    assert (as_json.status, as_json.document) == (400, {"detail": problem})
    assert (as_form.status, problem in as_form.text) == (400, True)


@pytest.mark.parametrize(
    ("change", "removed", "added"),
    [
        ("fix", "range(len(codes) - 1)", "range(len(codes))"),
        ("cosmetic", '"""The code that saves most."""', '"""Return the code that saves most."""'),
        ("fault", '"codes": codes})', "VALUES ({order.id}, '{codes}')"),
    ],
)
def test_push_changes_lines_of_the_pull_request_once(
    sandbox: Sandbox, change: str, removed: str, added: str
) -> None:
    pushed = {"repository": REPOSITORY, "number": 13, "change": change}
    (attempt,) = ask(sandbox.page_url, "POST", "/_sandbox/pushes", pushed).document
    assert (attempt["event"], attempt["action"]) == ("pull_request", "synchronize")
    pull = sandbox.conversation(13)
    patches = "\n".join(str(file.get("patch")) for file in pull.files)
    assert removed not in patches
    assert added in patches
    for file in pull.files:
        if file["status"] != "removed":
            assert file["contents_url"].endswith(f"?ref={pull.head_sha}")
        lines = parse_patch(file.get("patch") or "").changed_lines
        assert lines == file["additions"] + file["deletions"]
    again = ask(sandbox.page_url, "POST", "/_sandbox/pushes", pushed)
    assert again.status == 400
    assert "or it was pushed before: push another change" in again.text


def test_workflow_runs_again_with_the_jobs_of_the_last_such_attempt(sandbox: Sandbox) -> None:
    again = {"repository": REPOSITORY, "run": RUN, "conclusion": "failure", "number": 13}
    (attempt,) = ask(sandbox.page_url, "POST", "/_sandbox/reruns", again).document
    assert (attempt["event"], attempt["action"]) == ("workflow_run", "completed")
    run = sandbox.state.run(REPOSITORY, RUN)
    assert run is not None
    first, second = run.attempts
    assert [job.log for job in second.jobs] == [job.log for job in first.jobs]
    assert {job.id for job in second.jobs}.isdisjoint(job.id for job in first.jobs)


def test_workflow_runs_at_the_new_head_after_a_push(sandbox: Sandbox) -> None:
    pushed = {"repository": REPOSITORY, "number": 13, "change": "fix"}
    ask(sandbox.page_url, "POST", "/_sandbox/pushes", pushed)
    again = {"repository": REPOSITORY, "run": str(RUN), "conclusion": "success", "number": "13"}
    answer = send_form(sandbox, "reruns", again)
    assert answer.headers["location"].startswith(f"/{REPOSITORY}/pull/13?delivery=")
    newest = sandbox.state.runs()[0]
    assert newest.id != RUN
    assert newest.last.document["head_sha"] == sandbox.conversation(13).head_sha


def test_page_shows_what_the_service_did_and_follows_an_open_delivery(sandbox: Sandbox) -> None:
    url = "http://127.0.0.1:8000/deliveries/one"
    sandbox.find_delivery = lambda guid: ShownDelivery(
        "issues.opened", "running", "", is_open=True, url=f"{url}?{guid}"
    )
    path = send_form(sandbox, "issues", ISSUE).headers["location"].partition("#")[0]
    text = ask(sandbox.page_url, "GET", path).text
    assert f'<a href="{url}?{path.partition("=")[2]}">The delivery in the console</a>' in text
    assert f'hx-get="{path}" hx-trigger="every 1s"' in text
    unknown = ask(sandbox.page_url, "GET", f"{path.partition('=')[0]}=unknown").text
    assert "The delivery in the console" not in unknown


def test_pages_say_whether_replies_are_canned(sandbox: Sandbox) -> None:
    path = f"/{REPOSITORY}/issues/11"
    canned = ask(sandbox.page_url, "GET", path).text
    assert "The replies are canned: words of your text choose them" in canned
    with Sandbox(claude_max_usd=0.1) as real:
        seed_story(real, "demo/bug")
        text = ask(real.page_url, "GET", path).text
    assert "answers of Claude for at most 0.10 USD" in text
    assert "canned" not in text
