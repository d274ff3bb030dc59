"""The log lines `operator` of the console and the API: who did what, once for a click."""

from __future__ import annotations

import logging

import pytest

from hls_handler import logs
from hls_handler.store.storage import Storage
from tests.conftest import Acts
from tests.console.browser import KEY, Browser
from tests.queue.builders import accept, begin, dead_letter, queued


def test_each_act_in_the_console_and_the_api_has_a_line_with_its_person(
    store: Storage, acts: Acts
) -> None:
    for guid in ("g1", "g2", "g3"):
        dead_letter(store, guid)
    proxy = {"networks": ("10.0.0.0/8",), "user_header": "X-User"}
    browser = Browser(store, trusted_proxy=proxy, api_key=KEY)
    browser.sign_in()
    browser.submit("/", "/deliveries/pause", repository="octo/widgets", reason="a migration")
    browser.submit("/", "/deliveries/pause", reason="a migration")
    browser.submit("/deliveries/g1", "/deliveries/g1/retry")
    browser.post("/api/deliveries/g2/retry", {}, x_api_key=KEY)
    browser.peer = ("10.0.0.1", 4711)
    browser.post("/api/deliveries/retry?state=dead&number=1", {}, x_user="mona")
    browser.post("/api/deliveries/retry?state=dead&number=7", {}, x_user="mona")  # runs none
    page = browser.get("/", x_user="hubot").text
    token = page.partition('"csrf_token" value="')[2].partition('"')[0]
    for repository in ("octo/widgets", "octo/docs"):  # the second one is not paused
        form = {"csrf_token": token, "repository": repository}
        browser.post("/deliveries/resume", form, x_user="hubot")
    assert acts() == [
        ("API key", "pause", ["octo/widgets"]),
        ("API key", "pause", ["*"]),
        ("API key", "retry", ["g1"]),
        ("API key", "retry", ["g2"]),
        ("mona", "retry", ["g3"]),
        ("hubot", "resume", ["octo/widgets"]),
    ]


def test_click_on_several_deliveries_has_one_line(
    store: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logs.operator_log.name)
    for guid in ("g1", "g2"):
        dead_letter(store, guid)
    accept(store, queued("waits"))
    form = {"chosen:g1": "on", "chosen:g2": "on", "chosen:waits": "on", "reason": "a duplicate"}
    Browser(store).submit("/deliveries?q=is:dead", "/deliveries/discard", **form)
    (record,) = caplog.records
    line = vars(record)
    assert (line["person"], line["act"], line["reason"]) == (
        "local browser",
        "discard",
        "a duplicate",
    )
    assert (line["number"], sorted(line["objects"])) == (2, ["g1", "g2"])


def test_request_that_changes_nothing_has_no_line(store: Storage, acts: Acts) -> None:
    begin(store, "running")
    browser = Browser(store, api_key=KEY)
    for guid in ("running", "unknown"):
        assert browser.post(f"/api/deliveries/{guid}/retry", {}, x_api_key=KEY).status >= 400
    assert acts() == []
