"""`hls catch-up` reads missed webhooks once. `hls listen` runs the service without a public
address.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Annotated

import typer

from hls_handler.app import Service
from hls_handler.background.catch_up import CatchUp, CatchUpReport, Listening
from hls_handler.cli.options import (
    AsJson,
    Config,
    Limit,
    config_path,
    load,
    log_as_operator,
    open_store,
    utc_now,
)
from hls_handler.cli.serve import Port, run_service
from hls_handler.cli.terminal import (
    Cell,
    Column,
    format_moment,
    print_json,
    print_line,
    print_table,
    waiting,
)
from hls_handler.deliveries import DeliveryAttempt
from hls_handler.engine.active_config import ActiveConfig, load_bot_accounts, load_library
from hls_handler.engine.library import load_checked
from hls_handler.events import event_key
from hls_handler.github.api import RateLimitMonitor
from hls_handler.github.client import make_credentials
from hls_handler.logs import log_act
from hls_handler.reports.delivery_query import find_age
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.wording import count

Missed = tuple[DeliveryAttempt, str | None]
"""An attempt of GitHub, and its repository, if it is known."""


def catch_up(
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only list the missed webhooks whose payload a run would read."
        ),
    ] = False,
    as_json: AsJson = False,
    limit: Limit = None,
    config: Config = None,
) -> None:
    """Process webhooks that were not received.

    GitHub keeps them for three days. `hls serve` does this at start and every ten minutes; the
    command does it now, also if catch_up.enabled is false.
    Works while the service runs, which processes the deliveries. Webhooks that are already stored,
    and events and repositories that the settings ignore, are skipped.
    """
    with waiting("Reading webhooks from GitHub"):
        report = _run(load(config), dry_run=dry_run)
    missed = report.missed[:limit]
    if as_json:
        print_json({**report.counts(), "missed": [_to_dict(*one) for one in missed]})
    else:
        if dry_run:
            _print_table(missed, len(report.missed))
        _print_counts(report, dry_run=dry_run)
    for problem in report.problems:
        print_line(f"{problem.message}; {problem.remedy}", err=True, style="red")
    if report.problems:
        raise typer.Exit(1)


def _run(settings: Settings, *, dry_run: bool) -> CatchUpReport:
    with open_store(settings) as store:
        prompts = load_library(settings, load_checked)
        active = ActiveConfig(
            settings,
            RepositoryTable(settings),
            prompts,
            load_bot_accounts(settings.github, store),
        )
        credentials = make_credentials(settings.github, now=utc_now)
        catch_up = CatchUp(
            store,
            lambda: active,
            lambda _: credentials,
            wait=time.sleep,
            rates=RateLimitMonitor(),
        )
        with closing(catch_up):
            report = catch_up.run(dry_run=dry_run)
        if not dry_run:
            log_act(log_as_operator(settings), "catch-up", [], number=report.accepted)
        return report


def _to_dict(attempt: DeliveryAttempt, repository: str | None) -> dict[str, object]:
    return {
        "delivery": attempt.guid,
        "sent_at": attempt.delivered_at.isoformat(),
        "status": attempt.status_code,
        "event": event_key(attempt.event, attempt.action),
        "repository": repository,
        "repository_id": attempt.repository_id,
    }


def _print_table(missed: Sequence[Missed], total: int) -> None:
    columns = [Column("SENT"), Column("DELIVERY"), Column("STATUS", is_number=True)]
    columns += [Column("EVENT"), Column("REPOSITORY")]
    now = utc_now()
    rows = []
    for attempt, repository in missed:
        texts = (
            format_moment(attempt.delivered_at, now),
            attempt.guid[:8],
            str(attempt.status_code),
            event_key(attempt.event, attempt.action),
            repository or f"id {attempt.repository_id}",
        )
        rows.append([Cell(text) for text in texts])
    print_table(columns, rows, f"{len(missed):,} of {count(total, 'missed webhook')}")


def _print_counts(report: CatchUpReport, *, dry_run: bool) -> None:
    looked_at = (
        f"{count(report.looked_at, 'attempt')} of {count(report.hooks, 'webhook')} looked at"
    )
    if dry_run:
        print_line(f"{looked_at}, {count(len(report.missed), 'payload')} would be read")
    else:
        read = f"{count(report.fetched, 'payload')} read, {report.accepted} queued"
        if report.unread:
            read += f", {report.unread} not readable"
        if report.lost:
            read += f", {report.lost} lost"
        if report.remaining:
            read += f", {report.remaining} remaining"
        print_line(f"{looked_at}, {read}")


def listen(
    every: Annotated[
        float,
        typer.Option(
            "--every", min=1, max=300, metavar="SECONDS", help="Pause between two requests."
        ),
    ] = 5.0,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="AGE", help="Also process missed webhooks of this age: 90s, 30m, 2h."
        ),
    ] = None,
    port: Port = None,
    config: Config = None,
) -> None:
    """Run the service without a public address.

    For development: the webhook has a URL that no server responds to, and every few seconds this
    command reads from GitHub what could not be delivered. Only webhooks that are sent from now on
    are processed, unless --since is given. The service listens on 127.0.0.1 only. Reading one
    webhook every 5 s costs 720 of the token's requests an hour.
    """
    age = find_age(since or "0s")
    if age is None:
        raise typer.BadParameter("write it as 90s, 30m or 2h", param_hint="--since")
    listening = Listening(every, since=utc_now() - age)
    print_line(f"Reading webhooks from GitHub every {every:g} s. Ctrl-C ends it.")
    if since is None:
        print_line(
            "Webhooks that were sent before now are skipped; --since 2h reads those of the last two"
            " hours, too."
        )
    options: dict[str, object] = {"server.host": "127.0.0.1"}
    if port is not None:
        options["server.port"] = port
    make = partial(Service, listening=listening)
    raise typer.Exit(run_service(config_path(config), make, options))
