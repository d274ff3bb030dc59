"""The first page: whether the service works, what waits and why, what it did, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal, NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from hls_handler import shipped
from hls_handler.console.delivery_search import list_address
from hls_handler.console.frame import Form, Frame
from hls_handler.console.pages import format_duration, format_percent, format_sum_usd
from hls_handler.console.plots import Plot, Rows, make_plot
from hls_handler.console.queries import MAX_FILTER_CHARACTERS, InvalidFilter, OverviewQuery
from hls_handler.engine.health import Component, ComponentHealth, Health, Severity
from hls_handler.errors import StoreUnavailable
from hls_handler.events import REPOSITORY_NAME
from hls_handler.github.api import RateLimit
from hls_handler.queue.pauses import describe_pause
from hls_handler.storage import Storage
from hls_handler.store.budgets import list_budgets
from hls_handler.store.calls import ACCOUNT_LIMIT, SUCCESS, UNFINISHED
from hls_handler.store.periods import (
    Percentiles,
    Period,
    PeriodName,
    estimate_percentiles,
    latest_period,
    percentile,
)
from hls_handler.store.search import CauseGroup, DeliverySearch, group_causes
from hls_handler.store.statistics import QueueState
from hls_handler.web.single_flight import SingleFlightCache
from hls_handler.wording import count

PERIOD_TITLES: Mapping[PeriodName, str] = {"24h": "24 hours", "7d": "7 days", "30d": "30 days"}
MAX_OVERVIEW_AGE_S = 10.0
"""Seconds for which all reloads of a period share one reading of the database and its plots."""

PERCENTILES: Mapping[str, float] = {"p50": 0.5, "p95": 0.95}
TOP = 10
MAX_CAUSES = 5

_CAUSES = {
    "400": "the body did not fit the event that its header names",
    "401": (
        "the secret in the webhook's form on GitHub is not the one in the settings, or it is"
        " missing in one of them"
    ),
    "413": "the body was larger than server.max_body_bytes",
    "503": "the database could not store them; GitHub shows them as failed, and can redeliver them",
}
RANKS = ("503", "401", "413", "400")
"""Statuses of rejected requests that may be GitHub's, the most severe first."""

_PROCESSING = "processing_le"
_FIRST_REPLY = "first_reply_le"
_OUTCOME = "outcome"
_CLAUDE = "claude_calls"
REJECTED = "rejected"
_RECEIVED = ("webhooks", "caught_up")
_COST = "cost_micro_usd"

LINKS: Mapping[Component, tuple[str, str]] = {
    "store": ("/docs/running.md#when-something-is-down", "What works meanwhile"),
    "queue": ("/deliveries?state=queued", "Queued deliveries"),
    "github": ("/docs/running.md#when-something-is-down", "What works meanwhile"),
    "claude": ("/docs/running.md#when-something-is-down", "What works meanwhile"),
    "prompts": ("/prompts", "Prompts"),
    "settings": ("/settings", "Settings"),
    "webhooks": ("/docs/setup.md#behind-a-proxy", "The way of webhooks"),
    "catch_up": ("/docs/running.md#missed-deliveries", "Missed deliveries"),
    "mirror": ("/docs/running.md#when-something-is-down", "What works meanwhile"),
    "vectors": ("/docs/running.md#qdrant", "Qdrant"),
}
"""Component -> the page that helps with its problem, and the text of the link."""

LOG = ("/log?text=rejected", "Log")
PING = "ping"
"""GitHub's test of a webhook: it is counted, and not stored."""

Series = Mapping[tuple[str, str], tuple[int, ...]]
"""As `CounterHours.series` returns it."""


@dataclass(frozen=True, slots=True)
class PeriodNumbers:
    # number, and the address of the deliveries that it counts or ""
    totals: Mapping[str, tuple[str, str]]
    plots: tuple[Plot, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """Numbers of the database about now and about a period."""

    queue: QueueState
    pauses: tuple[tuple[str, str], ...]  # a sentence, and the repository; "" for everything
    holds: Mapping[str, datetime]  # rate limit -> until when it grants nothing
    waits: Sequence[CauseGroup]
    dead: Sequence[CauseGroup]
    calls_last_hour: int
    past: PeriodNumbers
    events: Rows
    repositories: Rows
    rejections: Sequence[tuple[str, int]]  # status and number of rejected requests
    last_webhook_at: datetime | None  # verified, a ping included; None: none was received yet
    caught_up: int  # missed webhooks that were read from GitHub


class OverviewPage:
    def __init__(
        self,
        frame: Frame,
        store: Storage,
        health: Health,
        rate_limit: Callable[[], RateLimit],
        now: Callable[[], float],
        has_webhooks: bool,
    ) -> None:
        """`now` returns seconds since 1970."""
        self._frame = frame
        self._overviews = SingleFlightCache(
            partial(read_overview, store), now, max_age_s=MAX_OVERVIEW_AGE_S
        )
        self._health = health
        self._rate_limit = rate_limit
        self._now = now
        self._store = store
        self._has_webhooks = has_webhooks

    def routes(self) -> Sequence[BaseRoute]:
        return [
            self._frame.page("/", self._show, for_others=self._show_start),
            self._frame.form("/deliveries/pause", self._pause),
            self._frame.form("/deliveries/resume", self._resume),
        ]

    def _pause(self, request: Request, form: Form) -> Response:
        given = form.get("reason", "").strip()[:MAX_FILTER_CHARACTERS].replace("\0", "")
        reason = "in the console"
        if given:
            reason = f"{given} (in the console)"
        self._store.pauses.pause(
            _parse_repository(form), reason=reason, by=self._frame.person(request)
        )
        return self._changed()

    def _resume(self, request: Request, form: Form) -> Response:
        self._store.pauses.resume(_parse_repository(form), by=self._frame.person(request))
        return self._changed()

    def _changed(self) -> Response:
        self._overviews.forget()
        return RedirectResponse("/#queue", 303)

    def _show_start(self, request: Request) -> Response:
        webhook_path = None
        if self._has_webhooks:
            webhook_path = self._frame.settings.server.webhook_path
        return self._frame.render(
            request,
            "start.html",
            has_console=self._frame.settings.has_console,
            webhook_path=webhook_path,
            documents=shipped.group_documents(),
        )

    async def _show(self, request: Request) -> Response:
        name = OverviewQuery.parse(request.query_params).period
        status = 200
        try:
            overview = await self._overviews.get(name)
            budgets = await run_in_threadpool(
                self._store.budgets.states, list_budgets(self._frame.settings)
            )
        except StoreUnavailable:
            overview = None
            budgets = ()
            status = 503
        components = self._health.snapshot().components
        problems = list_problems(components, overview, f"in the last {PERIOD_TITLES[name]}")
        state = "healthy"
        if problems:
            state = problems[0].state
        good = {
            one: components[one].state
            for one in components.keys() - {problem.component for problem in problems}
        }
        return self._frame.render(
            request,
            "overview.html",
            status=status,
            problems=problems,
            state=state,
            works={
                state: [one for one in components if good.get(one) == state]
                for state in ("healthy", "unknown")
            },
            overview=overview,
            period=name,
            periods=PERIOD_TITLES,
            rate_limit=self._rate_limit(),
            now=datetime.fromtimestamp(self._now(), UTC),
            top=TOP,
            calls_per_hour=self._frame.settings.claude.calls_per_hour,
            budgets=budgets,
            concurrency=self._frame.settings.limits.concurrency,
        )


def _parse_repository(form: Mapping[str, str]) -> str | None:
    """Return the repository of the form; None for all. Raises `InvalidFilter`."""
    repository = form.get("repository", "").strip()
    if repository and not REPOSITORY_NAME.fullmatch(repository):
        raise InvalidFilter(
            f"repository: found {repository[:MAX_FILTER_CHARACTERS]!r}, expected owner/repo"
        )
    return repository or None


class Problem(NamedTuple):
    component: Component
    state: Severity
    message: str
    remedy: str | None
    since: datetime | None
    link: tuple[str, str]


def list_problems(
    components: Mapping[Component, ComponentHealth], overview: Overview | None, period: str
) -> tuple[Problem, ...]:
    """Return the problems of the components, the most severe first.

    Rejected requests of the period are problems of `webhooks`. They are not in `/health`, because
    anybody can cause them. A pause is one of `queue` from its beginning, before the next probe.
    """
    found = [
        Problem(name, one.state, one.message, one.remedy, one.since, LINKS[name])
        for name, one in components.items()
        if one.message is not None and (one.state == "unhealthy" or one.state == "degraded")
    ]
    if overview is not None:
        if overview.pauses and components["queue"].message is None:
            paused = "; ".join(sentence for sentence, _ in overview.pauses)
            found.append(Problem("queue", "degraded", paused, None, None, LINKS["queue"]))
        rejections = sorted(overview.rejections, key=lambda one: (*RANKS, one[0]).index(one[0]))
        for status, number in rejections:
            sentence, cause = describe_rejection(status, number)
            found.append(Problem("webhooks", "degraded", f"{sentence} {period}", cause, None, LOG))
    return tuple(sorted(found, key=lambda problem: problem.state != "unhealthy"))


def read_overview(store: Storage, name: PeriodName) -> Overview:
    """Read the database and draw the plots. Blocks; raises `StoreUnavailable`."""
    period = latest_period(name, store.now())
    hours = store.counter_hours
    deliveries = store.deliveries
    names = [*_RECEIVED, _OUTCOME, _PROCESSING, _FIRST_REPLY, _CLAUDE, REJECTED, _COST]
    past = describe_period(period, hours.series(names, period))
    holds = store.rate_limiter.all_held()
    holds.pop(ACCOUNT_LIMIT, None)  # calls to Claude are held as long
    return Overview(
        queue=deliveries.queue_state(),
        pauses=tuple(
            (describe_pause(pause), pause.repository or "") for pause in store.pauses.active()
        ),
        holds=holds,
        waits=group_causes(
            store.searches.count_reasons(DeliverySearch(state="queued"), is_waiting=True)
        )[:MAX_CAUSES],
        dead=group_causes(store.searches.count_reasons(DeliverySearch(state="dead")))[:MAX_CAUSES],
        calls_last_hour=store.calls.count_last_hour(),
        past=past,
        events=_rows("event", hours.top("event", period, limit=TOP), period),
        repositories=_rows("repository", hours.top("repository", period, limit=TOP), period),
        rejections=hours.top(REJECTED, period, limit=TOP),
        last_webhook_at=store.statistics.last_webhooks().get(""),
        caught_up=store.statistics.counters().get(("caught_up", ""), 0),
    )


def _rows(
    kind: Literal["event", "repository"], sums: Iterable[tuple[str, int]], period: Period
) -> Rows:
    rows = []
    for label, number in sums:
        address = list_address({kind: label}, since=period.since)
        if label == PING:
            address = ""
        rows.append((label, address, (f"{number:,}",)))
    return tuple(rows)


def describe_rejection(status: str, number: int) -> tuple[str, str]:
    """Return a sentence about the rejected requests with a status, without the period, and their
    likely cause.
    """
    return f"{count(number, 'request')} to the webhook path got {status}", _CAUSES.get(
        status, "see the log"
    )


def describe_period(period: Period, series: Series) -> PeriodNumbers:
    addresses = [list_address({}, since=at, until=at + period.step) for at in period.starts]

    def added(*counters: str, without: Sequence[str] = ()) -> list[int]:
        found = [
            values for (one, of), values in series.items() if one in counters and of not in without
        ]
        return [sum(parts) for parts in zip([0] * len(period.starts), *found, strict=True)]

    plot = partial(make_plot, starts=tuple(period.starts), addresses=addresses)
    received = added(*_RECEIVED)
    ended = {
        state: series.get((_OUTCOME, state), (0,) * len(period.starts))
        for state in ("done", "ignored", "dead")
    }
    done = sum(ended["done"])
    processed = done + sum(ended["dead"])
    success = None
    if processed:
        success = done * 100 / processed
    cost = [value / 1_000_000 for value in added(_COST)]
    failed = added(_CLAUDE, without=(SUCCESS, UNFINISHED))
    buckets = {label: values for (one, label), values in series.items() if one == _PROCESSING}
    histograms = [
        {label: values[index] for label, values in buckets.items()}
        for index in range(len(period.starts))
    ]

    def estimate(histogram: str) -> Percentiles:
        sums = {label: sum(values) for (one, label), values in series.items() if one == histogram}
        return estimate_percentiles(sums)

    processing = estimate(_PROCESSING)
    first_reply = estimate(_FIRST_REPLY)
    totals = {
        "Received": (f"{sum(received):,}", list_address({}, since=period.since)),
        **{
            state.capitalize(): (
                f"{sum(values):,}",
                list_address({"state": state}, since=period.since),
            )
            for state, values in {
                **ended,
                "superseded": series.get((_OUTCOME, "superseded"), ()),
            }.items()
        },
        "Success": (format_percent(success), ""),
        "p50": (format_duration(processing.p50), ""),
        "p95": (format_duration(processing.p95), ""),
        "First reply, p50": (format_duration(first_reply.p50), ""),
        "First reply, p95": (format_duration(first_reply.p95), ""),
        "Cost": (format_sum_usd(sum(cost)), ""),
    }
    seconds = {
        name: [percentile(one, share) for one in histograms] for name, share in PERCENTILES.items()
    }
    errors = {
        "dead": ended["dead"],
        "failed calls": failed,
        "rejected requests": added(REJECTED),
    }
    plots = (
        plot("Deliveries", series={"received": received, **ended}),
        plot("Processing time", series=seconds, unit="seconds"),
        plot("Cost", series={"all calls to Claude": cost}, unit="usd"),
        plot("Errors", series=errors),
    )
    return PeriodNumbers(totals, plots)
