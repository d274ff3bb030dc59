"""Validation of requests to Claude against the types of the SDK."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from pydantic import TypeAdapter

SENT_AS_HEADERS = ("user_profile_id", "workspace_id")
"""Parameters of the SDK's method that are not in the body."""


MODEL = re.compile(r"/v1/models/[^/]+")


def violations(requests: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return one sentence for each request that HLS does not send and each violation of the SDK's
    types.

    A request has `method`, `path`, `query` and `body`, as the sandbox keeps them.
    """
    return [
        f"{request['method']} {request['path']}: {problem}"
        for request in requests
        for problem in _problems(request)
    ]


def _problems(logged: Mapping[str, Any]) -> Iterator[str]:
    if logged["query"]:
        yield f"a query, where HLS sends none: {', '.join(sorted(logged['query']))}"
    if (logged["method"], logged["path"]) == ("POST", "/v1/messages"):
        worst = _worst(logged["body"])
        if worst is not None:
            yield f"the body at {worst.json_path}: {worst.message[:200]}"
    elif logged["method"] != "GET" or not MODEL.fullmatch(logged["path"]):
        yield "HLS asks Claude for messages and for one model by its name, and nothing else"
    elif logged["body"] is not None:
        yield "a body, where this question has none"


def _worst(body: object) -> Any:
    """Return the most relevant error of a body, or None."""
    return best_match(_validator().iter_errors(body))


@cache
def _validator() -> Draft202012Validator:
    """Build the validator once.

    Its schema is not checked: that takes three times as long, in each thread that asks first.
    """
    schema = TypeAdapter(MessageCreateParamsNonStreaming).json_schema()
    for name in SENT_AS_HEADERS:
        del schema["properties"][name]
    return Draft202012Validator(close_objects(schema))


def close_objects(node: Any) -> Any:
    """Return the schema without additional properties, except in objects without named
    properties.
    """
    if isinstance(node, list):
        return [close_objects(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    closed = {key: close_objects(value) for key, value in node.items()}
    names_its_keys = node.get("type") == "object" and "properties" in node
    return {**closed, "additionalProperties": False} if names_its_keys else closed
