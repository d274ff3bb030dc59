"""GitHub's addresses for the creation of an App, and the errors of the exchange of a code."""

from __future__ import annotations

import pytest

from hls_handler.errors import DependencyDown
from hls_handler.events import HANDLED_EVENTS
from hls_handler.github.app_setup import (
    APP_EVENTS,
    PERMISSIONS,
    convert_code,
    make_manifest,
)
from tests.github.review_world import NOON
from tests.github_fake.faults import Fault
from tests.github_fake.server import Sandbox

CODE = "c0de-c0de-c0de-c0de"


def test_the_app_of_the_manifest_is_not_public() -> None:
    manifest = make_manifest(
        name="my-hls", homepage="https://h", redirect_url="http://r", webhook_url="https://w"
    )
    assert (manifest["public"], manifest["hook_attributes"]) == (
        False,
        {"url": "https://w", "active": True},
    )


def test_app_has_the_permission_that_github_demands_for_each_of_its_events() -> None:
    others = {
        "merge_group": "merge_queues",
        "pull_request_review_comment": "pull_requests",
        "pull_request_review_thread": "pull_requests",
        "repository": "metadata",
    }
    demanded = {name: event.permission for name, event in HANDLED_EVENTS.items()} | others
    assert {demanded[event] for event in APP_EVENTS} <= PERMISSIONS.keys()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(
            effect="status",
            status=302,
            headers={"Location": "https://elsewhere.example"},
            times=None,
        ),
        Fault(effect="status", status=404, body="<html>no API</html>", times=None),
    ],
    ids=["redirect", "not GitHub"],
)
def test_the_code_can_be_exchanged_later_after_a_failure(fault: Fault) -> None:
    with Sandbox() as sandbox:
        sandbox.faults.add(fault)
        with pytest.raises(DependencyDown) as failed:
            convert_code(sandbox.github_url, CODE, now=lambda: NOON)
    assert CODE not in str(failed.value) + failed.value.remedy
