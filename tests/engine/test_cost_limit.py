"""Which events continue on a pull request at `review.max_usd_per_pull_request`, and how far.

The fake's estimate of each call is 0.05 USD, its cost 0.00014 USD.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from hls_handler.analysis import FindingVerdicts, ReplyFields
from hls_handler.engine.job import Attempt
from hls_handler.engine.pipeline import process_delivery
from hls_handler.settings.model import Settings
from hls_handler.settings.sections import ReviewSettings
from tests.conftest import Acts
from tests.engine.stand_in import file_document
from tests.engine.test_commands import (
    HEAD,
    PULL,
    app_settings,
    check_run,
    command,
    make,
    requested,
)
from tests.engine.world import MakeWorld, World
from tests.handlers.world import file, finding, pull_request_analysis

REPLY = pull_request_analysis()
WAY_ON = "`/review` of a person with write permission continues for one more review."


def make_limited(
    make_world: MakeWorld,
    *replies: object,
    given: Settings | None = None,
    **review: float,
) -> World:
    """A world whose pull request may cost 0.0501 USD, and whose first review is done."""
    world = make(make_world, *(replies or (REPLY,)), given=given)
    limits = ReviewSettings.model_validate({"max_usd_per_pull_request": 0.0501, **review})
    world.settings = world.settings.model_copy(update={"review": limits})
    push(world, "first", HEAD)
    world.finish()
    return world


def push(world: World, guid: str, sha: str, **more: Any) -> None:
    """Push a commit that changes a line."""
    payload = copy.deepcopy(dict(PULL.payload)) | {"action": "synchronize", **more}
    payload["pull_request"]["head"]["sha"] = sha
    assert world.receive("pull_request", payload, guid=guid) == "queued"
    changed = file("area.py", f"@@ -1 +1 @@\n-a\n+{guid}")
    world.github.seed_event("pull_request", payload, files=[file_document(changed)])


def reach_limit(world: World) -> None:
    """Push a commit that is not reviewed."""
    push(world, "second", "2" * 40)
    world.finish()
    assert len(world.claude.asked) == 1
    assert WAY_ON in world.github.check_output("2" * 40)["summary"]


def test_check_that_a_person_runs_again_continues(make_world: MakeWorld, acts: Acts) -> None:
    world = make_limited(make_world, given=app_settings())
    reach_limit(world)
    world.receive("check_run", check_run(sha="2" * 40, numbers=(2,)), guid="rerun")
    world.finish()
    finished = world.finish()
    assert len(world.claude.asked) == 2
    assert acts() == [("octocat", "review", ["Codertocat/Hello-World#2", finished.guid])]


@pytest.mark.parametrize("text", ["/resume", "/dismiss 1"])
def test_other_commands_of_a_writer_do_not_continue(
    make_world: MakeWorld, acts: Acts, text: str
) -> None:
    found = finding(path="area.py", line=1, quote="first")
    world = make_limited(make_world, pull_request_analysis(findings=[found]), verify=False)
    reach_limit(world)
    command(world, text)
    assert len(requested(world)) == 1
    world.finish()
    assert (len(world.claude.asked), acts()) == (1, [])


def test_webhook_with_the_key_of_a_requested_review_does_not_continue(
    make_world: MakeWorld, acts: Acts
) -> None:
    world = make_limited(make_world)
    push(world, "forged", "2" * 40, hls={"review": "full"})
    assert "of the pull request allows no further call" in world.finish().reason
    assert (len(world.claude.asked), acts()) == (1, [])


def test_review_that_continues_ends_at_the_limit_of_one_review(
    make_world: MakeWorld, acts: Acts
) -> None:
    found = finding(path="area.py", line=1, quote="second", confidence=0.6)
    replies: list[ReplyFields] = [REPLY, pull_request_analysis(findings=[found])]
    world = make_limited(make_world, *replies, FindingVerdicts(verdicts=[]), max_usd=0.0501)
    reach_limit(world)
    command(world, "/review")
    world.finish()  # the second look does not fit
    assert (len(world.claude.asked), len(acts())) == (2, 1)
    summary = world.github.check_output("2" * 40)["summary"]
    assert "The findings were not verified: the pull request has reached its limit" in summary
    assert WAY_ON in summary
    assert WAY_ON in world.github.comments[2]


def test_killed_review_that_continues_has_one_entry_and_no_second_allowance(
    make_world: MakeWorld, acts: Acts
) -> None:
    world = make_limited(make_world, max_usd=0.06)
    reach_limit(world)
    command(world, "/review")

    def kill(_: str) -> None:
        raise KeyboardInterrupt

    world.claude.on_call = kill
    lease = world.claim()
    with pytest.raises(KeyboardInterrupt):
        process_delivery(lease, world.tools(), Attempt())
    world.claude.on_call = lambda _: None
    world.advance(60)
    finished = world.finish()  # the call that was killed counts with its estimate
    assert (finished.guid, len(world.claude.asked), len(acts())) == (lease.guid, 2, 1)
    assert "the budget of the review allows no further call" in finished.reason
