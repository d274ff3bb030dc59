"""Claude as one worker uses it: a rendered prompt in, a validated reply out; no tools, no retries, no environment.

The SDK is imported where it is used: it is half of what a command takes to start, and most commands ask nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import httpx2

from hls_handler.analysis import Answered, Unusable
from hls_handler.clients.claude_refusals import translate
from hls_handler.clients.claude_reply import WireModel, read_body, read_reply
from hls_handler.clients.way import Way, find_way
from hls_handler.clients.wording import usable_secret
from hls_handler.errors import SettingsError
from hls_handler.prompting.render import Rendered
from hls_handler.settings.model import Claude as ClaudeSettings
from hls_handler.settings.retired import current_model

if TYPE_CHECKING:
    import anthropic
    from anthropic.types import MessageParam, OutputConfigParam, TextBlockParam

LONGEST_CONNECT_S = 10.0

KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *([(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)] if hasattr(socket, "TCP_KEEPIDLE") else []),  # not everywhere
]
"""A reply may take minutes in which nothing is said, and some networks forget a connection by then."""

CORRECTION = (
    "That reply could not be used: {problem}\n\n"
    "Answer again with the whole JSON object, mended. Everything that was said before still holds."
)


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What the API says of a model."""

    id: str
    lifecycle: str  # "active", "deprecated", "retired"


class Claude:
    """Not thread-safe by promise: one per worker thread, which keeps it. Building one costs 20 ms."""

    def __init__(self, settings: ClaudeSettings, *, clock: Callable[[], float], now: Callable[[], datetime]) -> None:
        """`clock` is monotonic seconds, for how long a call took; `now` gives aware UTC, for what Retry-After means.

        Raises `SettingsError` for a key that cannot stand in a header.
        """
        import anthropic

        self._settings, self._clock, self._now = settings, clock, now
        self._key = settings.api_key.get_secret_value()
        if not usable_secret(self._key):
            raise SettingsError(["claude.api_key: a key has no spaces, line breaks or special characters in it"])
        self._way = find_way(settings.base_url)
        timeout = httpx2.Timeout(settings.timeout_s, connect=min(settings.timeout_s, LONGEST_CONNECT_S))
        self._client = anthropic.Anthropic(
            api_key=self._key,
            base_url=settings.base_url,
            timeout=timeout,
            max_retries=0,
            open_telemetry=False,
            http_client=anthropic.DefaultHttpxClient(
                timeout=timeout, follow_redirects=False, trust_env=False, transport=_transport(self._way)
            ),
        )
        self._refusal = anthropic.AnthropicError
        self._client._custom_headers = {}  # the SDK has no way to leave ANTHROPIC_CUSTOM_HEADERS unread

    def close(self) -> None:
        self._client.close()

    def model_for(self, rendered: Rendered) -> str:
        """The prompt's model, else the settings'; in place of one that is gone, the current one of its line."""
        return current_model(rendered.prompt.model or self._settings.model)

    def ask(self, rendered: Rendered, *, correction: Unusable | None = None) -> Answered | Unusable:
        """One request. `correction` is the reply that did not validate: Claude sees it, and what was wrong with it.

        Raises `DependencyDown` where Claude or our account there is the trouble, and `Permanent` where the request is.
        """
        prompt, model = rendered.prompt, self.model_for(rendered)
        output: OutputConfigParam = {"format": {"type": "json_schema", "schema": request_schema(rendered.schema)}}
        if prompt.effort is not None:
            output["effort"] = prompt.effort
        started = self._clock()
        try:
            answer = self._client.messages.with_raw_response.create(
                model=model,
                max_tokens=prompt.max_tokens or self._settings.max_tokens,
                system=_system(rendered),
                messages=_conversation(rendered, correction),
                output_config=output,
            )
        except self._refusal as exc:
            raise translate(
                exc, asked=prompt.id, model=model, api_key=self._key, now=self._now(), way=self._way
            ) from None
        took_s = self._clock() - started
        return read_reply(
            answer.read(), prompt_id=prompt.id, reply_type=prompt.reply, model=prompt.reply_model, took_s=took_s
        )

    def lookup_model(self, model: str) -> ModelStatus:
        """What the API knows of a model. Raises `DependencyDown`, also for a model that it does not know."""
        asked = f"the question for the model {model}"
        try:
            answer = self._client.models.with_raw_response.retrieve(model)
        except self._refusal as exc:
            raise translate(exc, asked=asked, model=model, api_key=self._key, now=self._now(), way=self._way) from None
        found = read_body(WireModel, answer.read(), asked=asked)
        return ModelStatus(found.id, found.lifecycle)


def request_schema(schema: Mapping[str, object]) -> dict[str, object]:
    """A reply's JSON schema as it is sent: the API refuses bounds, so they become part of the descriptions."""
    import anthropic

    return anthropic.transform_schema(dict(schema))


def _transport(way: Way) -> httpx2.HTTPTransport:
    """Made here, since the SDK's own reads the variables of proxies whatever it is told."""
    import anthropic

    return httpx2.HTTPTransport(
        verify=way.context(),
        trust_env=False,
        proxy=way.proxy,
        limits=anthropic.DEFAULT_CONNECTION_LIMITS,
        socket_options=KEEPALIVE,
    )


def _system(rendered: Rendered) -> list[TextBlockParam] | anthropic.Omit:
    """The stable part, cached by the API. An empty block would be refused."""
    import anthropic

    if not rendered.system.strip():
        return anthropic.omit
    return [{"type": "text", "text": rendered.system, "cache_control": {"type": "ephemeral"}}]


def _conversation(rendered: Rendered, correction: Unusable | None) -> list[MessageParam]:
    messages: list[MessageParam] = [{"role": "user", "content": rendered.task}]
    if correction is None:
        return messages
    if correction.text.strip():
        messages.append({"role": "assistant", "content": correction.text})
    messages.append({"role": "user", "content": CORRECTION.format(problem=correction.problem)})
    return messages
