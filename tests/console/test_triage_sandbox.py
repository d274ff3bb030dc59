"""Preview and start of a triage run on the page, against the sandbox."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.sandbox.server import Sandbox
from hls_handler.storage import Storage
from tests.console.browser import Browser
from tests.engine.world import library
from tests.handlers.conversation import HOME, REPOSITORY, person
from tests.web.fakes import Response

FORM = {"repository": REPOSITORY, "limit": "10", "max_usd": "1.0", "comments": ""}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """octo/hello with the open issues 7, 8 and 9, of which 9 is locked."""
    with Sandbox() as sandbox:
        for number in (7, 8, 9):
            add_issue(sandbox, number, locked=number == 9)
        yield sandbox


def add_issue(sandbox: Sandbox, number: int, **known: Any) -> None:
    issue: dict[str, Any] = {"number": number, "title": f"<b>Crash {number}", "body": "It crashes."}
    issue |= {"user": person("mona"), "state": "open", "labels": [], **known}
    payload = {"action": "opened", "repository": HOME, "sender": person("mona"), "issue": issue}
    sandbox.state.seed("issues", payload)


@pytest.fixture
def browser(store: Storage, sandbox: Sandbox) -> Browser:
    browser = Browser(store)
    github = {"base_url": sandbox.github_url, "token": sandbox.token}
    claude = {"base_url": sandbox.claude_url, "api_key": sandbox.api_key}
    watched = [{"name": REPOSITORY, "events": ["issues"]}]
    browser.sections = {"github": github, "claude": claude, "repositories": watched}
    browser.apply()
    browser.prompts = ReloadingLibrary(library)
    return browser


def preview(browser: Browser) -> Response:
    return browser.submit("/triage", "/triage", **FORM)


def offered(page: Response) -> str:
    found = re.search(r'name="start" value="([^"]*)"', page.body.decode())
    assert found is not None
    return found[1]


def test_preview_shows_issues_and_cost_and_starts_nothing(browser: Browser, store: Storage) -> None:
    page = preview(browser)
    text = page.body.decode()
    assert page.status == 200
    assert "Preview of octo/hello" in text
    assert "&lt;b&gt;Crash 7" in text
    assert "<b>Crash" not in text
    assert "Skipped: 1 locked." in text
    assert "Forecast: 2 calls to Claude" in text
    assert "Process 2 issues" in text
    assert (store.triage.newest(most=9), store.queue.seconds_until_due()) == ([], None)


def test_start_queues_the_issues_of_the_preview(browser: Browser, store: Storage) -> None:
    numbers = offered(preview(browser))
    started = browser.submit("/triage", "/triage", **FORM, start=numbers)
    assert (started.status, started.headers["location"]) == (303, "/triage/1")
    (run,) = store.triage.newest(most=9)
    issues = store.triage.load_progress(run).issues
    assert [(one.guid, one.state) for one in issues] == [
        ("triage-1-7", "queued"),
        ("triage-1-8", "queued"),
    ]
    assert "running, 0 of 2 issues ended" in browser.get("/triage/1").body.decode()


def test_start_of_a_changed_preview_shows_the_new_one(
    browser: Browser, store: Storage, sandbox: Sandbox
) -> None:
    numbers = offered(preview(browser))
    add_issue(sandbox, 10)
    again = browser.submit("/triage", "/triage", **FORM, start=numbers)
    assert again.status == 409
    assert b"The issues have changed since the preview." in again.body
    assert offered(again) != numbers
    assert store.triage.newest(most=9) == []


def test_unknown_repository_is_explained(browser: Browser) -> None:
    answer = browser.submit("/triage", "/triage", **{**FORM, "repository": "octo/gone"})
    assert answer.status == 409
    assert b"octo/gone" in answer.body
