"""The pages about prompts: the library, and one prompt."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hls_handler.analysis import Usage
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.store.storage import Storage
from tests.console.browser import KEY, Browser
from tests.engine.libraries import load_cached
from tests.prompting.samples import write
from tests.queue.builders import begin, start_call
from tests.web.fakes import settings

TEMPLATE = """---
description: A small prompt
on: [issues.opened]
reply: issue_analysis
max_tokens: 500
---
{% extends "base.j2" %}
{% block task %}
Title: {{ issue.title }}
{% endblock %}
"""
PAGE = "/prompts/issues/analyze"


@pytest.fixture(scope="session")
def prompts_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same folder for all tests: `load_cached` loads equal files at the same place once."""
    return tmp_path_factory.mktemp("author") / "prompts"


@pytest.fixture
def library(prompts_folder: Path) -> Path:
    shutil.rmtree(prompts_folder, ignore_errors=True)
    return write(prompts_folder, {"issues/analyze.j2": TEMPLATE})


@pytest.fixture
def author(browser: Browser, library: Path) -> Browser:
    browser.sections["prompts"] = {"directory": (str(library),)}
    browser.sections["repositories"] = ({"name": "owner/repo"}, {"name": "octo/widgets"})
    browser.apply(api_key=KEY)
    given = settings(**browser.sections)
    browser.prompts = ReloadingLibrary(lambda: load_cached(given), library)
    browser.sign_in()
    return browser


def test_library_shows_use_cost_and_failures_of_each_version(
    author: Browser, store: Storage
) -> None:
    assert author.prompts is not None
    prompt_id = author.prompts.latest.prompts["issues/analyze"].id
    lease = begin(store, "g1")
    for used, outcome, cost in ((prompt_id, "ok", 0.25), ("issues/analyze@000000", "invalid", 0.5)):
        call = start_call(store, lease, used)
        error = None if outcome == "ok" else "Claude: <b>invalid</b>"
        store.calls.end(
            lease,
            call,
            outcome=outcome,
            usage=Usage("claude-haiku-5-5", cost_usd=cost),
            error=error,
        )
    page = author.get("/prompts").text
    assert (
        '<a class="row" href="/prompts/issues/analyze">issues/analyze</a><br><span'
        f' class="quiet">@{prompt_id[-6:]}' in page
    )
    assert 'data-label="Cost" class="num">$0.250</td>' in page
    versions = author.get(PAGE).text.partition("Versions</h2>")[2]
    assert f"<code>{prompt_id}</code> (in use)" in versions
    assert (
        '<code>issues/analyze@000000</code></td><td role="cell" data-label="Replies">0</td>'
        in versions
    )
    assert 'data-label="Failed calls">1 invalid</td>' in versions
    assert 'data-label="Cost" class="num">$0.500</td>' in versions
    assert "Claude: &lt;b&gt;invalid&lt;/b&gt;" in versions


def test_problem_of_a_changed_file_is_at_the_top(author: Browser, library: Path) -> None:
    (library / "issues/analyze.j2").write_text(
        f"{TEMPLATE}{{{{ nosuch }}}}{{% if %}}", encoding="utf-8"
    )
    assert author.prompts is not None
    author.prompts.reload()
    page = author.get("/prompts").text
    assert (
        '<p role="alert" class="banner danger">the changed prompts cannot be used, the last valid version'
        " stays" in page
    )
    assert "issues/analyze.j2:11: " in page
