"""The validator accepts requests with the SDK's types and lists violations."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contracts.claude import violations

ASKED: dict[str, Any] = {
    "model": "claude-haiku-5-5",
    "max_tokens": 4000,
    "system": [{"type": "text", "text": "You help.", "cache_control": {"type": "ephemeral"}}],
    "messages": [{"role": "user", "content": "An issue."}],
    "output_config": {
        "effort": "low",
        "format": {
            "type": "json_schema",
            "schema": {"type": "object", "properties": {"kind": {"type": "string"}}, "additionalProperties": False},
        },
    },
}


def request(method: str, path: str, body: object = None, **query: str) -> dict[str, Any]:
    return {"method": method, "path": path, "query": query, "headers": {}, "body": body}


def test_requests_that_hls_sends_are_valid() -> None:
    again = [
        {"role": "user", "content": [{"type": "text", "text": "An issue."}]},
        {"role": "assistant", "content": "{}"},
        {"role": "user", "content": "That could not be used."},
    ]
    for body in (ASKED, ASKED | {"messages": again}):
        assert violations([request("POST", "/v1/messages", body)]) == []
    assert violations([request("GET", "/v1/models/claude-haiku-5-5")]) == []


UNKNOWN = "HLS asks Claude for messages and for one model by its name, and nothing else"


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (request("GET", "/v1/models"), UNKNOWN),
        (request("POST", "/v1/messages/batches", ASKED), UNKNOWN),
        (request("POST", "/v1/messages", ASKED, beta="true"), "a query, where HLS sends none: beta"),
        (request("GET", "/v1/models/claude-haiku-5-5", {}), "a body, where this question has none"),
    ],
)
def test_requests_that_hls_does_not_send_are_violations(bad: dict[str, Any], named: str) -> None:
    assert violations([bad]) == [f"{bad['method']} {bad['path']}: {named}"]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"temperature": 0.5}, "the body at $: Additional properties are not allowed ('temperature' was unexpected)"),
        ({"workspace_id": "w"}, "the body at $: Additional properties are not allowed ('workspace_id' was unexpected)"),
        ({"max_tokens": "4000"}, "the body at $.max_tokens: '4000' is not of type 'integer'"),
        (
            {"system": [{"type": "text", "text": "x", "cache": True}]},
            "the body at $.system[0]: Additional properties are not allowed ('cache' was unexpected)",
        ),
    ],
)
def test_keys_unknown_to_the_sdk_are_violations(wrong: dict[str, Any], named: str) -> None:
    assert violations([request("POST", "/v1/messages", ASKED | wrong)]) == [f"POST /v1/messages: {named}"]
