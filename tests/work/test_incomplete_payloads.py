"""Payloads without a part, or with null in its place: worked on, ignored with a reason, or refused at the door."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from hls_handler.errors import HlsError, PayloadError
from hls_handler.events import REQUIRED_OBJECTS, parse_envelope, parse_event
from hls_handler.handlers import handler_for
from hls_handler.handlers.handler import PromptLimits
from hls_handler.handlers.reader import EMPTY_HISTORY
from hls_handler.prompting import recorded
from hls_handler.prompting.render import render
from hls_handler.routing import Ignored, Rule, from_envelope, from_event, route
from hls_handler.sandbox.reader import SandboxReader
from hls_handler.sandbox.state import State
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Repository
from hls_handler.web.webhook import check_payload
from hls_handler.work.library import template_variables
from tests.work.fakes import HLS
from tests.work.world import library, settings

PAYLOADS = tuple(
    name
    for name in recorded.names()
    if recorded.load(name).event in REQUIRED_OBJECTS and (name.startswith("demo/") or name.count(".") == 1)
)
"""All that the demo tells, and the first recorded one of each event and action."""

ALWAYS_THERE = frozenset(
    (
        *("sender.login", "sender.id", "repository.private", "issue.title", "issue.user.login", "comment.user.login"),
        *("pull_request.title", "pull_request.user.login", "pull_request.head", "pull_request.head.sha"),
        *("pull_request.base", "pull_request.base.sha", "pull_request.commits", "pull_request.changed_files"),
        *("pull_request.additions", "pull_request.deletions", "release.author.login"),
        *("review.id", "review.state", "review.user.id", "review.user.login"),
        *("workflow_run.actor.login", "workflow_run.triggering_actor.login"),
    )
)
"""Parts that GitHub never leaves away. The door need not read them; the worker names the one that is missing."""

DEEPEST = 3
ADDRESS = ("url", "_id", "href")
GIVEN = settings().model_copy(update={"repositories": (Repository(name="*/*", events=tuple(REQUIRED_OBJECTS)),)})


def incomplete(whole: dict[str, Any], depth: int = 1) -> Iterator[tuple[str, dict[str, Any]]]:
    """What was done to it, and the payload: each key away, and each with null, one at a time."""
    for key, value in whole.items():
        if key.endswith(ADDRESS):
            continue
        yield f"without {key}", {other: part for other, part in whole.items() if other != key}
        yield f"null as {key}", {**whole, key: None}
        if isinstance(value, dict) and depth < DEEPEST:
            yield from ((f"{told} in {key}", {**whole, key: part}) for told, part in incomplete(value, depth + 1))


def to_its_end(told: recorded.Recorded, payload: dict[str, Any], state: State) -> None:
    """The way to Claude, as far as it goes. Only our own errors may end it, and those of its shape at the door."""
    table, body = RepositoryTable(GIVEN), json.dumps(payload).encode()
    try:
        sipped = parse_envelope(body)
        check_payload(told.event, sipped)
    except PayloadError:
        return
    at_the_door = route(from_envelope(told.event, sipped), settings=GIVEN, table=table, catalogue=library(), bot=HLS)
    if isinstance(at_the_door, Ignored):
        return
    event = parse_event(told.event, "guid", body)
    rule = route(from_event(event), settings=GIVEN, table=table, catalogue=library(), bot=HLS)
    whole = parse_event(told.event, "guid", told.body)
    if not isinstance(rule, Rule) or replace(event, payload={}) == replace(whole, payload={}):
        return  # the shipped prompts for these events read nothing else of a payload
    handler = handler_for(told.event)
    with suppress(HlsError):
        reader = SandboxReader(state, event.repository.full_name)
        facts = handler.gather(event, reader, EMPTY_HISTORY, PromptLimits(input_tokens=2_000))
        handler.thread(event, facts, rule)
        if handler.skip_reason(facts) is None:
            variables = template_variables(event, handler, facts, prompt=rule.prompt, dry_run=False)
            assert render(library(), rule.prompt, variables, key=b"k").task


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_without_a_part_that_is_optional_comes_to_a_sound_end(name: str) -> None:
    told = recorded.load(name)
    state = State()
    for earlier in (*recorded.before(name), told):
        state.seed(earlier.event, earlier.payload)
    whole = {key: value for key, value in told.payload.items() if key not in ("organization", "enterprise")}
    broken: list[str] = []
    for done, payload in incomplete(whole):
        try:
            to_its_end(told, payload, state)
        except PayloadError as exc:
            if str(exc).split(": ")[1] not in ALWAYS_THERE:
                broken.append(f"{done}: {exc}")
    assert broken == []
