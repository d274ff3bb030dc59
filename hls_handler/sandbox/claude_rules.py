"""Validation of requests as in Claude's Messages API.

https://platform.claude.com/docs/en/api/messages and .../build-with-claude/structured-outputs
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

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


@dataclass(eq=False)
class ClaudeError(Exception):
    """An error response of the Messages API."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Model:
    id: str
    display_name: str
    line: str
    lifecycle: Literal["active", "deprecated", "retired"]
    max_tokens: int = 64_000
    max_input_tokens: int = 200_000


MODELS: Mapping[str, Model] = {
    model.id: model
    for model in (
        Model("claude-haiku-5-5", "Claude Haiku 5.5", "haiku", "active", 64_000, 1_000_000),
        Model("claude-sonnet-5-5", "Claude Sonnet 5.5", "sonnet", "active", 128_000, 1_000_000),
        Model("claude-opus-5-5", "Claude Opus 5.5", "opus", "active", 128_000, 1_000_000),
        Model("claude-sonnet-5", "Claude Sonnet 5", "sonnet", "active"),
        Model("claude-opus-5", "Claude Opus 5", "opus", "active"),
        Model("claude-haiku-4-5", "Claude Haiku 4.5", "haiku", "active"),
        Model("claude-haiku-4-5-20251001", "Claude Haiku 4.5", "haiku", "active"),
        Model("claude-sonnet-4-5", "Claude Sonnet 4.5", "sonnet", "deprecated"),
        Model("claude-sonnet-4-5-20250929", "Claude Sonnet 4.5", "sonnet", "deprecated"),
        Model("claude-3-opus-20240229", "Claude Opus 3", "opus", "retired"),
        Model("claude-3-5-sonnet-20240620", "Claude Sonnet 3.5", "sonnet", "retired"),
        Model("claude-3-5-sonnet-20241022", "Claude Sonnet 3.5 v2", "sonnet", "retired"),
        Model("claude-3-5-haiku-20241022", "Claude Haiku 3.5", "haiku", "retired"),
        Model("claude-3-7-sonnet-20250219", "Claude Sonnet 3.7", "sonnet", "retired"),
        Model("claude-sonnet-4-20250514", "Claude Sonnet 4", "sonnet", "retired"),
        Model("claude-opus-4-20250514", "Claude Opus 4", "opus", "retired"),
    )
}

OPTIONAL_KEYS = frozenset(
    {
        "cache_control",
        "container",
        "diagnostics",
        "inference_geo",
        "metadata",
        "output_config",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "thinking",
        "tool_choice",
        "tools",
        "user_profile_id",
    }
)
REQUIRED_KEYS = ("model", "max_tokens", "messages")
EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max", None})
MAX_BREAKPOINTS = 4


def check_request(body: Any) -> Model:
    """Return the requested model. Raises `ClaudeError` for an invalid request, and for tools and streaming."""
    if not isinstance(body, dict):
        raise ClaudeError(400, "request body: Input should be an object")
    for key in REQUIRED_KEYS:
        if key not in body:
            raise ClaudeError(400, f"{key}: Field required")
    for key in body:
        if key not in OPTIONAL_KEYS and key not in REQUIRED_KEYS:
            raise ClaudeError(400, f"{key}: Extra inputs are not permitted")
    model = MODELS.get(body["model"]) if isinstance(body["model"], str) else None
    if model is None or model.lifecycle == "retired":
        raise ClaudeError(404, f"model: {body['model']}")
    _check_max_tokens(body["max_tokens"], model)
    if body.get("stream"):
        raise ClaudeError(400, "stream: the sandbox does not support streaming")
    if body.get("tools") or body.get("tool_choice"):
        raise ClaudeError(400, "tools: the sandbox does not support tools, because HLS gives Claude none")
    blocks = _check_system(body.get("system"), "system") + _check_messages(body["messages"])
    breakpoints = sum(1 for block in blocks if block.get("cache_control") is not None)
    if breakpoints + (body.get("cache_control") is not None) > MAX_BREAKPOINTS:
        raise ClaudeError(400, f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided.")
    _check_cache_control(body.get("cache_control"), "cache_control")
    _check_output_config(body.get("output_config"))
    return model


def _check_max_tokens(value: object, model: Model) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ClaudeError(400, "max_tokens: Input should be a valid integer")
    if value < 1:
        raise ClaudeError(400, "max_tokens: Input should be greater than or equal to 1")
    if value > model.max_tokens:
        raise ClaudeError(
            400,
            f"max_tokens: {value} > {model.max_tokens}, which is the maximum allowed number of output tokens for "
            f"{model.id}",
        )


def _check_messages(messages: object) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not messages:
        raise ClaudeError(400, "messages: at least one message is required")
    blocks: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        if not isinstance(message, dict) or set(message) != {"role", "content"}:
            raise ClaudeError(400, f"{where}: a message must have exactly the keys role and content")
        if message["role"] not in {"user", "assistant"}:
            raise ClaudeError(400, f"{where}.role: Input should be 'user' or 'assistant'")
        blocks += _check_text(message["content"], f"{where}.content")
    if messages[0]["role"] != "user":
        raise ClaudeError(400, 'messages: first message must use the "user" role')
    if messages[-1]["role"] != "user":
        raise ClaudeError(
            400, "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    return blocks


def _check_system(system: object, where: str) -> list[dict[str, Any]]:
    return [] if system is None or system == "" else _check_text(system, where)


def _check_text(content: object, where: str) -> list[dict[str, Any]]:
    if isinstance(content, str):
        if not content.strip():
            raise ClaudeError(400, f"{where}: text content blocks must contain non-whitespace text")
        return []
    if not isinstance(content, list) or not content:
        raise ClaudeError(400, f"{where}: Input should be a string or a list of content blocks")
    for index, block in enumerate(content):
        at = f"{where}.{index}"
        if not isinstance(block, dict) or block.get("type") != "text" or not isinstance(block.get("text"), str):
            raise ClaudeError(400, f"{at}: the sandbox supports only text blocks")
        for key in block.keys() - {"type", "text", "cache_control", "citations"}:
            raise ClaudeError(400, f"{at}.text.{key}: Extra inputs are not permitted")
        if not block["text"].strip():
            raise ClaudeError(400, f"{at}: text content blocks must contain non-whitespace text")
        _check_cache_control(block.get("cache_control"), f"{at}.cache_control")
    return content


def _check_cache_control(value: object, where: str) -> None:
    if value is None:
        return
    if not isinstance(value, dict) or value.get("type") != "ephemeral" or value.get("ttl", "5m") not in {"5m", "1h"}:
        raise ClaudeError(400, f"{where}: Input should be {{'type': 'ephemeral'}}, with a ttl of '5m' or '1h'")


def _check_output_config(config: object) -> None:
    if config is None:
        return
    if not isinstance(config, dict):
        raise ClaudeError(400, "output_config: Input should be an object")
    for key in config.keys() - {"effort", "format"}:
        raise ClaudeError(400, f"output_config.{key}: Extra inputs are not permitted")
    if config.get("effort") not in EFFORTS:
        raise ClaudeError(400, "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'")
    wanted = config.get("format")
    if wanted is None:
        return
    if not isinstance(wanted, dict) or set(wanted) != {"type", "schema"} or wanted["type"] != "json_schema":
        raise ClaudeError(400, "output_config.format: Input should be {'type': 'json_schema', 'schema': ...}")
    check_schema(wanted["schema"])


# --- the supported JSON Schema ---------------------------------------------------------------------------------------

KEYWORDS: Mapping[str, frozenset[str]] = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "minItems"}),
    "string": frozenset({"format"}),
    "integer": frozenset(),
    "number": frozenset(),
    "boolean": frozenset(),
    "null": frozenset(),
}
EVERYWHERE = frozenset({"type", "title", "description", "enum", "const", "$defs", "definitions", "default"})
FORMATS = frozenset(["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"])


def check_schema(schema: object) -> None:
    """Raise `ClaudeError` if the schema is recursive, permits additional properties, or has unsupported keywords."""
    if not isinstance(schema, dict):
        raise ClaudeError(400, "output_config.format.schema: Input should be an object")
    _check_node(schema, schema, "", ())


def _check_node(node: Any, root: dict[str, Any], where: str, within: tuple[str, ...]) -> None:
    if not isinstance(node, dict):
        raise _bad(where, "a schema must be a JSON object")
    for name, definition in {**node.get("$defs", {}), **node.get("definitions", {})}.items():
        _check_node(definition, root, f"{where}/$defs/{name}", (*within, f"#/$defs/{name}"))
    reference = node.get("$ref")
    if reference is not None:
        _check_reference(reference, node, root, where, within)
        return
    for combiner in ("anyOf", "allOf"):
        for index, part in enumerate(node.get(combiner, ())):
            _check_node(part, root, f"{where}/{combiner}/{index}", within)
    kind = node.get("type")
    if isinstance(kind, list):
        raise _bad(where, "'type' must be a single name; use anyOf for several types")
    if kind is not None and kind not in KEYWORDS:
        raise _bad(where, f"type '{kind}' is not supported")
    if kind is None and not node.keys() & {"anyOf", "allOf", "enum", "const"}:
        raise _bad(where, "a schema must have one of the keys type, anyOf, allOf, enum and const")
    allowed = EVERYWHERE | KEYWORDS.get(kind or "", frozenset()) | {"anyOf", "allOf"}
    for key in node.keys() - allowed:
        raise _bad(where, f"For '{kind or 'any'}' type, property '{key}' is not supported")
    _check_enum(node, where)
    _check_kind(kind, node, root, where, within)


def _check_kind(
    kind: str | None, node: dict[str, Any], root: dict[str, Any], where: str, within: tuple[str, ...]
) -> None:
    if kind == "object":
        if node.get("additionalProperties") is not False:
            raise _bad(where, "For 'object' type, 'additionalProperties' must be explicitly set to false")
        properties = node.get("properties", {})
        for name in node.get("required", ()):
            if name not in properties:
                raise _bad(where, f"'{name}' is in 'required' but not in 'properties'")
        for name, part in properties.items():
            _check_node(part, root, f"{where}/properties/{name}", within)
    elif kind == "array":
        if "items" not in node:
            raise _bad(where, "For 'array' type, 'items' is required")
        if node.get("minItems", 0) not in {0, 1}:
            raise _bad(where, "For 'array' type, 'minItems' values other than 0 or 1 are not supported")
        _check_node(node["items"], root, f"{where}/items", within)
    elif kind == "string" and "format" in node and node["format"] not in FORMATS:
        raise _bad(where, f"For 'string' type, format '{node['format']}' is not supported")


def _check_reference(
    reference: object, node: dict[str, Any], root: dict[str, Any], where: str, within: tuple[str, ...]
) -> None:
    if not isinstance(reference, str) or not reference.startswith("#/$defs/"):
        raise _bad(where, f"$ref {reference!r} does not point into #/$defs")
    if node.keys() - {"$ref", "$defs", "description", "title"}:
        raise _bad(where, "a schema with $ref can have no other keys than $defs, description and title")
    target = root.get("$defs", {}).get(reference.removeprefix("#/$defs/"))
    if target is None:
        raise _bad(where, f"the definition {reference!r}, which a $ref names, does not exist")
    if reference in within:
        raise _bad(where, f"recursive schemas are not supported: {reference} contains itself")
    _check_node(target, root, reference, (*within, reference))


def _check_enum(node: dict[str, Any], where: str) -> None:
    values = node.get("enum", [None])
    if not isinstance(values, list) or not values or any(isinstance(value, dict | list) for value in values):
        raise _bad(where, "'enum' must be a non-empty list of strings, numbers, booleans and null")


def _bad(where: str, problem: str) -> ClaudeError:
    return ClaudeError(400, f"output_config.format.schema{where}: {problem}")
