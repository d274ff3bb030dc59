"""Validation of requests to Claude."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from hls_handler.analysis import REPLY_TYPES
from hls_handler.sandbox.claude_rules import MODELS, ClaudeError, check_request, check_schema

OBJECT: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}


def request(**changed: Any) -> dict[str, Any]:
    body = {"model": "claude-haiku-5-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
    return {key: value for key, value in {**body, **changed}.items() if value is not ...}


def error(**changed: Any) -> ClaudeError:
    with pytest.raises(ClaudeError) as caught:
        check_request(request(**changed))
    return caught.value


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"model": ...}, 400, "model: Field required"),
        ({"max_tokens": ...}, 400, "max_tokens: Field required"),
        ({"messages": ...}, 400, "messages: Field required"),
        ({"temperature": 0.2}, 400, "temperature: Extra inputs are not permitted"),
        ({"top_p": 0.9}, 400, "top_p: Extra inputs"),
        ({"surprise": 1}, 400, "surprise: Extra inputs"),
        ({"model": "gpt-4"}, 404, "model: gpt-4"),
        ({"model": 7}, 404, "model: 7"),
        ({"model": "claude-3-5-sonnet-20241022"}, 404, "model: claude-3-5-sonnet-20241022"),
        ({"max_tokens": 0}, 400, "greater than or equal to 1"),
        ({"max_tokens": "100"}, 400, "valid integer"),
        ({"max_tokens": True}, 400, "valid integer"),
        ({"max_tokens": 64_001}, 400, "64001 > 64000"),
        ({"stream": True}, 400, "stream"),
        ({"tools": [{"name": "shell"}]}, 400, "tools"),
        ({"messages": []}, 400, "at least one message"),
        ({"messages": "Hi"}, 400, "at least one message"),
        ({"messages": [{"role": "user"}]}, 400, "exactly the keys role and content"),
        ({"messages": [{"role": "system", "content": "x"}]}, 400, "'user' or 'assistant'"),
        ({"messages": [{"role": "user", "content": "x", "name": "y"}]}, 400, "exactly"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "first message"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "{"}]}, 400, "prefill"),
        ({"messages": [{"role": "user", "content": " \n"}]}, 400, "non-whitespace"),
        ({"messages": [{"role": "user", "content": []}]}, 400, "string or a list"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, 400, "non-whitespace"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, 400, "supports only text blocks"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "odd": 1}]}]}, 400, "text.odd"),
        ({"system": [{"type": "text", "text": "x", "cache_control": {"type": "forever"}}]}, 400, "ephemeral"),
        ({"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5}, 400, "maximum of 4"),
        ({"cache_control": {"type": "ephemeral", "ttl": "1y"}}, 400, "ttl"),
        ({"output_config": []}, 400, "output_config"),
        ({"output_config": {"odd": 1}}, 400, "output_config.odd"),
        ({"output_config": {"effort": "extreme"}}, 400, "effort"),
        ({"output_config": {"format": {"type": "json"}}}, 400, "json_schema"),
        ({"output_config": {"format": {"type": "json_schema", "schema": []}}}, 400, "schema"),
    ],
)
def test_invalid_requests_are_rejected(changed: dict[str, Any], status: int, said: str) -> None:
    rejected = error(**changed)
    assert (rejected.status, said in rejected.message) == (status, True), rejected.message


def test_a_body_that_is_no_object_is_rejected() -> None:
    with pytest.raises(ClaudeError, match="object"):
        check_request([1])


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"system": "Be brief."},
        {"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
        {"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": OBJECT}}},
        {"metadata": {"user_id": "x"}, "stop_sequences": ["x"], "stream": False},
        {
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": "y"},
                {"role": "user", "content": [{"type": "text", "text": "again"}]},
            ]
        },
    ],
)
def test_valid_requests_are_accepted(changed: dict[str, Any]) -> None:
    assert check_request(request(**changed)) == MODELS["claude-haiku-5-5"]


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (closed(a={"type": "integer", "minimum": 0}), "property 'minimum' is not supported"),
        (closed(a={"type": "number", "maximum": 1}), "property 'maximum' is not supported"),
        (closed(a={"type": "string", "maxLength": 9}), "property 'maxLength' is not supported"),
        (closed(a={"type": "string", "pattern": "x"}), "property 'pattern' is not supported"),
        (closed(a={"type": "array", "items": {"type": "string"}, "maxItems": 3}), "property 'maxItems'"),
        (closed(a={"type": "array", "items": {"type": "string"}, "minItems": 2}), "other than 0 or 1"),
        (closed(a={"type": "array"}), "'items' is required"),
        (closed(a={"type": "object"}), "must be explicitly set to false"),
        (closed(a={"type": "object", "additionalProperties": True}), "must be explicitly set to false"),
        ({"type": "object", "properties": {}}, "must be explicitly set to false"),
        (closed(a={"type": ["string", "null"]}), "use anyOf"),
        (closed(a={"type": "text"}), "type 'text' is not supported"),
        (closed(a={"type": "string", "format": "color"}), "format 'color' is not supported"),
        (closed(a={"oneOf": [{"type": "string"}]}), "must have one of the keys type"),
        (closed(a={}), "must have one of the keys type"),
        (closed(a=7), "a schema must be a JSON object"),
        (closed(a={"enum": [{}]}), "'enum' must be"),
        (closed(a={"enum": []}), "'enum' must be"),
        ({**closed(), "required": ["a"]}, "'a' is in 'required' but not in 'properties'"),
        (closed(a={"$ref": "#/$defs/none"}), "does not exist"),
        (closed(a={"$ref": "https://example.org/x"}), "does not point into"),
        (
            {**closed(a={"$ref": "#/$defs/A", "minimum": 1}), "$defs": {"A": {"type": "string"}}},
            "no other keys than $defs, description and title",
        ),
        ({**closed(a={"$ref": "#/$defs/A"}), "$defs": {"A": closed(a={"$ref": "#/$defs/A"})}}, "contains itself"),
        ({**closed(), "$defs": {"A": {"type": "string", "minLength": 1}}}, "minLength"),
        (closed(a={"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}]}), "minLength"),
    ],
)
def test_unsupported_schemas_are_rejected(schema: dict[str, Any], said: str) -> None:
    with pytest.raises(ClaudeError) as caught:
        check_schema(schema)
    assert caught.value.status == 400
    assert said in caught.value.message


@pytest.mark.parametrize("name", REPLY_TYPES)
def test_pydantic_schemas_of_reply_types_are_rejected_until_transformed(name: str) -> None:
    raw = REPLY_TYPES[name].model_json_schema()
    with pytest.raises(ClaudeError):
        check_schema(raw)
    check_schema(anthropic.transform_schema(raw))
