"""Payloads with a missing or null field: processed, ignored with a reason, or rejected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from hls_handler.batches.recording_job import read_facts
from hls_handler.errors import HlsError
from hls_handler.events import HANDLED_EVENTS, parse_event
from hls_handler.handlers.handler import common_variables
from hls_handler.handlers.job import FactSource, PromptLimits
from hls_handler.handlers.reader import EMPTY_HISTORY
from hls_handler.handlers.registry import handler_for
from hls_handler.prompting import recorded
from hls_handler.prompting.render import render
from hls_handler.routing import Ignored, Router, Rule, from_envelope, from_event, parse_envelope
from hls_handler.settings.effective import RepositoryTable
from hls_handler.web.webhook import check_payload
from hls_sandbox.state import State
from tests.engine.world import library, settings
from tests.github_fake.reader import SandboxReader
from tests.handlers.world import HLS

PAYLOADS = (
    "issues.edited",
    "issue_comment.created",
    "release.published",
    "pull_request.synchronize",
    "pull_request_review.submitted",
    "workflow_run.completed",
    "check_run.completed.2",
)
"""Recorded payloads of each event; those of other actions have the same objects."""

MAX_DEPTH = 3
URL_SUFFIXES = ("url", "_id", "href")
SETTINGS = settings(repository={"name": "*/*", "events": [*HANDLED_EVENTS]})


def test_payloads_of_each_event_with_required_objects_are_tried() -> None:
    assert {recorded.load(name).event for name in PAYLOADS} == HANDLED_EVENTS.keys()


@pytest.mark.parametrize("name", PAYLOADS)
def test_payload_without_a_field_is_processed_ignored_or_rejected(name: str) -> None:
    def incomplete_payloads(complete: dict[str, Any], depth: int = 1) -> Iterator[dict[str, Any]]:
        """Yield the payload with every key removed, and every value null, one at a time."""
        for key, value in complete.items():
            if key.endswith(URL_SUFFIXES):
                continue
            yield {other: part for other, part in complete.items() if other != key}
            yield {**complete, key: None}
            if isinstance(value, dict) and depth < MAX_DEPTH:
                yield from (
                    {**complete, key: part} for part in incomplete_payloads(value, depth + 1)
                )

    def process(payload_file: recorded.Recorded, payload: dict[str, Any], state: State) -> None:
        """Process a payload up to the rendered prompt. Raises only errors of HLS, such as
        `PayloadError`.
        """
        table, body = RepositoryTable(SETTINGS), json.dumps(payload).encode()
        envelope = parse_envelope(body)
        check_payload(payload_file.event, envelope)
        router = Router(SETTINGS, table, library(), (HLS,))
        first_result = router.route(from_envelope(payload_file.event, envelope))
        if isinstance(first_result, Ignored):
            return
        event = parse_event(payload_file.event, "guid", body)
        rule = router.route(from_event(event))
        complete = parse_event(payload_file.event, "guid", payload_file.body)
        if not isinstance(rule, Rule) or replace(event, payload={}) == replace(
            complete, payload={}
        ):
            return  # the prompts read nothing else, so the result is that of the complete payload
        handler = handler_for(payload_file.event)
        reader = SandboxReader(state, event.repository.full_name)
        limits = PromptLimits(input_tokens=2_000)
        facts = read_facts(handler, FactSource(event, reader, EMPTY_HISTORY, limits))
        variables = {**common_variables(event, rule.prompt), **handler.variables(facts)}
        assert render(library(), rule.prompt, variables, key=b"k").task

    payload_file = recorded.load(name)
    state = State()
    for earlier in (*recorded.before(name), payload_file):
        state.seed(earlier.event, earlier.payload)
    complete = {
        key: value
        for key, value in payload_file.payload.items()
        if key not in ("organization", "enterprise")
    }
    for payload in incomplete_payloads(complete):
        with suppress(HlsError):
            process(payload_file, payload, state)
