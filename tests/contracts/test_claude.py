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


def asking(body: object) -> dict[str, Any]:
    return request("POST", "/v1/messages", body)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"system": "You help."},
        {"stop_sequences": ["x"], "metadata": {"user_id": "u"}, "stream": False},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "An issue."}]},
                {"role": "assistant", "content": "{}"},
                {"role": "user", "content": "That could not be used."},
            ]
        },
    ],
    ids=["as HLS asks", "plain system", "options", "a second try"],
)
def test_a_request_with_the_types_of_the_sdk_is_valid(more: dict[str, Any]) -> None:
    assert violations([asking({**ASKED, **more})]) == []


def test_a_request_for_a_model_is_valid() -> None:
    assert violations([request("GET", "/v1/models/claude-haiku-5-5")]) == []


UNKNOWN = "HLS asks Claude for messages and for one model by its name, and nothing else"


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (request("GET", "/v1/models"), UNKNOWN),
        (request("DELETE", "/v1/models/claude-haiku-5-5"), UNKNOWN),
        (request("GET", "/v1/messages"), UNKNOWN),
        (request("POST", "/v1/messages/batches", ASKED), UNKNOWN),
        (request("POST", "/v1/complete", ASKED), UNKNOWN),
        (request("GET", "/v1/models/claude-haiku-5-5", beta="true"), "a query, where HLS sends none: beta"),
        (request("POST", "/v1/messages", ASKED, beta="true", a="1"), "a query, where HLS sends none: a, beta"),
        (request("GET", "/v1/models/claude-haiku-5-5", {}), "a body, where this question has none"),
    ],
)
def test_requests_that_hls_does_not_send_are_violations(bad: dict[str, Any], named: str) -> None:
    assert violations([asking(ASKED), bad]) == [f"{bad['method']} {bad['path']}: {named}"]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"temperature": 0.5}, "the body at $: Additional properties are not allowed ('temperature' was unexpected)"),
        ({"workspace_id": "w"}, "the body at $: Additional properties are not allowed ('workspace_id' was unexpected)"),
        ({"max_tokens": "4000"}, "the body at $.max_tokens: '4000' is not of type 'integer'"),
        ({"model": None}, "the body at $.model: None is not valid under any of the given schemas"),
        ({"messages": "An issue."}, "the body at $.messages: 'An issue.' is not of type 'array'"),
        ({"stream": True}, "the body at $.stream: False was expected"),
        (
            {"system": [{"type": "text", "text": "x", "cache": True}]},
            "the body at $.system[0]: Additional properties are not allowed ('cache' was unexpected)",
        ),
        (
            {"system": [{"type": "text", "text": "x", "cache_control": {"type": "eternal"}}]},
            "the body at $.system[0].cache_control.type: 'ephemeral' was expected",
        ),
        ({"output_config": {"effort": "huge"}}, "the body at $.output_config.effort: 'huge' is not one of"),
        (
            {"output_config": {"format": {"type": "json_schema"}}},
            "the body at $.output_config.format: 'schema' is a required property",
        ),
        (
            {"messages": [{"role": "robot", "content": "x"}]},
            "the body at $.messages[0]: {'role': 'robot', 'content': 'x'} is not valid under any of the given schemas",
        ),
        (
            {"messages": [{"role": "user", "content": "x", "name": "mona"}]},
            "the body at $.messages[0]: {'role': 'user', 'content': 'x', 'name': 'mona'} is not valid",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "words": "x"}]}]},
            "the body at $.messages[0]: {'role': 'user', 'content': [{'type': 'text', 'words': 'x'}]} is not valid",
        ),
    ],
)
def test_keys_unknown_to_the_sdk_are_violations(wrong: dict[str, Any], named: str) -> None:
    (sentence,) = violations([asking(ASKED), asking({**ASKED, **wrong})])
    assert sentence.startswith(f"POST /v1/messages: {named}")


@pytest.mark.parametrize("key", ["model", "max_tokens", "messages"])
def test_missing_keys_are_violations(key: str) -> None:
    rest = {name: value for name, value in ASKED.items() if name != key}
    assert violations([asking(rest)]) == [f"POST /v1/messages: the body at $: '{key}' is a required property"]


@pytest.mark.parametrize("body", [None, "text", []])
def test_a_body_that_is_no_object_is_a_violation(body: object) -> None:
    assert violations([asking(body)]) == [f"POST /v1/messages: the body at $: {body!r} is not of type 'object'"]
