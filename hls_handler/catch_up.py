"""Connects catch-up (`work/catch_up.py`) to GitHub, the database and the router, for the service and `hls catch-up`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from hls_handler.clients.api import GithubApi, RateLimit, RateLimitMonitor
from hls_handler.clients.hooks import GithubHooks
from hls_handler.deliveries import Accepted, DeliveryAttempt, Finished, NewDelivery
from hls_handler.errors import DependencyDown
from hls_handler.routing import Ignored, LabelCorrection, Rule, WebhookEnvelope, from_envelope, may_be_processed, route
from hls_handler.settings.model import Github as GithubSettings
from hls_handler.storage import Storage
from hls_handler.web.webhook import caught_up_delivery
from hls_handler.work.active_config import ActiveConfig, CachedClient
from hls_handler.work.catch_up import MAX_FETCHES, CatchUp, Sources, find_reserved
from hls_handler.work.hooks import HookLists, HookSearch
from hls_handler.work.job import GITHUB_RATE_LIMIT


@dataclass(frozen=True, slots=True)
class Listening:
    """Options of `hls listen`: read missed webhooks every few seconds, and report each delivery."""

    every_s: float
    since: datetime | Literal["now"]
    on_accepted: Callable[[NewDelivery, Accepted], object]
    on_finished: Callable[[Finished], object]


def connect_hooks(settings: GithubSettings, observe: Callable[[RateLimit], None]) -> HookLists:
    """Return a client for GitHub's lists of webhooks. `observe` is called after every request."""
    return GithubHooks(GithubApi(settings, observe=observe, now=lambda: datetime.now(UTC)))


def connect_catch_up(
    store: Storage,
    active: Callable[[], ActiveConfig],
    *,
    observe: Callable[[RateLimit], None],
    on_commit: Callable[[NewDelivery, Accepted], object],
    wait: Callable[[float], bool],
    since: datetime | Literal["now"] | None = None,
    max_fetches: int = MAX_FETCHES,
    connect: Callable[[GithubSettings, Callable[[RateLimit], None]], HookLists] = connect_hooks,
) -> CatchUp:
    """Return catch-up for a service or a command. `active` returns the configuration in use.

    `CatchUp` explains the other arguments.
    """
    own_rate = RateLimitMonitor()

    def count_request(rate_limit: RateLimit) -> None:
        own_rate.observe(rate_limit)
        observe(rate_limit)

    def connect_counted(settings: GithubSettings) -> HookLists:
        return connect(settings, count_request)

    hooks_of = CachedClient(connect_counted, close=lambda hooks: hooks.close())
    search = HookSearch(clock=time.monotonic)

    def find_sources(before_request: Callable[[], None]) -> Sources:
        config = active()
        return search.find(
            hooks_of.of(config.settings.github),
            config.settings,
            config.table,
            received=store.catch_up.received_repositories(),
            before_request=before_request,
        )

    def is_wanted(attempt: DeliveryAttempt, repository: str | None) -> bool:
        config = active()
        return may_be_processed(
            attempt.event,
            attempt.action,
            repository,
            settings=config.settings,
            table=config.table,
            catalogue=config.prompts.latest,
        )

    def accept(attempt: DeliveryAttempt, payload: Mapping[str, object]) -> Accepted:
        config = active()

        def decide(event: str, envelope: WebhookEnvelope) -> Rule | LabelCorrection | Ignored:
            return route(
                from_envelope(event, envelope),
                settings=config.settings,
                table=config.table,
                catalogue=config.prompts.latest,
                bot=config.bot.cached,
            )

        new = caught_up_delivery(attempt, payload, route=decide, settings=config.settings)
        accepted = store.queue.accept([new], replay_window_h=0)[0]
        on_commit(new, accepted)
        return accepted

    def find_reason_to_wait() -> str | None:
        held_until = store.rate_limiter.held_until(GITHUB_RATE_LIMIT)
        if held_until is not None:
            return f"GitHub asked to wait, or the last request failed: no requests until {held_until:%H:%M:%S} UTC"
        return find_reserved(own_rate.rate_limit, datetime.now(UTC))

    def on_down(exc: DependencyDown) -> None:
        if exc.applies_to_all_calls and exc.not_before is not None:
            store.rate_limiter.hold(GITHUB_RATE_LIMIT, exc.not_before)

    return CatchUp(
        store.catch_up,
        settings=lambda: active().settings.catch_up,
        find_sources=find_sources,
        is_wanted=is_wanted,
        accept=accept,
        find_reason_to_wait=find_reason_to_wait,
        on_down=on_down,
        wait=wait,
        now=store.now,
        since=since,
        max_fetches=max_fetches,
    )
