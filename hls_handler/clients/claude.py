"""Client for Claude: sends a rendered prompt and returns a validated reply. Uses no tools and does not retry.

No environment variables of the SDK are read. The SDK is imported inside functions, because the import is half of a
command's start time, and most commands do not call Claude.
"""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import genai_prices
import httpx2
from pydantic import BaseModel, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from hls_handler.analysis import PartialCost, Unusable, UnusableReply, Usage, ValidReply
from hls_handler.clients.claude_errors import MODEL_REMEDY, translate, unexpected_response
from hls_handler.clients.reply_parsing import UnreadableReply, describe_problems, parse_reply
from hls_handler.clients.transport import find_proxy_settings, read_body, shorten
from hls_handler.errors import ModelNotFound, StepFailed
from hls_handler.prompting.prompt import Prompt
from hls_handler.prompting.render import RenderedPrompt, estimate_tokens
from hls_handler.settings.model import Claude as ClaudeSettings
from hls_handler.settings.model import resolve_model
from hls_handler.tracing import annotate, span
from hls_handler.wording import count

if TYPE_CHECKING:
    import anthropic
    from anthropic.types import MessageParam, OutputConfigParam, TextBlockParam

MAX_CONNECT_S = 10.0

KEEPALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
"""Socket options that keep a connection open while Claude works on a reply, which may take minutes."""

if hasattr(socket, "TCP_KEEPIDLE"):  # not on every platform
    KEEPALIVE.append((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60))

MAX_TOKENS_COUNTED = 1_000_000_000  # more in one response is an error of the server; the database stores 64 bits

MAX_BYTES, MAX_BYTES_PER_TOKEN = 16_384, 32
"""Limit of a response: a fixed part, and a part for each token of `max_tokens`. A token has about 4 bytes, and up to
12 if every character is escaped. Validating, redacting and rendering a megabyte takes more than a second."""

MARGIN = 0.25  # of the estimated tokens, reserved in addition: dense code has 3 characters a token instead of 3.5

CORRECTION = (
    "That reply could not be used: {problem}\n\n"
    "Answer again with the whole JSON object, corrected. All earlier instructions still apply."
)


class Claude:
    """Client for Claude. Not thread-safe: use one per worker thread. Creating a client takes 20 ms."""

    def __init__(self, settings: ClaudeSettings, *, clock: Callable[[], float], now: Callable[[], datetime]) -> None:
        """`clock` returns monotonic seconds, to measure calls; `now` returns aware UTC, to interpret Retry-After.

        Raises `SettingsError` if the proxy or certificate settings cannot be used.
        """
        import anthropic

        self._settings, self._clock, self._now = settings, clock, now
        self._key = settings.api_key.get_secret_value()
        self._proxy = find_proxy_settings(settings.base_url)
        # The SDK's own client always reads the proxy variables.
        transport = self._proxy.new_transport(limits=anthropic.DEFAULT_CONNECTION_LIMITS, socket_options=KEEPALIVE)
        self._client = anthropic.Anthropic(
            api_key=self._key,
            base_url=settings.base_url,
            timeout=httpx2.Timeout(settings.timeout_s, connect=min(settings.timeout_s, MAX_CONNECT_S)),
            max_retries=0,
            open_telemetry=False,
            http_client=httpx2.Client(transport=transport, trust_env=False),
        )
        self._sdk_error = anthropic.AnthropicError
        self._client._custom_headers = {}  # the SDK has no option to ignore ANTHROPIC_CUSTOM_HEADERS

    def close(self) -> None:
        self._client.close()

    def model_for(self, rendered: RenderedPrompt) -> str:
        """Return the model of the prompt, or else of the settings. A retired model is replaced by its successor."""
        return resolve_model(rendered.prompt.model or self._settings.model)

    def ask(self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None) -> ValidReply | UnusableReply:
        """Send one request. If `correction` is an earlier reply, Claude is asked to correct the errors of that reply.

        Raises `DependencyDown` if Claude fails or rejects the account, and `Permanent` for an invalid request.
        """
        model = self.model_for(rendered)
        known = {"peer.service": "claude", "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic"}
        with span(f"chat {model}", {**known, "gen_ai.request.model": model}, kind="CLIENT"):
            answer = self._ask(rendered, model, correction)
            usage = answer.usage
            annotate(
                {
                    "gen_ai.response.model": usage.model,
                    "gen_ai.usage.input_tokens": usage.all_input_tokens,
                    "gen_ai.usage.output_tokens": usage.output_tokens,
                    "hls.cost_usd": usage.cost_usd,
                    "hls.claude_request_id": usage.request_id,
                    "hls.outcome": "ok" if isinstance(answer, ValidReply) else answer.why,
                }
            )
            return answer

    def _ask(
        self, rendered: RenderedPrompt, model: str, correction: UnusableReply | None
    ) -> ValidReply | UnusableReply:
        prompt = rendered.prompt
        output: OutputConfigParam = {"format": {"type": "json_schema", "schema": request_schema(rendered.schema)}}
        if prompt.effort is not None:
            output["effort"] = prompt.effort
        max_tokens = prompt.max_tokens or self._settings.max_tokens
        max_bytes = MAX_BYTES + MAX_BYTES_PER_TOKEN * max_tokens
        started = self._clock()
        try:
            with self._client.messages.with_streaming_response.create(
                model=model,
                max_tokens=max_tokens,
                system=_system_blocks(rendered),
                messages=_messages(rendered, correction),
                output_config=output,
            ) as response:
                body, request_id = read_body(response.iter_bytes(), max_bytes), _request_id(response.headers)
        except (self._sdk_error, httpx2.HTTPError) as exc:
            raise self._translate(exc, prompt.id, model) from None
        took_s = self._clock() - started

        def estimate_usage() -> Usage:
            most = self.upper_estimate(rendered, correction=correction)
            return replace(most, took_s=took_s, request_id=request_id, is_estimate=True)

        if body is None:
            allowed = f"{MAX_BYTES}, and {MAX_BYTES_PER_TOKEN} for each of {max_tokens} max_tokens"
            problem = f"the response is over {max_bytes} bytes ({allowed})"
            return UnusableReply(prompt.id, "oversized", problem, "", estimate_usage())
        message = _parse_body(_Message, body, label=prompt.id)
        if message.usage is None:
            usage = replace(estimate_usage(), model=message.model)
        else:
            usage = _usage(message.model, message.usage, took_s, request_id)
        return _read_reply(message, prompt, usage)

    def upper_estimate(self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None) -> Usage:
        """Return what to reserve for `ask`: uncached input of the estimated tokens and a quarter, and `max_tokens`."""
        prompt = rendered.prompt
        texts = [rendered.system, rendered.task, json.dumps(rendered.schema)]
        if correction is not None:
            texts += [correction.text, correction.problem, CORRECTION]
        most = Usage(
            self.model_for(rendered),
            cache_write_tokens=math.ceil(sum(map(estimate_tokens, texts)) * (1 + MARGIN)),
            output_tokens=prompt.max_tokens or self._settings.max_tokens,
        )
        return replace(most, cost_usd=cost_usd(most))

    def lookup_model(self, model: str) -> str:
        """Return "active", "deprecated" or "retired"; "unlisted" if the service has no models endpoint.

        Raises `DependencyDown`, and its subclass `ModelNotFound` if the service does not know the model.
        """
        import anthropic

        label = f"the request for the model {model}"
        try:
            with self._client.models.with_streaming_response.retrieve(model) as response:
                body = read_body(response.iter_bytes(), MAX_BYTES)
        except anthropic.NotFoundError as exc:
            if exc.type != "not_found_error":  # not Claude's API, but a service that has only the Messages API
                return "unlisted"
            failed = self._translate(exc, label, model)
            raise ModelNotFound(str(failed), dependency="claude", remedy=MODEL_REMEDY) from None
        except (self._sdk_error, httpx2.HTTPError) as exc:
            raise self._translate(exc, label, model) from None
        if body is None:
            raise unexpected_response(label, f"it is over {MAX_BYTES} bytes")
        return _parse_body(_WireModel, body, label=label).lifecycle

    def _translate(self, exc: anthropic.AnthropicError | httpx2.HTTPError, label: str, model: str) -> StepFailed:
        failed = translate(exc, label=label, model=model, api_key=self._key, now=self._now(), proxy=self._proxy)
        response = getattr(exc, "response", None)  # only of the API's own errors
        failed.request_id = None if response is None else _request_id(response.headers)
        return failed


def request_schema(schema: Mapping[str, object]) -> dict[str, object]:
    """Return the JSON schema to send. The API rejects bounds (`maxLength`), so they are moved into the descriptions."""
    import anthropic

    return anthropic.transform_schema(dict(schema))


def _system_blocks(rendered: RenderedPrompt) -> list[TextBlockParam] | anthropic.Omit:
    import anthropic

    if not rendered.system.strip():  # the API rejects blank text
        return anthropic.omit
    return [{"type": "text", "text": rendered.system, "cache_control": {"type": "ephemeral"}}]


def _messages(rendered: RenderedPrompt, correction: UnusableReply | None) -> list[MessageParam]:
    messages: list[MessageParam] = [{"role": "user", "content": rendered.task}]
    if correction is None:
        return messages
    if correction.text.strip():
        messages.append({"role": "assistant", "content": correction.text})
    messages.append({"role": "user", "content": CORRECTION.format(problem=correction.problem)})
    return messages


M = TypeVar("M", bound=BaseModel)


class _Block(BaseModel):
    type: str
    text: str = ""


_Tokens = Annotated[int, Field(ge=0, le=MAX_TOKENS_COUNTED)]


class _Usage(BaseModel):
    input_tokens: _Tokens  # uncached
    output_tokens: _Tokens
    cache_creation_input_tokens: _Tokens | None = None
    cache_read_input_tokens: _Tokens | None = None


def _usable_or_none(value: Any, validate: ValidatorFunctionWrapHandler) -> _Usage | None:
    try:
        usage: _Usage | None = validate(value)
    except ValidationError:
        return None
    return usage


class _StopDetails(BaseModel):
    category: str | None = None
    explanation: str | None = None


class _Message(BaseModel):
    model: str
    content: tuple[_Block, ...]
    stop_reason: str | None
    stop_details: _StopDetails | None = None
    usage: Annotated[_Usage | None, WrapValidator(_usable_or_none)] = None  # None: absent or impossible


class _WireModel(BaseModel):  # https://platform.claude.com/docs/en/api/models/retrieve
    id: str
    lifecycle: str = "active"  # "deprecated", "retired"; other providers omit it


def _parse_body(shape: type[M], body: bytes, *, label: str) -> M:
    try:
        return shape.model_validate_json(body)
    except ValidationError as exc:
        raise unexpected_response(label, describe_problems(exc)) from None


MAX_REQUEST_ID_CHARS = 100


def _request_id(headers: Mapping[str, str]) -> str | None:
    found = headers.get("request-id", "")
    return found if found.isascii() and found.isprintable() and 0 < len(found) <= MAX_REQUEST_ID_CHARS else None


def _read_reply(message: _Message, prompt: Prompt, usage: Usage) -> ValidReply | UnusableReply:
    text = "".join(block.text for block in message.content if block.type == "text")  # not thinking blocks

    def unusable(why: Unusable, problem: str) -> UnusableReply:
        return UnusableReply(prompt.id, why, problem, text, usage)

    match message.stop_reason:
        case "max_tokens":
            return unusable(
                "truncated", f"the reply was cut off after {count(usage.output_tokens, 'token')} (max_tokens)"
            )
        case "model_context_window_exceeded":
            return unusable("truncated", "prompt and reply together are longer than the model's context window")
        case "refusal":
            return unusable("refused", _describe_stop(message.stop_details))
        case reason:
            try:
                reply, lost = parse_reply(text, prompt.reply_model)
            except UnreadableReply as exc:
                if reason in ("end_turn", "stop_sequence"):
                    return unusable("invalid", str(exc))
                return unusable("stopped", f"Claude stopped without a reply ({shorten(reason or 'no stop reason')})")
            return ValidReply(prompt.id, prompt.reply, reply, usage, lost=lost)


def _usage(model: str, counted: _Usage, took_s: float, request_id: str | None) -> Usage:
    usage = Usage(
        model=model,
        input_tokens=counted.input_tokens,
        output_tokens=counted.output_tokens,
        cache_write_tokens=counted.cache_creation_input_tokens or 0,
        cache_read_tokens=counted.cache_read_input_tokens or 0,
        took_s=took_s,
        request_id=request_id,
    )
    return replace(usage, cost_usd=cost_usd(usage))


def _describe_stop(details: _StopDetails | None) -> str:
    category = f" ({shorten(details.category)})" if details and details.category else ""
    explanation = f": {shorten(details.explanation).rstrip('.')}" if details and details.explanation else ""
    return f"Claude refused to answer{category}{explanation}"


def cost_of_output(usage: Usage, tokens: int) -> PartialCost | None:
    """Return what about `tokens` output tokens of a call cost; None if Claude was not called."""
    if not usage.output_tokens:
        return None
    tokens = min(tokens, usage.output_tokens)
    whole, rest = cost_usd(usage), cost_usd(replace(usage, output_tokens=usage.output_tokens - tokens))
    return PartialCost(tokens, usage.output_tokens, None if whole is None or rest is None else whole - rest)


def cost_usd(usage: Usage) -> float | None:
    """Return the cost in US dollars at list price, or None for a model that is not in Anthropic's list.

    The price of some models depends on the number of all input tokens, including the cached ones.
    """
    counted = genai_prices.Usage(
        input_tokens=usage.all_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        output_tokens=usage.output_tokens,
    )
    try:
        return float(genai_prices.calc_price(counted, usage.model, provider_id="anthropic").total_price)
    except LookupError:
        return None
