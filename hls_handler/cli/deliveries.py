"""`hls deliveries` lists, shows, retries and discards deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Annotated, get_args

import typer

from hls_handler.cli.github_names import require_repository
from hls_handler.cli.options import (
    AsJson,
    Config,
    fail,
    load,
    log_as_operator,
    require_confirmation,
    require_existing_store,
    utc_now,
)
from hls_handler.cli.terminal import (
    STATE_STYLES,
    Cell,
    Column,
    format_moment,
    is_terminal,
    print_json,
    print_line,
    print_table,
    track,
)
from hls_handler.deliveries import ListedState, shorten_guid
from hls_handler.errors import InvalidQuery
from hls_handler.reports.delivery_list import (
    ListedDelivery,
    explain_deliveries,
    list_deliveries,
)
from hls_handler.reports.delivery_query import make_search, parse_shorthands
from hls_handler.reports.delivery_report import format_report, load_report
from hls_handler.reports.retry import (
    MAX_RESULTS,
    RETRIED,
    FilterResult,
    count_matching,
    describe_results,
    discard_matching,
    retry_delivery,
    retry_matching,
)
from hls_handler.settings.model import Settings
from hls_handler.store.deliveries import DeliveryRow
from hls_handler.store.search import DeliverySearch
from hls_handler.store.storage import Storage
from hls_handler.wording import count, format_seconds, format_usd

deliveries = typer.Typer(
    help="List, show, retry and discard deliveries. Works while the service runs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

GUID_HELP = "The delivery's GUID, a unique prefix of it, or its request id."
Guid = Annotated[str, typer.Argument(metavar="DELIVERY", help=GUID_HELP)]
OfState = Annotated[
    ListedState | None,
    typer.Option(
        "--state",
        metavar="STATE",
        help=f"Only deliveries in this state: {', '.join(get_args(ListedState))}.",
    ),
]
OfRepository = Annotated[
    str | None,
    typer.Option(
        "--repository", metavar="OWNER/REPO", help="Only deliveries of this repository, or URL."
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Only deliveries received since: an age (7d, 24h, 30m), or a time in UTC.",
    ),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Only deliveries received before: an age, or a time in UTC."),
]


Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="QUERY",
        help=(
            "Words as in the console: is:dead repo:owner/repo event:issues.opened sender:login"
            " since:1d until:2h, or a part of title or reason. An option takes the place of the"
            " word for the same."
        ),
        show_default=False,
    ),
]


@deliveries.command(name="list")
def list_(
    query: Words = None,
    state: OfState = None,
    repository: OfRepository = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="Maximum number of deliveries.")
    ] = 50,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """List deliveries, the newest first.

    Prints for each the time received, GUID prefix, state, title, duration, cost, repository, event,
    sender, and the reason for its state. A terminal gets a table.
    """
    settings = load(config, credentials=False)
    search = _parse_search(settings, query, state, repository)
    with require_existing_store(settings) as store:
        rows = list(islice(store.searches.read_all(search), limit))
        listed = list_deliveries(store, rows)
        if as_json:
            print_json({"deliveries": listed})
            return
        total = store.searches.count(search) if is_terminal() else 0
        results = ""
        if search.retried_ms is not None:
            results = describe_results(store.searches.count_results(search, limit=MAX_RESULTS))
    if results:
        print_line(f"{results}.")
    if listed:
        _print_table(listed, total)
    else:
        print_line("no deliveries")


COLUMNS = (
    Column("RECEIVED"),
    Column("DELIVERY"),
    Column("STATE"),
    Column("", is_wide=True),
    Column("DURATION", is_number=True),
    Column("COST", is_number=True),
)


def _print_table(listed: Sequence[ListedDelivery], total: int) -> None:
    now = utc_now()
    explanations = explain_deliveries(listed, now)
    rows = []
    for delivery in listed:
        heading = delivery.heading
        if delivery.number is not None:
            heading += f" #{delivery.number}"
        below = [delivery.about, explanations[delivery.delivery]]
        rows.append(
            (
                Cell(format_moment(delivery.received_at, now), "dim"),
                Cell(shorten_guid(delivery.delivery)),
                Cell(delivery.state_word, STATE_STYLES[delivery.state]),
                Cell(heading, below=[*filter(None, below)]),
                Cell("" if delivery.work_s is None else format_seconds(delivery.work_s)),
                Cell(format_usd(delivery.cost_usd) if delivery.cost_usd else ""),
            )
        )
    footer = f"{len(rows):,} of {count(total, 'delivery')}"
    if len(rows) < total:
        footer += "; --limit shows more"
    print_table(COLUMNS, rows, footer)


@deliveries.command()
def show(guid: Guid, as_json: AsJson = False, config: Config = None) -> None:
    """Show all details of one delivery.

    Prints a line for each step with its duration: the rule that accepted the event, what was read,
    the calls to Claude with tokens, cost, model and Claude's request id, and what was posted. Then
    prints Claude's replies, the state with its reason, and the comments as written.
    """
    with require_existing_store(load(config, credentials=False)) as store:
        report = load_report(store, _require_found(store.deliveries.find(guid), guid))
    if as_json:
        print_json(report)
        return
    for line in format_report(report, has_comments=True):
        print_line(line)


def _parse_search(
    settings: Settings,
    query: Sequence[str] | None,
    state: ListedState | None,
    repository: str | None,
    since: str | None = None,
    until: str | None = None,
) -> DeliverySearch:
    """Return the search for the words of a query, and for options in place of words."""
    if repository is not None:
        repository = require_repository(repository, base_url=settings.github.base_url)
    shorthands = {"state": state, "repository": repository, "since": since, "until": until}
    try:
        return make_search(parse_shorthands(" ".join(query or ()), shorthands), utc_now())
    except InvalidQuery as exc:
        raise typer.BadParameter(str(exc), param_hint="QUERY") from None


Chosen = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DELIVERY | QUERY",
        help=f"{GUID_HELP} Or words as of `hls deliveries list`, with is:.",
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask whether to change that many.")]


@deliveries.command()
def retry(
    chosen: Chosen = None,
    state: OfState = None,
    repository: OfRepository = None,
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
    config: Config = None,
) -> None:
    """Run a delivery again, or all that match a query.

    A dead, discarded or waiting delivery runs now, and so does an ignored one whose body is stored;
    with a state, all that match.

    The number of deliveries that match is shown before they are queued. A delivery keeps its GUID.
    Completed steps, such as asking Claude, are not repeated.
    """
    settings = load(config, credentials=False)
    guid = _find_guid(chosen, state)
    if guid is not None:
        chosen = None
    search = _parse_search(settings, chosen, state, repository, since, until)
    if guid is None and search.state not in RETRIED:
        raise typer.BadParameter(
            f"found {search.state!r}, expected one of {', '.join(RETRIED)}",
            param_hint="--state" if state is not None else "is:",
        )
    if guid is not None and search != DeliverySearch():
        raise typer.BadParameter("a delivery cannot have filters, too", param_hint="DELIVERY")
    with require_existing_store(settings) as store:
        if guid is None:
            number = _confirm(store, search, yes, "Run them again?", "none was queued")
            result = retry_matching(
                store,
                search,
                settings,
                number=number,
                by=log_as_operator(settings),
                track=partial(track, what="Queuing deliveries", total=number),
            )
            _print_result(result, number)
            return
        row = _require_found(store.deliveries.find(guid), guid)
        retried = retry_delivery(store, row, settings, by=log_as_operator(settings))
    if not retried.is_queued:
        fail(retried.sentence)
    print_line(retried.sentence)


@deliveries.command()
def discard(
    chosen: Chosen = None,
    why: Annotated[str, typer.Option("--why", help="The reason, for the log.")] = "",
    yes: Yes = False,
    config: Config = None,
) -> None:
    """Take dead deliveries off the list of dead ones.

    Nothing is deleted: `hls deliveries list is:discarded` lists them, and `hls deliveries retry`
    takes them back. The log has the person and the reason.
    """
    settings = load(config, credentials=False)
    if not why.strip():
        raise typer.BadParameter("say why, for the log", param_hint="--why")
    guid = _find_guid(chosen)
    with require_existing_store(settings) as store:
        number = 1
        if guid is not None:
            search = DeliverySearch(guids=[_require_found(store.deliveries.find(guid), guid).guid])
        else:
            search = _parse_search(settings, chosen, None, None)
            if search.state != "dead":
                raise typer.BadParameter(
                    "only dead deliveries can be discarded: add is:dead", param_hint="QUERY"
                )
            number = _confirm(store, search, yes, "Discard them?", "none was discarded")
        result = discard_matching(
            store, search, number=number, by=log_as_operator(settings), reason=why.strip()
        )
    _print_result(result, number)


def _find_guid(chosen: Sequence[str] | None, state: str | None = None) -> str | None:
    """Return the id of the one delivery; None if a query or an option names a state."""
    words = chosen or ()
    is_query = any(word.startswith("is:") for word in words)
    is_delivery = len(words) == 1 and not is_query
    if is_delivery == (is_query or state is not None):
        raise typer.BadParameter(
            "give either a delivery, or a query with is:dead", param_hint="DELIVERY"
        )
    if is_delivery:
        return words[0]
    return None


def _confirm(
    store: Storage, search: DeliverySearch, yes: bool, question: str, otherwise: str
) -> int:
    """Print how many deliveries match, and return the number if the operator agrees."""
    number = store.searches.count(search)
    print_line(count_matching(number))
    if number and not yes:
        require_confirmation(question, what="the number", otherwise=otherwise)
    return number


def _print_result(result: FilterResult, number: int) -> None:
    if result.changed is None or (number and not result.changed):
        fail(result.sentence)
    print_line(result.sentence)
    if result.query is not None:
        print_line(f"`hls deliveries list {result.query}` shows what became of them")


def _require_found(row: DeliveryRow | None, guid: str) -> DeliveryRow:
    if row is None:
        fail(
            f"there is no delivery {guid}, or several GUIDs begin with it or have this request id; "
            "`hls deliveries list` shows all of them"
        )
    return row
