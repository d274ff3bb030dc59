"""A shadow beside the prompt of an event: what it is asked, what is kept of it, and that nobody feels it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from hls_handler.analysis import IssueResponse
from hls_handler.errors import DependencyDown, LeaseLost, Permanent
from hls_handler.events import parse_event
from hls_handler.prompting import recorded
from hls_handler.settings.model import Features, Prompts
from hls_handler.work.shadow import SHADOWED, Ran
from tests.prompting.samples import write
from tests.work.fakes import CLAUDE_DOWN, GITHUB_DOWN, INVALID, ISSUE
from tests.work.shadow_world import ANALYZE, BUG_LABELS, MINOR, MINOR_LABELS, POSTED, kept, nameless, shaded
from tests.work.world import BUG, GUID, QUESTION, MakeWorld


def test_a_shadow_is_asked_after_the_prompt_whose_answer_is_posted_and_posts_nothing(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    one = shaded(make_world, tmp_path / "own", BUG, MINOR)
    assert one.run() == POSTED
    assert [asked.prompt.name for asked in one.claude.asked] == ["issues/analyze", "issues/strict"]
    assert one.github.asked == ["issue 1", "issue 1", "write labels", "write comment"]
    assert one.github.labels == {1: ("bug", "priority-low", "difficulty-easy")}
    assert (one.row().analysis_status, one.row().posting_status) == ("done", "done")


def test_while_a_shadow_is_asked_what_is_posted_is_kept_and_nobody_waits_for_its_lock(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    one = shaded(make_world, tmp_path / "own", BUG, MINOR)
    seen: list[object] = []

    def look(_what: str) -> None:
        if ("apply", 1) in one.store.checkpoints.load(GUID):
            one.accept(guid="second", thread=7)
            second = one.claim()
            assert second is not None
            one.store.locks.acquire(second, "186853002#1/issues", ttl_s=20)  # raises Wait while the first holds it
            seen.append((one.row().state, one.row().posting_status))

    one.claude.meanwhile = look
    assert one.run() == POSTED
    assert seen == [("running", "done")]


def test_what_a_shadow_came_to_is_kept_beside_what_was_posted(make_world: MakeWorld, tmp_path: Path) -> None:
    one = shaded(make_world, tmp_path / "own", BUG, MINOR)
    one.run()
    found = kept(one)
    assert (found.prompt, found.state, found.reason) == ("issues/strict", "done", None)
    assert nameless(found.posted) == Ran("issues/analyze", BUG_LABELS, speaks=True)
    assert nameless(found.ran) == Ran("issues/strict", MINOR_LABELS, speaks=False)


def test_analyses_and_calls_of_a_shadow_are_marked(make_world: MakeWorld, tmp_path: Path) -> None:
    one = shaded(make_world, tmp_path / "own", BUG, MINOR)
    one.run()
    told = [(row.prompt_id.partition("@")[0], row.of_shadow) for row in one.store.calls.analyses_of(GUID)]
    assert told == [("issues/analyze", False), ("issues/strict", True)]
    assert [(call.outcome, call.of_shadow) for call in one.store.calls.calls_of(GUID)] == [("ok", False), ("ok", True)]
    counted = one.store.statistics.counters()
    strict = one.store.calls.analyses_of(GUID)[1].prompt_id
    assert (counted["prompt_calls", strict], counted["prompt_shadow_calls", strict]) == (1, 1)
    assert counted["prompt_cost_micro_usd", strict] == 140
    assert one.store.calls.count_last_hour() == 2


def test_a_shadow_goes_on_to_where_its_then_leads(make_world: MakeWorld, tmp_path: Path) -> None:
    answer = IssueResponse(worth_saying=True, answer="Set DATABASE_URL.", certain=True)
    one = shaded(make_world, tmp_path / "own", BUG, QUESTION, answer)
    one.run()
    names = [asked.prompt.name for asked in one.claude.asked]
    assert names == ["issues/analyze", "issues/strict", "issues/respond"]
    assert kept(one).ran is not None
    assert [row.of_shadow for row in one.store.calls.analyses_of(GUID)] == [False, True, True]
    assert "README" in one.github.comments[1]


def test_templates_of_a_shadow_see_the_same_facts_and_their_own_name(make_world: MakeWorld, tmp_path: Path) -> None:
    one = shaded(make_world, tmp_path / "own", BUG)
    first, second = (one.run(), one.claude.asked)[1]
    assert second.task == first.task


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ([CLAUDE_DOWN], "Claude answered 529"),
        ([Permanent("Claude answered 400: too long")], "Claude answered 400: too long"),
        ([INVALID, INVALID], "cannot be used, twice"),
        ([replace(INVALID, why="refused")], "cannot be used: kind"),
    ],
    ids=["outage", "refused request", "unusable twice", "refusal"],
)
def test_a_shadow_that_fails_is_recorded_as_failed_and_is_nobody_elses_trouble(
    make_world: MakeWorld, tmp_path: Path, replies: list[object], reason: str
) -> None:
    one = shaded(make_world, tmp_path / "own", BUG, *replies)
    assert one.run() == POSTED
    assert (kept(one).state, kept(one).ran) == ("failed", None)
    assert reason in (kept(one).reason or "")
    assert (one.row().failures, one.row().attempts, one.row().analysis_status) == (0, 0, "done")
    assert one.health.snapshot().components["claude"].state == "healthy"
    assert one.store.rate_limiter.held_until("claude") is None
    assert one.store.calls.calls_of(GUID)[-1].error is not None


def test_a_template_of_a_shadow_that_breaks_on_this_event_is_recorded(make_world: MakeWorld, tmp_path: Path) -> None:
    comment = "{% if issue.body == 'unheard of' %}{{ 1 // (issue.number - 1) }}{% endif %}"
    write(tmp_path / "own", {"issues/broken.j2": ANALYZE, "issues/broken.comment.md.j2": comment})
    one = shaded(make_world, tmp_path / "own", BUG, prompt="issues/broken")
    one.github.issues = {1: replace(ISSUE, body="unheard of")}
    assert one.run() == POSTED
    assert kept(one).reason == f"{tmp_path}/own/issues/broken.comment.md.j2:1: integer division or modulo by zero"


def test_a_shadow_that_nobody_wrote_is_recorded_and_costs_nothing(make_world: MakeWorld, tmp_path: Path) -> None:
    one = shaded(make_world, tmp_path / "own", BUG, prompt="issues/strikt")
    assert one.run() == POSTED
    assert kept(one).reason == "there is no prompt issues/strikt, which settings (prompts.use.issues) names"
    assert len(one.claude.asked) == 1


def test_a_prompt_of_another_family_fails_in_the_shadow_alone(make_world: MakeWorld, tmp_path: Path) -> None:
    one = shaded(make_world, tmp_path / "own", BUG, prompt="reviews/analyze")
    assert one.run() == POSTED
    assert (kept(one).state, len(one.claude.asked)) == ("failed", 1)


def test_a_defect_of_ours_in_a_shadow_leaves_the_delivery_alone(
    make_world: MakeWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = shaded(make_world, tmp_path / "own", BUG, "no reply at all")  # the fake trips over it
    assert one.run() == POSTED
    assert kept(one).reason == "defect in HLS, please report it: AttributeError (the log has the trace)"
    assert "defect in a shadow" in caplog.text


def test_what_claudes_server_said_to_everybody_holds_for_everybody(make_world: MakeWorld, tmp_path: Path) -> None:
    one = shaded(make_world, tmp_path / "own", BUG)
    until = one.store.now() + timedelta(minutes=5)
    busy = DependencyDown("429", dependency="claude", remedy="wait", not_before=until)
    one.claude.replies = [BUG, busy]
    assert one.run() == POSTED
    assert one.store.rate_limiter.held_until("claude") is not None


def test_near_the_hourly_brake_a_shadow_is_skipped_and_deliveries_go_on(make_world: MakeWorld, tmp_path: Path) -> None:
    one = shaded(make_world, tmp_path / "own", BUG, calls_per_hour=5)
    for guid in (GUID, "second", "third"):
        one.accept(guid=guid)
        one.run()
    assert [asked.prompt.name.partition("/")[2] for asked in one.claude.asked] == [
        "analyze",
        "strict",
        "analyze",
        "strict",
        "analyze",
    ]
    third = SHADOWED.decode(one.store.checkpoints.load("third").get((SHADOWED.name, 0)))
    assert third is not None
    assert (third.state, third.ran) == ("skipped", None)
    assert third.reason == (
        "5 calls within the hour, and claude.calls_per_hour allows 5: shadow prompts may not use the last 20%"
    )
    assert one.row("third").state == "done"


def test_a_turn_that_is_not_near_is_not_waited_for(make_world: MakeWorld, tmp_path: Path) -> None:
    one = shaded(make_world, tmp_path / "own", BUG)
    slow = one.settings.claude.model_copy(update={"requests_per_second": 0.1})
    one.settings = one.settings.model_copy(update={"claude": slow})
    assert one.run() == POSTED
    assert (kept(one).state, kept(one).reason) == ("skipped", "waits for its turn to ask Claude")


def test_a_service_that_stops_skips_the_shadow_of_what_is_posted(make_world: MakeWorld, tmp_path: Path) -> None:
    one = shaded(make_world, tmp_path / "own", BUG)

    def stop(what: str) -> None:
        one.stopping = what == "write comment"

    one.github.meanwhile = stop
    assert one.run() == POSTED
    assert (kept(one).state, kept(one).reason) == ("skipped", "the service is stopping")


def test_posting_that_fails_keeps_the_shadow_waiting(make_world: MakeWorld, tmp_path: Path) -> None:
    one = shaded(make_world, tmp_path / "own", BUG)
    one.github.failing_writes = [GITHUB_DOWN]
    assert one.run() is None
    assert [asked.prompt.name for asked in one.claude.asked] == ["issues/analyze"]
    one.later(60)
    assert one.run() == POSTED
    assert [asked.prompt.name for asked in one.claude.asked] == ["issues/analyze", "issues/strict"]


def test_a_worker_that_dies_in_the_middle_of_a_shadow_has_nothing_paid_for_twice(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    answer = IssueResponse(worth_saying=True, answer="Set DATABASE_URL.", certain=True)
    one = shaded(make_world, tmp_path / "own", BUG, QUESTION, LeaseLost("it died"), answer)
    assert one.run() is None
    one.later(31)
    assert one.run() == POSTED
    assert [asked.prompt.name.partition("/")[2] for asked in one.claude.asked] == [
        "analyze",
        "strict",
        "respond",
        "respond",
    ]
    assert one.github.asked.count("write comment") == 1
    assert kept(one).state == "done"


def test_in_a_dry_run_the_shadow_is_asked_as_well(make_world: MakeWorld, tmp_path: Path) -> None:
    one = shaded(make_world, tmp_path / "own", BUG)
    one.settings = one.settings.model_copy(update={"features": Features(dry_run=True)})
    one.run()
    assert (kept(one).state, one.github.comments) == ("done", {})


def test_what_claude_is_not_asked_about_has_no_shadow(make_world: MakeWorld, tmp_path: Path) -> None:
    one = shaded(make_world, tmp_path / "own", BUG)
    event = parse_event("pull_request_review", GUID, recorded.load("pull_request_review.submitted").body)
    assert event.pull_request is not None
    assert event.review is not None
    author = replace(event.review.user, id=5, login="somebody")
    one.github.pull_requests = {2: replace(event.pull_request, user=author)}
    one.github.reviews_of = {2: (replace(event.review, state="approved", body=""),)}
    use = {"pull_request_review": {"prompt": "issues/strict", "shadow": True}}
    one.settings = one.settings.model_copy(update={"prompts": Prompts.model_validate({"use": use})})
    one.run()
    one.accept("pull_request_review.submitted", guid="review")
    assert one.run() is not None
    assert (SHADOWED.name, 0) not in one.store.checkpoints.load("review")
