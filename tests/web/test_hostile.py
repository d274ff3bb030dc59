"""Hostile requests get no 5xx, and nothing without a valid signature is stored."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as some
from starlette.applications import Starlette

from tests.web.fakes import WebSetup, ask, headers, settings
from tests.web.hostile_requests import shaped

EVENTS = ("issues", "pull_request", "ping", "star", "push")


@pytest.fixture(scope="module")
def setup() -> WebSetup:
    """An application for all examples, because to make one takes longer than a request."""
    given = settings(server={"api_key": "the-key-of-this-test"}, repositories=[{"name": "*/*"}])
    return WebSetup(given, enabled=frozenset(EVENTS))


@pytest.fixture(scope="module")
def app(setup: WebSetup) -> Starlette:
    return setup.app()


@given(
    some.binary(max_size=300) | shaped.map(lambda fields: json.dumps(fields).encode()),
    some.sampled_from(EVENTS),
)
@effort(max_examples=100, deadline=None)
def test_rule_4_signed_garbage_and_json_of_any_shape_get_no_5xx_and_fit_the_columns(
    setup: WebSetup, app: Starlette, body: bytes, event: str
) -> None:
    setup.store.deliveries.clear()
    response = ask(app, headers=headers(body, event=event), chunks=[body])
    assert response.status in {200, 202, 400}
    for delivery in setup.store.deliveries:
        assert all(
            text is None or "\0" not in text
            for text in (delivery.action, delivery.repository, delivery.head_sha)
        )
        assert delivery.repository_id is None or 0 <= delivery.repository_id < 2**63
        assert delivery.number is None or 0 <= delivery.number < 2**31
