"""Connects catch-up (`background/catch_up.py`) to GitHub, the database and the router, for service and command."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from hls_handler.background.catch_up import Request, Source, Sources, find_reserved
from hls_handler.background.hooks import HookLists, HookSearch
from hls_handler.clients.api import GithubApi, RateLimit, RateLimitMonitor
from hls_handler.clients.credentials import App
from hls_handler.clients.github import Credentials
from hls_handler.clients.hooks import GithubHooks
from hls_handler.clients.tokens import GITHUB_RATE_LIMIT, AnyToken
from hls_handler.deliveries import Accepted, DeliveryAttempt, Finished, NewDelivery
from hls_handler.engine.active_config import ActiveConfig, CachedClient
from hls_handler.errors import DependencyDown
from hls_handler.handlers.issues import FAMILY, is_open
from hls_handler.routing import RoutingResult, WebhookEnvelope, may_be_processed
from hls_handler.settings.model import CatchUp as CatchUpSettings
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.web.webhook import caught_up_delivery

APP_RATE_LIMIT = f"{GITHUB_RATE_LIMIT} app"
"""Name of the rate limit of requests of the App itself; those of its installations have limits of their own."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Options of `hls listen`: read missed webhooks every few seconds, and report each delivery."""

    every_s: float
    since: datetime | Literal["now"]
    on_accepted: Callable[[NewDelivery, Accepted], object]
    on_finished: Callable[[Finished], object]


def connect_hooks(credentials: Credentials, observe: Callable[[RateLimit], None]) -> HookLists:
    """Return a client for GitHub's lists of webhooks. `observe` is called after every request of a token."""
    if isinstance(credentials, App):
        return GithubHooks(credentials.connect())
    token = AnyToken(credentials)
    return GithubHooks(GithubApi(credentials.settings, observe=observe, now=credentials.now, credential=token))


class CatchUpConnection:
    """GitHub, the queue and the configuration in use, as catch-up needs them. Implements `background.catch_up.Port`."""

    def __init__(
        self,
        store: Storage,
        active: Callable[[], ActiveConfig],
        credentials_of: Callable[[Settings], Credentials],
        *,
        observe: Callable[[RateLimit], None],
        on_commit: Callable[[NewDelivery, Accepted], object],
        connect: Callable[[Credentials, Callable[[RateLimit], None]], HookLists] = connect_hooks,
    ) -> None:
        """`active` returns the configuration in use. `credentials_of` returns the App or the tokens of settings; the
        same object while they do not change.
        """
        self._store, self._active, self._credentials_of = store, active, credentials_of
        self._observe, self._on_commit, self._connect = observe, on_commit, connect
        self._own_rate = RateLimitMonitor()
        self._hooks = CachedClient(self._connect_counted, close=lambda hooks: hooks.close())
        self._search = HookSearch(clock=time.monotonic)
        self._awaiting = dict[int, bool]()  # repository id -> result of `_awaits_answers` in this run

    @property
    def settings(self) -> CatchUpSettings:
        return self._active().settings.catch_up

    def now(self) -> datetime:
        return self._store.now()

    def find_sources(self, request: Request) -> Sources:
        self._awaiting.clear()
        config = self._active()
        credentials = self._credentials_of(config.settings)
        lists = self._hooks.of(credentials)
        if isinstance(credentials, App):
            return Sources((Source(f"{lists.base_url}/app/{credentials.id}/hook", None, lists.app_deliveries()),))
        return self._search.find(
            lists,
            config.settings,
            config.table,
            received=self._store.catch_up.received_repositories(),
            request=request,
        )

    def is_wanted(self, attempt: DeliveryAttempt, repository: str | None) -> bool:
        config = self._active()
        return may_be_processed(
            attempt.event,
            attempt.action,
            repository,
            settings=config.settings,
            table=config.table,
            catalogue=config.prompts.latest,
            awaits_answers=attempt.event == "issue_comment" and self._awaits_answers(attempt.repository_id),
        )

    def _awaits_answers(self, repository_id: int | None) -> bool:
        """Return whether a checklist in the repository has open items, so that an author's comment may answer it."""
        if repository_id is None:
            return True
        if repository_id not in self._awaiting:
            states = self._store.repositories.comment_states(repository_id, FAMILY)
            self._awaiting[repository_id] = any(map(is_open, states))
        return self._awaiting[repository_id]

    def accept(
        self, attempt: DeliveryAttempt, payload: bytes, *, repository: str | None
    ) -> tuple[NewDelivery, Accepted]:
        config = self._active()

        def decide(event: str, envelope: WebhookEnvelope) -> RoutingResult:
            return config.route(event, envelope, config.prompts.latest)

        new = caught_up_delivery(attempt, payload, repository=repository, route=decide, settings=config.settings)
        accepted = self._store.queue.accept([new], replay_window_h=0)[0]
        self._on_commit(new, accepted)
        return new, accepted

    def find_reason_to_wait(self) -> str | None:
        held_until = self._store.rate_limiter.held_until(self._rate_limit())
        if held_until is not None:
            return f"GitHub asked to wait, or the last request failed: no requests until {held_until:%H:%M:%S} UTC"
        return find_reserved(self._own_rate.rate_limit, datetime.now(UTC))

    def on_down(self, exc: DependencyDown) -> None:
        if exc.applies_to_all_calls and exc.not_before is not None:
            self._store.rate_limiter.hold(self._rate_limit(), exc.not_before)

    def _connect_counted(self, credentials: Credentials) -> HookLists:
        def count_request(rate_limit: RateLimit) -> None:
            self._own_rate.observe(rate_limit)
            self._observe(rate_limit)

        return self._connect(credentials, count_request)

    def _rate_limit(self) -> str:
        credentials = self._credentials_of(self._active().settings)
        return APP_RATE_LIMIT if isinstance(credentials, App) else credentials.preferred.rate_limit
