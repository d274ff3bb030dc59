"""`hls pause` and `hls resume`: deliveries queue up, of everything or of one repository, until they may go on."""

from __future__ import annotations

import getpass
import os
import socket
from typing import Annotated

import typer

from hls_handler.cli.options import Config, fail, load, open_store
from hls_handler.cli.say import say
from hls_handler.events import REPOSITORY_NAME
from hls_handler.store import Store
from hls_handler.work.pauses import resuming, told

Which = Annotated[
    str | None,
    typer.Argument(metavar="[OWNER/REPO]", help="One repository; without it, everything.", show_default=False),
]


def pause(
    repository: Which = None,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why, for whoever sees it in /health.", show_default=False)
    ] = None,
    config: Config = None,
) -> None:
    """Begin no more work, on everything or on one repository.

    Webhooks are still accepted and queue up; what is being worked on ends. It holds for all machines on this database
    and over restarts, until `hls resume`; meanwhile /health is degraded, so that nobody forgets it. Works whether the
    service runs or not. Paused once more, it gets the new reason.

    Exit codes: 0 paused; 2 called wrongly, or the settings or the database cannot be used.
    """
    _require_name(repository)
    with open_store(load(config)) as store:
        store.pause(repository, reason=signed(reason))
        held = next(one for one in store.pauses() if _is_of(one.repository, repository))
        queued, running = store.open_deliveries(repository)
        known = repository is None or _ever_came(store, repository)
    say(f"{told(held)}; {resuming(held)} ends that")
    say(f"{queued} queued, and what comes will wait, too; {running} being worked on, which will end as ever")
    if not known:
        say(f"no webhook of {repository} ever came: is it written so?")


def resume(repository: Which = None, config: Config = None) -> None:
    """Let the work go on that `hls pause` held back.

    Without a repository the pause of everything ends; that of one repository stays until it is named. A running
    service begins within seconds.

    Exit codes: 0 goes on; 1 it was not paused, or something else holds it; 2 called wrongly, or the settings or the
    database cannot be used.
    """
    _require_name(repository)
    with open_store(load(config)) as store:
        ended, others = store.resume(repository), store.pauses()
        queued, _ = store.open_deliveries(repository)
    name = repository or "everything"
    for other in others:
        say(f"{told(other)}; {resuming(other)} ends that")
    if not ended:
        fail(f"{name} was not paused")
    if any(other.repository is None for other in others):
        fail(f"{name} is not paused for itself any more, and waits for everything")
    say(f"{name} goes on: {queued} queued")


def signed(reason: str | None) -> str:
    """The reason with who gave it and where: the person behind sudo, not the user that they became."""
    try:
        who = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        who = "somebody"
    by = f"by {who} on {socket.gethostname()}"
    return f"{reason} ({by})" if reason else by


def _require_name(repository: str | None) -> None:
    if repository is not None and not REPOSITORY_NAME.fullmatch(repository):
        raise typer.BadParameter("write it as owner/repo", param_hint="OWNER/REPO")


def _is_of(one: str | None, other: str | None) -> bool:
    return (one and one.lower()) == (other and other.lower())


def _ever_came(store: Store, repository: str) -> bool:
    return any(name == "repository" and label.lower() == repository.lower() for name, label in store.counters())
