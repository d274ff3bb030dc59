"""Client for the Chat Completions API: that of OpenAI, of Azure, and of services that implement it.
Never retries.

It needs the extra `openai`. The SDK reads environment variables unless it gets values; those that
it has no value for are overwritten.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import BaseModel, Field

from hls_handler.analysis import Usage
from hls_handler.claude.provider import (
    OrNone,
    ProviderConnection,
    ProviderResponse,
    Question,
    StopReason,
    TokenCount,
    describe_refused,
    parse_body,
)

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletionMessageParam
    from openai.types.shared_params import ResponseFormatJSONSchema
    from openai.types.shared_params.response_format_json_schema import JSONSchema

OPENAI_HOST = "api.openai.com"


class OpenAiApi:
    """Implements `claude.provider.Api`."""

    def __init__(self, connection: ProviderConnection) -> None:
        import openai

        self._service = connection.service
        self.errors = openai.OpenAIError
        self._client = _make_client(connection)
        self._client.organization = None  # not OPENAI_ORG_ID
        self._client.project = None  # not OPENAI_PROJECT_ID
        self._client._custom_headers = {}  # the SDK has no option to ignore OPENAI_CUSTOM_HEADERS
        self._is_azure = self._service.settings.kind == "azure"

    def open(self, question: Question) -> AbstractContextManager[Any]:
        import openai

        messages = [{"role": role, "content": text} for role, text in question.messages]
        if question.system.strip():
            messages.insert(0, {"role": "system", "content": question.system})
        form: ResponseFormatJSONSchema | openai.Omit = openai.omit
        if question.schema is not None:
            schema: JSONSchema = {"name": "reply", "schema": dict(question.schema), "strict": True}
            form = {"type": "json_schema", "json_schema": schema}
        # OpenAI's newer models reject max_tokens; other services know only that.
        max_tokens: int | openai.Omit = question.max_tokens
        max_completion_tokens: int | openai.Omit = openai.omit
        if self._is_azure or OPENAI_HOST in self._service.settings.base_url:
            max_tokens = openai.omit
            max_completion_tokens = question.max_tokens
        return self._client.chat.completions.with_streaming_response.create(
            model=question.model,
            messages=cast("list[ChatCompletionMessageParam]", messages),
            max_completion_tokens=max_completion_tokens,
            max_tokens=max_tokens,
            response_format=form,
        )

    def open_model(self, model: str) -> AbstractContextManager[Any] | None:
        if self._is_azure:  # which lists models, but not the names of deployments
            return None
        return self._client.models.with_streaming_response.retrieve(model)

    def read(self, body: bytes, label: str) -> ProviderResponse:
        completion = parse_body(_Completion, body, service=self._service, label=label)
        choice = completion.choices[0]
        counted = completion.usage
        stop = STOPS.get(choice.finish_reason or "", "other")
        why = choice.finish_reason or ""
        usage = None
        if stop == "refused":
            why = " (content_filter)"
        elif choice.message.refusal:
            stop = "refused"
            why = describe_refused(choice.message.refusal)
        if counted is not None:
            details = counted.prompt_tokens_details or _Cached()
            read = details.cached_tokens or 0
            written = details.cache_write_tokens or 0
            uncached = counted.prompt_tokens - read - written
            if uncached >= 0:
                usage = Usage(completion.model, uncached, counted.completion_tokens, written, read)
        return ProviderResponse(choice.message.content or "", stop, why, usage, completion.model)


def _make_client(connection: ProviderConnection) -> openai.OpenAI:
    import openai

    settings = connection.service.settings
    secret = connection.service.secret
    common: dict[str, Any] = {
        "api_key": secret,
        "timeout": connection.timeout_s,
        "max_retries": 0,
        "http_client": connection.http,
    }
    if settings.kind == "azure":
        return openai.AzureOpenAI(
            azure_endpoint=settings.base_url, api_version=settings.api_version, **common
        )
    return openai.OpenAI(base_url=settings.base_url, **common)


class _Cached(BaseModel):
    cached_tokens: TokenCount | None = None
    cache_write_tokens: TokenCount | None = None


class _Usage(BaseModel):
    prompt_tokens: TokenCount  # cached ones among them
    completion_tokens: TokenCount  # those of reasoning among them
    prompt_tokens_details: _Cached | None = None


class _Message(BaseModel):
    content: str | None = None  # without the reasoning, which some services have in another field
    refusal: str | None = None


class _Choice(BaseModel):
    finish_reason: str | None = None
    message: _Message


class _Completion(BaseModel):
    model: str
    choices: Annotated[tuple[_Choice, ...], Field(min_length=1)]
    usage: Annotated[_Usage | None, OrNone] = None


STOPS: dict[str, StopReason] = {
    "stop": "ended",
    "length": "max_tokens",
    "content_filter": "refused",
}
