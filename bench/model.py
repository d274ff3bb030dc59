"""`python -m bench.model`: what limits HLS, and how long deliveries wait, by the number of
repositories.

A queueing model. Requests and writes of an event are those of docs/cost.md, which a test counts;
processor time is that of `python -m bench work`, and throughput on PostgreSQL that of
`python -m bench.scale`. Each limit is a server of its own: the time between two grants for rate
limits (M/D/1), and places for the workers (M/M/c, by Erlang's formula).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.row import columns

CLAUDE_S = 10.0
GITHUB_S = 0.2


@dataclass(frozen=True, slots=True)
class Work:
    """What an event costs, or the average of several events."""

    per_day: float  # of these events in a repository with 10 issues and 10 pull requests a week
    requests: float  # to GitHub, with writes
    writes: float
    calls: float  # of Claude
    tokens: float  # of these calls, in and out
    cpu_ms: float


EVENTS: Mapping[str, Work] = {
    "issue opened": Work(1.5, 3, 2, 1, 5_000, 23),
    "issue edited": Work(1.0, 1, 0, 1, 5_000, 20),
    "pull request opened": Work(1.5, 10, 5, 1.5, 15_000, 35),
    "push": Work(4.5, 12, 6, 1, 8_000, 35),
    "review": Work(2.0, 6, 2, 1, 5_000, 25),
    "failed workflow": Work(2.0, 6, 1, 1, 8_000, 30),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """The shipped settings, GitHub's limits for one account or installation, and a Claude
    account's.
    """

    writes_per_s: float = 1.0  # github.min_seconds_between_writes; GitHub: 80 a minute
    writes_per_hour: float = 500.0
    requests_per_hour: float = 5_000.0  # an installation of GitHub Enterprise Cloud: 15,000
    calls_per_hour: float = 200.0  # claude.calls_per_hour
    tokens_per_minute: float = 400_000.0
    workers: int = 24  # limits.concurrency
    cores: int = 1
    deliveries_per_s: float = 30.0  # of one process that waits for nothing, on PostgreSQL


def average(events: Mapping[str, Work]) -> Work:
    total = sum(one.per_day for one in events.values())

    def mean(name: str) -> float:
        return sum(one.per_day * float(getattr(one, name)) for one in events.values()) / total

    return Work(
        total, *(mean(name) for name in ("requests", "writes", "calls", "tokens", "cpu_ms"))
    )


def capacities(work: Work, limits: Limits) -> Mapping[str, float]:
    """Return the events an hour that each limit permits."""
    service_s = work.calls * CLAUDE_S + work.requests * GITHUB_S
    return {
        "writes a second": 3600 * limits.writes_per_s / work.writes,
        "writes an hour": limits.writes_per_hour / work.writes,
        "requests an hour": limits.requests_per_hour / work.requests,
        "calls an hour": limits.calls_per_hour / work.calls,
        "tokens a minute": 60 * limits.tokens_per_minute / work.tokens,
        "workers": 3600 * limits.workers / service_s,
        "processor": min(3_600_000 * limits.cores / work.cpu_ms, 3600 * limits.deliveries_per_s),
    }


def wait_for_writes_s(load: float, limits: Limits) -> float:
    """Return the mean wait for a slot in seconds (M/D/1)."""
    return math.inf if load >= 1 else load / (2 * (1 - load)) / limits.writes_per_s


def wait_for_workers_s(load: float, limits: Limits, service_s: float) -> float:
    """Return the mean wait for a place in seconds (M/M/c, Erlang C)."""
    if load >= 1:
        return math.inf
    offered, c = load * limits.workers, limits.workers
    busy = offered**c / math.factorial(c) / (1 - load)
    is_busy = busy / (sum(offered**n / math.factorial(n) for n in range(c)) + busy)
    return is_busy * service_s / (c * (1 - load))


def burst_s(pull_requests: int, limits: Limits, *, writes: float = 2.0) -> float:
    """Return the seconds until so many pull requests at once are done: the slowest of writes,
    workers and calls.
    """
    claude_s = math.ceil(pull_requests / limits.workers) * CLAUDE_S
    return max(pull_requests * writes / limits.writes_per_s, claude_s)


PEAK = 4.0
"""Events in the busiest hour, relative to the mean of a day."""


def main() -> int:
    work = average(EVENTS)
    shipped, raised = Limits(), Limits(calls_per_hour=5_000, workers=50, requests_per_hour=15_000)
    many = replace(
        raised, writes_per_s=20.0, writes_per_hour=10_000, requests_per_hour=300_000, cores=4
    )
    variants = {"shipped settings": shipped, "calls_per_hour and concurrency raised": raised}
    variants["the same, 20 organisations with an installation each"] = many
    for title, limits in variants.items():
        room = capacities(work, limits)
        rows: list[tuple[str, ...]] = [
            (
                "repositories",
                "events an hour",
                "first limit",
                "use",
                "wait for writes",
                "for workers",
            )
        ]
        for repositories in (10, 100, 1_000, 5_000):
            events = repositories * work.per_day / 24 * PEAK
            first = min(room, key=lambda name: room[name])
            writes = wait_for_writes_s(events / room["writes a second"], limits)
            workers = wait_for_workers_s(
                events / room["workers"], limits, 3600 * limits.workers / room["workers"]
            )
            waits = (f"{one:.1f} s" if one < math.inf else "grows" for one in (writes, workers))
            rows.append(
                (str(repositories), f"{events:.0f}", first, f"{events / room[first]:.0%}", *waits)
            )
        most = ", ".join(
            f"{name} {room[name]:.0f}" for name in sorted(room, key=lambda name: room[name])
        )
        print(f"{title}\n{columns(rows)}\nevents an hour by limit: {most}\n")
    print(
        f"50 pull requests at once, shipped settings: {burst_s(50, shipped):.0f} s (measure: python"
        " -m bench.scale)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
