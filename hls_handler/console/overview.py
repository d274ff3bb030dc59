"""The first page: what needs a person, what the service did, what it cost, and what people did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from hls_handler.console.frame import Form, Frame, Pages
from hls_handler.console.pages import NOTHING, format_duration, format_sum_usd
from hls_handler.console.queries import (
    MAX_FILTER_CHARACTERS,
    OverviewQuery,
    find_list,
    parse_repository,
)
from hls_handler.db.counters import COST
from hls_handler.deliveries import name_cause
from hls_handler.engine.health import Component, ComponentHealth, ComponentSeverity
from hls_handler.errors import StoreUnavailable
from hls_handler.queue.pauses import Pause, describe_pause
from hls_handler.settings import shipped
from hls_handler.store.deliveries import QueueState
from hls_handler.store.figures import Period, PeriodName, latest_period, percentile
from hls_handler.store.limits import list_budgets
from hls_handler.store.numbers import Series
from hls_handler.store.search import Causes, DeliverySearch
from hls_handler.store.storage import Storage
from hls_handler.untrusted.cleaning import escape_unprintable
from hls_handler.wording import count, is_or_are

Unit = Literal["count", "seconds", "usd"]


@dataclass(frozen=True, slots=True)
class Plot:
    title: str
    drawing: Mapping[str, object]  # what `console.js` needs, as JSON has it
    columns: tuple[str, ...]  # of the table
    # label, address of the deliveries that it counts, and the other cells
    rows: Sequence[tuple[str, str, Sequence[str]]]


def format_count(value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:,.0f}"


_FORMATS: Mapping[Unit, Callable[[float | None], str]] = {
    "count": format_count,
    "seconds": format_duration,
    "usd": format_sum_usd,
}


def make_plot(
    period: Period,
    title: str,
    series: Mapping[str, Sequence[float | None]],
    unit: Unit = "count",
) -> Plot:
    """Return the plot of values for each part of a period, by name of the series; None leaves a
    gap. `console.js` has the colours of names.
    """
    texts = {name: [*map(_FORMATS[unit], values)] for name, values in series.items()}
    drawing = {
        "unit": unit,
        "times": [at.timestamp() for at in period.starts],
        "series": [
            {"name": escape_unprintable(name), "values": values, "texts": texts[name]}
            for name, values in series.items()
        ],
    }
    layout = "%m-%d %H:%M"
    if period.step >= timedelta(days=1):
        layout = "%m-%d"
    rows = []
    for at, *cells in zip(period.starts, *texts.values(), strict=True):
        rows.append((f"{at:{layout}}", find_list(since=at, until=at + period.step), cells))
    return Plot(title, drawing, tuple(series), rows)


PERIOD_TITLES: Mapping[PeriodName, str] = {"24h": "24 hours", "7d": "7 days", "30d": "30 days"}
MAX_OVERVIEW_AGE_S = 10.0
"""Seconds for which all reloads of a period share one reading of the database and its plots."""

PERCENTILES: Mapping[str, float] = {"p50": 0.5, "p95": 0.95}
MAX_CAUSES = 3
MAX_PROMPTS = 3  # with a line of their own

_CAUSES = {
    "503": "the database could not store them; GitHub shows them as failed, and can redeliver them",
    "401": (
        "the secret in the webhook's form on GitHub is not the one in the settings, or it is"
        " missing in one of them"
    ),
    "413": "the body was larger than server.max_body_bytes",
    "400": "the body did not fit the event that its header names",
}
"""Likely causes of rejected requests by status, the most severe first."""

_FIRST_REPLY = "first_reply_le"
STATES = ("done", "ignored", "superseded", "dead", "discarded")
RARE_STATES = ("superseded", "discarded")  # on the page if the period has one
PEOPLE = {
    "labels kept": ("labels", "kept"),
    "labels corrected": ("labels", "corrected"),
    "findings fixed": ("findings", "fixed"),
    "findings dismissed": ("findings", "dismissed"),
}
"""What people did: its title, and the name and the label in a series."""
COUNTED = ("stored", "outcome", _FIRST_REPLY, "rejected", COST)

LINKS: Mapping[Component, tuple[str, str]] = {
    "store": ("/docs/running.md#when-something-is-down", "What works meanwhile"),
    "queue": ("/deliveries?state=queued", "Queued deliveries"),
    "github": ("/docs/running.md#when-something-is-down", "What works meanwhile"),
    "claude": ("/docs/running.md#when-something-is-down", "What works meanwhile"),
    "prompts": ("/prompts", "Prompts"),
    "settings": ("/docs/problems.md#errors", "Problems and what to do"),
    "webhooks": ("/docs/setup.md#behind-a-proxy", "The way of webhooks"),
    "catch_up": ("/docs/running.md#missed-deliveries", "Missed deliveries"),
    "mirror": ("/docs/running.md#when-something-is-down", "What works meanwhile"),
    "vectors": ("/docs/running.md#qdrant", "Qdrant"),
}
"""Component -> the page that helps with its problem, and the text of the link."""

LOG = ("/log?text=rejected", "Log")


@dataclass(frozen=True, slots=True)
class Card:
    """A number of a period."""

    title: str
    value: str
    note: str  # the number of the period before, and the change
    address: str = ""  # of the deliveries that it counts


@dataclass(frozen=True, slots=True)
class Overview:
    """Numbers of the database about now and about a period."""

    queue: QueueState
    pauses: Sequence[Pause]
    holds: Mapping[str, datetime]  # rate limit -> until when it grants nothing
    dead: Causes
    calls_last_hour: int
    last_webhook_at: datetime | None  # verified, a ping included; None: none was received yet
    cards: Sequence[Card]
    plots: Sequence[Plot]
    rejections: Mapping[str, int]  # status -> number of rejected requests


class OverviewPage(Pages):
    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self._read = frame.ports.cache(
            partial(read_overview, self._store),
            max_age_s=MAX_OVERVIEW_AGE_S,
            max_entries=len(PERIOD_TITLES),
        )

    def routes(self) -> Sequence[BaseRoute]:
        return [
            self._frame.page("/", self._show, for_others=self._show_start),
            self._frame.form("/deliveries/pause", self._pause),
            self._frame.form("/deliveries/resume", self._resume),
        ]

    def _pause(self, request: Request, form: Form) -> Response:
        sentence = form.get("reason", "").strip()[:MAX_FILTER_CHARACTERS]
        reason = "in the console"
        if sentence:
            reason = f"{sentence} (in the console)"
        self._store.pauses.pause(
            parse_repository(form), reason=reason, by=self._frame.person(request)
        )
        return self._changed()

    def _resume(self, request: Request, form: Form) -> Response:
        self._store.pauses.resume(parse_repository(form), by=self._frame.person(request))
        return self._changed()

    def _changed(self) -> Response:
        self._read.cache_clear()
        return RedirectResponse("/", 303)

    def _show_start(self, request: Request) -> Response:
        webhook_path = None
        if self._frame.ports.has_webhooks:
            webhook_path = self._frame.settings.server.webhook_path
        return self._frame.render(
            request,
            "start.html",
            has_console=self._frame.settings.has_console,
            webhook_path=webhook_path,
            documents=shipped.group_documents(),
        )

    def _show(self, request: Request) -> Response:
        name = OverviewQuery.parse(request.query_params).period
        status = 200
        overview: Overview | None = None
        try:
            overview = self._read(name)
            budgets = self._store.budgets.states(list_budgets(self._frame.settings))
        except StoreUnavailable:
            budgets = ()
            status = 503
        components = self._frame.ports.health.snapshot().components
        return self._frame.render(
            request,
            "overview.html",
            status=status,
            problems=list_problems(components, overview, f"in the last {PERIOD_TITLES[name]}"),
            overview=overview,
            period=name,
            periods=PERIOD_TITLES,
            rate_limit=self._frame.ports.rate_limit(),
            calls_per_hour=self._frame.settings.claude.calls_per_hour,
            budgets=budgets,
            concurrency=self._frame.settings.limits.concurrency,
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """A sentence about what needs a person."""

    state: ComponentSeverity
    message: str
    link: tuple[str, str]  # the page that helps, and its text
    remedy: str | None = None
    since: datetime | None = None
    paused: str | None = None  # the repository to resume; "" for everything


def list_problems(
    components: Mapping[Component, ComponentHealth], overview: Overview | None, period: str
) -> Sequence[Problem]:
    """Return what needs a person: first problems of components, the most severe first, because
    they may be the cause of the others.

    Rejected requests of the period are not in `/health`, because anybody can cause them. A pause
    is listed from its beginning, before the next probe.
    """
    problems = [
        Problem(component.state, component.message, LINKS[name], component.remedy, component.since)
        for name, component in components.items()
        if component.message is not None and component.state in ("unhealthy", "degraded")
    ]
    problems.sort(key=lambda problem: problem.state != "unhealthy")
    if overview is not None:
        for pause in overview.pauses:
            sentence = describe_pause(pause)
            problems = [problem for problem in problems if sentence not in problem.message]
            paused = pause.repository or ""
            problems.append(Problem("degraded", sentence, LINKS["queue"], paused=paused))
        dead = [*_list_dead(overview.dead)]
        problems = [
            problem
            for problem in problems
            if not any(is_named(problem, by=group) for group in dead)
        ]
        problems += dead
        problems += _list_rejections(overview.rejections, period)
    return problems


def _list_rejections(rejections: Mapping[str, int], period: str) -> Iterator[Problem]:
    ranks = [*_CAUSES, *rejections]
    for status in sorted(rejections, key=ranks.index):
        sentence = f"{count(rejections[status], 'request')} to the webhook path got {status}"
        cause = _CAUSES.get(status, "see the log")
        yield Problem("degraded", f"{sentence} {period}", LOG, f"likely cause: {cause}")


def is_named(problem: Problem, *, by: Problem) -> bool:
    """Return whether the other problem says the cause of this one, and its cure."""
    cause = name_cause(by.message)
    return all(name_cause(part) in cause for part in (problem.message, problem.remedy or ""))


def _list_dead(causes: Causes) -> Iterator[Problem]:
    for group in causes.groups:
        dead = f"{count(group.number, 'delivery')} {is_or_are(group.number)} dead"
        link = (find_list(q=group.query), "Show and retry")
        yield Problem("unhealthy", f"{dead}: {group.title}", link)
    if causes.hidden:
        others = f"{count(causes.hidden, 'delivery')} {is_or_are(causes.hidden)}"
        dead = f"{others} dead for other causes"
        yield Problem("unhealthy", dead, (find_list(q="is:dead"), "Show all"))


def read_overview(store: Storage, name: PeriodName) -> Overview:
    """Read the database and draw the plots. Blocks; raises `StoreUnavailable`."""
    period = latest_period(name, store.now())
    both = replace(period, since=period.since - (period.until - period.since))
    numbers = PeriodNumbers(period, store.statistics.series(COUNTED, both))
    return Overview(
        queue=store.deliveries.queue_state(),
        pauses=store.pauses.active(),
        holds=store.rate_limiter.all_held(),
        dead=store.searches.count_causes(DeliverySearch(state="dead"), limit=MAX_CAUSES),
        calls_last_hour=store.calls.count_last_hour(),
        last_webhook_at=store.statistics.last_webhooks().get(""),
        cards=[*list_cards(numbers)],
        plots=[*list_plots(numbers)],
        rejections=numbers.by_label("rejected", numbers.present),
    )


@dataclass(frozen=True, slots=True)
class PeriodNumbers:
    """Counts of a period, and of the one before, which has the same length."""

    period: Period
    series: Series  # begins with the period before

    @property
    def size(self) -> int:
        return len(self.period.starts)

    @property
    def present(self) -> slice:
        """The parts of the period itself."""
        return slice(self.size, None)

    def both(self, name: str, label: str | None = None) -> Sequence[int]:
        """Return the sums of a counter for each part of both periods. A label stands for all
        versions of a prompt.
        """
        matching = [
            values
            for (counter, counter_label), values in self.series.items()
            if counter == name and label in (None, counter_label.partition("@")[0])
        ]
        return [sum(parts) for parts in zip([0] * 2 * self.size, *matching, strict=True)]

    def now(self, name: str, label: str | None = None) -> Sequence[int]:
        return self.both(name, label)[self.present]

    def by_label(self, name: str, parts: slice) -> Counter[str]:
        """Return the sums of a counter by label in parts of both periods."""
        sums = {
            label: sum(values[parts])
            for (counter, label), values in self.series.items()
            if counter == name
        }
        return +Counter(sums)

    def first_reply_s(self, share: float, parts: slice) -> float | None:
        return percentile(self.by_label(_FIRST_REPLY, parts), share)


def list_cards(numbers: PeriodNumbers) -> Iterator[Card]:
    since = numbers.period.since
    yield _compare("Received", numbers.both("stored"), find_list(since=since))
    for state in STATES:
        values = numbers.both("outcome", label=state)
        if any(values) or state not in RARE_STATES:
            address = find_list(state=state, since=since)
            yield _compare(state.capitalize(), values, address)
    now = format_duration(numbers.first_reply_s(0.5, numbers.present))
    before = format_duration(numbers.first_reply_s(0.5, slice(numbers.size)))
    yield Card("First reply, p50", now, f"{before} before")
    yield _compare("Cost", numbers.both(COST), form=_format_micro_usd)
    yield _compare("Labels kept", numbers.both("labels", "kept"))
    yield _compare("Labels corrected", numbers.both("labels", "corrected"))


def _compare(
    title: str,
    values: Sequence[int],
    address: str = "",
    form: Callable[[int], str] = "{:,}".format,
) -> Card:
    size = len(values) // 2
    before = sum(values[:size])
    now = sum(values[size:])
    note = f"{form(before)} before"
    if before:
        note = f"{now / before - 1:+.0%}, {note}"
    return Card(title, form(now), note, address)


def _format_micro_usd(micro_usd: int) -> str:
    return format_sum_usd(micro_usd / 1_000_000)


def list_plots(numbers: PeriodNumbers) -> Iterator[Plot]:
    plot = partial(make_plot, numbers.period)
    deliveries = {"received": numbers.now("stored")}
    for state in STATES:
        values = numbers.now("outcome", state)
        if any(values) or state not in RARE_STATES:
            deliveries[state] = values
    yield plot("Deliveries", deliveries)
    parts = [slice(part, part + 1) for part in range(numbers.size, 2 * numbers.size)]
    seconds = {
        name: [numbers.first_reply_s(share, part) for part in parts]
        for name, share in PERCENTILES.items()
    }
    yield plot("Time to first reply", seconds, unit="seconds")
    yield plot("Cost by prompt", _list_costs(numbers), unit="usd")
    people = {title: numbers.now(*counter) for title, counter in PEOPLE.items()}
    yield plot("What people did with it", people)


def _list_costs(numbers: PeriodNumbers) -> Mapping[str, Sequence[float]]:
    """Return the costs of the most expensive prompts, and of all others together."""
    totals = Counter[str]()
    for label, cost in numbers.by_label(COST, numbers.present).items():
        totals[label.partition("@")[0]] += cost
    everything = numbers.now(COST)
    costs = {prompt: numbers.now(COST, prompt) for prompt, _ in totals.most_common(MAX_PROMPTS)}
    others = [whole - sum(parts) for whole, *parts in zip(everything, *costs.values(), strict=True)]
    if any(others) or not costs:
        costs["other prompts"] = others
    return {name: [cost / 1_000_000 for cost in values] for name, values in costs.items()}
