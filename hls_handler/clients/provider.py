"""A service that answers prompts: sends a rendered prompt once, and returns a validated reply or why it has none.

This part is the same for all services: schema, validation, tokens and price. `claude.py` and `openai_api.py` have the
two families of APIs. Their SDKs are imported inside functions, because an import takes half of a command's start time.
No environment variables of the SDKs are read.
"""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol, TypeVar

import httpx2
from pydantic import BaseModel, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from hls_handler.analysis import Unusable, UnusableReply, Usage, ValidReply
from hls_handler.clients.prices import with_price
from hls_handler.clients.provider_errors import Service, unexpected_response
from hls_handler.clients.reply_parsing import UnreadableReply, describe_problems, parse_reply
from hls_handler.clients.transport import find_proxy_settings, shorten
from hls_handler.prompting.front_matter import Effort
from hls_handler.prompting.prompt import Prompt
from hls_handler.prompting.render import RenderedPrompt, estimate_tokens
from hls_handler.settings.model import Claude as ClaudeSettings
from hls_handler.settings.model import Provider as ProviderSettings
from hls_handler.settings.model import ProviderKind, resolve_model
from hls_handler.tracing import annotate, span
from hls_handler.wording import count

MAX_CONNECT_S = 10.0

KEEPALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
"""Socket options that keep a connection open while a reply is written, which may take minutes."""

if hasattr(socket, "TCP_KEEPIDLE"):  # not on every platform
    KEEPALIVE.append((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60))

LIMITS = httpx2.Limits(max_connections=1_000, max_keepalive_connections=100)  # those of the SDKs

MAX_TOKENS_COUNTED = 1_000_000_000  # more in one response is an error of the server; the database stores 64 bits

MAX_BYTES, MAX_BYTES_PER_TOKEN = 16_384, 32
"""Limit of a response: a fixed part, and a part for each token of `max_tokens`. A token has about 4 bytes, and up to
12 if every character is escaped. Validating, redacting and rendering a megabyte takes more than a second."""

MARGIN = 0.25  # of the estimated tokens, reserved in addition: dense code has 3 characters a token instead of 3.5

CORRECTION = (
    "That reply could not be used: {problem}\n\n"
    "Answer again with the whole JSON object, corrected. All earlier instructions still apply."
)

SCHEMA_IN_PROMPT = "Answer with one JSON object that fits this JSON Schema, and with nothing else:\n{schema}"

TRACED_AS: Mapping[ProviderKind, str] = {
    "anthropic": "anthropic",
    "bedrock": "aws.bedrock",
    "vertex": "gcp.vertex_ai",
    "openai": "openai",
    "azure": "azure.ai.openai",
}
"""Values of `gen_ai.provider.name` in OpenTelemetry's conventions."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request, for either family of APIs."""

    model: str
    max_tokens: int
    effort: Effort | None
    system: str  # may be blank
    messages: tuple[tuple[Literal["user", "assistant"], str], ...]
    schema: Mapping[str, object] | None  # that the service enforces; None: `system` asks for JSON
    label: str  # the prompt's id, for errors

    @property
    def max_bytes(self) -> int:
        return MAX_BYTES + MAX_BYTES_PER_TOKEN * self.max_tokens


Stop = Literal["ended", "max_tokens", "context_window", "refused", "oversized", "other"]


@dataclass(frozen=True, slots=True)
class Response:
    """What a service answered. `why` explains a refusal, or names another reason to stop."""

    text: str
    stop: Stop
    why: str = ""
    usage: Usage | None = None  # without price; None: absent or impossible
    model: str | None = None
    request_id: str | None = None


class Api(Protocol):
    """Client of one family of APIs. Not thread-safe."""

    def send(self, question: Question) -> Response:
        """Raises `DependencyDown`, and `Permanent` for an invalid request."""
        ...

    def lookup_model(self, model: str) -> str:
        """Return "active", "deprecated" or "retired"; "unlisted" if the service has no models endpoint.

        Raises `DependencyDown`, and its subclass `ModelNotFound` if the service does not know the model.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Connection:
    """What a family of APIs needs to create its SDK's client."""

    service: Service
    http: httpx2.Client
    timeout: httpx2.Timeout


class Provider:
    """Client for one service. Not thread-safe: use one per worker thread. Creating a client takes 20 ms."""

    def __init__(
        self,
        settings: ProviderSettings,
        claude: ClaudeSettings,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        """`clock` returns monotonic seconds, to measure calls; `now` returns aware UTC, to interpret Retry-After.

        `settings` are one of `claude.providers`. Raises `SettingsError` if the proxy or certificate settings cannot be
        used.
        """
        self.settings, self._claude, self._clock = settings, claude, clock
        proxy = find_proxy_settings(settings.base_url)
        self._service = Service(settings, claude.find_key(settings), claude.title_of(settings), proxy, now)
        # The SDKs' own clients always read the proxy variables.
        transport = proxy.new_transport(limits=LIMITS, socket_options=KEEPALIVE)
        timeout = httpx2.Timeout(claude.timeout_s, connect=min(claude.timeout_s, MAX_CONNECT_S))
        http = httpx2.Client(transport=transport, trust_env=False)
        self._api = _connect(Connection(self._service, http, timeout))

    def close(self) -> None:
        self._api.close()

    def lookup_model(self, model: str) -> str:
        """See `Api.lookup_model`."""
        return self._api.lookup_model(model)

    def model_for(self, rendered: RenderedPrompt) -> str:
        """Return the model of the prompt, if it names one of this provider, or else of the settings."""
        named, model = self._claude.find_model(rendered.prompt.model)
        return model if named is self.settings else resolve_model(self.settings.model)

    def ask(self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None) -> ValidReply | UnusableReply:
        """Send one request. If `correction` is an earlier reply, the model is asked to correct its errors.

        Raises `DependencyDown` if the service fails or rejects the account, and `Permanent` for an invalid request.
        """
        model, kind = self.model_for(rendered), self.settings.kind
        known = {"peer.service": self._service.title.lower(), "gen_ai.operation.name": "chat"}
        known |= {"gen_ai.provider.name": TRACED_AS[kind], "gen_ai.request.model": model}
        with span(f"chat {model}", known, kind="CLIENT"):
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
        started = self._clock()
        response = self._api.send(self._question(rendered, model, correction))
        took_s = self._clock() - started
        most = self.upper_estimate(rendered, correction=correction)
        named = self._claude.name_model(self.settings, response.model or model)
        if response.usage is None:
            usage = replace(most, model=named, is_estimate=True)
        else:
            usage = with_price(replace(response.usage, model=named), self._claude, asked=most.model)
        usage = replace(usage, took_s=took_s, request_id=response.request_id)
        return self._read_reply(response, rendered.prompt, usage)

    def _question(self, rendered: RenderedPrompt, model: str, correction: UnusableReply | None) -> Question:
        prompt, system = rendered.prompt, rendered.system
        schema = request_schema(rendered.schema)
        if not self.settings.structured_output:
            system = f"{system}\n\n{SCHEMA_IN_PROMPT.format(schema=json.dumps(schema))}".strip()
        messages: list[tuple[Literal["user", "assistant"], str]] = [("user", rendered.task)]
        if correction is not None:
            if correction.text.strip():
                messages.append(("assistant", correction.text))
            messages.append(("user", CORRECTION.format(problem=correction.problem)))
        return Question(
            model=model,
            max_tokens=prompt.max_tokens or self._claude.max_tokens,
            effort=prompt.effort,
            system=system,
            messages=tuple(messages),
            schema=schema if self.settings.structured_output else None,
            label=prompt.id,
        )

    def upper_estimate(self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None) -> Usage:
        """Return what to reserve for `ask`: uncached input of the estimated tokens and a quarter, and `max_tokens`."""
        prompt = rendered.prompt
        texts = [rendered.system, rendered.task, json.dumps(rendered.schema)]
        if correction is not None:
            texts += [correction.text, correction.problem, CORRECTION]
        most = Usage(
            self._claude.name_model(self.settings, self.model_for(rendered)),
            cache_write_tokens=math.ceil(sum(map(estimate_tokens, texts)) * (1 + MARGIN)),
            output_tokens=prompt.max_tokens or self._claude.max_tokens,
        )
        return with_price(most, self._claude)

    def _read_reply(self, response: Response, prompt: Prompt, usage: Usage) -> ValidReply | UnusableReply:
        title = self._service.title

        def unusable(why: Unusable, problem: str) -> UnusableReply:
            return UnusableReply(prompt.id, why, problem, response.text, usage)

        match response.stop:
            case "max_tokens":
                cut = f"the reply was cut off after {count(usage.output_tokens, 'token')} (max_tokens)"
                return unusable("truncated", cut)
            case "context_window":
                return unusable("truncated", "prompt and reply together are longer than the model's context window")
            case "refused":
                return unusable("refused", f"{title} refused to answer{response.why}")
            case "oversized":
                return unusable("oversized", response.why)
        try:
            reply, lost = parse_reply(response.text, prompt.reply_model)
        except UnreadableReply as exc:
            if response.stop == "ended":
                return unusable("invalid", str(exc))
            return unusable("stopped", f"{title} stopped without a reply ({shorten(response.why or 'no stop reason')})")
        return ValidReply(prompt.id, prompt.reply, reply, usage, lost=lost)


def _connect(connection: Connection) -> Api:
    if connection.service.settings.kind in ("openai", "azure"):
        from hls_handler.clients.openai_api import OpenAiApi

        return OpenAiApi(connection)
    from hls_handler.clients.claude import ClaudeApi

    return ClaudeApi(connection)


def request_schema(schema: Mapping[str, object]) -> dict[str, object]:
    """Return the JSON schema to send. APIs reject bounds (`maxLength`), so they are moved into the descriptions."""
    import anthropic

    return anthropic.transform_schema(dict(schema))


def describe_oversized(question: Question) -> str:
    allowed = f"{MAX_BYTES}, and {MAX_BYTES_PER_TOKEN} for each of {question.max_tokens} max_tokens"
    return f"the response is over {question.max_bytes} bytes ({allowed})"


M = TypeVar("M", bound=BaseModel)

Tokens = Annotated[int, Field(ge=0, le=MAX_TOKENS_COUNTED)]


def _valid_or_none(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError:
        return None


OrNone = WrapValidator(_valid_or_none)
"""Annotates a part of a response that is None if it is absent or impossible."""


def parse_body(shape: type[M], body: bytes, *, service: Service, label: str) -> M:
    try:
        return shape.model_validate_json(body)
    except ValidationError as exc:
        raise unexpected_response(service, label, describe_problems(exc)) from None
