"""The results of the demo's events: one line for each, and the totals."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from hls_handler.events import event_key
from hls_handler.reports.delivery_report import DeliveryReport
from hls_handler.wording import add_usd, count, format_usd

SUCCESSFUL = ("done", "superseded")
"""States of a success. With the data of an earlier demo, newer events exist already and supersede the demo's."""

CONVERSATION = re.compile(r"/(?:issues|pull)/(\d+)")
COMMENT_WORDS = {"created": "comment", "edited": "edited"}


def format_event(number: int, report: DeliveryReport, page_url: str) -> str:
    """Return a line of at most 80 characters: " 1 issues.opened   +4 labels, comment   http://127.0.0.1:43817/14"."""
    row = report.delivery
    result = describe_changes(report) if row.state == "done" else row.state
    line = f"{number:>2} {event_key(row.event, row.action):<29} {result:<20} "
    conversation = _find_conversation(report)
    return (line + (f"{page_url}{conversation}" if conversation else "")).rstrip()


def describe_changes(report: DeliveryReport) -> str:
    """Return what changed on GitHub: "+1 -1 labels, edited"; "+2 labels, review"; "no change".

    A review is named in place of the comment that comes with it.
    """
    added = sum(len(outcome.added) for outcome in report.outcomes)
    removed = sum(len(outcome.removed) for outcome in report.outcomes)
    numbers = " ".join(f"{sign}{changed}" for sign, changed in (("+", added), ("-", removed)) if changed)
    labels = [f"{numbers} {'label' if added + removed == 1 else 'labels'}"] if numbers else []
    comments = [
        COMMENT_WORDS[one.kind] for one in report.outcomes if one.action == "comment" and one.kind in COMMENT_WORDS
    ]
    reviews = ["review" for one in report.outcomes if one.action == "review" and one.kind == "created"]
    return ", ".join([*labels, *(reviews or comments)]) or "no change"


def _find_conversation(report: DeliveryReport) -> str | None:
    urls = (outcome.url for outcome in report.outcomes if outcome.url)
    linked = (match[1] for match in map(CONVERSATION.search, urls) if match)
    number = report.delivery.number
    return str(number) if number is not None else next(linked, None)


def format_totals(reports: Iterable[DeliveryReport], *, paid: bool) -> str:
    """Return "16 done: 12 labels, 10 comments, 16 calls to Claude, 0.005387 USD at list price"."""
    done = list(reports)
    states = ", ".join(f"{times} {state}" for state, times in Counter(report.delivery.state for report in done).items())
    labels = sum(len(report.labels) for report in done)
    comments = sum(one.action == "comment" and one.kind == "created" for report in done for one in report.outcomes)
    calls = [call for report in done for call in report.calls]
    cost = f"{format_usd(add_usd(call.cost_usd for call in calls))}{'' if paid else ' at list price'}"
    changes = f"{count(labels, 'label')}, {count(comments, 'comment')}, {count(len(calls), 'call')} to Claude, {cost}"
    return f"{states or 'no events'}: {changes}"
