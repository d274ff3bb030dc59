"""`hls why` explains what HLS did on an issue or pull request."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from hls_handler.cli.github_names import require_conversation
from hls_handler.cli.options import AsJson, Config, Limit, load, require_existing_store
from hls_handler.cli.terminal import print_json, print_line
from hls_handler.db.values import EPOCH
from hls_handler.reports.delivery_report import format_history, load_reports
from hls_handler.settings.model import Settings
from hls_handler.store.deliveries import find_outdated_names
from hls_handler.store.figures import Period
from hls_handler.store.numbers import Statistics
from hls_handler.store.storage import Storage
from hls_handler.wording import count

HOUR = timedelta(hours=1)
MINUTE = "%Y-%m-%d %H:%M"  # format of a time
KEPT_BY_GITHUB = timedelta(days=3)
READ_MISSED = (
    "`hls catch-up` reads webhooks that GitHub could not deliver; `hls listen --since 2h` "
    "reads those of the two hours before its start, too"
)
WHERE_TO_LOOK = (
    "the webhook's Recent Deliveries on GitHub show whether an event was sent, and "
    "`hls deliveries list` shows what was received"
)


def why(
    conversation: Annotated[
        str, typer.Argument(metavar="OWNER/REPO#N", help="The issue or pull request, or its URL.")
    ],
    all_: Annotated[
        bool, typer.Option("--all", help="Print everything, also of events that wrote nothing.")
    ] = False,
    as_json: AsJson = False,
    limit: Limit = None,
    config: Config = None,
) -> None:
    """Explain what HLS did on an issue or pull request.

    Prints for each delivery, newest first: the rule and the line of the settings that accepted or
    ignored it, the prompt, Claude's reply, what was posted or why nothing was posted, and the cost.
    An older one that wrote nothing has one line, and only the newest check its text. --limit prints
    the newest ones only. Works while the service runs.
    """
    settings = load(config, credentials=False)
    repository, number = require_conversation(conversation, base_url=settings.github.base_url)
    with require_existing_store(settings) as store:
        rows = [*store.deliveries.of_conversation(repository, number)]
        if limit is not None:
            rows = rows[-limit:]
        reports = load_reports(store, rows)
        rejected = ""
        if not reports:
            rejected = _describe_unverified(store, repository)
        notice = _describe_rename(settings, store.statistics, repository, number)
    if not reports and notice is None:
        days = count(settings.storage.keep_days, "day")
        print_line(f"nothing was received for {repository}#{number} in {days}", err=True)
        for line in filter(None, (rejected, READ_MISSED, WHERE_TO_LOOK)):
            print_line(line, err=True)
        raise typer.Exit(1)
    if as_json:
        print_json({"deliveries": reports})
        return
    for line in format_history(reports, has_all=all_):
        print_line(line)
    if notice is not None:
        print_line(notice)


def _describe_unverified(store: Storage, repository: str) -> str:
    """Return a sentence about the requests with 401 since the repository's last webhook.

    Of a repository without one, about those of the days for which GitHub keeps webhooks.
    """
    now = store.now()
    last = store.statistics.last_webhooks().get(repository)
    begin = last or now - KEPT_BY_GITHUB
    since = begin - (begin - EPOCH) % HOUR  # rejected requests are counted by the hour
    period = Period(since, now + HOUR, step=now + HOUR - since)
    (number,) = store.statistics.series(["rejected"], period).get(("rejected", "401"), (0,))
    sentences = []
    if last is not None:
        sentences.append(f"the last webhook of {repository} came at {last:{MINUTE}} UTC")
    if number:
        requests = f"{count(number, 'request')} to the webhook path got 401"
        sentences.append(f"{requests} since {since:{MINUTE}} UTC, of any repository")
    return "; ".join(sentences)


def _describe_rename(
    settings: Settings, statistics: Statistics, repository: str, number: int
) -> str | None:
    """Return a sentence about the new name of a renamed repository; None if it was not renamed."""
    renames = [
        rename for rename in statistics.renames() if rename.former.lower() == repository.lower()
    ]
    if not renames:
        return None
    last = renames[-1]
    outdated = find_outdated_names(settings, [last], statistics.last_webhooks())
    sentence = next(outdated, f"{last.former} is {last.name} since {last.at:{MINUTE}} UTC")
    return f"{sentence}: `hls why {last.name}#{number}` shows what was received since then"
