"""`hls pause` and `hls resume` stop and restart the processing, `hls backup` copies the database,
and `hls forget` deletes what it has about a person.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from hls_handler.cli.github_names import require_repository
from hls_handler.cli.options import (
    Config,
    fail,
    find_user,
    load,
    log_as_operator,
    name_operator,
    require_confirmation,
    require_existing_store,
)
from hls_handler.cli.terminal import print_line
from hls_handler.db.files import back_up
from hls_handler.errors import StoreUnavailable
from hls_handler.logs import log_act
from hls_handler.queue.pauses import explain_pause
from hls_handler.store.search import DeliverySearch
from hls_handler.wording import count

LOGIN = re.compile(r"[!-?A-~][!-~]{0,99}")  # no @ at its beginning

RepositoryArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="OWNER/REPO",
        help="The repository or its URL; without it, all of them.",
        show_default=False,
    ),
]


def pause(
    repository: RepositoryArgument = None,
    reason: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The reason, shown in /health.", show_default=False),
    ] = None,
    config: Config = None,
) -> None:
    """Stop processing, for all repositories or one.

    Webhooks are still accepted and queued; running deliveries are finished. The pause applies to
    all machines that use this database and survives restarts, until `hls resume`. Meanwhile /health
    is degraded, as a reminder. Works even if the service does not run. Pausing again replaces the
    reason.
    """
    settings = load(config, credentials=False)
    if repository is not None:
        repository = require_repository(repository, base_url=settings.github.base_url)
    with require_existing_store(settings) as store:
        store.pauses.pause(repository, reason=add_author(reason), by=name_operator(settings))
        name = (repository or "").lower()
        current = next(
            active for active in store.pauses.active() if (active.repository or "").lower() == name
        )
        queued = store.searches.count(DeliverySearch(state="queued", repository=repository))
        running = store.searches.count(DeliverySearch(state="running", repository=repository))
    print_line(explain_pause(current))
    print_line(
        f"{queued} queued, which will wait, as will new deliveries; {running} running, which will"
        " finish"
    )


def resume(repository: RepositoryArgument = None, config: Config = None) -> None:
    """Resume the processing that `hls pause` stopped.

    Without a repository, ends only the pause of all repositories; pauses of single repositories
    remain. A running service continues within seconds.
    """
    settings = load(config, credentials=False)
    if repository is not None:
        repository = require_repository(repository, base_url=settings.github.base_url)
    with require_existing_store(settings) as store:
        ended = store.pauses.resume(repository, by=name_operator(settings))
        others = store.pauses.active()
        queued = store.searches.count(DeliverySearch(state="queued", repository=repository))
    name = repository or "everything"
    for other in others:
        print_line(explain_pause(other))
    if not ended:
        fail(f"{name} was not paused")
    if any(other.repository is None for other in others):
        fail(f"the pause of {name} has ended, but its deliveries wait because everything is paused")
    print_line(f"{name} resumed: {queued} queued")


def forget(
    login: Annotated[
        str, typer.Argument(metavar="LOGIN", help="The person's login on GitHub, or at the proxy.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before deleting.")] = False,
    config: Config = None,
) -> None:
    """Delete what is stored about a person.

    Finds deliveries and texts of issues that name or mention the person, and those on issues and
    pull requests that the person opened. Prints the number of rows for each table, asks, and
    deletes contents and logins; the rows of deliveries stay. Works while the service runs. Does
    nothing while such a delivery waits or runs. docs/data.md says what remains.
    """
    if not LOGIN.fullmatch(login):
        raise typer.BadParameter("write the login without @", param_hint="LOGIN")
    settings = load(config, credentials=False)
    with require_existing_store(settings) as store:
        traces = store.forgetting.find(login)
        if traces.open_guids:
            waiting = (
                f"{count(len(traces.open_guids), 'delivery')}, such as {traces.open_guids[0]},"
            )
            fail(
                f"nothing was deleted: {waiting} waits or runs; run the command again when all have"
                " ended"
            )
        counts = store.forgetting.forget(traces, dry_run=True)
        for table, number in counts.items():
            print_line(f"{table:<15}  {count(number, 'row')}")
        if not counts:
            print_line(f"nothing is stored about {login}")
            return
        if not yes:
            require_confirmation(
                "Delete them?", what="the deletion", otherwise="nothing was deleted"
            )
        log_act(log_as_operator(settings), "forget", [], number=len(traces.ids))
        store.forgetting.forget(traces, dry_run=False)
    print_line(
        "deleted; docs/data.md says what GitHub, the services that answer prompts, logs and backups"
        " still have"
    )


def add_author(reason: str | None) -> str:
    """Return "REASON (by USER on HOST)", or "by USER on HOST" without a reason."""
    by = f"by {find_user()}"
    if not reason:
        return by
    return f"{reason} ({by})"


def backup(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="The file to create; its folder must exist.", resolve_path=True
        ),
    ],
    config: Config = None,
) -> None:
    """Copy the SQLite database to FILE.

    Works while the service runs and does not block it. The copy is a consistent snapshot, is
    checked for integrity, and is readable only by the current user. An existing file is never
    overwritten. Use pg_dump for PostgreSQL.
    """
    settings = load(config, credentials=False)
    try:
        size = back_up(settings.storage.url, file)
    except StoreUnavailable as exc:
        fail(f"{settings.sources.where('storage.url')}: {exc}")
    print_line(f"{file}: {size} bytes")
