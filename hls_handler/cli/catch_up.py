"""`hls catch-up` reads missed webhooks once. `hls listen` runs the service without a public
address.
"""

from __future__ import annotations

import time
from contextlib import closing
from functools import partial
from typing import Annotated

import typer

from hls_handler.app import Service
from hls_handler.background.catch_up import CatchUp, Listening, Report
from hls_handler.cli.options import (
    Config,
    abort,
    config_path,
    describe_person,
    find_age,
    load,
    open_store,
    utc_now,
)
from hls_handler.cli.serve import Port, run_service
from hls_handler.cli.terminal import print_line
from hls_handler.engine.active_config import ActiveConfig, load_bot_accounts
from hls_handler.engine.library import load_checked
from hls_handler.errors import PromptError, SettingsError
from hls_handler.events import event_key
from hls_handler.github.api import RateLimitMonitor
from hls_handler.github.client import make_credentials
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.wording import count


def catch_up(
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only list the missed webhooks whose payload a run would read."
        ),
    ] = False,
    config: Config = None,
) -> None:
    """Process webhooks that were not received.

    GitHub keeps them for three days; catch_up.window_h limits their age. `hls serve` does this at
    start and every catch_up.interval_m; the command does it now, also if catch_up.enabled is false.
    Works while the service runs, which processes the deliveries. Webhooks that are already stored,
    and events and repositories that the settings ignore, are skipped.

    Exit codes: 0 complete; 1 at least one webhook could not be read; 2 usage error, or unusable
    settings, prompts or database.
    """
    report = _run(load(config), dry_run=dry_run)
    _print(report, dry_run=dry_run)
    if report.problems:
        raise typer.Exit(1)


def _run(settings: Settings, *, dry_run: bool) -> Report:
    with open_store(settings) as store:
        try:
            prompts = ReloadingLibrary(
                lambda: load_checked(settings), *settings.prompts.folders.values()
            )
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
            if not dry_run:
                store.audit.record(describe_person(), "catch-up", "")
            with closing(catch_up):
                return catch_up.run(dry_run=dry_run)
        except (PromptError, SettingsError) as exc:
            abort(*exc.problems)


def _print(report: Report, *, dry_run: bool) -> None:
    if dry_run and report.missed:
        print_line(f"{'sent (UTC)':<19}  {'delivery':<8}  {'status':>6}  {'event':<28}  repository")
        for attempt, repository in report.missed:
            event = event_key(attempt.event, attempt.action)
            sent = f"{attempt.delivered_at:%F %T}"
            where = repository or f"id {attempt.repository_id}"
            print_line(
                f"{sent}  {attempt.guid[:8]}  {attempt.status_code:>6}  {event:<28}  {where}"
            )
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
    for problem in report.problems:
        print_line(f"{problem.message}; {problem.remedy}", err=True)


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

    Exit codes: those of `hls serve`.
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
    options: dict[str, object] = {"host": "127.0.0.1"}
    if port is not None:
        options["port"] = port
    make = partial(Service, listening=listening)
    raise typer.Exit(run_service(config_path(config), make, options))
