"""Dry runs: the cost first, one at a time in the background, both results side by side, and nothing is changed."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import pytest

from hls_handler.settings.model import Review
from tests.console.rerun_world import DRY_RUN, REPLY, RerunBrowser, run
from tests.engine.conftest import make_world
from tests.engine.shadow_world import load_cached, shadow_settings
from tests.engine.test_run_prompts import make_review_world
from tests.engine.world import BUG, GUID, QUESTION, MakeWorld
from tests.handlers.world import finding, pull_request_analysis
from tests.queue.builders import analyses_of

__all__ = ["make_world"]


def begin(browser: RerunBrowser, **form: str) -> int:
    return browser.submit(DRY_RUN, DRY_RUN, **form).status


def test_cost_is_shown_before_anything_is_asked(make_world: MakeWorld, tmp_path: Path) -> None:
    world = run(make_world, BUG)
    world.prompts = load_cached(shadow_settings(tmp_path / "own"))
    browser = RerunBrowser(world, BUG)
    assert "Questions 1 Input" in browser.text(DRY_RUN)
    text = browser.text(f"{DRY_RUN}?prompt=issues/strict")
    assert "Model claude-haiku-5-5 Questions 1, and more if issues/respond follows Input about" in text
    assert "USD, without the prompts that may follow" in text
    assert "do not count towards claude.calls_per_hour (the service has used 1 of 200 calls)" in text
    assert browser.client.asked == []


def test_results_are_shown_side_by_side_and_nothing_is_changed(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hls_handler.console")
    world = run(make_world, BUG)
    reply = BUG.model_copy(update={"priority": "high", "recommended_response": "Thanks a lot."})
    browser, requests, steps = RerunBrowser(world, reply), list(world.github.calls), world.store.checkpoints.load(GUID)
    assert begin(browser) == 303
    text = browser.finished()
    assert [(one.message, vars(one)["calls"], vars(one)["cost_usd"]) for one in caplog.records] == [
        ("dry run ended", 1, 0.00014)
    ]
    assert "End done: added bug, priority-low, difficulty-easy; commented not posted Prompts" in text
    assert "Tokens 1,000 1,000 Cost 0.000140 USD 0.000140 USD" in text
    assert "New labels bug , difficulty-easy , priority-high Result no longer as people left them" in text
    assert "-Thanks to whoever fixes it. +Thanks a lot." in text
    assert "priority issues/analyze low high" in text.partition("fields are the same")[0]
    assert "kind issues/analyze bug bug" in text.partition("fields are the same")[2]
    assert world.github.calls == requests
    assert world.store.checkpoints.load(GUID) == steps
    assert (len(world.store.calls.calls_of(GUID)), len(analyses_of(world.store, GUID))) == (1, 1)
    assert browser.client.closed == 1


def test_only_one_dry_run_is_in_progress(make_world: MakeWorld) -> None:
    world = run(make_world, BUG)
    world.accept(guid="second", number=9)
    world.finish()
    browser = RerunBrowser(world, BUG)
    browser.client.go_on.clear()
    token = browser.token(DRY_RUN)
    assert begin(browser) == 303
    assert browser.client.asking.wait(10)
    page = browser.get(DRY_RUN).body.decode()
    assert "is running since" in page
    assert 'hx-trigger="every 2s"' in page
    again = browser.post(DRY_RUN, {"csrf_token": token})  # a double click
    assert (again.status, again.headers["location"]) == (303, DRY_RUN)
    refused = browser.post("/deliveries/second/dry-run", {"csrf_token": token})
    assert (refused.status, b"Another dry run is in progress" in refused.body) == (409, True)
    browser.client.go_on.set()
    assert "is running since" not in browser.finished()
    assert begin(browser) == 303
    assert "ran at" in browser.finished()


def test_stop_ends_the_run_before_the_next_call(make_world: MakeWorld, tmp_path: Path) -> None:
    world = run(make_world, BUG)
    world.prompts = load_cached(shadow_settings(tmp_path / "own"))
    browser = RerunBrowser(world, QUESTION, REPLY)
    browser.client.go_on.clear()
    begin(browser, prompt="issues/strict")
    assert browser.client.asking.wait(10)
    browser.console.stop()
    browser.client.go_on.set()
    text = browser.finished()
    assert "1 reply, 0.000140 USD." in text
    assert "The service was stopped." in text
    assert (len(browser.client.asked), browser.client.closed) == (1, 1)
    assert begin(browser) == 409


def test_defect_is_shown_and_ends_the_run(make_world: MakeWorld) -> None:
    browser = RerunBrowser(run(make_world, BUG), BUG)
    browser.client.on_call = lambda _: 1 / 0  # type: ignore[assignment]
    begin(browser)
    assert "a defect in HLS, please report it: ZeroDivisionError" in browser.finished()


def test_page_says_why_a_dry_run_is_not_possible(make_world: MakeWorld) -> None:
    world = make_world(BUG)
    world.accept()
    browser = RerunBrowser(world, BUG)
    assert "not possible: it ended, or waits, before its facts were read from GitHub" in browser.text(DRY_RUN)
    world.finish()
    token = browser.token(DRY_RUN)
    world.advance(3600)
    world.store.retention.delete_bodies(after=timedelta(minutes=1), most=20)
    assert "not possible: its event is not stored" in browser.text(DRY_RUN)
    assert browser.post(DRY_RUN, {"csrf_token": token}).status == 409
    assert browser.post("/deliveries/unknown/dry-run", {"csrf_token": token}).status == 404
    assert browser.post(DRY_RUN, {"csrf_token": "x"}).status == 403
    assert browser.client.asked == []


def test_dry_run_of_a_review_keeps_to_its_limit(make_world: MakeWorld) -> None:
    found = pull_request_analysis(findings=[finding(path="a.py", line=1, quote="b", confidence=0.6)])
    world = make_review_world(make_world, found, max_usd=0.05013)  # a call may cost 0.05, and costs 0.00014
    world.finish()
    browser = RerunBrowser(world, found)
    text = browser.text(DRY_RUN)
    assert "Limit 0.050130 USD, by settings (review.max_usd). A call that may exceed it is not made" in text
    assert begin(browser) == 303
    text = browser.finished()
    assert (
        "not posted; findings not verified: the next call to Claude may cost 0.050000 USD, the calls of this dry run "
        "have cost 0.000140 USD, and settings (review.max_usd) allows 0.050130 USD Prompts"
    ) in text
    assert len(browser.client.asked) == 1
    world.settings = world.settings.model_copy(update={"review": Review(max_usd=0.04)})
    assert begin(browser) == 303
    assert "the next call to Claude may cost 0.050000 USD" in browser.finished()
    assert len(browser.client.asked) == 1
