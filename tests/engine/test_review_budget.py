"""Deliveries whose next call to Claude does not fit the review budget."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hls_handler import shipped
from hls_handler.analysis import UnusableReply, Usage
from hls_handler.events import REQUEST_KEY
from hls_handler.prompting import recorded
from hls_handler.prompting.prompt import Library
from hls_handler.reports.delivery_report import format_report, load_report
from hls_handler.settings.model import Prompts, Review, Settings
from tests.engine.fakes import INVALID
from tests.engine.shadow_world import load_cached
from tests.engine.world import GUID, MakeWorld, World, settings
from tests.handlers.world import file, finding, pull_request_analysis
from tests.prompting.samples import write

REFUSED = UnusableReply("", "refused", "Claude refused", "", Usage("claude-haiku-5-5"))


def make_review_world(make_world: MakeWorld, *replies: object, given: Settings | None = None, **review: float) -> World:
    """A world with an opened pull request; the fake's estimate of each call is 0.05 USD."""
    given = (given or settings()).model_copy(update={"review": Review.model_validate(review)})
    world = make_world(*(replies or (pull_request_analysis(),)), given=given)
    world.open_pull_request(file("a.py", "@@ -1 +1 @@\n-a\n+b"))
    return world


def test_delivery_whose_first_call_does_not_fit_asks_nothing_and_is_no_success(make_world: MakeWorld) -> None:
    world = make_review_world(make_world, max_usd=0.04)
    finished = world.finish()
    assert finished.state == "done"
    assert (finished.reason or "").startswith(
        "the budget of the review allows no further call: 0.0000 USD spent, 0.0000 USD reserved by calls in progress, "
        "this call needs up to 0.0500 USD, limit 0.0400 USD (settings (review.max_usd)); "
        "raise that limit, then push or comment /review; "
    )
    assert (finished.reason or "").endswith("neutral: 0 of 1 file reviewed")
    assert world.claude.asked == []
    assert world.health.snapshot().components["claude"].state == "unknown"


def test_correction_that_does_not_fit_is_not_asked_for(make_world: MakeWorld) -> None:
    world = make_review_world(make_world, INVALID, pull_request_analysis(), max_usd=0.05)
    world.claude.replies[0] = replace(INVALID, usage=Usage("claude-haiku-5-5", 900, 100, cost_usd=0.01))
    assert "0.0100 USD spent" in (world.finish().reason or "")
    assert [correction is not None for correction in world.claude.corrections] == [False]


def test_limit_of_a_pull_request_counts_all_its_events(make_world: MakeWorld) -> None:
    world = make_review_world(make_world, max_usd_per_pull_request=0.0502)
    assert world.finish().state == "done"  # its call cost 0.00014 USD
    for number in range(2):
        world.github.changed[2] = (file("a.py", f"@@ -1 +1 @@\n-a\n+{number}"),)
        world.accept("pull_request.opened", guid=f"later-{number}")
        assert world.finish().state == "done"
    assert len(world.claude.asked) == 2
    reason = world.row("later-1").reason or ""
    assert "the budget of the pull request allows no further call: 0.0003 USD spent" in reason
    assert "limit 0.0502 USD (settings (review.max_usd_per_pull_request))" in reason


@pytest.mark.parametrize(
    ("path", "said", "unread"),
    [
        ("a.py", "No findings in what was reviewed of [`", "`a.py` (2 of 3 changed lines; the budget"),
        ("b.py", ") was not reviewed.\n", "`b.py` (the budget"),
    ],
    ids=["a part was read", "nothing was read"],
)
def test_comment_is_edited_if_the_first_call_does_not_fit(
    make_world: MakeWorld, path: str, said: str, unread: str
) -> None:
    reply = pull_request_analysis(findings=[finding(path="a.py", line=1, quote="b")])
    world = make_review_world(make_world, reply, max_usd_per_pull_request=0.0502, verify=False)
    assert world.finish().state == "done"
    world.github.changed[2] = (file(path, "@@ -1,2 +1,3 @@\n-a\n+b\n x\n+c"),)
    world.accept("pull_request.opened", guid="later")
    world.settings = world.settings.model_copy(update={"review": Review(max_usd_per_pull_request=0.01)})
    assert world.finish().state == "done"
    comment = world.github.comments[2]
    assert said in comment
    assert ("No findings" in comment) == (path == "a.py")
    assert f"{unread} for reviews is used up)." in comment


def test_full_review_that_does_not_fit_keeps_what_was_reviewed(make_world: MakeWorld) -> None:
    world = make_review_world(make_world, max_usd_per_pull_request=0.0501)
    assert world.finish().state == "done"
    request_full_review(world, "full")
    assert (world.finish().state, len(world.claude.asked)) == ("done", 1)
    check = world.github.check_actions[-1]
    assert (check.conclusion, check.title) == ("success", "1 of 1 file reviewed")
    assert (
        "Not everything was read again, so earlier reviews count: the budget for reviews is used up." in check.summary
    )
    world.settings = world.settings.model_copy(update={"review": Review(max_usd_per_pull_request=1)})
    world.accept("pull_request.opened", guid="later")
    assert (world.finish().state, len(world.claude.asked)) == ("done", 1)
    assert world.github.check_actions[-1].conclusion == "success"
    request_full_review(world, "again")
    assert (world.finish().state, len(world.claude.asked)) == ("done", 2)


def request_full_review(world: World, guid: str) -> None:
    payload = json.loads(recorded.load("pull_request.opened").body)
    payload |= {"action": "synchronize", REQUEST_KEY: {"review": "full"}}
    world.accept("pull_request.opened", guid=guid, action="synchronize", body=json.dumps(payload).encode())


@pytest.mark.parametrize(
    ("after", "limit", "why", "shown"),
    [
        ([REFUSED], 1.0, "Claude refused", "Claude gave no usable reply"),
        ([INVALID, INVALID], 1.0, "Claude's two replies to pull_requests/extra@", "Claude gave no usable reply"),
        ([], 0.0501, "this call needs up to 0.0500 USD", "the budget for reviews is used up"),
    ],
    ids=["refused", "unusable", "budget"],
)
def test_review_is_posted_if_its_follow_up_prompt_has_no_reply(
    make_world: MakeWorld, tmp_path: Path, after: list[UnusableReply], limit: float, why: str, shown: str
) -> None:
    reply = pull_request_analysis(findings=[finding(path="a.py", line=1, quote="b")])
    world = make_review_world(make_world, reply, *after, max_usd=limit, verify=False)
    world.prompts = with_follow_up(tmp_path)
    finished = world.finish()
    assert finished.state == "done"
    assert "the follow-up prompt pull_requests/extra was left out: " in (finished.reason or "")
    assert why in (finished.reason or "")
    assert world.row().analysis_status == "done"
    (check,) = world.github.check_actions
    assert (len(world.github.inline_comments), check.conclusion) == (1, "success")
    assert f"\nA follow-up prompt was left out: pull_requests/extra: {shown}.\n" in check.summary


def with_follow_up(folder: Path) -> Library:
    """The shipped prompts, with a follow-up prompt of the review."""
    text = (shipped.PROMPTS / "pull_requests/analyze.j2").read_text(encoding="utf-8")
    then = 'then: {prompt: pull_requests/extra, when: "analysis.worth_saying"}'
    extra = "{% extends 'base.j2' %}{% block task %}Say more.{% endblock %}"
    front = "description: more\nreply: generic_analysis"
    files = {"analyze.j2": text.replace("\n---\n", f"\n{then}\n---\n", 1), "extra.j2": f"---\n{front}\n---\n{extra}"}
    write(folder, {f"pull_requests/{name}": content for name, content in files.items()})
    directory = Prompts.model_validate({"directory": [folder, shipped.PROMPTS]})
    return load_cached(settings().model_copy(update={"prompts": directory}))


def test_shadow_prompt_neither_counts_for_the_budget_nor_is_stopped_by_it(make_world: MakeWorld) -> None:
    use = {"pull_request.opened": {"prompt": "pull_requests/changelog", "shadow": True}}
    given = settings().model_copy(update={"prompts": Prompts.model_validate({"use": use})})
    world = make_review_world(make_world, given=given, max_usd=0.05)
    assert world.finish().state == "done"
    assert [call.of_shadow for call in world.store.calls.calls_of(GUID)] == [False, True]  # 0.00014 USD were spent
    with world.store.database.reading() as connection:
        keys = connection.exec_driver_sql("SELECT review_key FROM calls ORDER BY id").scalars().all()
    assert keys == ["186853002#2", None]


@pytest.mark.parametrize("event", ["issues.opened", "pull_request_review.submitted"])
def test_other_events_have_no_review_budget(make_world: MakeWorld, event: str) -> None:
    given = settings().model_copy(update={"review": Review(max_usd=0.01, max_usd_per_pull_request=0.01)})
    world = make_world(given=given)
    if event == "issues.opened":
        world.accept(event)
        assert world.finish().state == "done"
    else:
        world.accept_review(body="Please rename it.")
        world.run()
    assert len(world.claude.asked) == 1


def test_report_has_the_receipt_and_why_a_part_was_not_reviewed(make_world: MakeWorld) -> None:
    given = settings(claude={"input_tokens": 2_000})
    world = make_review_world(make_world, given=given, max_usd=0.0502, verify=False)
    lines = "".join(f"\n+value_{number} = {number}" for number in range(150))
    world.github.changed[2] = tuple(
        file(f"{name}.py", f"@@ -0,0 +1,150 @@{lines}", additions=150, deletions=0) for name in "abc"
    )
    assert world.finish().state == "done"
    report = [line.strip() for line in format_report(load_report(world.store, world.row()))]
    (not_shown,) = [line for line in report if line.startswith("Not shown to Claude: ")]
    assert not_shown.startswith("Not shown to Claude: 1 of 3 parts of the changes: the budget of the review")
    assert "limit 0.0502 USD (settings (review.max_usd)); raise that limit" in not_shown
    at = report.index("The check says: 2 of 3 files that need a review were reviewed as a whole.")
    commit = world.github.pull_requests[2].head_sha
    assert report[at + 1].startswith(
        f"Receipt: commit {commit}; files 2 of 3; changed lines 300 of 450; calls to Claude 2; tokens "
    )
    assert "; cost 0.0003 USD; prompt pull_requests/analyze@" in report[at + 1]
    assert report[at + 2] == "Not reviewed: `c.py`: the budget for reviews is used up"
