"""`/metrics` for Prometheus: totals and the queue from the database, health and rate limit of this
process.

Every process reports the same numbers of the database, so queries over several processes use
`max by`, not `sum`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING, Any, get_args

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from hls_handler import __version__
from hls_handler.analysis import Unusable
from hls_handler.console.frame import Frame
from hls_handler.db.counters import AUTHOR_OUTCOME, BUCKETS_S, COST
from hls_handler.engine.health import ComponentState
from hls_handler.errors import StoreUnavailable
from hls_handler.store.call_rows import FAILED, SUCCESS, UNAVAILABLE, UNFINISHED
from hls_handler.store.conversations import LABEL_SET
from hls_handler.store.corrections import CORRECTION_WITHDRAWN, LABEL_CORRECTED
from hls_handler.store.numbers import sum_labels
from hls_handler.store.storage import Storage

if TYPE_CHECKING:
    from prometheus_client.core import Metric

MAX_SERIES = 500
"""Most series of one metric. The smallest values beyond it are added up in a series whose labels
are "other".
"""

MAX_METRICS_AGE_S = 5.0
"""Oldest age of the database's numbers: to count a long queue takes a while, and several scrapers
may read at once.
"""


@dataclass(frozen=True, slots=True)
class Total:
    """A metric that the database counts."""

    name: str  # of the metric, without "_total"
    meaning: str
    counter: str  # name of the counter
    labels: tuple[str, ...] = ()
    # Labels of the counter that are 0 before they are counted: else the first is no increase.
    initial: tuple[str, ...] = ()
    only: str | None = None  # label of the counter; None stands for all

    def read(self, label: str, repository: str) -> tuple[str, ...] | None:
        """Return the values of the metric's labels for the counter's label; None if the metric does
        not count it.
        """
        if self.only not in (None, label):
            return None
        own_labels = [name for name in self.labels if name != "repository"]
        parts = label.rsplit(":", len(own_labels) - 1)  # "anthropic:ok"
        values = {"repository": repository, **dict(zip(own_labels, parts, strict=False))}
        if "prompt" in values:
            # without the version, or each edit would begin new series
            values["prompt"] = values["prompt"].partition("@")[0]
        series = tuple(values.get(name, "") for name in self.labels)
        return series if all(series) else None


STATES = ("done", "dead", "discarded", "ignored", "superseded")
REJECTIONS = ("400", "401", "408", "413", "415", "503")
OUTCOMES = (SUCCESS, FAILED, UNAVAILABLE, *get_args(Unusable))
TOTALS = (
    Total("hls_webhooks", "Verified webhooks", "webhooks"),
    Total(
        "hls_webhooks_caught_up",
        "Missed webhooks that were read from GitHub's API",
        "caught_up",
    ),
    Total(
        "hls_webhooks_rejected",
        "Rejected requests by status",
        "rejected",
        ("status",),
        initial=REJECTIONS,
    ),
    Total("hls_events", "Webhooks by event and action", "event", ("event",)),
    Total(
        "hls_deliveries",
        "Deliveries that ended, and repeated webhooks",
        "outcome",
        ("state",),
        initial=STATES,
    ),
    Total(
        "hls_repository_deliveries",
        "Deliveries that ended, by repository",
        "outcome",
        ("repository", "state"),
    ),
    Total(
        "hls_ignored_deliveries", "Ignored deliveries by the kind of reason", "ignored", ("reason",)
    ),
    Total(
        "hls_recovered_deliveries",
        "Deliveries that were done after a failure",
        "recovered_by_retry",
    ),
    Total(
        "hls_recovered_failures",
        "Failures of deliveries that were done after them",
        "errors_recovered",
    ),
    Total("hls_claude_calls", "Ended calls", "claude_calls", ("outcome",), initial=OUTCOMES),
    Total(
        "hls_provider_calls",
        "Ended calls by provider, with fallbacks",
        "provider_calls",
        ("provider", "outcome"),
    ),
    Total(
        "hls_claude_tokens", "Tokens by kind; input without those of the cache", "tokens", ("kind",)
    ),
    Total("hls_claude_cost_usd", "Cost of all ended calls", COST),
    Total("hls_repository_cost_usd", "Cost of ended calls by repository", COST, ("repository",)),
    Total("hls_prompt_calls", "Calls by prompt, of all its versions", "prompt_calls", ("prompt",)),
    Total("hls_prompt_cost_usd", "Cost by prompt", COST, ("prompt",)),
    Total("hls_labels_set", "Labels set for a reply", LABEL_SET, ("prompt", "field")),
    Total(
        "hls_labels_corrected", "Labels that people changed", LABEL_CORRECTED, ("prompt", "field")
    ),
    Total(
        "hls_labels_restored",
        "Labels that people changed back",
        CORRECTION_WITHDRAWN,
        ("prompt", "field"),
    ),
    Total(
        "hls_reply_cache_hits",
        "Questions answered from the cache of replies",
        "reply_cache",
        only="hits",
    ),
    Total(
        "hls_reply_cache_misses",
        "Questions that the cache of replies could not answer",
        "reply_cache",
        only="misses",
    ),
    Total("hls_reply_cache_saved_usd", "Cost saved by hits", "reply_cache", only="saved_micro_usd"),
    Total("hls_github_requests", "Requests to GitHub's API", "github_requests"),
)
OF_AUTHORS = Total(
    "hls_author_deliveries", "Deliveries that ended, by author", AUTHOR_OUTCOME, ("author", "state")
)
HISTOGRAMS = {
    "processing": "Time from the receipt of a delivery to its end",
    "first_reply": "Time to the first reply to an issue or pull request",
}
"""Counter -> meaning."""


def show_metrics(
    frame: Frame,
    stored: Callable[..., list[Metric]],
    request: Request,
) -> Response:
    """Return all metrics. Programs send the key in a header; a session does not count."""
    rejection = frame.access.find_rejection(request)
    if rejection is not None:
        return PlainTextResponse(f"{rejection.detail}\n", rejection.status_code)
    if not frame.access.is_scraper(request):
        sentence = (
            "send the service's key (server.api_key) as Authorization: Bearer KEY, or in"
            " X-API-Key\n"
        )
        return PlainTextResponse(sentence, 401, headers={"www-authenticate": "Bearer"})
    try:
        store_metrics = stored(has_authors=frame.settings.metrics.authors)
    except StoreUnavailable:
        store_metrics = []  # hls_health_state is most useful now
    process_metrics = _list_process_metrics(frame, is_store_readable=bool(store_metrics))
    return _expose([*process_metrics, *store_metrics])


def _expose(metrics: list[Metric]) -> Response:
    """Return the metrics in the text format of Prometheus."""
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector

    class Collected(Collector):
        def collect(self) -> Iterable[Metric]:
            return metrics

    encode, media_type = choose_encoder("")
    headers = {"content-type": media_type, "cache-control": "no-store"}
    return Response(encode(Collected()), headers=headers)


def _list_process_metrics(frame: Frame, *, is_store_readable: bool) -> Iterator[Metric]:
    """Yield the metrics that this process has without the database."""
    # without a value, a gauge has no series
    from prometheus_client.core import (
        GaugeMetricFamily as Gauge,
    )

    build = Gauge("hls_build_info", "Version of HLS", labels=("version",))
    build.add_metric((__version__,), 1)
    yield build
    states = Gauge(
        "hls_health_state", "1 for the present state, else 0", labels=("component", "state")
    )
    components = frame.ports.health.snapshot().components
    for name, component in components.items():
        for state in get_args(ComponentState):
            states.add_metric((name, state), float(component.state == state))
    yield states
    yield _token_expiry(components["github"].metrics)
    limit = frame.ports.rate_limit()
    reset_at = None if limit.reset_at is None else limit.reset_at.timestamp()
    yield Gauge("hls_github_rate_limit_requests", "GitHub's limit on requests an hour", limit.limit)
    yield Gauge(
        "hls_github_rate_limit_remaining_requests", "Requests left until the reset", limit.remaining
    )
    yield Gauge("hls_github_rate_limit_reset_timestamp_seconds", "Time of the reset", reset_at)
    yield Gauge(
        "hls_claude_budget_calls", "claude.calls_per_hour", frame.settings.claude.calls_per_hour
    )
    yield Gauge(
        "hls_store_readable", "1 if the database can be read, else 0", int(is_store_readable)
    )


def _token_expiry(metrics: Mapping[str, Any]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily as Gauge

    gauge = Gauge(
        "hls_github_token_expiry_timestamp_seconds",
        "When the token expires, if it does",
        labels=("key",),
    )
    identity = metrics.get("identity", {})
    for token in identity.get("tokens", [identity]):
        if token.get("expires_at"):
            expires_at = datetime.fromisoformat(token["expires_at"])
            gauge.add_metric((token["key"],), expires_at.timestamp())
    return gauge


def read_metrics(store: Storage, *, has_authors: bool = False) -> list[Metric]:
    """Return the metrics that the database has. Blocks; raises `StoreUnavailable`."""
    return [*_list_store_metrics(store, has_authors)]


def _list_store_metrics(store: Storage, has_authors: bool) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
    from prometheus_client.core import GaugeMetricFamily as Gauge

    totals = store.statistics.totals(settled=True)
    by_name = sum_labels(totals)
    queue = store.deliveries.queue_state()
    last = store.statistics.last_webhooks().get("")
    last_at = None if last is None else last.timestamp()
    used = store.calls.count_last_hour()
    counted = defaultdict[str, dict[tuple[str, str], int]](dict)
    for (name, label, repository), number in totals.items():
        if label != UNFINISHED:  # this number also decreases
            counted[name][label, repository] = number
    for total in (*TOTALS, OF_AUTHORS):
        if total == OF_AUTHORS and not has_authors:
            continue
        metric = CounterMetricFamily(total.name, total.meaning, labels=total.labels)
        for labels, value in add_up(total, counted[total.counter]).items():
            metric.add_metric(labels, value)
        yield metric
    for name, meaning in HISTOGRAMS.items():
        yield HistogramMetricFamily(
            f"hls_{name}_seconds",
            meaning,
            buckets=cumulate(by_name[f"{name}_le"]),
            sum_value=by_name[f"{name}_ms"].get("", 0) / 1000,
        )
    unfinished = by_name["claude_calls"].get(UNFINISHED, 0)
    yield Gauge(
        "hls_claude_unfinished_calls",
        "Calls in progress, or whose end could not be stored",
        unfinished,
    )
    yield Gauge("hls_claude_last_hour_calls", "Calls that count for claude.calls_per_hour", used)
    yield Gauge("hls_last_webhook_timestamp_seconds", "Time of the last verified webhook", last_at)
    yield Gauge("hls_queued_deliveries", "Deliveries that wait", queue.queued)
    yield Gauge("hls_due_deliveries", "Of those: due and not paused", queue.due)
    yield Gauge("hls_held_deliveries", "Of those: paused", queue.held)
    yield Gauge("hls_running_deliveries", "Deliveries in work", queue.running)
    yield Gauge("hls_dead_deliveries", "Dead letters", queue.dead)
    yield Gauge(
        "hls_oldest_due_seconds",
        "How long the oldest due delivery has been due",
        queue.oldest_due_s or 0,
    )
    yield Gauge("hls_pauses", "Pauses of a repository or of everything", len(store.pauses.active()))


def add_up(total: Total, counts: Mapping[tuple[str, str], int]) -> Mapping[tuple[str, ...], float]:
    """Return the series of a total, at most `MAX_SERIES` and one for the others. `counts` are those
    of its counter, by label and repository.
    """
    sums: Counter[tuple[str, ...]] = Counter({(label,): 0 for label in total.initial})
    if not total.labels:
        sums[()] = 0
    for (label, repository), number in counts.items():
        labels = total.read(label, repository)
        if labels is not None:
            sums[labels] += number
    # PostgreSQL returns rows in any order, and equal numbers must not take turns
    by_size = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
    largest = dict(by_size[:MAX_SERIES])
    if len(sums) > MAX_SERIES:
        others = ("other",) * len(total.labels)
        largest[others] = largest.get(others, 0) + sums.total() - sum(largest.values())
    scale = 1
    if total.name.endswith("_usd"):
        scale = 1_000_000
    return {labels: value / scale for labels, value in largest.items()}


def cumulate(histogram: Mapping[str, int]) -> list[tuple[str, float]]:
    """Return the cumulated buckets by their upper bound in seconds ("0.5", "+Inf")."""
    from prometheus_client.utils import floatToGoString

    bounds = (*BUCKETS_S, inf)
    counts = accumulate(histogram.get(f"{bound:g}", 0) for bound in bounds)
    return [*zip(map(floatToGoString, bounds), counts, strict=True)]
