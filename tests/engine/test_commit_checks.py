"""The check on a commit: in progress while Claude works, always ended, and never a success without
a review.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hls_handler.actions import Outcome
from hls_handler.analysis import Unusable, UnusableReply, Usage
from hls_handler.deliveries import Lease
from hls_handler.engine.codecs import OUTCOME
from hls_handler.errors import (
    AppNotInstalled,
    DependencyDown,
    Permanent,
    Postponed,
)
from hls_handler.github.check_writer import IN_PROGRESS
from hls_handler.github.values import ChangedFile
from hls_handler.prompting import recorded
from hls_handler.queue.rate_limiter import SlotRequest
from hls_handler.reports.delivery_report import format_report
from tests.engine.claude import CLAUDE_DOWN, INVALID
from tests.engine.world import GUID, MakeWorld, World, settings
from tests.handlers.world import file, pull_request, pull_request_analysis
from tests.prompting.samples import load

SHA = pull_request().head_sha
REPLY = pull_request_analysis()
LATE_WRITE_S = 61.0  # more than `Expiry.slowest_write_s`
NO_RESPONSE = DependencyDown(
    "GitHub gave no answer", dependency="github", remedy="wait", may_have_succeeded=True
)


OLD, NEW = "a" * 40, "b" * 40
REMOVED = file(status="removed", commit=OLD)


def shown(world: World) -> list[str]:
    return world.github.checks_of(SHA)


def title(world: World) -> str:
    return world.github.check_output(SHA)["title"]


def summary(world: World) -> str:
    return world.github.check_output(SHA)["summary"]


def check_outcome(world: World) -> Outcome:
    steps = world.store.checkpoints.load(GUID).values()
    outcomes = [OUTCOME.decode(step) for step in steps if step.name == OUTCOME.name]
    (outcome,) = [
        outcome for outcome in outcomes if outcome is not None and outcome.action == "check"
    ]
    return outcome


def writes(world: World) -> list[str]:
    return [call for call in world.github.writes if "/check-runs" in call]


def test_check_is_in_progress_while_claude_is_asked_and_then_a_success(
    make_world: MakeWorld,
) -> None:
    world = make_world(REPLY)
    world.open_pull_request()
    during: list[list[str]] = []
    world.claude.on_call = lambda _: during.append(shown(world))
    assert world.finish().state == "done"
    assert (during, shown(world)) == ([[IN_PROGRESS]], ["success"])
    assert check_outcome(world).detail == "set the check to success: 1 of 1 file reviewed"
    assert summary(world).startswith("1 of 1 file that needs a review was reviewed as a whole.")
    world.end_checks()
    assert shown(world) == ["success"]


@pytest.mark.parametrize(
    ("state", "end", "checks"), [("open", "done", ["success"]), ("closed", "superseded", [])]
)
@pytest.mark.parametrize("arrives", ["while queued", "while Claude is asked"])
def test_reopening_that_arrives_before_the_closing_is_reviewed_if_github_shows_it_open(
    make_world: MakeWorld, state: str, end: str, checks: list[str], arrives: str
) -> None:
    world = make_world(REPLY, is_clock_fixed=True)
    payload = json.loads(recorded.load("pull_request.opened").body)
    payload["pull_request"] |= {"updated_at": world.store.now().isoformat()}

    def receive(action: str, guid: str) -> None:
        world.receive("pull_request", {**payload, "action": action}, guid=guid)
        world.github.put_pull_request(pull_request(number=2, state=state), file())

    def close() -> None:
        receive("closed", "g2")

    receive("reopened", "g1")
    if arrives == "while queued":
        close()
    else:
        world.claude.on_call = lambda _: close()
    assert world.finish().state == end
    assert shown(world) == checks


def test_check_appears_with_its_end_while_other_writes_wait_for_slots(
    make_world: MakeWorld,
) -> None:
    world = make_world(REPLY, given=settings(github={"min_seconds_between_writes": 1.0}))
    world.open_pull_request()
    for _ in range(5):  # of other deliveries
        world.store.rate_limiter.reserve_slot("github", interval_s=1.0, within_s=60.0)

    def next_slot() -> datetime:
        return world.store.rate_limiter.all_waits(longer_than_s=0.0)["github"]

    free, during = next_slot(), list[list[str]]()
    world.claude.on_call = lambda _: during.append(shown(world))
    assert world.run() is None
    assert (world.row().reason, during, shown(world)) == (
        "waits for a slot of the rate limit github",
        [[]],
        [],
    )
    assert next_slot() == free + timedelta(seconds=1)  # the one before it is for the first result
    world.advance(5)
    assert (world.finish().state, len(world.claude.asked), shown(world)) == ("done", 1, ["success"])
    assert len(writes(world)) == 1


MARK = "\n".join(["@@ -1,2 +1,3 @@", "+a = '<!--'", "+run(input())", "+b = '-->'", " c = 1"])


@pytest.mark.parametrize(
    ("body", "unread"),
    [
        ("{% for file in files[:1] %}{{ file.numbered | code }}{% endfor %}", ["b.py"]),
        (
            "{% for file in files %}{{ file.numbered | code | lines(1, 3) }}{% endfor %}",
            ["a.py", "b.py"],
        ),
    ],
    ids=["first file", "lines"],
)
def test_what_the_prompt_of_the_operator_leaves_out_is_not_reviewed(
    make_world: MakeWorld, tmp_path: Path, body: str, unread: list[str]
) -> None:
    world = make_world(REPLY)
    front = "---\ndescription: Reads\non: [pull_request]\nreply: pull_request_analysis\n---\n"
    world.prompts = load(
        tmp_path / "prompts", {"pull_requests/analyze.j2": f"{front}Read this.\n{body}"}
    )
    world.open_pull_request(file("a.py", MARK, additions=3, deletions=0), file("b.py"))
    # The retry after a failed write takes the reply, and what it did not show, from the
    # checkpoints.
    world.claude.on_call = lambda _: world.github.fail(502, "/")
    assert world.run() is None
    world.advance(600)
    assert world.finish().state == "done"
    assert (len(world.claude.asked), shown(world)) == (1, ["neutral"])
    assert [
        path
        for path in ("a.py", "b.py")
        if f"`{path}`: the prompt shows only a part of it" in summary(world)
    ] == unread


def test_list_of_files_of_another_commit_is_read_again(make_world: MakeWorld) -> None:
    world = make_world(REPLY)
    removed = file("c.py", status="removed", commit=NEW)
    world.open_pull_request(file(), file("b.py", commit=OLD), removed)
    assert world.run() is None
    assert (
        world.row().reason
        == "GitHub still lists the changed files of commit aaaaaaaaaa, but the head is 0123456789"
    )
    assert (world.claude.asked, "success" in shown(world)) == ([], False)
    world.github.put_pull_request(pull_request(number=2), file(), removed)
    world.advance(600)
    assert (world.finish().state, shown(world)) == ("done", ["success"])


def test_list_of_files_of_the_earlier_base_is_read_again(make_world: MakeWorld) -> None:
    world = make_world(REPLY)
    payload = json.loads(recorded.load("pull_request.opened").body)
    payload |= {"action": "edited", "changes": {"base": {"ref": {"from": "main"}}}}
    world.receive("pull_request", payload, guid=GUID)
    world.github.put_pull_request(pull_request(number=2), file())

    def list_other_file(call: str) -> None:
        if call == "GET /pulls/2" and "GET /pulls/2/files" in world.github.calls:
            world.github.put_pull_request(pull_request(number=2), file(), file("b.py"))

    world.github.on_call = list_other_file
    assert world.run() is None
    assert str(world.row().reason).startswith("GitHub's list of the changed files is late")


@pytest.mark.parametrize("changed", [file(), REMOVED], ids=["new head", "only removed files"])
def test_head_that_changed_when_its_files_were_read_is_superseded(
    make_world: MakeWorld, changed: ChangedFile
) -> None:
    world = make_world(REPLY)
    world.open_pull_request()

    def push(call: str) -> None:
        if call == "GET /pulls/2/files":
            world.github.put_pull_request(pull_request(number=2, head_sha=NEW), changed)

    world.github.on_call = push
    finished = world.finish()
    assert (finished.state, finished.reason) == (
        "superseded",
        "a newer push came meanwhile: bbbbbbbbbb",
    )
    assert (world.claude.asked, "success" in shown(world)) == ([], False)


def unusable(why: Unusable) -> UnusableReply:
    return UnusableReply("", why, "it cannot be used", "", Usage("claude-haiku-5-5", cost_usd=0.01))


@pytest.mark.parametrize(
    ("replies", "incomplete", "shows_cost"),
    [
        ([unusable("refused")], "neutral", False),
        ([INVALID, INVALID], "failure", False),
        ([Permanent("Claude answered 400")], "neutral", True),
    ],
    ids=["refused", "invalid twice", "rejected"],
)
def test_failed_review_ends_without_success(
    make_world: MakeWorld, replies: list[Any], incomplete: str, shows_cost: bool
) -> None:
    given = settings(review={"incomplete": incomplete}, comments={"show_cost": shows_cost})
    world = make_world(*replies, given=given)
    world.open_pull_request()
    assert world.finish().state == "dead"
    assert shown(world) == [IN_PROGRESS]
    world.end_checks()
    assert shown(world) == [incomplete]
    assert title(world).startswith("The review failed: Claude")
    assert ";" not in title(world)  # what the operator should do
    assert "; `/review` of a person with write permission tries again" in summary(world)
    assert ("\n\nCost: " in summary(world)) == shows_cost
    assert world.component("claude").state == "degraded"
    world.end_checks()
    assert len(writes(world)) == 2


def test_check_stays_in_progress_while_claude_is_down_and_ends_with_the_dead_letter(
    make_world: MakeWorld,
) -> None:
    world = make_world(CLAUDE_DOWN)
    world.open_pull_request()
    assert world.run() is None
    world.end_checks()
    assert (shown(world), writes(world)) == ([IN_PROGRESS], ["POST /check-runs"])
    world.advance(25 * 3600)
    assert world.finish().state == "dead"
    world.end_checks()
    assert shown(world) == ["neutral"]


def test_review_whose_files_cannot_be_read_has_a_check(make_world: MakeWorld) -> None:
    world = make_world(REPLY)
    world.open_pull_request(head_sha=SHA)
    world.github.raise_once(Permanent("GitHub answered 403"), "GET /pulls/2/files")
    assert world.finish().state == "dead"
    world.end_checks()
    assert shown(world) == ["neutral"]


def test_superseded_delivery_ends_its_check(make_world: MakeWorld) -> None:
    world = make_world(REPLY)
    world.open_pull_request()

    def push(_: str) -> None:
        world.accept("pull_request.opened", guid="newer", head_sha="c0ffee", action="synchronize")

    world.claude.on_call = push
    assert world.finish().state == "superseded"
    world.end_checks()
    assert shown(world) == ["cancelled"]
    assert title(world) == "Not reviewed: a newer push came meanwhile: c0ffee"
    ended = "cancelled: Not reviewed: a newer push came meanwhile: c0ffee"
    report = [*format_report(world.report())]
    assert f"  Check, ended by the service after the delivery: {ended}." in report


def test_retry_after_the_lost_response_of_the_end_uses_the_same_check(
    make_world: MakeWorld,
) -> None:
    world = make_world(REPLY)
    world.open_pull_request()

    def lose(call: str) -> None:
        if call.startswith("PATCH /check-runs/"):
            world.github.on_response = lambda _: None
            raise NO_RESPONSE

    world.github.on_response = lose
    assert world.run() is None
    world.advance(LATE_WRITE_S + 60)
    assert world.finish().state == "done"
    assert (shown(world), len(world.claude.asked)) == (["success"], 1)


@pytest.mark.parametrize("number", [2, 3], ids=["same pull request", "another with the commit"])
def test_earlier_result_of_the_commit_does_not_stay_while_other_writes_wait_for_slots(
    make_world: MakeWorld, number: int
) -> None:
    world = make_world(REPLY, given=settings(github={"min_seconds_between_writes": 1.0}))
    world.review()
    assert shown(world) == ["success"]
    world.open_pull_request(
        file("other.py"), guid="after a change of the base branch", number=number
    )
    assert shown_during_call_after_other_writes(world) == ["success", IN_PROGRESS]


def test_own_earlier_result_does_not_stay_while_other_writes_wait_for_slots(
    make_world: MakeWorld,
) -> None:
    world = make_world(
        Permanent("401"), REPLY, given=settings(github={"min_seconds_between_writes": 1.0})
    )
    world.open_pull_request()
    assert world.finish().state == "dead"
    world.end_checks()
    world.advance(60)
    world.store.queue.retry(GUID)
    assert shown_during_call_after_other_writes(world) == ["neutral", IN_PROGRESS]


def shown_during_call_after_other_writes(world: World) -> list[str]:
    for _ in range(5):  # of other deliveries
        world.store.rate_limiter.reserve_slot("github", interval_s=1.0, within_s=60.0)
    during: list[list[str]] = []
    world.claude.on_call = lambda _: during.append(shown(world))
    assert world.run() is None
    world.advance(7)
    world.run()
    (once,) = during
    return once


def test_end_of_a_rejected_result_does_not_stay_while_other_writes_wait_for_slots(
    make_world: MakeWorld,
) -> None:
    world = make_world(REPLY, given=settings(github={"min_seconds_between_writes": 1.0}))
    world.open_pull_request()
    world.claude.on_call = lambda _: world.github.fail(422, "PATCH /check-runs")
    while world.run() is None:
        world.advance(world.store.queue.seconds_until_due() or 0)
    world.advance(60)
    world.end_checks()
    world.advance(60)
    world.open_pull_request(file("other.py"), guid="after a change of the base branch")
    assert shown_during_call_after_other_writes(world) == ["neutral", IN_PROGRESS]


def test_check_that_waited_for_first_results_is_held_up_once(make_world: MakeWorld) -> None:
    world = make_world(
        REPLY, given=settings(github={"min_seconds_between_writes": 1.0}), is_clock_fixed=True
    )
    world.review()
    world.advance(60)
    limiter, others = world.store.rate_limiter, list[Lease]()
    for number in range(7, 27):
        world.accept(guid=f"other {number}", number=number)
        other = world.store.queue.claim(worker="v", lease_s=3600)
        assert other is not None
        others.append(other)
    waiting: list[tuple[datetime, Lease]] = []

    def bring_first_results() -> None:
        world.on_pause = lambda: None
        for _ in range(10):
            with pytest.raises(Postponed) as wait:
                limiter.take_slot(others[-1], SlotRequest("github", 1.0))
            waiting.append((wait.value.at, others.pop()))

    world.open_pull_request(file("other.py"), guid="base")
    limiter.reserve_slot("github", interval_s=1.0, within_s=60.0)
    world.on_pause = bring_first_results
    assert world.run() is None  # ten first results go before the check in progress
    due_at = world.store.now() + timedelta(seconds=world.store.queue.seconds_until_due() or 0)
    for at, lease in sorted(waiting, key=lambda one: one[0]):
        # its worker was busy
        late_s = 0.3 if at == max(waiting, key=lambda one: one[0])[0] else 0.005
        world.advance((at - world.store.now()).total_seconds() + late_s)
        limiter.take_slot(lease, SlotRequest("github", 1.0))
    world.advance((due_at - world.store.now()).total_seconds() + 0.01)
    world.on_pause = bring_first_results
    world.run()
    assert (len(world.claude.asked), shown(world)) == (2, ["success", IN_PROGRESS])


def test_question_waits_while_the_creation_of_the_check_may_take_effect(
    make_world: MakeWorld,
) -> None:
    world = make_world(REPLY)
    world.open_pull_request()
    world.github.lose_response(NO_RESPONSE, "POST /check-runs")
    assert world.run() is None
    world.advance(LATE_WRITE_S / 2)
    assert world.run() is None
    assert world.claude.asked == []
    world.advance(LATE_WRITE_S)
    during: list[list[str]] = []
    world.claude.on_call = lambda _: during.append(shown(world))
    assert world.finish().state == "done"
    assert (during, shown(world)) == ([[IN_PROGRESS]], ["success"])


@pytest.mark.parametrize(
    ("others", "result", "reason"),
    [
        (
            (),
            (["success"], "Nothing needs a review: 1 changed in blank lines only"),
            "none of the changed files has",
        ),
        ((file("a.py"),), (["neutral"], "0 of 1 file reviewed"), "a budget allows no further call"),
    ],
    ids=["alone", "among others"],
)
def test_file_of_blank_lines_needs_no_review(
    make_world: MakeWorld,
    others: tuple[ChangedFile, ...],
    result: tuple[list[str], str],
    reason: str,
) -> None:
    budgets = {"total": {"day_usd": 0.00001}, "exceeded": "ignore"}
    world = make_world(REPLY, given=settings(budgets=budgets))
    blank = file("b.py", "@@ -1,2 +1,5 @@\n a = 1\n+\n+\n+\n b = 1", additions=3, deletions=0)
    world.open_pull_request(*others, blank)
    finished = world.finish()
    assert (shown(world), title(world)) == result
    assert finished.reason.startswith(reason)
    assert "- `b.py`: changed in blank lines only" in summary(world)


def test_rejected_check_does_not_fail_the_delivery_and_is_tried_once(
    make_world: MakeWorld,
) -> None:
    world = make_world(REPLY)
    world.open_pull_request()
    world.github.fail(422, "POST /check-runs")
    assert (world.finish().state, writes(world)) == ("done", ["POST /check-runs"])
    outcome = check_outcome(world)
    reason = "the check was not set: POST /repos/Codertocat/Hello-World/check-runs: 422 Fault"
    assert (outcome.kind, outcome.detail) == ("withheld", reason)
    assert world.github.labels[2] == ("size/small", "type/bug-fix")
    world.end_checks()
    assert len(writes(world)) == 1
    world.claude.replies = [REPLY]
    world.review(file("other.py"), guid="next")
    assert shown(world) == ["success"]  # it does not wait


def test_check_whose_end_was_rejected_does_not_stay_in_progress(make_world: MakeWorld) -> None:
    world = make_world(REPLY)
    world.open_pull_request()
    world.github.fail(403, "PATCH /check-runs")
    assert world.finish().state == "done"
    assert (shown(world), check_outcome(world).kind) == ([IN_PROGRESS], "withheld")
    world.end_checks()
    assert shown(world) == ["neutral"]
    assert title(world).startswith("The result was not set: GitHub rejected it: PATCH /repos/")


def test_dry_run_writes_no_check(make_world: MakeWorld) -> None:
    world = make_world(REPLY, given=settings(features={"dry_run": True}))
    world.review()
    assert (writes(world), check_outcome(world).kind) == ([], "dry_run")


def test_list_of_only_removed_files_is_read_again_if_its_numbers_differ(
    make_world: MakeWorld,
) -> None:
    world = make_world(REPLY)
    world.open_pull_request(REMOVED)
    pull = world.github.conversation(2)
    late = {"changed_files": 7, "additions": 8, "deletions": 9}
    late_pull = replace(pull, document={**pull.document, **late})
    world.github.state.change(lambda state: state.with_conversation(late_pull))
    assert world.run() is None
    assert "are (1, 1, 1), and (7, 8, 9) in the pull request" in (world.row().reason or "")
    assert (world.claude.asked, "success" in shown(world)) == ([], False)
    world.github.state.change(lambda state: state.with_conversation(pull))
    world.advance(600)
    assert (world.finish().state, shown(world)) == ("done", ["success"])


def test_check_of_an_uninstalled_app_is_given_up(make_world: MakeWorld) -> None:
    world = make_world(unusable("refused"))
    world.open_pull_request()
    world.finish()
    error = AppNotInstalled("the GitHub App is not installed on o/r")

    def refuse(call: str) -> None:
        raise error

    world.github.on_call = refuse
    world.end_checks()
    assert world.store.commit_checks.service_results(GUID) == (
        "failed: the GitHub App is not installed on o/r",
    )


def test_github_is_not_called_for_30_seconds_after_a_check_could_not_be_ended(
    make_world: MakeWorld,
) -> None:
    world = make_world(unusable("refused"))
    world.open_pull_request()
    world.finish()
    world.github.fail(503, "PATCH /check-runs")
    world.end_checks()
    assert shown(world) == [IN_PROGRESS]
    until = world.store.rate_limiter.held_until("github")
    assert until is not None
    assert (until - world.store.now()).total_seconds() == pytest.approx(30, abs=1)
