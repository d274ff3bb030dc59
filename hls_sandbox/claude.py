"""The stand-in Claude over HTTP: validates requests as the Messages API does, and returns canned
replies.

`tests/contracts` checks the types of all fields. https://platform.claude.com/docs/en/api/messages
and .../build-with-claude/structured-outputs
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hls_handler.settings.providers import RETIRED_MODELS
from hls_sandbox.canned import canned_reply

MODELS = (
    "claude-haiku-5-5",
    "claude-sonnet-5-5",
    "claude-opus-5-5",
    "claude-sonnet-5",
    "claude-opus-5",
    "claude-haiku-4-5",
)
CHARACTERS_PER_TOKEN = 4
MIN_CACHED_TOKENS = 1024
"""Minimum for prompt caching.
https://platform.claude.com/docs/en/build-with-claude/prompt-caching
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A valid request to the Messages API."""

    model: str
    system: str
    user: str  # texts of all user messages, in order
    schema: Mapping[str, Any] | None  # JSON Schema of the reply; None: the reply is prose
    body: Mapping[str, Any]


Answerer = Callable[[Asked], Any]
"""A function that returns Claude's reply: an object, which is sent as JSON, or a string. The
default is `canned`.
"""


def canned(asked: Asked) -> Any:
    """Return a deterministic reply that is valid against the JSON schema. Without a schema, return
    a sentence.
    """
    if asked.schema is None:
        return "This is the sandbox: it gives canned replies to requests with a JSON schema."
    return canned_reply(asked.schema, asked.user)


def claude_app(*, api_key: str, answer: Answerer) -> Starlette:
    """Return the ASGI app with `POST /v1/messages` and `GET /v1/models/{id}`. Its prompt cache
    never expires.
    """
    cached: set[str] = set()
    requests = 0

    def respond(document: Any, status: int = 200) -> Response:
        nonlocal requests
        requests += 1
        headers = {"request-id": f"req_sandbox_{requests:06d}"}
        body = json.dumps(document, ensure_ascii=False).encode()
        return Response(body, status, headers, media_type="application/json")

    async def messages(request: Request) -> Response:
        _authenticate(request, api_key)
        asked = _parse(await request.body(), request.headers.get("content-type", ""))
        reply = answer(asked)
        text = reply if isinstance(reply, str) else json.dumps(reply, ensure_ascii=False)
        return respond(_message(asked, text, _usage(asked, text, cached), number=requests))

    async def model(request: Request) -> Response:
        _authenticate(request, api_key)
        name = request.path_params["id"]
        lifecycle = "active"
        if name in RETIRED_MODELS:
            lifecycle = "retired"
        elif name not in MODELS:
            raise ClaudeError(404, f"model: {name}")
        return respond({"type": "model", "id": name, "lifecycle": lifecycle})

    def rejected(request: Request, exc: Exception) -> Response:
        status = exc.status if isinstance(exc, ClaudeError) else 404
        message = (
            exc.message
            if isinstance(exc, ClaudeError)
            else f"{request.method} {request.url.path}: Not found"
        )
        return respond(error_document(status, message), status)

    return Starlette(
        routes=[
            Route("/v1/messages", messages, methods=["POST"]),
            Route("/v1/models/{id}", model, methods=["GET"]),
        ],
        exception_handlers={ClaudeError: rejected, HTTPException: rejected},
    )


def error_document(status: int, message: str | None = None) -> dict[str, Any]:
    kind = ERROR_TYPES.get(status, "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": message or kind.replace("_", " ")},
        "request_id": None,
    }


def _authenticate(request: Request, api_key: str) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if (
        not hmac.compare_digest(given.strip().encode("utf-8", "replace"), api_key.encode())
        or scheme != "Bearer"
    ):
        raise ClaudeError(401, "invalid bearer token")
    if not request.headers.get("anthropic-version"):
        raise ClaudeError(400, "anthropic-version: header is required")


def _parse(raw: bytes, content_type: str) -> Asked:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise ClaudeError(400, "Content-Type: must be application/json")
    try:
        body = json.loads(raw)
        json.dumps(body, ensure_ascii=False).encode()  # rejects lone surrogates
    except (ValueError, RecursionError):
        raise ClaudeError(400, "The request body is not valid JSON") from None
    if not isinstance(body, dict) or not {"model", "max_tokens", "messages"} <= body.keys():
        raise ClaudeError(400, "request body: it needs model, max_tokens and messages")
    wanted = (body.get("output_config") or {}).get("format") or {}
    user = "\n\n".join(
        text_of(message["content"]) for message in body["messages"] if message["role"] == "user"
    )
    return Asked(body["model"], text_of(body.get("system")), user, wanted.get("schema"), body)


def text_of(content: Any) -> str:
    """Return the text of `content`, which is a string, a list of text blocks, or None."""
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content or ())


def tokens_of(text: str) -> int:
    return (len(text) + CHARACTERS_PER_TOKEN - 1) // CHARACTERS_PER_TOKEN


def _usage(asked: Asked, reply: str, cached: set[str]) -> dict[str, Any]:
    schema_tokens = tokens_of(json.dumps(asked.schema)) if asked.schema else 0
    conversation = sum(tokens_of(text_of(message["content"])) for message in asked.body["messages"])
    system = asked.body.get("system")
    blocks = system if isinstance(system, list) else []
    marked = [index for index, block in enumerate(blocks) if block.get("cache_control")]
    # Claude caches the system prompt up to its last block with `cache_control`.
    prefix = text_of(blocks[: marked[-1] + 1]) if marked else ""
    size = tokens_of(prefix)
    written = read = 0
    if size >= MIN_CACHED_TOKENS:
        # the schema is a part of the cached prefix
        wanted = json.dumps(asked.schema, sort_keys=True)
        key = hashlib.sha256(f"{asked.model}\n{wanted}\n{prefix}".encode()).hexdigest()
        read = size if key in cached else 0
        written = size - read
        cached.add(key)
    total = tokens_of(asked.system) + conversation + schema_tokens
    return {
        "input_tokens": total - written - read,
        "output_tokens": tokens_of(reply) + 1,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "service_tier": "standard",
    }


def _message(asked: Asked, text: str, usage: dict[str, Any], *, number: int) -> dict[str, Any]:
    most = asked.body["max_tokens"]
    cut = usage["output_tokens"] > most
    shown = text[: most * CHARACTERS_PER_TOKEN] if cut else text
    return {
        "id": f"msg_sandbox_{number:06d}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": [  # a client that reads only the first block must fail
            {"type": "thinking", "thinking": "", "signature": "c2FuZGJveA=="},
            {"type": "text", "text": shown, "citations": None},
        ],
        "stop_reason": "max_tokens" if cut else "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "usage": {**usage, "output_tokens": min(usage["output_tokens"], most)},
    }


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
