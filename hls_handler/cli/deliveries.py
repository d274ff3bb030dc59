"""`hls deliveries`: list, show and retry deliveries, also while the service runs."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from hls_handler.cli.options import Config, fail, load, open_store
from hls_handler.cli.say import print_line, print_lines
from hls_handler.cli.story import tell
from hls_handler.cli.why import format_report
from hls_handler.deliveries import State
from hls_handler.events import event_key
from hls_handler.history.statistics import DeliveryRow
from hls_handler.work.pauses import holding, resuming, told

deliveries = typer.Typer(
    help="List, show and retry deliveries. Works while the service runs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

STATES: tuple[State, ...] = get_args(State)
Guid = Annotated[str, typer.Argument(metavar="DELIVERY", help="The delivery's GUID, or a unique prefix of it.")]


@deliveries.command(name="list")
def list_(
    state: Annotated[str | None, typer.Option(help=f"Only deliveries in this state: {', '.join(STATES)}.")] = None,
    repository: Annotated[
        str | None, typer.Option(metavar="OWNER/REPO", help="Only deliveries of this repository.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of deliveries.")] = 50,
    config: Config = None,
) -> None:
    """List deliveries, the newest first.

    Prints one line for each: time received, GUID prefix, state, event, issue or pull request. The reason for the
    state follows on a line of its own.

    Exit codes: 0 listed (also if there are none); 2 usage error, or unusable settings or database.
    """
    wanted = next((one for one in STATES if one == state), None)
    if state is not None and wanted is None:
        raise typer.BadParameter(f"must be one of {', '.join(STATES)}", param_hint="--state")
    with open_store(load(config)) as store:
        rows = store.deliveries.newest(state=wanted, repository=repository, limit=limit)
        pauses = store.pauses.active()
    if not rows:
        print_line("no deliveries")
        return
    for row in rows:
        event = event_key(row.event, row.action)
        print_line(
            f"{row.received_at:%Y-%m-%d %H:%M:%S}  {row.guid[:8]}  {row.state:<10}  {event}  {_conversation_name(row)}"
        )
        pause = holding(row.repository, pauses) if row.state == "queued" else None
        for reason in (row.reason, pause and told(pause)):
            if reason:
                print_line(f"    {reason}")


@deliveries.command()
def show(guid: Guid, config: Config = None) -> None:
    """Show all details of one delivery.

    Prints the rule that accepted it, the prompt, Claude's reply, what was posted, and the cost.

    Exit codes: 0 shown; 1 no delivery, or more than one, has this GUID prefix; 2 usage error, or unusable settings or
    database.
    """
    with open_store(load(config)) as store:
        report = tell(store, _require_found(store.deliveries.find(guid), guid))
    for sentence in format_report(report):
        print_line(sentence)
    if report.comment is not None:
        print_lines("\n--- comment ---\n" + report.comment)


@deliveries.command()
def retry(guid: Guid, config: Config = None) -> None:
    """Run a dead or waiting delivery now.

    It keeps its GUID. Steps that were already completed (reading facts, asking Claude) are not repeated.

    Exit codes: 0 queued; 1 there is no such delivery, it is neither dead nor waiting, or its body was deleted; 2 usage
    error, or unusable settings or database.
    """
    settings = load(config)
    body_days_source = settings.sources.where("storage.body_days")
    with open_store(settings) as store:
        row = _require_found(store.deliveries.find(guid), guid)
        state = store.queue.retry(row.guid)
        pause = holding(row.repository, store.pauses.active())
    if row.state not in ("dead", "queued"):
        fail(f"{row.guid} is {state or row.state}; only a dead or a waiting delivery can be run again")
    if state in ("dead", None):
        fail(
            f"{row.guid} stays {state or 'deleted'}: its body was deleted ({body_days_source}); redeliver it from the "
            "webhook's Recent Deliveries, which GitHub allows for 3 days, or trigger a new event on the issue or pull "
            "request"
        )
    if pause is not None:
        print_line(f"{row.guid} is queued but waits: {told(pause)}; {resuming(pause)} ends the pause")
        return
    print_line(f"{row.guid} is queued; a running service starts it within seconds")


def _conversation_name(row: DeliveryRow) -> str:
    """Return "owner/repo#7", "owner/repo" if the event has no number, or "-" if it has no repository."""
    return f"{row.repository or '-'}#{row.number}" if row.number is not None else row.repository or "-"


def _require_found(row: DeliveryRow | None, guid: str) -> DeliveryRow:
    if row is None:
        fail(f"there is no delivery {guid}, or several GUIDs begin with it; `hls deliveries list` shows all of them")
    return row
