"""Client for Claude's Messages API, of Anthropic, Amazon Bedrock or Vertex AI. Uses no tools and does not retry.

The SDK reads environment variables unless it gets values; those that it has no value for are overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, cast

import httpx2
from pydantic import BaseModel

from hls_handler.analysis import Usage
from hls_handler.clients.provider import (
    MAX_BYTES,
    Connection,
    OrNone,
    Question,
    Response,
    Stop,
    Tokens,
    describe_oversized,
    parse_body,
)
from hls_handler.clients.provider_errors import (
    KEY_REMEDY,
    down,
    find_request_id,
    model_not_found,
    no_answer,
    translate,
    unexpected_response,
)
from hls_handler.clients.transport import read_body, shorten

if TYPE_CHECKING:
    import anthropic
    from anthropic.types import MessageParam, OutputConfigParam, TextBlockParam
    from google.oauth2.service_account import Credentials

GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class ClaudeApi:
    """Implements `clients.provider.Api`."""

    def __init__(self, connection: Connection) -> None:
        import anthropic

        self._service, self._settings = connection.service, connection.service.settings
        self._client = _make_client(connection)
        self._google = _GoogleToken(connection) if self._settings.kind == "vertex" else None
        self._sdk_error = anthropic.AnthropicError
        self._client._custom_headers = {}  # the SDK has no option to ignore ANTHROPIC_CUSTOM_HEADERS

    def close(self) -> None:
        self._client.close()

    def send(self, question: Question) -> Response:
        import anthropic

        output: OutputConfigParam = {}
        if question.schema is not None:
            output["format"] = {"type": "json_schema", "schema": dict(question.schema)}
        if question.effort is not None:
            output["effort"] = question.effort
        messages = [{"role": role, "content": text} for role, text in question.messages]
        if isinstance(self._client, anthropic.AnthropicVertex) and self._google is not None:
            self._client.access_token = self._google.get()
        try:
            with self._client.messages.with_streaming_response.create(
                model=question.model,
                max_tokens=question.max_tokens,
                system=_system_blocks(question.system),
                messages=cast("list[MessageParam]", messages),
                output_config=output or anthropic.omit,
            ) as response:
                body = read_body(response.iter_bytes(), question.max_bytes)
                request_id = find_request_id(response.headers)
        except (self._sdk_error, httpx2.HTTPError) as exc:
            raise translate(exc, self._service, label=question.label, model=question.model) from None
        if body is None:
            return Response("", "oversized", describe_oversized(question), request_id=request_id)
        message = parse_body(_Message, body, service=self._service, label=question.label)
        return replace(_read_message(message), request_id=request_id)

    def lookup_model(self, model: str) -> str:
        import anthropic

        if not isinstance(self._client, anthropic.Anthropic):
            return "unlisted"
        label = f"the request for the model {model}"
        try:
            with self._client.models.with_streaming_response.retrieve(model) as response:
                body = read_body(response.iter_bytes(), MAX_BYTES)
        except anthropic.NotFoundError as exc:
            if exc.type != "not_found_error":  # not Claude's API, but a service that has only the Messages API
                return "unlisted"
            raise model_not_found(exc, self._service, label=label, model=model) from None
        except (self._sdk_error, httpx2.HTTPError) as exc:
            raise translate(exc, self._service, label=label, model=model) from None
        if body is None:
            raise unexpected_response(self._service, label, f"it is over {MAX_BYTES} bytes")
        return parse_body(_WireModel, body, service=self._service, label=label).lifecycle


def _make_client(
    connection: Connection,
) -> anthropic.Anthropic | anthropic.AnthropicBedrock | anthropic.AnthropicVertex:
    import anthropic

    settings, secret = connection.service.settings, connection.service.secret
    common: dict[str, Any] = {
        "base_url": settings.base_url,
        "timeout": connection.timeout,
        "max_retries": 0,
        "open_telemetry": False,
        "http_client": connection.http,
    }
    match settings.kind:
        case "bedrock":
            bedrock = anthropic.AnthropicBedrock(api_key=secret, aws_region=settings.region, **common)
            if settings.access_key_id is not None:  # set now, because the constructor would read another api_key
                bedrock.api_key = None
                bedrock.aws_access_key, bedrock.aws_secret_key = settings.access_key_id, secret
            return bedrock
        case "vertex":
            assert settings.region is not None
            assert settings.project is not None
            return anthropic.AnthropicVertex(region=settings.region, project_id=settings.project, **common)
    return anthropic.Anthropic(api_key=secret, **common)


class _GoogleToken:
    """Access token of a service account, which the SDK would get with other proxy settings."""

    def __init__(self, connection: Connection) -> None:
        self._service, self._http = connection.service, connection.http
        self._credentials: Credentials | None = None

    def get(self) -> str:
        """Return the token, a new one if it has expired. Raises `DependencyDown`."""
        from google.auth.exceptions import GoogleAuthError, TransportError
        from google.oauth2.service_account import Credentials

        service = self._service
        try:
            if self._credentials is None:
                key = json.loads(service.secret)
                load = Credentials.from_service_account_info
                self._credentials = load(key, scopes=[GOOGLE_SCOPE])  # type: ignore[no-untyped-call]
            if not self._credentials.valid:
                self._credentials.refresh(self._request)
        except TransportError as exc:
            raise no_answer(exc, service) from None
        except (GoogleAuthError, ValueError):
            raise down(service, f"Google rejected the key of {service.title}", KEY_REMEDY) from None
        return str(self._credentials.token)

    def _request(self, url: str, method: str, body: bytes, headers: dict[str, str], **_options: Any) -> _GoogleAnswer:
        from google.auth.exceptions import TransportError

        try:
            answer = self._http.request(method, url, content=body, headers=headers)
        except httpx2.HTTPError as exc:
            raise TransportError("no answer") from exc  # type: ignore[no-untyped-call]
        return _GoogleAnswer(answer.status_code, answer.headers, answer.content)


@dataclass(frozen=True, slots=True)
class _GoogleAnswer:
    """A response, as google-auth reads it."""

    status: int
    headers: Mapping[str, str]
    data: bytes


def _system_blocks(system: str) -> list[TextBlockParam] | anthropic.Omit:
    import anthropic

    if not system.strip():  # the API rejects blank text
        return anthropic.omit
    return [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}]


class _Block(BaseModel):
    type: str
    text: str = ""


class _Usage(BaseModel):
    input_tokens: Tokens  # uncached
    output_tokens: Tokens
    cache_creation_input_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None


class _StopDetails(BaseModel):
    category: str | None = None
    explanation: str | None = None


class _Message(BaseModel):
    model: str
    content: tuple[_Block, ...]
    stop_reason: str | None
    stop_details: _StopDetails | None = None
    usage: Annotated[_Usage | None, OrNone] = None


class _WireModel(BaseModel):  # https://platform.claude.com/docs/en/api/models/retrieve
    id: str
    lifecycle: str = "active"  # "deprecated", "retired"; other providers omit it


STOPS: dict[str, Stop] = {
    "end_turn": "ended",
    "stop_sequence": "ended",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "context_window",
    "refusal": "refused",
}


def _read_message(message: _Message) -> Response:
    text = "".join(block.text for block in message.content if block.type == "text")  # not thinking blocks
    stop = STOPS.get(message.stop_reason or "", "other")
    why = _describe_stop(message.stop_details) if stop == "refused" else message.stop_reason or ""
    usage = None
    if message.usage is not None:
        usage = Usage(
            model=message.model,
            input_tokens=message.usage.input_tokens,
            output_tokens=message.usage.output_tokens,
            cache_write_tokens=message.usage.cache_creation_input_tokens or 0,
            cache_read_tokens=message.usage.cache_read_input_tokens or 0,
        )
    return Response(text, stop, why, usage, message.model)


def _describe_stop(details: _StopDetails | None) -> str:
    category = f" ({shorten(details.category)})" if details and details.category else ""
    explanation = f": {shorten(details.explanation).rstrip('.')}" if details and details.explanation else ""
    return f"{category}{explanation}"
