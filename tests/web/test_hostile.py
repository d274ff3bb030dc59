"""Whatever a stranger sends, it is never our fault: no 5xx, and nothing is kept that was not signed."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as some

from tests.web.fakes import Headers, Surroundings, ask, headers, settings
from tests.web.hostility import hostile_headers, shaped


@given(hostile_headers, some.binary(max_size=300), some.sampled_from(["/webhook", "/health", "/stats", "/", "/%00"]))
@effort(max_examples=300, deadline=None)
def test_rule_4_hostile_headers_and_bodies_are_no_5xx(sent: Headers, body: bytes, path: str) -> None:
    around = Surroundings(settings(server={"api_key": "the-key-of-this-test"}))
    response = ask(around.app(), path, headers=sent, chunks=[body])
    assert 400 <= response.status < 500
    assert around.store.kept == []


@given(some.binary(max_size=300), some.sampled_from(["issues", "pull_request", "ping", "star", "push"]))
@effort(max_examples=200, deadline=None)
def test_rule_4_signed_garbage_is_no_5xx(body: bytes, event: str) -> None:
    around = Surroundings(settings())
    assert ask(around.app(), headers=headers(body, event=event), chunks=[body]).status < 500


@given(shaped, some.sampled_from(["issues", "pull_request", "ping", "star", "push"]))
@effort(max_examples=400, deadline=None)
def test_rule_4_signed_json_of_any_shape_is_no_5xx_and_fits_the_columns(fields: dict[str, Any], event: str) -> None:
    body = json.dumps(fields).encode()
    around = Surroundings(settings(repositories=[{"name": "*/*"}]), enabled=frozenset({event}))
    response = ask(around.app(), headers=headers(body, event=event), chunks=[body])
    assert response.status in {200, 202, 400}
    for kept in around.store.kept:
        assert all(
            text is None or "\0" not in text for text in (kept.action, kept.repository, kept.sender, kept.head_sha)
        )
        assert kept.repository_id is None or 0 <= kept.repository_id < 2**63
        assert kept.number is None or 0 <= kept.number < 2**31
