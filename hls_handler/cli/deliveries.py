"""`hls deliveries`: look at what came in, and run a dead one again; works while the service runs."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from hls_handler.cli.options import Config, fail, load, open_store
from hls_handler.cli.say import say, say_lines
from hls_handler.cli.story import tell
from hls_handler.cli.why import sentences
from hls_handler.deliveries import State
from hls_handler.events import event_key
from hls_handler.store import DeliveryRow
from hls_handler.work.pauses import holding, resuming, told

deliveries = typer.Typer(
    help="Look at deliveries, and run a dead one again. Works while the service runs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

STATES: tuple[State, ...] = get_args(State)
Guid = Annotated[str, typer.Argument(metavar="DELIVERY", help="The delivery's GUID, or enough of its beginning.")]


@deliveries.command(name="list")
def list_(
    state: Annotated[str | None, typer.Option(help=f"Only these: {', '.join(STATES)}.")] = None,
    repository: Annotated[str | None, typer.Option(metavar="OWNER/REPO", help="Only of this repository.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, the newest first.")] = 50,
    config: Config = None,
) -> None:
    """List deliveries, the newest first.

    A line for each: when it came, which one it is, what became of it, which event, which thread; then why.

    Exit codes: 0 listed, if there are any; 2 called wrongly, or the settings or the database cannot be used.
    """
    chosen = next((known for known in STATES if known == state), None)
    if state is not None and chosen is None:
        raise typer.BadParameter(f"one of {', '.join(STATES)}", param_hint="--state")
    with open_store(load(config)) as store:
        rows = store.deliveries(state=chosen, repository=repository, limit=limit)
        pauses = store.pauses()
    if not rows:
        say("no deliveries")
        return
    for row in rows:
        event = event_key(row.event, row.action)
        say(f"{row.received_at:%Y-%m-%d %H:%M:%S}  {row.guid[:8]}  {row.state:<10}  {event}  {thread_name(row)}")
        held = holding(row.repository, pauses) if row.state == "queued" else None
        for why in (row.reason, held and told(held)):
            if why:
                say(f"    {why}")


@deliveries.command()
def show(guid: Guid, config: Config = None) -> None:
    """Show one delivery whole.

    Which rule let it in, which prompt was used, what Claude said, what was posted, what it cost.

    Exit codes: 0 shown; 1 there is no such delivery, or several begin so; 2 called wrongly, or the settings or the
    database cannot be used.
    """
    with open_store(load(config)) as store:
        story = tell(store, _find(store.delivery(guid), guid))
    for sentence in sentences(story):
        say(sentence)
    if story.comment is not None:
        say_lines("\n--- the comment ---\n" + story.comment)


@deliveries.command()
def retry(guid: Guid, config: Config = None) -> None:
    """Run a dead or waiting delivery now.

    It keeps its id, and what it remembers (facts, Claude's answers) is not done again.

    Exit codes: 0 queued; 1 there is no such delivery, it is neither dead nor waiting, or its body is gone; 2 called
    wrongly, or the settings or the database cannot be used.
    """
    settings = load(config)
    keep = settings.sources.where("storage.body_days")
    with open_store(settings) as store:
        row = _find(store.delivery(guid), guid)
        state = store.requeue(row.guid)
        pause = holding(row.repository, store.pauses())
    if row.state not in ("dead", "queued"):
        fail(f"{row.guid} is {state or row.state}; only a dead delivery, or one that waits, can be run again")
    if state in ("dead", None):
        fail(
            f"{row.guid} stays {state or 'deleted'}: its body is not kept any more ({keep}); redeliver it from the "
            "webhook's Recent Deliveries, which GitHub allows for 3 days, or act on the thread once more"
        )
    if pause is not None:
        say(f"{row.guid} is queued, and waits: {told(pause)}; {resuming(pause)} ends that")
        return
    say(f"{row.guid} is queued; a running service takes it within seconds")


def thread_name(row: DeliveryRow) -> str:
    """ "owner/repo#7", or as much of it as the event has."""
    return f"{row.repository or '-'}#{row.number}" if row.number is not None else row.repository or "-"


def _find(row: DeliveryRow | None, guid: str) -> DeliveryRow:
    if row is None:
        fail(f"there is no delivery {guid}, or several begin so; `hls deliveries list` shows them")
    return row
