"""Silence: webhooks that settings expect and that do not come, as a pure decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings

REMEDY = (
    "look at the webhook's Recent Deliveries on GitHub: none there: is it active, and for these events? 401: the "
    "secret; other failures: the address and the proxy before HLS; if all is well, expect them less often"
)


@dataclass(frozen=True, slots=True)
class Expectation:
    name: str  # "" for webhooks of any kind, else an entry of repositories: "owner/*"
    key: str  # "server.expect_webhook_within_h", for `Sources.where`
    entry: str  # "repositories[0]"; "" for webhooks of any kind
    within: timedelta


def expectations(settings: Settings) -> tuple[Expectation, ...]:
    """What settings expect; () where they expect nothing."""
    return tuple(_expectations(settings))


def _expectations(settings: Settings) -> Iterator[Expectation]:
    name = "expect_webhook_within_h"
    if settings.server.expect_webhook_within_h is not None:
        yield Expectation("", f"server.{name}", "", timedelta(hours=settings.server.expect_webhook_within_h))
    for index, entry in enumerate(settings.repositories):
        if entry.expect_webhook_within_h is not None:
            key = f"repositories[{index}]"
            yield Expectation(entry.name, f"{key}.{name}", key, timedelta(hours=entry.expect_webhook_within_h))


def last_heard(expected: Expectation, heard: Mapping[str, datetime], table: RepositoryTable) -> datetime | None:
    """When the last webhook came that fulfils it: of an entry, one of a repository that this entry decides about."""
    if not expected.entry:
        return heard.get("")
    decided = ((name, table.find(name)) for name in heard if name)
    times = [heard[name] for name, entry in decided if entry is not None and entry.key == expected.entry]
    return max(times, default=None)


def find_silence(
    expected: Expectation, last: datetime | None, *, since: datetime, now: datetime, where: str
) -> str | None:
    """What the operator is told; None where a webhook came in time, or is not overdue yet.

    `since` is when it was first expected, for where none ever came; `where` is the line that expects it.
    """
    quiet = now - (last or since)
    if quiet <= expected.within:
        return None
    of = f" of {expected.name}" if expected.name else ""
    known = f"the last came at {last:%Y-%m-%d %H:%M} UTC" if last else f"none came since {since:%Y-%m-%d %H:%M} UTC"
    return (
        f"no webhook{of} for {quiet / timedelta(hours=1):.1f} h: {known}; "
        f"{where} expects one within {expected.within / timedelta(hours=1):g} h"
    )
