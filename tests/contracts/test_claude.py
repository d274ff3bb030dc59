"""The validator accepts requests with the SDK's types and lists violations."""

from __future__ import annotations

from typing import Any

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
            "schema": {
                "type": "object",
                "properties": {"kind": {"type": "string"}},
                "additionalProperties": False,
            },
        },
    },
}
UNKNOWN = "HLS asks Claude for messages and for one model by its name, and nothing else"


def test_other_requests_and_keys_unknown_to_the_sdk_are_violations() -> None:
    def request(method: str, path: str, body: object = None, **query: str) -> dict[str, Any]:
        return {"method": method, "path": path, "query": query, "headers": {}, "body": body}

    bad = [
        request("GET", "/v1/models"),
        request("POST", "/v1/messages", ASKED, beta="true"),
        request("GET", "/v1/models/claude-haiku-5-5", {}),
        request("POST", "/v1/messages", ASKED | {"temperature": 0.5}),
        request("POST", "/v1/messages", ASKED | {"max_tokens": "4000"}),
        request(
            "POST",
            "/v1/messages",
            ASKED | {"system": [{"type": "text", "text": "x", "cache": True}]},
        ),
    ]
    assert [problem.split(": ", 1)[1] for problem in violations(bad)] == [
        UNKNOWN,
        "a query, where HLS sends none: beta",
        "a body, where this question has none",
        "the body at $: Additional properties are not allowed ('temperature' was unexpected)",
        "the body at $.max_tokens: '4000' is not of type 'integer'",
        "the body at $.system[0]: Additional properties are not allowed ('cache' was unexpected)",
    ]
