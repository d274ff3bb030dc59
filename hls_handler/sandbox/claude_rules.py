"""Validation of requests as in Claude's Messages API. `tests/contracts` checks the types of all fields.

https://platform.claude.com/docs/en/api/messages and .../build-with-claude/structured-outputs
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hls_handler.settings.model import RETIRED_MODELS

ERROR_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

MAX_TOKENS: Mapping[str, int] = {
    "claude-haiku-5-5": 64_000,
    "claude-sonnet-5-5": 128_000,
    "claude-opus-5-5": 128_000,
    "claude-sonnet-5": 64_000,
    "claude-opus-5": 64_000,
    "claude-haiku-4-5": 64_000,
    "claude-sonnet-4-5": 64_000,
}
"""Model -> maximum of output tokens."""

DEPRECATED = frozenset({"claude-sonnet-4-5"})

OPTIONAL_KEYS = frozenset(
    {"cache_control", "metadata", "output_config", "stop_sequences", "stream", "system", "thinking"}
)
REQUIRED_KEYS = ("model", "max_tokens", "messages")
MAX_BREAKPOINTS = 4


@dataclass(eq=False)
class ClaudeError(Exception):
    """An error response of the Messages API."""

    status: int
    message: str


def lifecycle_of(model: str) -> str | None:
    """Return "active", "deprecated" or "retired"; None for an unknown model."""
    if model in RETIRED_MODELS:
        return "retired"
    if model not in MAX_TOKENS:
        return None
    return "deprecated" if model in DEPRECATED else "active"


def check_request(body: Any) -> None:
    """Raise `ClaudeError` for an invalid request, and for tools and streaming."""
    if not isinstance(body, dict):
        raise ClaudeError(400, "request body: Input should be an object")
    for key in REQUIRED_KEYS:
        if key not in body:
            raise ClaudeError(400, f"{key}: Field required")
    for key in body.keys() - OPTIONAL_KEYS - set(REQUIRED_KEYS):
        raise ClaudeError(400, f"{key}: Extra inputs are not permitted")
    model, max_tokens = body["model"], body["max_tokens"]
    if not isinstance(model, str) or model not in MAX_TOKENS:
        raise ClaudeError(404, f"model: {model}")
    if not isinstance(max_tokens, int) or max_tokens < 1:
        raise ClaudeError(400, "max_tokens: Input should be a valid integer, greater than or equal to 1")
    if max_tokens > MAX_TOKENS[model]:
        most = f"{MAX_TOKENS[model]}, which is the maximum allowed number of output tokens for {model}"
        raise ClaudeError(400, f"max_tokens: {max_tokens} > {most}")
    if body.get("stream"):
        raise ClaudeError(400, "stream: the sandbox does not support streaming")
    _check_messages(body["messages"])
    blocks = [*_blocks(body.get("system") or (), "system"), *_blocks_of_messages(body["messages"])]
    if sum(bool(block.get("cache_control")) for block in (body, *blocks)) > MAX_BREAKPOINTS:
        raise ClaudeError(400, f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided.")
    wanted = (body.get("output_config") or {}).get("format")
    if wanted is not None:
        check_schema(wanted["schema"])


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list) or not messages:
        raise ClaudeError(400, "messages: at least one message is required")
    if messages[0]["role"] != "user":
        raise ClaudeError(400, 'messages: first message must use the "user" role')
    if messages[-1]["role"] != "user":
        raise ClaudeError(
            400, "This model does not support assistant message prefill. The conversation must end with a user message."
        )


def _blocks_of_messages(messages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for index, message in enumerate(messages):
        yield from _blocks(message["content"], f"messages.{index}.content")


def _blocks(content: Any, where: str) -> Iterator[dict[str, Any]]:
    """Yield the text blocks of `content`, a string or a list. A text without words is an error."""
    for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
        if block["type"] != "text" or not block["text"].strip():
            raise ClaudeError(400, f"{where}: text content blocks must contain non-whitespace text")
        yield block


# --- the supported JSON Schema ---------------------------------------------------------------------------------------

EVERYWHERE = frozenset({"type", "title", "description", "enum", "const", "default", "anyOf", "$ref", "$defs"})
OF_ONE_TYPE = frozenset({"properties", "required", "additionalProperties", "items", "minItems", "format"})


def check_schema(node: Any, where: str = "") -> None:
    """Raise `ClaudeError` if the schema has keywords that the API rejects, or permits additional properties."""
    if not isinstance(node, dict) or not node.keys() & {"type", "anyOf", "enum", "const", "$ref"}:
        raise _bad(where, "a schema must be an object with one of the keys type, anyOf, enum, const and $ref")
    kind = node.get("type")
    if isinstance(kind, list):
        raise _bad(where, "'type' must be a single name; use anyOf for several types")
    for key in node.keys() - EVERYWHERE - OF_ONE_TYPE:
        raise _bad(where, f"For '{kind or 'any'}' type, property '{key}' is not supported")
    if kind == "object" and node.get("additionalProperties") is not False:
        raise _bad(where, "For 'object' type, 'additionalProperties' must be explicitly set to false")
    if node.get("minItems", 0) not in {0, 1}:
        raise _bad(where, "For 'array' type, 'minItems' values other than 0 or 1 are not supported")
    for group in ("properties", "$defs"):
        for name, part in node.get(group, {}).items():
            check_schema(part, f"{where}/{group}/{name}")
    for part in (*node.get("anyOf", ()), *([node["items"]] if "items" in node else [])):
        check_schema(part, f"{where}/{'items' if 'items' in node else 'anyOf'}")


def _bad(where: str, problem: str) -> ClaudeError:
    return ClaudeError(400, f"output_config.format.schema{where}: {problem}")
