"""Client for Claude: sends a rendered prompt and returns a validated reply; no tools and no retries.

No environment variables of the SDK are read. The SDK is imported inside functions, because the import is half of a
command's start time, and most commands do not call Claude.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import httpx2

from hls_handler.analysis import UnusableReply, ValidReply
from hls_handler.clients.claude_errors import translate
from hls_handler.clients.claude_reply import WireModel, parse_body, parse_reply
from hls_handler.clients.transport import ProxySettings, find_proxy_settings, is_valid_header_value
from hls_handler.errors import SettingsError
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.settings.model import Claude as ClaudeSettings
from hls_handler.settings.model import resolve_model

if TYPE_CHECKING:
    import anthropic
    from anthropic.types import MessageParam, OutputConfigParam, TextBlockParam

MAX_CONNECT_S = 10.0

KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        [(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)] if hasattr(socket, "TCP_KEEPIDLE") else []
    ),  # not on every platform
]
"""A reply may take minutes without traffic, and some networks drop an idle connection before that."""

CORRECTION = (
    "That reply could not be used: {problem}\n\n"
    "Answer again with the whole JSON object, corrected. All earlier instructions still apply."
)


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Status of a model as the API reports it."""

    id: str
    lifecycle: str  # "active", "deprecated", "retired"


class Claude:
    """Use one per worker thread: thread safety is not guaranteed. Creating one takes 20 ms."""

    def __init__(self, settings: ClaudeSettings, *, clock: Callable[[], float], now: Callable[[], datetime]) -> None:
        """`clock` returns monotonic seconds, to measure calls; `now` returns aware UTC, to interpret Retry-After.

        Raises `SettingsError` for a key that is not valid in an HTTP header.
        """
        import anthropic

        self._settings, self._clock, self._now = settings, clock, now
        self._key = settings.api_key.get_secret_value()
        if not is_valid_header_value(self._key):
            raise SettingsError(["claude.api_key: must not contain spaces, line breaks or special characters"])
        self._proxy = find_proxy_settings(settings.base_url)
        timeout = httpx2.Timeout(settings.timeout_s, connect=min(settings.timeout_s, MAX_CONNECT_S))
        self._client = anthropic.Anthropic(
            api_key=self._key,
            base_url=settings.base_url,
            timeout=timeout,
            max_retries=0,
            open_telemetry=False,
            http_client=anthropic.DefaultHttpxClient(
                timeout=timeout, follow_redirects=False, trust_env=False, transport=_transport(self._proxy)
            ),
        )
        self._sdk_error = anthropic.AnthropicError
        self._client._custom_headers = {}  # the SDK has no option to ignore ANTHROPIC_CUSTOM_HEADERS

    def close(self) -> None:
        self._client.close()

    def model_for(self, rendered: RenderedPrompt) -> str:
        """Return the prompt's model, else that of the settings; a retired model is replaced by its successor."""
        return resolve_model(rendered.prompt.model or self._settings.model)

    def ask(self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None) -> ValidReply | UnusableReply:
        """Send one request. `correction` is an earlier invalid reply: Claude sees it and its validation errors.

        Raises `DependencyDown` for a failure of Claude or of our account there, and `Permanent` for an invalid request.
        """
        prompt, model = rendered.prompt, self.model_for(rendered)
        output: OutputConfigParam = {"format": {"type": "json_schema", "schema": request_schema(rendered.schema)}}
        if prompt.effort is not None:
            output["effort"] = prompt.effort
        started = self._clock()
        try:
            response = self._client.messages.with_raw_response.create(
                model=model,
                max_tokens=prompt.max_tokens or self._settings.max_tokens,
                system=_system_blocks(rendered),
                messages=_messages(rendered, correction),
                output_config=output,
            )
        except self._sdk_error as exc:
            raise translate(
                exc,
                label=prompt.id,
                model=model,
                api_key=self._key,
                now=self._now(),
                proxy=self._proxy,
            ) from None
        took_s = self._clock() - started
        return parse_reply(
            response.read(), prompt_id=prompt.id, reply_type=prompt.reply, model=prompt.reply_model, took_s=took_s
        )

    def lookup_model(self, model: str) -> ModelStatus:
        """Return the status of a model. Raises `DependencyDown`, also for an unknown model."""
        label = f"the request for the model {model}"
        try:
            response = self._client.models.with_raw_response.retrieve(model)
        except self._sdk_error as exc:
            raise translate(
                exc,
                label=label,
                model=model,
                api_key=self._key,
                now=self._now(),
                proxy=self._proxy,
            ) from None
        found = parse_body(WireModel, response.read(), label=label)
        return ModelStatus(found.id, found.lifecycle)


def request_schema(schema: Mapping[str, object]) -> dict[str, object]:
    """Return a reply's JSON schema as it is sent: the API rejects bounds, so they are moved into the descriptions."""
    import anthropic

    return anthropic.transform_schema(dict(schema))


def _transport(proxy_settings: ProxySettings) -> httpx2.HTTPTransport:
    """Create the transport here, because the SDK's own always reads the proxy variables."""
    import anthropic

    return httpx2.HTTPTransport(
        verify=proxy_settings.ssl_context(),
        trust_env=False,
        proxy=proxy_settings.proxy,
        limits=anthropic.DEFAULT_CONNECTION_LIMITS,
        socket_options=KEEPALIVE,
    )


def _system_blocks(rendered: RenderedPrompt) -> list[TextBlockParam] | anthropic.Omit:
    """Return the stable part of the prompt, cached by the API. A blank one is omitted, because the API rejects it."""
    import anthropic

    if not rendered.system.strip():
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
