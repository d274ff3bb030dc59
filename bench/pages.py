"""Response times of the console's pages with 100,000 deliveries, relative to a store with 500.

Both stores are served by one process each, on the same core, and are asked in turn. Each page is
one request of one client, without the time that a browser needs. Some pages keep what they read for
a time: the median is that of a page that was read before, and a second row has the first request.
Filters that no index has are apart: if they match less than a page, every delivery is read
(docs/adr/0011-the-console.md). `python -m bench.pages CORE URL` serves the console of a database.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from bench.process import MeasuredProcess, RunModule, running, separate_cores, serve_on
from bench.row import Row, median
from hls_handler.db.counters import BUCKETS_S
from hls_handler.db.tables import calls, checkpoints, counters, deliveries
from hls_handler.db.values import HOUR_MS, compress
from hls_handler.engine.library import load_checked
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.store.storage import Storage
from tests.console.browser import Browser
from tests.postgres import running_cluster
from tests.web.fakes import settings

DELIVERIES = 100_000
DAYS, BODY_DAYS = 80, 14
WARM_UP = 3  # requests of each page to each store
REQUIRED, AIM = 3.0, 2.0
SCAN_REQUIRED, SCAN_AIM = 30.0, 15.0
BATCH = 2_000

PAGES = {
    "overview": "/",
    "overview of 30 days": "/?period=30d",
    "prompts": "/prompts",
    "prompt": "/prompts/issues/analyze",
    "figures": "/figures",
    "figures of 30 days": "/figures?period=30d",
    "log": "/log",
    "metrics": "/metrics",
    "API figures": "/api/stats",
    "newest": "/deliveries",
    "state": "/deliveries?state=dead",
    "old page": "/deliveries?before={guid}",
    "delivery": "/deliveries/{guid}",
    "request id": "/deliveries/{request_id}",
    "prefix": "/deliveries/{prefix}",
    "API list": "/api/deliveries?event=issues",
    "API delivery": "/api/deliveries/{guid}",
    "API analyses": "/api/analyses",
    "API analyses, far offset": "/api/analyses?offset=2000",
    "API analyses of a pull request": "/api/analyses?repo_full_name=org/repo1&pr_number=7",
}
SCANS = {
    "repository": "/deliveries?repository=org/repo39",
    "event": "/deliveries?event=release.published",
    "sender": "/deliveries?sender=nobody",
    "text": "/deliveries?text=not+in+any+title",
    "time": "/deliveries?since={since}&until={until}",
    "all filters": (
        "/deliveries?state=done&repository=org/repo1&event=issues&sender=user7&text=disk&since={since}"
    ),
    "API analyses of a kind": "/api/analyses?kind=generic",
}


@dataclass(frozen=True, slots=True)
class Plan:
    few: int = 500  # so that most repositories, events and labels occur
    deliveries: int = DELIVERIES
    requests: int = 25  # of each page to each store
    run: RunModule = running


PLAN = Plan()


def measure(folder: Path, *, plan: Plan = PLAN) -> tuple[Row, ...]:
    small, large = (f"sqlite:///{folder / name}.db" for name in ("small", "large"))
    return _measure("SQLite", small, large, plan)


def measure_postgresql(folder: Path, *, plan: Plan = PLAN) -> tuple[Row, ...]:
    with running_cluster(within=folder) as cluster:
        small, large = cluster.create(), cluster.create()
        return _measure(
            "PostgreSQL",
            cluster.url(small),
            cluster.url(large),
            plan,
            analyze=True,
        )


def _measure(
    database: str, small: str, large: str, plan: Plan, *, analyze: bool = False
) -> tuple[Row, ...]:
    one = fill(small, plan.few, analyze=analyze)
    some = fill(large, plan.deliveries, analyze=analyze)
    firsts: dict[str, tuple[float, float]] = {}
    medians: dict[str, tuple[float, float]] = {}
    with (
        separate_cores() as core,
        plan.run("bench.pages", core, small) as of_one,
        plan.run("bench.pages", core, large) as of_many,
    ):
        for name, page in (PAGES | SCANS).items():
            firsts[name], medians[name] = _times(
                of_one, page.format(**one), of_many, page.format(**some), plan.requests
            )
    title = f"{plan.deliveries:,} deliveries to {plan.few}, {database}"
    pages, scans = ({name: medians[name] for name in names} for names in (PAGES, SCANS))
    return (
        compare_pages(f"console pages, {title}", pages, REQUIRED, AIM),
        compare_pages(f"console filters without an index, {title}", scans, SCAN_REQUIRED, SCAN_AIM),
        compare_pages(f"first request, {title}", firsts, None, None),
    )


def compare_pages(
    name: str, times: Mapping[str, tuple[float, float]], required: float | None, aim: float | None
) -> Row:
    ratios = {page: after / before for page, (before, after) in times.items()}
    details = (
        f"{page} {before * 1000:.1f} to {after * 1000:.1f} ms ({ratios[page]:.2g})"
        for page, (before, after) in times.items()
    )
    return Row(name, max(ratios.values()), "at most", required, aim, "; ".join(details))


def _times(
    small: MeasuredProcess, small_page: str, large: MeasuredProcess, large_page: str, requests: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the response time of the first request and the median of the later ones, of both
    stores, in seconds.
    """
    warm_up = min(WARM_UP, requests)
    times = time_pages(small, small_page, large, large_page, warm_up + requests)
    first = (times[0][0], times[1][0])
    return first, (median(times[0][warm_up:]), median(times[1][warm_up:]))


def time_pages(
    small: MeasuredProcess, small_page: str, large: MeasuredProcess, large_page: str, requests: int
) -> tuple[list[float], list[float]]:
    """Return the response times of both stores, asked in turn, in seconds."""
    times: tuple[list[float], list[float]] = ([], [])
    with (
        closing(http.client.HTTPConnection("127.0.0.1", small.port, timeout=60)) as to_small,
        closing(http.client.HTTPConnection("127.0.0.1", large.port, timeout=60)) as to_large,
    ):
        for connection in (to_small, to_large):  # the first request of a process imports modules
            read_page(connection, "/docs/http.md")
        for _ in range(requests):
            for connection, page, measured in (
                (to_small, small_page, times[0]),
                (to_large, large_page, times[1]),
            ):
                began = time.perf_counter()
                read_page(connection, page)
                measured.append(time.perf_counter() - began)
    return times


def read_page(connection: http.client.HTTPConnection, page: str) -> bytes:
    connection.request("GET", page)
    response = connection.getresponse()
    body = response.read()
    assert response.status == 200, f"{page}: {response.status}"
    return body


def fill(url: str, number: int, *, analyze: bool) -> dict[str, str]:
    """Store invented deliveries, the newest last, and return the values for the addresses in
    `PAGES`.
    """
    rng, now_ms = random.Random(17), int(time.time() * 1000)
    guids = [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(number)]
    with closing(Storage.open(url)) as store:
        for first in range(0, number, BATCH):
            rows = [
                _delivery(rng, n + 1, guids[n], now_ms - (number - n) * DAYS * 86_400_000 // number)
                for n in range(first, min(first + BATCH, number))
            ]
            with store.database.writing() as connection:
                store.database.insert_rows(connection, deliveries, rows)
                done = [row for row in rows if row["state"] == "done"]
                store.database.insert_rows(
                    connection, checkpoints, [one for row in done for one in _steps(row)]
                )
                store.database.insert_rows(connection, calls, [_call(row) for row in done])
        with store.database.writing() as connection:
            hours = [
                _hour(rng, now_ms // HOUR_MS - back) for back in range(min(DAYS * 24, number * 4))
            ]
            store.database.insert_rows(
                connection, counters, [row for rows in hours for row in rows]
            )
        if analyze:
            with store.database.writing() as connection:
                connection.exec_driver_sql("ANALYZE")
                next_id = (
                    "SELECT setval(pg_get_serial_sequence('deliveries', 'id'), max(id)) FROM"
                    " deliveries"
                )
                connection.exec_driver_sql(next_id)  # the receiver continues after the stored ones
    chosen = number // 3
    day = time.gmtime(now_ms / 1000 - DAYS * 86_400 * (1 - chosen / number))
    return {
        "guid": guids[chosen],
        "prefix": guids[chosen][:13],
        "request_id": f"0123456789abcdef{chosen + 1:016x}",
        "since": time.strftime("%Y-%m-%dT00:00", day),
        "until": time.strftime("%Y-%m-%dT23:59", day),
    }


_EVENTS = (
    ("issues", "opened"),
    ("issue_comment", "created"),
    ("pull_request", "opened"),
    ("pull_request", "synchronize"),
    ("workflow_run", "completed"),
)
_FACTS = compress(json.dumps({"issue": {"title": "It is broken", "body": "word " * 300}}).encode())
_RULE, _REPLY = compress(b'"issues.opened is enabled (settings.yaml:3)"'), "{}"
_OUTCOME = compress(
    b'{"action": "labels", "kind": "changed", "detail": "added bug", "added": ["bug"]}'
)


def _delivery(rng: random.Random, row_id: int, guid: str, received_at: int) -> dict[str, object]:
    event, action = rng.choice(_EVENTS)
    repository, number = rng.randint(1, 38), rng.randint(1, 3_000)
    state = rng.choices(("done", "ignored", "superseded", "dead"), (60, 36, 3.7, 0.3))[0]
    is_done, is_recent = state == "done", received_at > (time.time() - BODY_DAYS * 86_400) * 1000
    return {
        "id": row_id,
        "guid": guid,
        "event": event,
        "action": action,
        "request_id": f"0123456789abcdef{row_id:016x}",
        "state": state,
        "reason": (
            "added bug, priority-high; commented" if is_done else "the pull request is a draft"
        ),
        "repository_id": repository,
        "repository": f"org/repo{repository}",
        "number": number,
        "sender": f"user{rng.randint(1, 200)}",
        "title": f"The service does not start after an upgrade if the disk {number} is full",
        "conversation_key": f"{repository}#{number}",
        "received_at": received_at,
        "queued_at": received_at,
        "due_at": received_at,
        "finished_at": received_at + 4_000,
        "duration_ms": 4_000 if is_done else None,
        "github_requests": 7 if is_done else None,
        "analysis_status": "done" if is_done else None,
        "body": rng.randbytes(2_000) if is_done and is_recent else None,
    }


def _steps(row: dict[str, object]) -> Iterator[dict[str, object]]:
    steps = (
        ("route", 0, _RULE),
        ("gather", 0, _FACTS),
        ("post", 0, _OUTCOME),
        ("post", 1, _OUTCOME),
    )
    for name, index, value in steps:
        yield {
            "delivery_id": row["id"],
            "name": name,
            "step_index": index,
            "version": 2 if name == "post" else 1,
            "duration_ms": 300,
            "started_at": row["received_at"],
            "github_requests": 2,
            "value": value,
        }


def _call(row: dict[str, object]) -> dict[str, object]:
    return {
        "delivery_id": row["id"],
        "step_index": 0,
        "prompt_id": "issues/analyze@3f9c2a",
        "model": "claude-haiku-5-5",
        "started_at": row["received_at"],
        "finished_at": row["finished_at"],
        "outcome": "ok",
        "input_tokens": 3_000,
        "output_tokens": 200,
        "cost_micro_usd": 400,
        "duration_ms": 2_000,
        "reply_type": "issue_analysis",
        "reply": _REPLY,
    }


_REPOSITORIES = tuple(f"org/repo{number}" for number in range(1, 39))
_COUNTED = {
    "cost_micro_usd": ("issues/analyze@3f9c2a",),
    "outcome": ("done", "ignored", "superseded", "dead"),
    "processing_le": (*map(str, BUCKETS_S), "inf"),
    "replies": ("",),
}
"""The counters by repository that overview and figures read, and their labels."""


def _hour(rng: random.Random, hour: int) -> list[dict[str, object]]:
    active = rng.sample(_REPOSITORIES, 8)
    keys = [("stored", "", "")]
    keys += [
        (name, label, repository)
        for name, labels in _COUNTED.items()
        for label in labels
        for repository in active
    ]
    return [
        {
            "name": name,
            "hour": hour * HOUR_MS,
            "label": label,
            "repository": repository,
            "value": rng.randint(1, 60),
        }
        for name, label, repository in keys
    ]


def make_browser(store: Storage) -> Browser:
    """Return a browser, and by its `app` the console, with the shipped prompts."""
    browser = Browser(store)
    browser.prompts = ReloadingLibrary(lambda: load_checked(settings()))
    return browser


def main(arguments: Sequence[str]) -> None:
    with closing(Storage.open(arguments[1])) as store:
        serve_pages(int(arguments[0]), make_browser(store).app)


def serve_pages(core: int, app: ASGIApp) -> None:
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=60)
    serve_on(core, uvicorn.Server(config))


if __name__ == "__main__":
    main(sys.argv[1:])
