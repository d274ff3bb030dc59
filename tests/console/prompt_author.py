"""A prompt author, who is signed in at a service with a library of one prompt."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hls_handler.prompting.library import ReloadingLibrary
from tests.console.browser import KEY, Browser
from tests.engine.libraries import load_cached
from tests.prompting.samples import write
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
