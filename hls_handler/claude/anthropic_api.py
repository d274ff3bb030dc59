"""Client for Claude's Messages API, of Anthropic, Amazon Bedrock or Vertex AI. Uses no tools and
does not retry.

The SDK reads environment variables unless it gets values; those that it has no value for are
overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

import httpx2
from pydantic import BaseModel

from hls_handler.analysis import Usage
from hls_handler.claude.provider import (
    KEY_REMEDY,
    OrNone,
    ProviderConnection,
    ProviderResponse,
    Question,
    StopReason,
    TokenCount,
    describe_refused,
    down,
    no_answer,
    parse_body,
)
from hls_handler.wording import shorten

if TYPE_CHECKING:
    import anthropic
    from anthropic.types import (
        CacheControlEphemeralParam,
        MessageParam,
        OutputConfigParam,
        TextBlockParam,
    )
    from google.oauth2.service_account import Credentials

GOOGLE_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


class ClaudeApi:
    """Implements `claude.provider.Api`."""

    def __init__(self, connection: ProviderConnection) -> None:
        import anthropic

        self._service = connection.service
        self.errors = anthropic.AnthropicError
        self._client = _make_client(connection)
        self._google = _GoogleToken(connection)
        # the SDK has no option to ignore ANTHROPIC_CUSTOM_HEADERS
        self._client._custom_headers = {}

    def open(self, question: Question) -> AbstractContextManager[Any]:
        import anthropic

        output: OutputConfigParam = {}
        if question.schema is not None:
            output["format"] = {"type": "json_schema", "schema": dict(question.schema)}
        if question.effort is not None:
            output["effort"] = question.effort
        messages = [{"role": role, "content": text} for role, text in question.messages]
        system: list[TextBlockParam] | anthropic.Omit = anthropic.omit
        if question.system.strip():  # the API rejects blank text
            cached: CacheControlEphemeralParam = {"type": "ephemeral"}
            system = [{"type": "text", "text": question.system, "cache_control": cached}]
        if isinstance(self._client, anthropic.AnthropicVertex):
            self._client.access_token = self._google.get()
        return self._client.messages.with_streaming_response.create(
            model=question.model,
            max_tokens=question.max_tokens,
            system=system,
            messages=cast("list[MessageParam]", messages),
            output_config=output or anthropic.omit,
        )

    def open_model(self, model: str) -> AbstractContextManager[Any] | None:
        import anthropic

        if isinstance(self._client, anthropic.AnthropicVertex):
            self._google.get()  # raises `DependencyDown` if the key is wrong
        # AWS and Google have no such endpoint
        if not isinstance(self._client, anthropic.Anthropic):
            return None
        return self._client.models.with_streaming_response.retrieve(model)

    def read(self, body: bytes, label: str) -> ProviderResponse:
        message = parse_body(_Message, body, service=self._service, label=label)
        # not thinking blocks
        text = "".join(block.text for block in message.content if block.type == "text")
        stop = STOPS.get(message.stop_reason or "", "other")
        why = message.stop_reason or ""
        if stop == "refused":
            why = _describe_stop(message.stop_details)
        usage = None
        if message.usage is not None:
            usage = Usage(
                model=message.model,
                input_tokens=message.usage.input_tokens,
                output_tokens=message.usage.output_tokens,
                cache_write_tokens=message.usage.cache_creation_input_tokens or 0,
                cache_read_tokens=message.usage.cache_read_input_tokens or 0,
            )
        return ProviderResponse(text, stop, why, usage, message.model)


def _make_client(
    connection: ProviderConnection,
) -> anthropic.Anthropic | anthropic.AnthropicBedrock | anthropic.AnthropicVertex:
    import anthropic

    settings = connection.service.settings
    secret = connection.service.secret
    common: dict[str, Any] = {
        "base_url": settings.base_url,
        "timeout": connection.timeout_s,
        "max_retries": 0,
        "open_telemetry": False,
        "http_client": connection.http,
    }
    match settings.kind:
        case "bedrock":
            bedrock = anthropic.AnthropicBedrock(
                api_key=secret, aws_region=settings.region, **common
            )
            # set now, because the constructor would read another api_key
            if settings.access_key_id is not None:
                bedrock.api_key = None
                bedrock.aws_access_key = settings.access_key_id
                bedrock.aws_secret_key = secret
            return bedrock
        case "vertex":
            assert settings.region is not None
            assert settings.project is not None
            return anthropic.AnthropicVertex(
                region=settings.region, project_id=settings.project, **common
            )
    return anthropic.Anthropic(api_key=secret, **common)


class _GoogleToken:
    """Access token of a service account, which the SDK would get with other proxy settings."""

    def __init__(self, connection: ProviderConnection) -> None:
        self._service = connection.service
        self._http = connection.http
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
                self._credentials = load(key, scopes=GOOGLE_SCOPES)  # type: ignore[no-untyped-call]
            if not self._credentials.valid:
                self._credentials.refresh(self._request)
        except TransportError as exc:
            raise no_answer(exc, service) from None
        except (GoogleAuthError, ValueError):
            raise down(service, f"Google rejected the key of {service.title}", KEY_REMEDY) from None
        return str(self._credentials.token)

    def _request(
        self, url: str, method: str, body: bytes, headers: dict[str, str], **_options: Any
    ) -> _GoogleAnswer:
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


class _Block(BaseModel):
    type: str
    text: str = ""


class _Usage(BaseModel):
    input_tokens: TokenCount  # uncached
    output_tokens: TokenCount
    cache_creation_input_tokens: TokenCount | None = None
    cache_read_input_tokens: TokenCount | None = None


class _StopDetails(BaseModel):
    category: str | None = None
    explanation: str | None = None


class _Message(BaseModel):
    model: str
    content: tuple[_Block, ...]
    stop_reason: str | None
    stop_details: _StopDetails | None = None
    usage: Annotated[_Usage | None, OrNone] = None


STOPS: dict[str, StopReason] = {
    "end_turn": "ended",
    "stop_sequence": "ended",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "context_window",
    "refusal": "refused",
}


def _describe_stop(details: _StopDetails | None) -> str:
    if details is None:
        return ""
    described = ""
    if details.category:
        described = f" ({shorten(details.category)})"
    return described + describe_refused(details.explanation)
