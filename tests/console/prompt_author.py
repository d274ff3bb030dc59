"""A prompt author, who is signed in at a service with a library of one prompt, and tries it with
stored deliveries.
"""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from hls_handler.deliveries import Checkpoint, End, Lease
from hls_handler.engine.job import facts_codec
from hls_handler.engine.library import FACTS
from hls_handler.handlers import handler_for
from hls_handler.prompting import recorded
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.storage import Storage
from hls_handler.store.reply_cache import CachedReply
from tests.console.browser import KEY, Browser
from tests.engine.libraries import load_cached
from tests.prompting.samples import write
from tests.queue.builders import SOURCES, begin
from tests.web.fakes import Response, settings

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
PAGE, EDIT = "/prompts/issues/analyze", "/prompts/issues/analyze/edit"


def with_task(text: str) -> str:
    return TEMPLATE.replace("Title:", f"{text} Title:")


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


def store_delivery(store: Storage, guid: str, *, title: str = "Crash") -> Lease:
    """Store a finished delivery with the facts of the recorded event."""
    payload = recorded.load("issues.opened").payload
    payload["issue"]["title"] = title
    facts = json.loads((FACTS / "issues.json").read_bytes())["issues.edited"]
    facts["issue"]["title"] = title
    lease = begin(store, guid, body=json.dumps({**payload, "delivery": guid}).encode())
    version = facts_codec(handler_for("issues").facts_type).version
    store.checkpoints.save(lease, Checkpoint("gather", 0, version, json.dumps(facts)))
    reply = CachedReply(0, "issue_analysis", "", "{}", None, store.now())
    store.calls.save_cached(lease, reply, index=0, prompt_id="issues/analyze@0", sources=SOURCES)
    store.queue.finish(lease, End("done", ""), took_s=1)
    return lease


def edit(browser: Browser, text: str, **form: str) -> Response:
    return browser.submit(
        PAGE, EDIT, **{"file": "issues/analyze.j2", **form, "text": text.replace("\n", "\r\n")}
    )


def hidden(page: Response, name: str) -> str:
    return page.body.decode().partition(f'name="{name}" value="')[2].partition('"')[0]


def send(browser: Browser, text: str, page: Response, **form: str) -> Response:
    """Press "Send to Claude" on the page of a rendered edit, perhaps after changing the text."""
    return edit(
        browser, text, send=hidden(page, "send"), deliveries=hidden(page, "deliveries"), **form
    )


def wait_for_trial(browser: Browser, path: str = EDIT) -> str:
    """Return the page when the trial has ended."""
    for thread in threading.enumerate():
        if thread.name == "trial":
            thread.join(10)
    return browser.get(path).body.decode()
