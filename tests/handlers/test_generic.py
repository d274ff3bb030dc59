"""Generic handler: one comment, on the conversation in the payload or on the fallback issue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from hls_handler.actions import Action, EnsureComment
from hls_handler.analysis import GenericAnalysis
from hls_handler.errors import Superseded
from hls_handler.handlers import generic
from hls_handler.handlers.generic import GenericFacts, GenericHandler
from hls_handler.handlers.handler import common_variables
from hls_handler.handlers.job import Conversation, FactSource, PromptLimits
from hls_handler.handlers.reader import EMPTY_HISTORY
from hls_handler.prompting.render import RuleView
from tests.handlers.world import (
    RecordedJob,
    analysis,
    event,
    issue,
    make_rule,
    open_github,
    pull_request,
)

HANDLER = GenericHandler("push")
PUSH = replace(event(issue()), name="push", action=None, issue=None)
COMMENT_ON_A_LINE = replace(
    event(pull_request()), name="pull_request_review_comment", action="created"
)
ANALYSIS = GenericAnalysis(worth_saying=True, summary="Pushed.", details="")


def test_comment_goes_to_the_conversation_in_the_payload_else_to_the_fallback_issue() -> None:
    fallback, own = (
        Conversation(3, is_pull_request=False, is_fallback_issue=True),
        Conversation(8, is_pull_request=True),
    )
    for received, rule, conversation in (
        (PUSH, make_rule(push=3), fallback),
        (PUSH, make_rule("push", release=3), None),
        (COMMENT_ON_A_LINE, make_rule(push=3), own),
    ):
        job = RecordedJob(received, GenericFacts(), (ANALYSIS,), rule=rule)
        HANDLER.run(job)
        assert job.conversation == conversation


def test_only_the_state_of_the_conversation_is_read() -> None:
    reader = open_github(pull_request(state="closed")).reader("octo/hello")
    assert (
        generic.gather(FactSource(PUSH, reader, EMPTY_HISTORY, PromptLimits(1_000)))
        == GenericFacts()
    )
    with pytest.raises(Superseded, match="octo/hello#8 is closed"):
        generic.gather(FactSource(COMMENT_ON_A_LINE, reader, EMPTY_HISTORY, PromptLimits(1_000)))


@pytest.mark.parametrize(
    ("name", "payload", "family"),
    [
        ("discussion", {"discussion": {"id": 801, "title": "Is it broken?"}}, "discussion-801"),
        (
            "deployment_status",
            {"deployment": {"id": 31}, "deployment_status": {"id": 77}},
            "deployment_status-31",
        ),
        ("push", {"push": {"id": "801"}}, "push"),
        ("push", {"push": "id"}, "push"),
    ],
)
def test_each_object_in_payloads_has_its_own_comment(
    name: str, payload: dict[str, object], family: str
) -> None:
    """A second discussion does not overwrite the comment about the first."""

    def comment_of(actions: Sequence[Action]) -> EnsureComment:
        (found,) = (action for action in actions if isinstance(action, EnsureComment))
        return found

    received = replace(PUSH, name=name, payload=payload)
    assert comment_of(generic.plan(received, analysis(ANALYSIS))).family == family


OCTO = "https://github.com/octo/hello"


@pytest.mark.parametrize(
    ("name", "payload", "source", "url"),
    [
        ("push", {"compare": f"{OCTO}/compare/1f0c...2d3e"}, "push", f"{OCTO}/compare/1f0c...2d3e"),
        (
            "deployment_status",
            {"deployment_status": {"id": 77, "html_url": None}},
            "deployment status",
            OCTO,
        ),
    ],
)
def test_comment_on_the_fallback_issue_links_to_its_source(
    name: str, payload: dict[str, object], source: str, url: str
) -> None:
    received = replace(PUSH, name=name, payload={**payload, "repository": {"html_url": OCTO}})
    for numbers, link in (({name: 3}, url), ({}, "")):
        effective = make_rule(name, **numbers).effective
        variables = common_variables(received, "x", effective)
        rule = variables["rule"]
        assert isinstance(rule, RuleView)
        assert (rule.source, rule.source_url) == (source, link)
