"""Any other event: one comment, on the thread that it shows or on the issue that settings name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.actions import KeepComment
from hls_handler.analysis import GenericAnalysis
from hls_handler.errors import Overtaken
from hls_handler.handlers.generic import GenericFacts, GenericHandler
from hls_handler.handlers.handler import Budget, Thread
from hls_handler.handlers.record import NOTHING_KNOWN
from tests.handlers.happenings import posting_to
from tests.handlers.world import FakeReader, analysis, event, issue, pull_request

HANDLER = GenericHandler("push")
PUSH = replace(event(issue()), name="push", action=None, issue=None)
COMMENT_ON_A_LINE = replace(event(pull_request()), name="pull_request_review_comment", action="created")
SAID = GenericAnalysis(worth_saying=True, summary="Pushed.", details="")


def test_the_thread_is_the_one_that_the_payload_shows_else_the_one_that_settings_name() -> None:
    assert HANDLER.thread(PUSH, GenericFacts(), posting_to(push=3)) == Thread(
        3, is_pull_request=False, is_appointed=True
    )
    assert HANDLER.thread(PUSH, GenericFacts(), posting_to("push", release=3)) is None
    assert HANDLER.thread(COMMENT_ON_A_LINE, GenericFacts(), posting_to(push=3)) == Thread(8, is_pull_request=True)


def test_nothing_is_read_but_whether_the_thread_still_wants_us() -> None:
    reader = FakeReader(pull_request(state="closed"))
    assert HANDLER.gather(PUSH, reader, NOTHING_KNOWN, Budget(1_000)) == GenericFacts()
    with pytest.raises(Overtaken, match="octo/hello#8 was closed meanwhile"):
        HANDLER.gather(COMMENT_ON_A_LINE, reader, NOTHING_KNOWN, Budget(1_000))


def test_each_thing_that_events_tell_of_has_a_comment_of_its_own() -> None:
    """A second discussion does not overwrite what was said of the first."""
    handler = GenericHandler("discussion")
    told = replace(PUSH, name="discussion", payload={"discussion": {"id": 801, "title": "Is it broken?"}})
    (action,) = handler.plan(told, GenericFacts(), analysis(SAID), posting_to())
    assert isinstance(action, KeepComment)
    assert action.family == "discussion-801"
    status = {"deployment": {"id": 31}, "deployment_status": {"id": 77}}
    told = replace(PUSH, name="deployment_status", payload=status)
    (action,) = GenericHandler("deployment_status").plan(told, GenericFacts(), analysis(SAID), posting_to())
    assert isinstance(action, KeepComment)
    assert action.family == "deployment_status-31"


@pytest.mark.parametrize("payload", [{}, {"push": None}, {"push": {"id": "801"}}, {"push": "id"}])
def test_what_has_no_id_has_one_comment_for_all_of_its_events(payload: dict[str, object]) -> None:
    (action,) = HANDLER.plan(replace(PUSH, payload=payload), GenericFacts(), analysis(SAID), posting_to())
    assert isinstance(action, KeepComment)
    assert action.family == "push"


def test_nothing_to_say_is_no_action() -> None:
    assert HANDLER.plan(PUSH, GenericFacts(), analysis(SAID, comment=None), posting_to()) == ()
