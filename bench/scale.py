"""`python -m bench.scale`: 1, 2 and 4 processes on one PostgreSQL, and 50 pull requests at once
with shipped settings.

The first part measures deliveries per second of issues while GitHub and Claude respond at once: the
processor or the database is the limit. In the second one Claude takes 10 s and GitHub 50 ms; it
takes three minutes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from bench.process import make_folder
from bench.requests import webhooks
from bench.row import columns, median
from bench.service import StartService, deliver, issues, service, wait_until_idle
from bench.stand_in import StartStandIn, stand_in
from hls_handler.store.search import DeliverySearch
from hls_handler.store.storage import Storage
from tests.postgres import running_cluster

PROCESSES = (1, 2, 4)
ISSUES, WORKERS = 300, 12  # four processes with more would need more than 100 connections
PULL_REQUESTS, CLAUDE_S, GITHUB_S = 50, 10.0, 0.05


def main() -> int:
    with tempfile.TemporaryDirectory(dir=make_folder()) as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may run as another user
        rows = [
            ("processes", "deliveries/s"),
            *((str(n), f"{measure_throughput(folder, n):.0f}") for n in PROCESSES),
        ]
        print(columns(rows))
        print(
            f"\n{PULL_REQUESTS} pull requests at once, Claude takes {CLAUDE_S:g} s:"
            f" {measure_burst(folder)}"
        )
    return 0


def measure_throughput(
    folder: Path,
    processes: int,
    *,
    number: int = ISSUES,
    start_service: StartService = service,
    start_stand_in: StartStandIn = stand_in,
) -> float:
    """Return the deliveries per second of several processes on one PostgreSQL."""
    received = issues(webhooks())
    with ExitStack() as stack:
        cluster = stack.enter_context(running_cluster(fsync=True, within=folder))
        url = cluster.url(cluster.create())
        upstream = stack.enter_context(start_stand_in())
        store = stack.enter_context(closing(Storage.open(url)))
        ours = [
            stack.enter_context(
                start_service(
                    folder,
                    **upstream.settings,
                    storage_url=url,
                    concurrency=WORKERS,
                    commenting=False,
                )
            )
            for _ in range(processes)
        ]
        warm_up, measured = list(islice(received, min(20, number))), list(islice(received, number))
        upstream.plant([*warm_up, *measured])
        deliver(ours[0], warm_up)
        wait_until_idle(store)
        store.pauses.pause(None, reason="all are accepted first", by="benchmark")
        deliver(ours[0], measured)
        store.pauses.resume(None, by="benchmark")
        began = time.monotonic()
        wait_until_idle(store)
        return number / (time.monotonic() - began)


def measure_burst(
    folder: Path,
    *,
    number: int = PULL_REQUESTS,
    claude_s: float = CLAUDE_S,
    start_service: StartService = service,
    start_stand_in: StartStandIn = stand_in,
) -> str:
    """Return when each pull request got its first label, comment or concluded check, and was done,
    since its webhook.

    One pull request before them creates the labels of the repository.
    """
    before, *pull_requests = islice(
        (one for one in webhooks() if one[0] == "pull_request"), 1 + number
    )
    url = f"sqlite:///{folder / 'burst.db'}"
    with (
        start_stand_in(github_s=GITHUB_S, claude_s=claude_s) as upstream,
        start_service(folder, **upstream.settings, storage_url=url, is_shipped=True) as ours,
        closing(Storage.open(url)) as store,
    ):
        upstream.plant([before, *pull_requests])
        deliver(ours, [before])
        wait_until_idle(store)
        upstream.forget_requests()
        deliver(ours, pull_requests)
        wait_until_idle(store)
        *rows, _ = store.searches.read_all(DeliverySearch())
        shown_at = _first_results(upstream.requests())
        shown = sorted(
            (shown_at[str(row.number)] - row.received_at).total_seconds() for row in rows
        )
        done = sorted(
            (row.finished_at - row.received_at).total_seconds() for row in rows if row.finished_at
        )
    assert len(shown) == len(done) == number
    return ", ".join(
        f"{what} {one[0]:.0f} to {one[-1]:.0f} s (median {median(one):.0f})"
        for what, one in (("first result after", shown), ("done after", done))
    )


def _first_results(requests: list[dict[str, Any]]) -> Mapping[str, datetime]:
    """Return the time of the first label, comment or concluded check, by the digits of the pull
    request.
    """
    found: dict[str, datetime] = {}
    for number, request in _list_writes(requests):
        found.setdefault(number, datetime.fromisoformat(request["at"]))
    return found


def _list_writes(requests: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for request in requests:
        kind, of, last = ["", "", *request["path"].split("/")][-3:]
        # .../issues/7/labels, .../issues/7/comments
        if request["method"] == "POST" and kind == "issues":
            yield of, request
        elif of == "statuses" and "pending" not in str(request["body"]):  # .../statuses/0...07
            yield last.lstrip("0"), request


if __name__ == "__main__":
    sys.exit(main())
