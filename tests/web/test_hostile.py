"""Hostile requests get no 5xx, and nothing without a valid signature is stored."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as some

from tests.web.fakes import Headers, WebSetup, ask, headers, settings
from tests.web.hostile_requests import hostile_headers, shaped


@given(hostile_headers, some.binary(max_size=300), some.sampled_from(["/webhook", "/health", "/stats", "/", "/%00"]))
@effort(max_examples=300, deadline=None)
def test_rule_4_hostile_headers_and_bodies_get_no_5xx(sent: Headers, body: bytes, path: str) -> None:
    setup = WebSetup(settings(server={"api_key": "the-key-of-this-test"}))
    response = ask(setup.app(), path, headers=sent, chunks=[body])
    assert 400 <= response.status < 500
    assert setup.store.deliveries == []


@given(some.binary(max_size=300), some.sampled_from(["issues", "pull_request", "ping", "star", "push"]))
@effort(max_examples=200, deadline=None)
def test_rule_4_signed_garbage_gets_no_5xx(body: bytes, event: str) -> None:
    setup = WebSetup(settings())
    assert ask(setup.app(), headers=headers(body, event=event), chunks=[body]).status < 500


@given(shaped, some.sampled_from(["issues", "pull_request", "ping", "star", "push"]))
@effort(max_examples=400, deadline=None)
def test_rule_4_signed_json_of_any_shape_gets_no_5xx_and_fits_the_columns(fields: dict[str, Any], event: str) -> None:
    body = json.dumps(fields).encode()
    setup = WebSetup(settings(repositories=[{"name": "*/*"}]), enabled=frozenset({event}))
    response = ask(setup.app(), headers=headers(body, event=event), chunks=[body])
    assert response.status in {200, 202, 400}
    for delivery in setup.store.deliveries:
        assert all(
            text is None or "\0" not in text for text in (delivery.action, delivery.repository, delivery.head_sha)
        )
        assert delivery.repository_id is None or 0 <= delivery.repository_id < 2**63
        assert delivery.number is None or 0 <= delivery.number < 2**31
