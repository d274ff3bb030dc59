"""What the background probe looks at: the store, the queue, GitHub and Claude, by the settings of now."""

from __future__ import annotations

import logging
from collections.abc import Callable

from hls_handler.errors import Dependency, DependencyDown, HlsError
from hls_handler.history.calls import CLAUDE_RATE_LIMIT
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.work.in_force import ActiveConfig, ConfigReloader
from hls_handler.work.job import GITHUB_PACE
from hls_handler.work.pauses import resuming, told
from hls_handler.work.ports import Github
from hls_handler.work.probe import Check, ProblemFound
from hls_handler.work.silence import REMEDY, expectations, find_silence, last_heard

log = logging.getLogger(__name__)

STUCK_S = 600.0


def checks(
    store: Storage,
    renewal: ConfigReloader,
    *,
    github: Callable[[Settings], Github],
    lookup_model: Callable[[Settings], object],
) -> list[Check]:
    """`github` and `lookup_model` (which raises `DependencyDown`) use clients of the probe's own."""

    def look_at_store() -> dict[str, int]:
        store.database.check_writable()
        return store.database.size()

    def look_at_github() -> None:
        _not_held(store, "github", GITHUB_PACE)
        now = renewal.latest
        now.bot.refresh(github(now.settings))

    def look_at_claude() -> None:
        _not_held(store, "claude", CLAUDE_RATE_LIMIT)
        settings = renewal.latest.settings
        calls, most = store.calls.count_last_hour(), settings.claude.calls_per_hour
        if calls >= most:
            remedy = "wait, or raise claude.calls_per_hour"
            message = f"{calls} calls within the hour, and claude.calls_per_hour allows {most}: deliveries wait"
            raise DependencyDown(message, dependency="claude", remedy=remedy)
        lookup_model(settings)

    return [
        Check("store", look_at_store, proves=True),
        Check("queue", lambda: _queue(store), proves=True),
        Check("github", look_at_github),
        Check("claude", look_at_claude),
        Check(
            "webhooks",
            lambda: _silence(store, renewal.latest),
            proves=True,
            wants=lambda: bool(expectations(renewal.latest.settings)),
        ),
    ]


def _not_held(store: Storage, dependency: Dependency, pace: str) -> None:
    until = store.rate_limiter.held_until(pace)
    if until is not None:
        message = f"nothing is asked of it until {until:%H:%M:%S} UTC, as it said or after its last trouble"
        raise DependencyDown(message, dependency=dependency, remedy="wait, or mend what the log says")


def _queue(store: Storage) -> None:
    """A queue that nobody empties is trouble; one that waits for a turn is not. A pause is what people forget."""
    figures, pauses = store.deliveries.queue_state(), store.pauses.active()
    if figures.oldest_due_s is not None and figures.oldest_due_s > STUCK_S:
        due = f"{figures.due} deliveries are due, the oldest for {figures.oldest_due_s:.0f} s"
        if not figures.running:
            raise HlsError(f"{due}, and nobody works: start `hls serve` with --role worker or all, or see its log")
        raise HlsError(f"{due}: raise limits.concurrency, or look in the log why the workers are busy")
    if pauses:
        paused = "; ".join(told(pause) for pause in pauses)
        remedy = f"when that is over: {', '.join(resuming(pause) for pause in pauses)}"
        raise ProblemFound(f"{paused}; {figures.held} of {figures.queued} queued wait for that", remedy=remedy)


def _silence(store: Storage, now: ActiveConfig) -> None:
    expected = expectations(now.settings)
    heard, at = store.statistics.last_webhooks(), store.now()
    since = store.statistics.expected_since(one.name for one in expected)
    silences = [
        find_silence(
            one,
            last_heard(one, heard, now.table),
            since=since[one.name],
            now=at,
            where=now.settings.sources.where(one.key),
        )
        for one in expected
    ]
    told = [silence for silence in silences if silence is not None]
    if told:
        raise ProblemFound("; ".join(told), remedy=REMEDY)
