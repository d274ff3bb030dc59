"""The chain of providers: while one fails, the next one is asked. Each has a circuit breaker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from hls_handler.analysis import RenderedPrompt, Reply, UnusableReply
from hls_handler.claude.provider import Provider, ProviderApi, ProviderConnection
from hls_handler.errors import (
    AccountLimited,
    DependencyDown,
    Postponed,
    RateLimited,
    RequestRejected,
    SlowResponse,
    StepFailed,
)
from hls_handler.settings.providers import ClaudeSettings, ProviderSettings

log = logging.getLogger(__name__)

PROBE_AFTER = timedelta(minutes=1)
"""How long a breaker is open after a failure, unless the service asks to wait longer. Also the
longest limit, and the longest series of limits, that is waited for without falling back; one
without an announced end may be that of a day.
"""


def connect(connection: ProviderConnection) -> ProviderApi:
    """Import the SDK of a service's API, and create its client."""
    if connection.service.settings.kind in ("openai", "azure"):
        from hls_handler.claude.openai_api import OpenAiApi

        return OpenAiApi(connection)
    from hls_handler.claude.anthropic_api import ClaudeApi

    return ClaudeApi(connection)


@dataclass(frozen=True, slots=True)
class _Open:
    until: datetime  # when a call may probe the provider
    error: DependencyDown


@dataclass(frozen=True, slots=True)
class _Rejection:
    """Requests that a provider rejected for the same reason."""

    reason: str
    conversation: str  # of the first request
    is_general: bool  # whether one about another conversation was rejected, too


class Breakers:
    """The providers of a process that failed, each with the time of the next probe.
    Thread-safe.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        # by settings: a changed key closes the breaker
        self._open: dict[ProviderSettings, _Open] = {}
        self._slow: dict[ProviderSettings, str] = {}  # the first conversation with a slow response
        self._rejections: dict[ProviderSettings, _Rejection] = {}  # since an accepted request
        self._limited_since: dict[ProviderSettings, datetime] = {}  # the first 429 of a series

    def find(self, provider: ProviderSettings) -> _Open | None:
        with self._lock:
            return self._open.get(provider)

    def allows(self, provider: ProviderSettings) -> bool:
        """Return whether to ask the provider: its breaker is closed, or this call is the probe.

        Until its outcome is known, no other call is a probe, except a minute later.
        """
        with self._lock:
            breaker = self._open.get(provider)
            if breaker is None:
                return True
            if self._now() < breaker.until:
                return False
            self._open[provider] = _Open(self._now() + PROBE_AFTER, breaker.error)
            return True

    def postponed(self, provider: ProviderSettings) -> None:
        """Let the next call be the probe, because this one was not sent."""
        with self._lock:
            if provider in self._open:
                self._open[provider] = replace(self._open[provider], until=self._now())

    def record_limit(self, provider: ProviderSettings, error: RateLimited) -> bool:
        """Record a 429. Return True if the limit, or the series of limits, lasts over a minute, so
        that another provider is asked.
        """
        with self._lock:
            now = self._now()
            since = self._limited_since.setdefault(provider, now)
            ends_at = error.not_before
            return ends_at is None or ends_at > now + PROBE_AFTER or now > since + PROBE_AFTER

    def failed(self, provider: ProviderSettings, error: DependencyDown) -> bool:
        """Open the breaker. Return whether it was closed."""
        with self._lock:
            if not isinstance(error, RateLimited):
                self._limited_since.pop(provider, None)
            until = self._now() + PROBE_AFTER
            # The limit of an account may be raised before it ends, and a rejected call costs
            # nothing.
            if error.not_before is not None and not isinstance(error, AccountLimited):
                until = max(until, error.not_before)
            was_closed = provider not in self._open
            self._open[provider] = _Open(until, error)
            return was_closed

    def met_slow_response(self, provider: ProviderSettings, conversation: str) -> bool:
        """Store that a request about a conversation met a slow response. Return whether one about
        another conversation did since the last other response.
        """
        with self._lock:
            first = self._slow.setdefault(provider, conversation)
            return first != conversation

    def met_rejection(self, provider: ProviderSettings, reason: str, conversation: str) -> bool:
        """Store that a request about a conversation was rejected. Return whether one about another
        conversation was, for the same reason, since the last accepted request.
        """
        with self._lock:
            rejection = self._rejections.get(provider)
            if rejection is None or rejection.reason != reason:
                self._rejections[provider] = _Rejection(reason, conversation, False)
                return False
            is_general = rejection.is_general or rejection.conversation != conversation
            self._rejections[provider] = replace(rejection, is_general=is_general)
            return is_general

    def worked(self, provider: ProviderSettings) -> bool:
        """Close the breaker. Return whether it was open."""
        with self._lock:
            self._slow.pop(provider, None)
            self._rejections.pop(provider, None)
            self._limited_since.pop(provider, None)
            return self._open.pop(provider, None) is not None


@dataclass(frozen=True, slots=True)
class _Link:
    settings: ProviderSettings
    connect: Callable[[], Provider]


class Chain:
    """The providers for one question. The caller asks each that `next` returns, and passes the
    result to `accept`, or the error to `fail`, which raises it unless the next one is asked.
    """

    def __init__(self, links: Sequence[_Link], breakers: Breakers, conversation: str) -> None:
        """`conversation` is what the question is about."""
        self._links = links
        self._breakers = breakers
        self._conversation = conversation
        self._index = -1  # of the provider that is asked

    def next(self) -> Provider:
        """Return the next provider whose breaker allows a call, or the last one."""
        self._index += 1
        while not self._is_last and not self._breakers.allows(self._settings):
            self._index += 1
        return self._links[self._index].connect()

    def accept(self, answer: Reply | UnusableReply) -> None:
        """Close the breaker. Invalid replies and refusals are answers, too."""
        if isinstance(answer, UnusableReply) and not answer.usage.all_input_tokens:
            return  # a filter blocked it: no request was accepted
        if self._breakers.worked(self._settings):
            log.warning("provider answers again", extra={"provider": self._settings.name})

    def fail(self, error: StepFailed | Postponed) -> None:
        """Raise the error, unless the next provider is to be asked.

        It is after each `DependencyDown`, except a limit that is said to end within a minute, and
        after a `SlowResponse` that another conversation met, too: one of them may be the fault of
        its question. So may a `RequestRejected`: if another conversation gets it for the same
        reason, and no request was accepted between, it becomes an `AccountLimited`. The error of
        the last provider is raised; its `not_before` is no later than the next probe.
        """
        if isinstance(error, RequestRejected) and self._breakers.met_rejection(
            self._settings, error.reason, self._conversation
        ):
            error = self._links[self._index].connect().reject_all(error)
        if self._is_last:
            self._limit_wait(error)
            raise error
        if isinstance(error, Postponed):
            self._breakers.postponed(self._settings)
        if isinstance(error, SlowResponse) and self._breakers.met_slow_response(
            self._settings, self._conversation
        ):
            error = DependencyDown(str(error), dependency="claude", remedy=error.remedy)
        if not isinstance(error, DependencyDown) or error.dependency != "claude":
            raise error
        if isinstance(error, RateLimited) and not self._breakers.record_limit(
            self._settings, error
        ):
            raise error
        is_new = self._breakers.failed(self._settings, error)
        level = logging.WARNING if is_new else logging.DEBUG
        failed = {"provider": self._settings.name, "why": str(error), "remedy": error.remedy}
        log.log(level, "provider failed, the next one is asked", extra=failed)

    def _limit_wait(self, error: StepFailed | Postponed) -> None:
        if not isinstance(error, DependencyDown):
            return
        for link in self._links[:-1]:
            outage = self._breakers.find(link.settings)
            if error.not_before is not None and outage is not None:
                error.not_before = min(error.not_before, outage.until)

    @property
    def _settings(self) -> ProviderSettings:
        return self._links[self._index].settings

    @property
    def _is_last(self) -> bool:
        return self._index == len(self._links) - 1


class Providers:
    """The clients of all providers. Not thread-safe: use one per worker thread. `breakers` are
    those of the process.
    """

    def __init__(
        self,
        settings: ClaudeSettings,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        breakers: Breakers | None = None,
    ) -> None:
        """See `Provider`. Only the client of the first provider is created before it is used."""
        self._settings = settings
        self._clock = clock
        self._now = now
        self._breakers = breakers or Breakers(now)
        self._clients: dict[str, Provider] = {}
        self._client("claude")

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def chain(self, model: str | None, *, conversation: str = "") -> Chain:
        """Return the providers in the order in which they are asked; that of `model` is first."""
        named, _ = self._settings.find_model(model)
        by_key = self._settings.providers
        keys = sorted(by_key, key=lambda key: by_key[key] is not named)  # otherwise in their order
        return Chain([self._link(key) for key in keys], self._breakers, conversation)

    def answer(
        self,
        rendered: RenderedPrompt,
        *,
        correction: UnusableReply | None = None,
        conversation: str = "",
    ) -> Reply | UnusableReply:
        """Return the reply of the first provider that does not fail."""
        chain = self.chain(rendered.prompt.model, conversation=conversation)
        while True:
            try:
                answer = chain.next().ask(rendered, correction=correction)
            except StepFailed as exc:
                chain.fail(exc)
                continue
            chain.accept(answer)
            return answer

    def find_outage(self) -> DependencyDown | None:
        """Return why a provider is not asked at the moment; None if all are."""
        outages = filter(None, map(self._breakers.find, self._settings.providers.values()))
        return next((outage.error for outage in outages if self._now() < outage.until), None)

    def lookup_model(self, model: str | None = None) -> str:
        """See `Provider.lookup_model`. `model` is named as in a prompt; None is that of the
        settings.
        """
        provider, name = self._settings.find_model(model)
        return self._client(self._settings.find_key(provider)).lookup_model(name)

    def lookup_default(self, model: str) -> str:
        """Look up a model of the first provider, whatever slashes its name has."""
        return self._client("claude").lookup_model(model)

    def _link(self, key: str) -> _Link:
        return _Link(self._settings.providers[key], partial(self._client, key))

    def _client(self, key: str) -> Provider:
        if key not in self._clients:
            settings = self._settings.providers[key]
            self._clients[key] = Provider(
                settings,
                self._settings,
                connect,
                clock=self._clock,
                now=self._now,
            )
        return self._clients[key]


def connect_claude(settings: ClaudeSettings) -> closing[Providers]:
    """Return the clients for a `with` block. Raises `SettingsError` for unusable proxy or
    certificate settings.
    """
    return closing(Providers(settings, clock=time.monotonic, now=lambda: datetime.now(UTC)))
