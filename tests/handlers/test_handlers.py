"""Properties of all handlers, and what a handler does with its job, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, cast, get_args

import pytest
from pydantic import TypeAdapter, create_model

from hls_handler.actions import Action, EnsureLabels, InlineComment, RequestedLabel
from hls_handler.analysis import REPLY_TYPES, ReplyFields
from hls_handler.batches.recording_job import read_facts
from hls_handler.errors import ConversationIgnored, Superseded
from hls_handler.events import HANDLED_EVENTS, Event, Issue, Label, PullRequest
from hls_handler.github.reader import GithubReader
from hls_handler.handlers.handler import Handler
from hls_handler.handlers.job import FactSource, PromptLimits
from hls_handler.handlers.reader import EMPTY_HISTORY
from hls_handler.handlers.registry import HANDLERS, handler_for
from hls_handler.routing import Rule, WebhookEnvelope
from tests.engine.stand_in import StandIn
from tests.handlers import conversation
from tests.handlers.events import (
    ANNOUNCEMENT,
    ANSWER,
    CHECK,
    QUESTION,
    RELEASE,
    RUN,
    check_event,
    comment_event,
    release_event,
    run_event,
    workflow_analysis,
)
from tests.handlers.world import (
    RecordedJob,
    event,
    file,
    finding,
    issue,
    issue_analysis,
    make_rule,
    open_github,
    pull_request,
    pull_request_analysis,
    request,
    review,
    review_analysis,
    review_comment,
    review_event,
    review_rule,
)

BUDGET = PromptLimits(input_tokens=10_000)
CONVERSATIONS: dict[str, Issue | PullRequest] = {
    "issues": issue(),
    "pull_request": pull_request(),
    "pull_request_review": pull_request(),
    "workflow_run": pull_request(head_sha=RUN.head_sha, head_ref=RUN.head_branch),
    "check_run": pull_request(head_sha=CHECK.head_sha),
    "issue_comment": issue(),
    "release": issue(),
}
REPLIES: dict[str, ReplyFields] = {
    "issues": issue_analysis(),
    "pull_request": pull_request_analysis(findings=[finding()]),
    "pull_request_review": review_analysis(
        request("square the side"), request("must be tested", comment=1)
    ),
    "workflow_run": workflow_analysis(),
    "check_run": workflow_analysis(),
    "issue_comment": ANSWER,
    "release": ANNOUNCEMENT,
}
FILES = (
    file(),
    file("logo.png", None, additions=0, deletions=0),
    file("b.py", status="renamed", previous_path="a.py"),
)


EVENTS: dict[str, Event] = {
    "issues": event(issue()),
    "pull_request": event(pull_request()),
    "pull_request_review": review_event(review()),
    "workflow_run": run_event(RUN),
    "check_run": check_event(CHECK),
    "issue_comment": comment_event(QUESTION),
    "release": release_event(RELEASE),
}


def publish(github: StandIn, release: dict[str, Any]) -> None:
    """Add a release with a commit of its own."""
    sha = f"{release['id']:040x}"
    commit = {"sha": sha, "commit": {"message": "Fix", "author": {"name": "mona"}}, "author": None}
    github.state.change(lambda world: world.with_commit("octo/hello", commit))
    github.state.change(lambda world: world.with_ref("octo/hello", release["tag_name"], sha))
    github.seed_event("release", {"action": "published", "release": release})


def reader(now: Issue | PullRequest) -> GithubReader:
    github = open_github(now, FILES)
    if isinstance(now, PullRequest):
        comments = (review_comment(), review_comment("Why?", line=None, hunk=""))
        github.put_review(now.number, review(), comments)
    github.put_comments(now.number, [QUESTION])
    github.put_run(conversation.RUN, [conversation.job()])
    publish(github, conversation.release(500, "v1.3.0", hour=8))
    publish(github, conversation.release())
    return github.reader("octo/hello")


every_handler = pytest.mark.parametrize(("name", "handler"), HANDLERS.items(), ids=HANDLERS.keys())


def test_rule_13_neither_an_action_nor_a_reply_can_name_another_target() -> None:
    """Only the event determines the target; the `path` of a finding is a place in the diff that the
    prompt showed.
    """
    targets = {
        "repository",
        "owner",
        "number",
        "issue",
        "pull_request",
        "commit",
        "head_sha",
        "sha",
        "url",
    }
    parts = [*get_args(Action), RequestedLabel, InlineComment, *REPLY_TYPES.values()]
    named = {
        (part.__name__, field)
        for part in parts
        for field in part.__annotations__
        if field in targets
    }
    # the commit whose patch the handler read; no reply type names one
    assert named == {("EnsureReview", "commit"), ("EnsureCheck", "commit")}


def test_required_objects_are_fields_of_the_event_and_of_the_envelope() -> None:
    assert set(HANDLERS) == set(HANDLED_EVENTS)
    required = {name for event in HANDLED_EVENTS.values() for name in event.objects}
    assert required <= {field.name for field in fields(Event)}
    assert required <= set(WebhookEnvelope.__struct_fields__)
    assert {name: (handler.name, handler.family) for name, handler in HANDLERS.items()} == {
        "issues": ("IssueHandler", "issues"),
        "pull_request": ("PullRequestHandler", "pull_requests"),
        "pull_request_review": ("ReviewHandler", "reviews"),
        "workflow_run": ("WorkflowHandler", "workflows"),
        "check_run": ("CheckRunHandler", "workflows"),
        "issue_comment": ("CommentHandler", "comments"),
        "release": ("ReleaseHandler", "releases"),
    }


def test_other_events_use_the_generic_handler_with_their_own_family() -> None:
    assert (handler_for("push").name, handler_for("push").family) == ("GenericHandler", "push")
    assert handler_for("deployment").family == "deployment"
    assert handler_for("issues") is HANDLERS["issues"]


@every_handler
def test_facts_are_unchanged_after_storing_them_as_json(name: str, handler: Handler) -> None:
    facts = read_facts(
        handler, FactSource(EVENTS[name], reader(CONVERSATIONS[name]), EMPTY_HISTORY, BUDGET)
    )
    shape = TypeAdapter[Any](handler.facts_type)
    assert shape.validate_json(shape.dump_json(facts)) == facts


def rule_of(name: str) -> Rule:
    return review_rule() if name == "pull_request" else make_rule(name, release=12)


@every_handler
def test_variables_match_the_declared_types(name: str, handler: Handler) -> None:
    received = EVENTS[name]
    facts = read_facts(
        handler, FactSource(received, reader(CONVERSATIONS[name]), EMPTY_HISTORY, BUDGET)
    )
    recorded = RecordedJob(received, facts, (REPLIES[name],), rule_of(name))
    handler.run(recorded)
    hints = {**handler.variable_types, **handler.comment_variable_types}
    assert handler.variables(facts).keys() == handler.variable_types.keys()
    assert recorded.variables.keys() == hints.keys()
    for variable, hint in hints.items():
        shape: TypeAdapter[Any] = TypeAdapter(cast("type[Any]", hint))
        value = recorded.variables[variable]
        assert shape.validate_python(value, strict=True) == value


# a release has no conversation, and GitHub lists open pull requests of a run's branch
@pytest.mark.parametrize("name", sorted(HANDLERS.keys() - {"release", "workflow_run"}))
def test_closed_conversation_is_not_processed(name: str) -> None:
    conversation = replace(CONVERSATIONS[name], state="closed")
    with pytest.raises(Superseded, match=r"octo/hello#\d is closed"):
        read_facts(
            HANDLERS[name], FactSource(EVENTS[name], reader(conversation), EMPTY_HISTORY, BUDGET)
        )


@pytest.mark.parametrize(
    ("now", "error", "message"),
    [
        ({"state": "closed", "locked": True}, Superseded, r"octo/hello#\d is closed"),
        (
            {"locked": True},
            ConversationIgnored,
            r"octo/hello#\d is locked, .* unlock it and redeliver the event",
        ),
        (
            {"labels": (Label("skip-hls"),)},
            Superseded,
            r"octo/hello#\d is skipped: the label skip-hls",
        ),
        (
            {"title": "WIP [skip hls]"},
            Superseded,
            r"octo/hello#\d is skipped: \[skip hls\] in the title",
        ),
    ],
    ids=["closed and locked", "locked", "label", "title"],
)
def test_locked_and_skipped_conversations_are_not_processed(
    now: dict[str, Any], error: type[Exception], message: str
) -> None:
    name = "issues"
    conversation = CONVERSATIONS[name]
    with pytest.raises(error, match=message):
        read_facts(
            HANDLERS[name],
            FactSource(EVENTS[name], reader(replace(conversation, **now)), EMPTY_HISTORY, BUDGET),
        )


@every_handler
@pytest.mark.parametrize("comment", ["Hello.", None], ids=["with a comment", "without"])
def test_a_custom_reply_field_becomes_a_label_in_every_family(
    name: str, handler: Handler, comment: str | None
) -> None:
    def labels_of(actions: Sequence[Action]) -> EnsureLabels:
        (found,) = (action for action in actions if isinstance(action, EnsureLabels))
        return found

    known = REPLIES[name]
    kind = cast(
        "type[ReplyFields]", create_model("Urgent", __base__=type(known), urgent=(bool, ...))
    )
    kind.label_rules = {"urgent": "urgent!"}
    reply = kind.model_validate({**known.model_dump(), "urgent": True})
    facts = read_facts(
        handler, FactSource(EVENTS[name], reader(CONVERSATIONS[name]), EMPTY_HISTORY, BUDGET)
    )
    job = RecordedJob(EVENTS[name], facts, (reply,), rule_of(name), comment=comment)
    handler.run(job)
    assert RequestedLabel("urgent!", "urgent") in labels_of(job.actions).requested
