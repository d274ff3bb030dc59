"""Rules of the Messages API for requests: models, tokens, texts and the supported JSON Schema.

https://platform.claude.com/docs/en/build-with-claude/structured-outputs
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hls_sandbox.claude import ClaudeError, text_of

MAX_TOKENS: Mapping[str, int] = {
    "claude-haiku-5-5": 64_000,
    "claude-sonnet-5-5": 128_000,
    "claude-opus-5-5": 128_000,
    "claude-sonnet-5": 64_000,
    "claude-opus-5": 64_000,
    "claude-haiku-4-5": 64_000,
}
"""Model -> maximum of output tokens."""


def check_request(body: Any) -> None:
    """Raise `ClaudeError` for an unknown model, too many tokens, a blank text, streaming, or a
    schema.
    """
    if not isinstance(body, dict) or not {"model", "max_tokens", "messages"} <= body.keys():
        raise ClaudeError(400, "request body: it needs model, max_tokens and messages")
    model = body["model"]
    max_tokens = body["max_tokens"]
    if model not in MAX_TOKENS:
        raise ClaudeError(404, f"model: {model}")
    if max_tokens > MAX_TOKENS[model]:
        most = (
            f"{MAX_TOKENS[model]}, which is the maximum allowed number of output tokens for {model}"
        )
        raise ClaudeError(400, f"max_tokens: {max_tokens} > {most}")
    if body.get("stream"):
        raise ClaudeError(400, "stream: the sandbox does not support streaming")
    if body["messages"][-1]["role"] != "user":
        raise ClaudeError(400, "The conversation must end with a user message.")
    contents = [message["content"] for message in body["messages"]]
    if not all(
        text_of(content).strip()
        for content in (*contents, *([body["system"]] if "system" in body else []))
    ):
        raise ClaudeError(400, "text content blocks must contain non-whitespace text")
    wanted = (body.get("output_config") or {}).get("format")
    if wanted is not None:
        check_schema(wanted["schema"])


# --- the supported JSON Schema
# -----------------------------------------------------------------------------

EVERYWHERE = frozenset(
    {"type", "title", "description", "enum", "const", "default", "anyOf", "$ref", "$defs"}
)
OF_ONE_TYPE = frozenset(
    {"properties", "required", "additionalProperties", "items", "minItems", "format"}
)


def check_schema(node: Any, where: str = "") -> None:
    """Raise `ClaudeError` if the schema has keywords that the API rejects, or permits additional
    properties.
    """
    if not isinstance(node, dict) or not node.keys() & {"type", "anyOf", "enum", "const", "$ref"}:
        raise _bad(
            where,
            "a schema must be an object with one of the keys type, anyOf, enum, const and $ref",
        )
    kind = node.get("type")
    if isinstance(kind, list):
        raise _bad(where, "'type' must be a single name; use anyOf for several types")
    for key in node.keys() - EVERYWHERE - OF_ONE_TYPE:
        raise _bad(where, f"For '{kind or 'any'}' type, property '{key}' is not supported")
    if kind == "object" and node.get("additionalProperties") is not False:
        raise _bad(
            where, "For 'object' type, 'additionalProperties' must be explicitly set to false"
        )
    if node.get("minItems", 0) not in {0, 1}:
        raise _bad(where, "For 'array' type, 'minItems' values other than 0 or 1 are not supported")
    for group in ("properties", "$defs"):
        for name, part in node.get(group, {}).items():
            check_schema(part, f"{where}/{group}/{name}")
    for part in (*node.get("anyOf", ()), *([node["items"]] if "items" in node else [])):
        check_schema(part, f"{where}/{'items' if 'items' in node else 'anyOf'}")


def _bad(where: str, problem: str) -> ClaudeError:
    return ClaudeError(400, f"output_config.format.schema{where}: {problem}")
