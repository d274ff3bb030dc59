"""Failures of GitHub and Claude: nothing is invented, duplicated or lost."""

from __future__ import annotations

import itertools
import json
from contextlib import closing
from typing import Any

import pytest

from hls_handler.store.deliveries import DeliveryRow
from hls_sandbox.objects import Conversation
from tests.e2e.conftest import Shared
from tests.e2e.test_life import assert_each_done_once, issue
from tests.github_fake.faults import Fault

pytestmark = pytest.mark.smoke

NUMBERS = itertools.count(101)


def go_through(shared: Shared, *faults: Fault) -> tuple[DeliveryRow, Conversation]:
    """Deliver another issue while GitHub or Claude fails; return what became of it."""
    number, service = next(NUMBERS), shared.service
    for fault in faults:
        shared.sandbox.faults.add(fault)
    shared.sandbox.state.seed("issues", json.loads(issue(number)))
    assert service.deliver("issues", issue(number), guid=f"guid-{number}").status == 202
    service.until_idle()
    shared.sandbox.faults.clear()
    with closing(service.open_store()) as store:
        row = store.deliveries.find(f"guid-{number}")
    conversation = shared.sandbox.conversation(number)
    assert row is not None
    return row, conversation


def claude(effect: str, **more: Any) -> Fault:
    return Fault.model_validate({"effect": effect, "stand_in": "claude", "method": "POST", **more})


def github(effect: str, **more: Any) -> Fault:
    return Fault.model_validate({"effect": effect, "stand_in": "github", **more})


@pytest.mark.parametrize(
    "fault",
    [
        claude("status", status=429, headers={"retry-after": "1"}),
        claude("wrong_schema"),
        github("status", status=401, method="GET", path="/issues/"),
        github("drop_after", method="POST", path="/comments$"),
        github("garbage", method="POST", path="/comments$"),
    ],
    ids=lambda fault: f"{fault.stand_in} {fault.effect}",
)
def test_a_temporary_failure_is_retried_without_duplicates(shared: Shared, fault: Fault) -> None:
    row, conversation = go_through(shared, fault)
    assert row.state == "done"
    assert_each_done_once(shared.sandbox, [conversation.number])


def test_a_permanent_failure_posts_nothing_and_is_a_dead_letter_with_reason(shared: Shared) -> None:
    dead, conversation = go_through(shared, claude("refusal", times=None))
    assert (dead.state, "refus" in (dead.reason or "")) == ("dead", True)
    assert (conversation.labels, conversation.comments) == ((), ())
