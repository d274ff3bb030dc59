"""The chain of providers: while one fails, the next one is asked. Each has a circuit breaker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from hls_handler.analysis import UnusableReply
from hls_handler.claude.provider import Provider, ProviderApi, ProviderConnection
from hls_handler.errors import (
    AccountLimited,
    DependencyDown,
    Postponed,
    RateLimited,
    RequestRejected,
    SlowResponse,
)
from hls_handler.settings.providers import ClaudeSettings, ProviderSettings

log = logging.getLogger(__name__)

PROBE_AFTER = timedelta(minutes=1)
"""How long a breaker is open after a failure, unless the service asks to wait longer. Also the
longest limit, and the longest series of limits, that is waited for without falling back; one
without an announced end may be that of a day.
"""

T = TypeVar("T")


def connect(connection: ProviderConnection) -> ProviderApi:
    """Create the client of a service's API, whose SDK is imported now."""
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

    def answer(
        self, model: str | None, ask: Callable[[Provider], T], *, conversation: str = ""
    ) -> T:
        """Return the result of `ask` with the first provider that does not fail; that of `model`
        comes first.

        It falls back on each `DependencyDown`, except a limit that is said to end within a minute,
        and on a `SlowResponse` that another `conversation` met, too: one of them may be the fault
        of its question. So may a `RequestRejected`: if another conversation gets it for the same
        reason, and no request was accepted between, it becomes an `AccountLimited`. Invalid
        replies and refusals are results. The error of the last provider is raised; its
        `not_before` is no later than the next probe.
        """
        named, _ = self._settings.find_model(model)
        by_key = self._settings.providers
        keys = sorted(by_key, key=lambda key: by_key[key] is not named)  # otherwise in their order
        for key in keys[:-1]:
            settings = by_key[key]
            if not self._breakers.allows(settings):
                continue
            try:
                answer = self._ask(key, ask, conversation)
            except Postponed:
                self._breakers.postponed(settings)
                raise
            except SlowResponse as exc:
                if not self._breakers.met_slow_response(settings, conversation):
                    raise
                self._fall_back(
                    settings, DependencyDown(str(exc), dependency="claude", remedy=exc.remedy)
                )
            except DependencyDown as exc:
                if exc.dependency != "claude":
                    raise
                if isinstance(exc, RateLimited) and not self._breakers.record_limit(settings, exc):
                    raise
                self._fall_back(settings, exc)
            else:
                return answer
        try:
            return self._ask(keys[-1], ask, conversation)
        except DependencyDown as exc:
            for key in keys[:-1]:
                outage = self._breakers.find(by_key[key])
                if exc.not_before is not None and outage is not None:
                    exc.not_before = min(exc.not_before, outage.until)
            raise

    def _ask(self, key: str, ask: Callable[[Provider], T], conversation: str) -> T:
        settings = self._settings.providers[key]
        client = self._client(key)
        try:
            answer = ask(client)
        except RequestRejected as exc:
            if self._breakers.met_rejection(settings, exc.reason, conversation):
                raise client.reject_all(exc) from exc
            raise
        if isinstance(answer, UnusableReply) and not answer.usage.all_input_tokens:
            return answer  # a filter blocked it: no request was accepted
        if self._breakers.worked(settings):
            log.warning("provider answers again", extra={"provider": settings.name})
        return answer

    def _fall_back(self, settings: ProviderSettings, error: DependencyDown) -> None:
        is_new = self._breakers.failed(settings, error)
        level = logging.WARNING if is_new else logging.DEBUG
        failed = {"provider": settings.name, "why": str(error), "remedy": error.remedy}
        log.log(level, "provider failed, the next one is asked", extra=failed)

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
